//! What the party's loops take, in instructions: under `-icount shift=0` an instruction takes a nanosecond,
//! so the figures repeat exactly. Before that, random convolutions against `halfnet-core`'s portable loop: a
//! difference ends the program with a failure.
//!
//! Rows of the tables begin with `|`:
//!
//! ```text
//! cargo run --release --bin kernels | sed -n 's/^[^|]*|/|/p'
//! ```
#![no_std]
#![no_main]

use bytemuck::{cast_slice, cast_slice_mut};
use cortex_m_rt::entry;
use halfnet_core::error::Internal;
use halfnet_core::gate::comparison::{self, Layout};
use halfnet_core::gate::linear::{convolve_words, positions};
use halfnet_core::packing::{Packer, Unpacker};
use halfnet_core::party::half::MaterialError;
use halfnet_core::prg::{Key, Keystream, Stream};
use halfnet_core::ring::{WordKind, Words, WordsMut};
use halfnet_core::shape::{Convolution, Shape};
use halfnet_core::with_words;
use halfnet_firmware::generator::Generator;
use halfnet_firmware::kernel::{self, Weights};
use halfnet_qemu_mps2_an500::{clock, exit};
use static_cell::ConstStaticCell;

static INPUT: ConstStaticCell<[u64; 16384]> = ConstStaticCell::new([0; 16384]);
static WEIGHTS: ConstStaticCell<[u64; 8192]> = ConstStaticCell::new([0; 8192]);
static SUMS: ConstStaticCell<[u64; 16384]> = ConstStaticCell::new([0; 16384]);
static EXPECTED: ConstStaticCell<[u64; 16384]> = ConstStaticCell::new([0; 16384]);
static MEMORY: ConstStaticCell<[u64; 4096]> = ConstStaticCell::new([0; 4096]);

/// Random convolutions that are compared.
const COMPARED: usize = 400;

/// Wires and rings that networks have: (bits of an input word, of a sum's).
const RINGS: [(u8, WordKind, &str); 4] = [
    (16, WordKind::U16, "16-bit wires, Z_16"),
    (16, WordKind::U32, "16-bit wires, Z_32"),
    (32, WordKind::U32, "32-bit wires, Z_32"),
    (32, WordKind::U64, "32-bit wires, Z_64"),
];

/// Weights that lie in memory.
struct Stored<'w>(&'w [u64]);

impl Weights for Stored<'_> {
    fn fill(&mut self, first: usize, out: WordsMut<'_>) -> Result<(), MaterialError> {
        with_words!(WordsMut, out, out => {
            out.copy_from_slice(cast_slice(self.0).get(first..first + out.len()).ok_or(MaterialError::Weights)?);
        });
        Ok(())
    }
}

struct Tables<'m> {
    input: &'m mut [u64],
    weights: &'m mut [u64],
    sums: &'m mut [u64],
    expected: &'m mut [u64],
    memory: &'m mut [u64],
}

const fn geometry(
    channels: u16,
    size: u16,
    out_channels: u16,
    taps: u16,
    stride: u16,
    groups: u16,
) -> Convolution {
    let input = Shape::new(channels, size, size);
    Convolution {
        input,
        out_channels,
        kernel_height: taps,
        kernel_width: taps,
        stride,
        padding: taps / 2,
        groups,
    }
}

/// The first `count` elements as words of a kind.
fn view(words: &[u64], kind: WordKind, count: usize) -> Words<'_> {
    Words::of(kind, words).slice(0..count).unwrap_or(Words::U16(&[]))
}

fn view_mut(words: &mut [u64], kind: WordKind, range: core::ops::Range<usize>) -> WordsMut<'_> {
    WordsMut::of(kind, words).slice(range).unwrap_or(WordsMut::U16(&mut []))
}

