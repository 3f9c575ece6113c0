//! Makes the known answers of `halfnet-vectors`, by another way than the core's wherever there is one: bits
//! and 128-bit integers one at a time, sums by their definition, and for gates both parties' shares of a
//! dealt correlation, whose sum must be the gate's reference.

mod gates;

use halfnet_core::model::Model;
use halfnet_core::opening::{self, Exchange};
use halfnet_core::party::seed;
use halfnet_core::plan::{Client, Mode, Options, Release, Role, compile};
use halfnet_core::prg::{Key, Stream};
use halfnet_core::ring::low_mask;
use halfnet_core::wire::message::Agreement;
use halfnet_vectors::{Keys, Numbers, Replay, Vector};

use crate::network::{Random, every_step, picture};
use crate::pair::{self, DEAL, Deal};

/// What the files hold, by name.
pub fn files() -> [(&'static str, Vec<u8>); 4] {
    [
        ("primitives", primitives()),
        ("gates", gates::file()),
        ("replay_shared", replays(Mode::Shared)),
        ("replay_held", replays(Mode::Held)),
    ]
}

/// A file under construction.
#[derive(Default)]
struct File(Vec<u8>);

impl File {
    fn add(&mut self, vector: Vector<'_>) {
        self.0.extend(postcard::to_stdvec(&vector).expect("a vector encodes"));
    }
}

/// Numbers of `width` bytes, kept until they are written.
struct Kept {
    width: u8,
    bytes: Vec<u8>,
}

impl Kept {
    fn numbers(&self) -> Numbers<'_> {
        Numbers { width: self.width, bytes: &self.bytes }
    }
}

/// The low bytes of values.
fn kept(width: u8, values: &[u64]) -> Kept {
    Kept {
        width,
        bytes: values.iter().flat_map(|v| v.to_le_bytes()[..usize::from(width)].to_vec()).collect(),
    }
}

fn draw(random: &mut Random, bits: u8, count: usize) -> Vec<u64> {
    (0..count).map(|_| random.word() & low_mask(bits)).collect()
}

/// Numbers at the edges of Z_bits, and two of its middle.
fn edges(bits: u8, random: &mut Random) -> [u64; 7] {
    let (most, half) = (low_mask(bits), 1 << (bits - 1));
    [0, 1, most, half, half - 1, random.word() & most, random.word() & most]
}

fn array<const N: usize>(random: &mut Random) -> [u8; N] {
    std::array::from_fn(|_| random.word() as u8)
}

