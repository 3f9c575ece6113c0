//! Streams, keys, packing, ring operations, masks.

use halfnet_core::opening::{self, Exchange};
use halfnet_core::packing::{Packer, Unpacker, packed_len};
use halfnet_core::party::seed;
use halfnet_core::prg::{Key, Stream};
use halfnet_core::ring::{Word, signed};
use halfnet_core::wire::message::Agreement;

use crate::{Keys, Mismatch, Numbers, Vector, compare, equal};

/// Values or words in one vector, at most.
const MOST: usize = 64;

pub(crate) fn check(vector: &Vector<'_>) -> Result<(), Mismatch> {
    match *vector {
        Vector::Stream { key, kind, first, words } => {
            let key = Key::new(key);
            match words.width {
                2 => stream::<u16>(&key, kind, first, &words),
                4 => stream::<u32>(&key, kind, first, &words),
                8 => stream::<u64>(&key, kind, first, &words),
                _ => Err(Mismatch::Operands),
            }
        }
        Vector::Keys(ref keys) => self::keys(keys),
        Vector::Packing { bits, values, packed } => packing(bits, &values, packed),
        Vector::Ring { bits, a, b, sum, difference, product, signed: known } => {
            if !(1..=64).contains(&bits) {
                return Err(Mismatch::Operands);
            }
            let computed = match bits {
                ..=16 => ring::<u16>(bits, a, b),
                17..=32 => ring::<u32>(bits, a, b),
                33.. => ring::<u64>(bits, a, b),
            };
            compare("a ring operation", computed.into_iter(), [sum, difference, product].into_iter())?;
            equal("a signed representative", signed(a, bits), known)
        }
        Vector::Mask { mutual, uniform, opened_bits, shift, added, high, lifted } => {
            if !(2..=32).contains(&opened_bits) || shift > 32 {
                return Err(Mismatch::Operands);
            }
            let exchange = if mutual { Exchange::Mutual } else { Exchange::ByTurns };
            let mask = opening::mask(exchange, uniform, opened_bits, shift);
            let both = [0, 1].map(|m| opening::lifted_mask(mask.high, m, opened_bits));
            let computed = [mask.added, mask.high].into_iter().chain(both);
            compare("a mask", computed, [added, high].into_iter().chain(lifted))
        }
        _ => Err(Mismatch::Operands),
    }
}

fn stream<W: Word>(key: &Key, kind: u64, first: u64, words: &Numbers<'_>) -> Result<(), Mismatch> {
    let mut out = [W::default(); MOST];
    let out = out.get_mut(..words.len()).ok_or(Mismatch::Operands)?;
    Stream::new(key, kind).fill_words(first, out).map_err(|_| Mismatch::Operands)?;
    compare("a stream's word", out.iter().map(|w| w.to_u64()), words.iter())
}

fn keys(keys: &Keys) -> Result<(), Mismatch> {
    let agreement = Agreement { pairing: keys.pairing, plan: keys.plan, provisioning: keys.provisioning };
    let seed_key = Key::new(keys.seed);
    let inference = seed::inference_key(&seed_key, &agreement, &keys.deal, keys.counter);
    equal("the model's key", *seed::model_key(&seed_key, &agreement).expose(), keys.model)?;
    equal("the inference's key", *inference.expose(), keys.inference)?;
    equal("the layer's key", *seed::layer_key(&inference, keys.layer).expose(), keys.of_layer)
}

fn packing(bits: u8, values: &Numbers<'_>, packed: &[u8]) -> Result<(), Mismatch> {
    let mut words = [0_u64; MOST];
    let words = words.get_mut(..values.len()).ok_or(Mismatch::Operands)?;
    if !(1..=64).contains(&bits) || packed.len() != packed_len(words.len(), bits) {
        return Err(Mismatch::Operands);
    }
    Unpacker::new(packed).take(bits, words).map_err(|_| Mismatch::Operands)?;
    compare("an unpacked value", words.iter().copied(), values.iter())?;
    let mut bytes = [0; 8 * MOST];
    let mut packer = Packer::new(&mut bytes);
    packer.extend(words, bits);
    equal("the packed length", packer.finish(), packed.len())?;
    compare("a packed byte", bytes.iter().map(|&b| b.into()), packed.iter().map(|&b| b.into()))
}

fn ring<W: Word>(bits: u8, a: u64, b: u64) -> [u64; 3] {
    let (a, b) = (W::from_u64(a), W::from_u64(b));
    [a.add(b), a.sub(b), a.mul(b)].map(|word| word.reduce(bits).to_u64())
}