impl Tables<'_> {
    /// Hundredths of an instruction a multiply-add, padding's counted, with the memory that a plan would have
    /// lent.
    fn multiply_add(&mut self, geometry: &Convolution, bits: u8, kind: WordKind) -> u64 {
        let elements = geometry.output().elements();
        let memory = self.memory.get_mut(..kernel::memory_words(geometry, kind)).unwrap_or(&mut []);
        let input = view(self.input, WordKind::for_bits(bits), geometry.input.elements());
        let out = view_mut(self.sums, kind, 0..elements);
        let began = clock::nanoseconds();
        let done = kernel::convolve(geometry, input, &mut Stored(self.weights), 0..elements, out, memory);
        let taken = clock::nanoseconds() - began;
        if done.is_ok() { taken * 100 / geometry.multiply_adds() } else { 0 }
    }

    /// Is a random convolution what `halfnet-core` says?
    fn agrees(&mut self, random: &mut impl FnMut(usize) -> usize) -> bool {
        let groups = 1 + random(3);
        let geometry = Convolution {
            input: Shape::new(
                (groups * (1 + random(9))) as u16,
                1 + random(12) as u16,
                1 + random(20) as u16,
            ),
            out_channels: (groups * (1 + random(6))) as u16,
            kernel_height: 1 + random(5) as u16,
            kernel_width: 1 + random(8) as u16,
            stride: 1 + random(3) as u16,
            padding: random(4) as u16,
            groups: groups as u16,
        };
        if geometry.validate().is_err() {
            return true;
        }
        let (bits, kind, _) = RINGS[random(4)];
        let elements = geometry.output().elements();
        let ends = [random(elements + 1), random(elements + 1)];
        let tile = if random(2) == 0 { 0..elements } else { ends[0].min(ends[1])..ends[0].max(ends[1]) };
        let input = view(self.input, WordKind::for_bits(bits), geometry.input.elements());
        let (plane, fan_in) = (geometry.output().plane(), geometry.fan_in());
        self.expected.copy_from_slice(self.sums);
        let mut at = 0;
        for channel in tile.start / plane..tile.end.div_ceil(plane) {
            let positions = positions(&tile, channel, plane);
            let own = Words::of(kind, self.weights)
                .slice(channel * fan_in..(channel + 1) * fan_in)
                .unwrap_or(Words::U16(&[]));
            let part = view_mut(self.expected, kind, at..at + positions.len());
            at += positions.len();
            done(convolve_words(&geometry, input, own, channel, positions, part));
        }
        let wanted = kernel::memory_words(&geometry, kind);
        let fan_in_words = (fan_in * kind.bytes()).div_ceil(8);
        // Less than what is asked for is enough, at worst for the portable loop.
        let memory = self.memory.get_mut(..wanted - random(wanted - fan_in_words + 1)).unwrap_or(&mut []);
        let out = view_mut(self.sums, kind, 0..tile.len());
        kernel::convolve(&geometry, input, &mut Stored(self.weights), tile, out, memory).is_ok()
            && self.sums == self.expected
    }
}

/// Are parts of streams, at any place and of any length, those of `halfnet-core`?
fn streams_agree(tables: &mut Tables<'_>, key: &Key, random: &mut impl FnMut(usize) -> usize) -> bool {
    let (mut own, mut portable) =
        (Generator::open(key, 0x0123_4567_89ab_cdef), Stream::new(key, 0x0123_4567_89ab_cdef));
    let (one, two): (&mut [u8], &mut [u8]) = (cast_slice_mut(tables.sums), cast_slice_mut(tables.expected));
    let mut position = 0;
    (0..COMPARED).all(|_| {
        // Half of them go on where the last one ended.
        position = if random(2) == 0 { position } else { (random(1 << 31) * random(128)) as u64 };
        let (first, length) = (random(4), random(400));
        let range = first..first + length;
        let filled = own
            .fill_bytes(position, &mut one[range.clone()])
            .and_then(|()| portable.fill_bytes(position, &mut two[range.clone()]));
        position += length as u64;
        filled.is_ok() && one[range.clone()] == two[range]
    })
}

/// Hundredths of an instruction that `work` takes for each of `count`.
fn each(count: usize, work: impl FnOnce()) -> u64 {
    let began = clock::nanoseconds();
    work();
    (clock::nanoseconds() - began) * 100 / count as u64
}

fn row(what: &str, hundredths: u64) {
    defmt::println!("| {=str} | {=u64}.{=u64:02} |", what, hundredths / 100, hundredths % 100);
}

fn linear(tables: &mut Tables<'_>) {
    defmt::println!(
        "| instructions a multiply-add | {=str} | {=str} | {=str} | {=str} |",
        RINGS[0].2,
        RINGS[1].2,
        RINGS[2].2,
        RINGS[3].2
    );
    defmt::println!("|---|---|---|---|---|");
    let layers = [
        ("3 x 3, 16 channels of 32 x 32", geometry(16, 32, 16, 3, 1, 1)),
        ("3 x 3, 64 channels of 8 x 8", geometry(64, 8, 8, 3, 1, 1)),
        ("3 x 3, stride 2, 16 channels of 32 x 32", geometry(16, 32, 32, 3, 2, 1)),
        ("5 x 5, 16 channels of 16 x 16", geometry(16, 16, 16, 5, 1, 1)),
        ("1 x 1, 64 channels of 16 x 16", geometry(64, 16, 32, 1, 1, 1)),
        ("1 x 1, stride 2, 64 channels of 16 x 16", geometry(64, 16, 32, 1, 2, 1)),
        ("3 x 3 depthwise, 16 channels of 32 x 32", geometry(16, 32, 16, 3, 1, 16)),
        ("3 x 3, 3 channels of 32 x 32", geometry(3, 32, 16, 3, 1, 1)),
    ];
    for (name, geometry) in layers {
        let figures = RINGS.map(|(bits, kind, _)| tables.multiply_add(&geometry, bits, kind));
        let [a, b, c, d] = figures.map(|hundredths| (hundredths / 100, hundredths % 100));
        defmt::println!(
            "| {=str} | {=u64}.{=u64:02} | {=u64}.{=u64:02} | {=u64}.{=u64:02} | {=u64}.{=u64:02} |",
            name,
            a.0,
            a.1,
            b.0,
            b.1,
            c.0,
            c.1,
            d.0,
            d.1
        );
    }
}