fn primitives() -> Vec<u8> {
    let mut random = Random(0x5eed);
    let mut file = File::default();
    for (width, first) in [(2, 0), (2, 31), (4, 0), (4, 15), (4, 1_000_000), (8, 0), (8, 7), (8, 1 << 33)] {
        let (key, kind) = (array(&mut random), random.below(600));
        // A whole block or more at once, from a place that no word of the vector begins at.
        let mut bytes = vec![0; 24 * usize::from(width) + 1];
        let at = first * u64::from(width);
        let before = u64::from(at > 0);
        Stream::new(&Key::new(key), kind).fill_bytes(at - before, &mut bytes).expect("far from the end");
        let words = &bytes[before as usize..][..20 * usize::from(width)];
        file.add(Vector::Stream { key, kind, first, words: Numbers { width, bytes: words } });
    }
    for counter in [0, 1, u64::MAX - 1] {
        let (seed_bytes, layer) = (array(&mut random), random.below(60) as u16);
        let (pairing, plan, provisioning, deal) =
            (array(&mut random), array(&mut random), array(&mut random), array(&mut random));
        let agreement = Agreement { pairing, plan, provisioning };
        let key = Key::new(seed_bytes);
        let inference = seed::inference_key(&key, &agreement, &deal, counter);
        file.add(Vector::Keys(Keys {
            seed: seed_bytes,
            pairing,
            plan,
            provisioning,
            deal,
            counter,
            layer,
            model: *seed::model_key(&key, &agreement).expose(),
            inference: *inference.expose(),
            of_layer: *seed::layer_key(&inference, layer).expose(),
        }));
    }
    for bits in 1..=64_u8 {
        let values = draw(&mut random, bits, 3 + usize::from(bits) % 9);
        let mut packed = vec![0_u8; (values.len() * usize::from(bits)).div_ceil(8)];
        for at in 0..values.len() * usize::from(bits) {
            let bit = values[at / usize::from(bits)] >> (at % usize::from(bits)) & 1;
            packed[at / 8] |= (bit as u8) << (at % 8);
        }
        file.add(Vector::Packing { bits, values: kept(8, &values).numbers(), packed: &packed });
    }
    for bits in [2, 12, 13, 15, 16, 17, 20, 31, 32, 33, 48, 63, 64] {
        let edges = edges(bits, &mut random);
        for (a, b) in edges.iter().flat_map(|&a| edges.map(|b| (a, b))).step_by(3) {
            let modulus = 1_u128 << bits;
            let (x, y) = (u128::from(a), u128::from(b));
            let reduced = |value: u128| (value % modulus) as u64;
            let signed = if x >= modulus / 2 { x as i128 - modulus as i128 } else { x as i128 };
            file.add(Vector::Ring {
                bits,
                a,
                b,
                sum: reduced(x + y),
                difference: reduced(x + modulus - y),
                product: reduced((x * y) % modulus),
                signed: signed as i64,
            });
        }
    }
    for (index, (opened_bits, shift)) in
        [(2, 0), (8, 8), (10, 6), (16, 0), (16, 4), (16, 16), (24, 8), (32, 0)].into_iter().enumerate()
    {
        for mutual in [true, false] {
            let uniform = if index % 4 == 3 { u64::MAX } else { random.word() };
            let exchange = if mutual { Exchange::Mutual } else { Exchange::ByTurns };
            let mask = opening::mask(exchange, uniform, opened_bits, shift);
            // By their definition.
            let high = (uniform >> if mutual { 0 } else { shift }) & low_mask(opened_bits);
            assert_eq!(mask.high, high);
            let r = high as i128;
            let top = r >> (opened_bits - 1);
            let lifted = [0, 1].map(|m| (r + (1 << (opened_bits - 2)) - m * top * (1 << opened_bits)) as u64);
            file.add(Vector::Mask { mutual, uniform, opened_bits, shift, added: mask.added, high, lifted });
        }
    }
    file.0
}

/// Whole inferences of the network in which every step occurs: both releases, with memory and with little of
/// it.
fn replays(mode: Mode) -> Vec<u8> {
    let mut file = File::default();
    let model: Model<'_> = every_step();
    for (counter, release, memory) in [
        (0, Release::Label, compile::ample()),
        (1, Release::Logits { bits: 8 }, compile::ample()),
        (u64::MAX - 1, Release::Logits { bits: 4 }, [3 << 10, 3 << 10]),
    ] {
        let options = Options { mode, client: Client::SeedParty, release, chunk_bits: 4, memory };
        let deal = Deal::new(&model, &options);
        let plan = deal.plan();
        let pixels: Vec<i32> = picture(model.header.input, counter).iter().map(|&p| p as i32).collect();
        let run = pair::run(&deal, &deal.bundle(&model, counter), counter, &pixels);
        let frames = |role: Role| {
            run.frames.iter().filter(|(r, _)| *r == role).flat_map(|(_, f)| f.clone()).collect::<Vec<u8>>()
        };
        let (sent, received) = (frames(Role::Seed), frames(Role::Bundle));
        let answer: Vec<u64> = run.answer.iter().map(|&value| value as u64).collect();
        let pixels: Vec<u8> =
            pixels.iter().map(|&p| i8::try_from(p).expect("a small integer") as u8).collect();
        let agreement = pair::agreement(&plan);
        file.add(Vector::Replay(Replay {
            plan: &deal.plan,
            seed: *deal.seed.expose(),
            pairing: agreement.pairing,
            provisioning: agreement.provisioning,
            deal: DEAL,
            counter,
            picture: &pixels,
            received: &received,
            sent: sent.len() as u32,
            sent_hash: *blake3::hash(&sent).as_bytes(),
            answer: kept(8, &answer).numbers(),
        }));
    }
    file.0
}