/// Everything beside the linear layers. What it computes is of no use: it would be a caller's fault to look
/// at it.
fn beside(tables: &mut Tables<'_>, key: &Key) {
    defmt::println!("| what | instructions |");
    defmt::println!("|---|---|");
    let bytes: &mut [u8] = cast_slice_mut(tables.sums);
    let count = bytes.len();
    row(
        "the generator, a byte",
        each(count, || assert!(Generator::open(key, 3).fill_bytes(0, bytes).is_ok())),
    );
    row(
        "the portable generator, a byte",
        each(count, || assert!(Stream::new(key, 3).fill_bytes(0, bytes).is_ok())),
    );
    row(
        "BLAKE3, a byte",
        each(count, || assert_ne!(key.derive("halfnet kernels", &[bytes]).expose()[0], bytes[0])),
    );
    let values: &[u16] = cast_slice(tables.input);
    let values = values.get(..4096).unwrap_or(&[]);
    for (bits, pack, unpack) in [
        (10, "packing, an element of 10 bits", "unpacking, an element of 10 bits"),
        (16, "packing, of 16 bits", "unpacking, of 16 bits"),
    ] {
        let bytes: &mut [u8] = cast_slice_mut(tables.sums);
        row(
            pack,
            each(values.len(), || {
                let mut packer = Packer::new(bytes);
                packer.extend(values, bits);
                let _ = packer.finish();
            }),
        );
        let out: &mut [u16] = cast_slice_mut(tables.expected);
        let out = out.get_mut(..values.len()).unwrap_or(&mut []);
        row(unpack, each(values.len(), || done(Unpacker::new(cast_slice(tables.sums)).take(bits, out))));
    }
    for (bits, what) in
        [(10, "comparing 10 bits, a ReLU, without its correlations"), (16, "comparing 16 bits, a ReLU")]
    {
        let layout = Layout::new(bits, 4);
        let state = tables.memory.get_mut(..layout.state_words()).unwrap_or(&mut []);
        // They are folded in place.
        let leaves = tables.sums.get_mut(..layout.leaf_planes()).unwrap_or(&mut []);
        row(
            what,
            each(64, || {
                done(comparison::evaluate_leaves(layout, false, tables.weights, leaves, state));
                for level in 0..layout.levels() {
                    let masks = tables.input.get(..layout.tree_planes(level)).unwrap_or(&[]);
                    done(comparison::open_tree(layout, level, masks, state));
                    let peer = tables.weights.get(..layout.opened_planes(level)).unwrap_or(&[]);
                    done(comparison::join_tree(layout, level, false, masks, peer, state));
                }
                done(comparison::open_sign(layout, state));
            }),
        );
    }
}

/// What was measured must have been done.
fn done<T>(result: Result<T, Internal>) {
    if result.is_err() {
        defmt::error!("operands of another shape");
        exit(false);
    }
}

#[entry]
fn main() -> ! {
    if let Some(peripherals) = cortex_m::Peripherals::take() {
        clock::start(peripherals.SYST);
    }
    let mut tables = Tables {
        input: INPUT.take(),
        weights: WEIGHTS.take(),
        sums: SUMS.take(),
        expected: EXPECTED.take(),
        memory: MEMORY.take(),
    };
    let key = Key::new([7; 32]);
    let filled = Stream::new(&key, 1)
        .fill_words(0, tables.input)
        .and_then(|()| Stream::new(&key, 2).fill_words(0, tables.weights));
    let (mut stream, mut at) = (Stream::new(&key, 4), 0);
    let mut random = |below: usize| {
        let mut word = [0_u32];
        at += 1;
        stream.fill_words(at, &mut word).map_or(0, |()| word[0] as usize % below)
    };
    let mut differing = 0;
    for number in 0..COMPARED {
        if !tables.agrees(&mut random) {
            defmt::error!("convolution {=usize} differs from the portable loop", number);
            differing += 1;
        }
    }
    defmt::info!("{=usize} random convolutions compared, {=u32} differ", COMPARED, differing);
    if !streams_agree(&mut tables, &key, &mut random) {
        defmt::error!("the generator's streams differ from the portable ones");
        differing += 1;
    }
    linear(&mut tables);
    beside(&mut tables, &key);
    exit(filled.is_ok() && differing == 0)
}
