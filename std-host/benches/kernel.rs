//! Speed of the linear kernels on the layers of real networks, beside the machine's limit in the same run:
//! `cargo bench -p halfnet-host --bench kernel [-- KERNEL ...]`.
//!
//! A plain program instead of a benchmark harness: what counts is one table of ratios to a limit measured
//! beside it, and that the time of a whole network is the sum of its layers with their inputs' preparation.

use std::hint::black_box;
use std::time::{Duration, Instant};

use halfnet_core::packing::{Packer, Unpacker, packed_len};
use halfnet_core::ring::{Word, WordKind, Words, WordsMut};
use halfnet_core::shape::{Convolution, Shape};
use halfnet_host::party::kernel::{BitPacking, Kernel, Kernels, PackedInput, PackedWeights, limit};

/// A layer and how often a network has it.
struct Row {
    name: &'static str,
    count: u32,
    geometry: Convolution,
}

const fn row(
    name: &'static str,
    count: u32,
    channels: u16,
    size: u16,
    out_channels: u16,
    kernel: u16,
    stride: u16,
) -> Row {
    let input = Shape::new(channels, size, size);
    let padding = kernel / 2;
    let geometry = Convolution {
        input,
        out_channels,
        kernel_height: kernel,
        kernel_width: kernel,
        stride,
        padding,
        groups: 1,
    };
    Row { name, count, geometry }
}

const RESNET18: &[Row] = &[
    row("3 -> 64, 3x3, 32x32", 1, 3, 32, 64, 3, 1),
    row("64 -> 64, 3x3, 32x32", 4, 64, 32, 64, 3, 1),
    row("64 -> 128, 3x3 / 2, 32x32", 1, 64, 32, 128, 3, 2),
    row("64 -> 128, 1x1 / 2, 32x32", 1, 64, 32, 128, 1, 2),
    row("128 -> 128, 3x3, 16x16", 3, 128, 16, 128, 3, 1),
    row("128 -> 256, 3x3 / 2, 16x16", 1, 128, 16, 256, 3, 2),
    row("128 -> 256, 1x1 / 2, 16x16", 1, 128, 16, 256, 1, 2),
    row("256 -> 256, 3x3, 8x8", 3, 256, 8, 256, 3, 1),
    row("256 -> 512, 3x3 / 2, 8x8", 1, 256, 8, 512, 3, 2),
    row("256 -> 512, 1x1 / 2, 8x8", 1, 256, 8, 512, 1, 2),
    row("512 -> 512, 3x3, 4x4", 3, 512, 4, 512, 3, 1),
    row("512 -> 10, fully connected", 1, 512, 1, 10, 1, 1),
];

const RESNET20: &[Row] = &[
    row("3 -> 16, 3x3, 32x32", 1, 3, 32, 16, 3, 1),
    row("16 -> 16, 3x3, 32x32", 6, 16, 32, 16, 3, 1),
    row("16 -> 32, 3x3 / 2, 32x32", 1, 16, 32, 32, 3, 2),
    row("32 -> 32, 3x3, 16x16", 5, 32, 16, 32, 3, 1),
    row("32 -> 64, 3x3 / 2, 16x16", 1, 32, 16, 64, 3, 2),
    row("64 -> 64, 3x3, 8x8", 5, 64, 8, 64, 3, 1),
    row("64 -> 10, fully connected", 1, 64, 1, 10, 1, 1),
];

const OTHERS: &[Row] = &[
    row("1 -> 8, 5x5, 28x28", 1, 1, 28, 8, 5, 1),
    row("8 -> 16, 5x5, 14x14", 1, 8, 14, 16, 5, 1),
    row("784 -> 128, fully connected", 1, 784, 1, 128, 1, 1),
];

/// Words of the operands, whose values do not matter.
struct Operands {
    u16: Vec<u16>,
    u32: Vec<u32>,
    u64: Vec<u64>,
}

impl Operands {
    fn new(count: usize) -> Self {
        let word = |i: usize| (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self {
            u16: (0..count).map(|i| (word(i) >> 48) as u16).collect(),
            u32: (0..count).map(|i| (word(i) >> 32) as u32).collect(),
            u64: (0..count).map(word).collect(),
        }
    }

    fn words(&self, word: WordKind, count: usize) -> Words<'_> {
        match word {
            WordKind::U16 => Words::U16(&self.u16[..count]),
            WordKind::U32 => Words::U32(&self.u32[..count]),
            WordKind::U64 => Words::U64(&self.u64[..count]),
        }
    }

    fn words_mut(&mut self, word: WordKind, count: usize) -> WordsMut<'_> {
        match word {
            WordKind::U16 => WordsMut::U16(&mut self.u16[..count]),
            WordKind::U32 => WordsMut::U32(&mut self.u32[..count]),
            WordKind::U64 => WordsMut::U64(&mut self.u64[..count]),
        }
    }
}

struct Bench {
    kernel: Kernel,
    weights: Operands,
    out: Operands,
    scratch: PackedInput,
}

impl Bench {
    /// Seconds of preparation and convolution, each the best of several.
    fn layer(&mut self, geometry: &Convolution, word: WordKind, packed: &PackedWeights) -> (f64, f64) {
        let (mut prepare, mut convolve) = (f64::INFINITY, f64::INFINITY);
        let end = Instant::now() + Duration::from_millis(60);
        let elements = geometry.output().elements();
        while Instant::now() < end {
            let start = Instant::now();
            let input = self.weights.words(word, geometry.input.elements());
            self.kernel.prepare(&mut self.scratch, geometry, input).expect("the geometry is valid");
            prepare = prepare.min(start.elapsed().as_secs_f64());
            let start = Instant::now();
            let out = self.out.words_mut(word, elements);
            self.kernel
                .convolve(packed, &self.scratch, 0..elements, out)
                .expect("the operands are the layer's");
            convolve = convolve.min(start.elapsed().as_secs_f64());
        }
        (prepare, convolve)
    }

    /// Prints one row a layer, and then the whole network run layer after layer with weights of its own each.
    fn network(&mut self, name: &str, rows: &[Row], word: WordKind, limit: f64) {
        println!("\n{} {word:?} {name}", self.kernel.name());
        println!(
            "{:30} {:>10} {:>10} {:>9} {:>9}",
            "layer", "prepare us", "convolve us", "G MAC/s", "of limit"
        );
        let mut network = Vec::new();
        for row in rows {
            let weights = self.weights.words(word, row.geometry.weights());
            let pack = || self.kernel.pack(&row.geometry, word, weights).expect("the geometry is valid");
            let first = pack();
            network.extend((1..row.count).map(|_| (row.geometry, pack())));
            let (prepare, convolve) = self.layer(&row.geometry, word, &first);
            network.push((row.geometry, first));
            let rate = row.geometry.multiply_adds() as f64 / (prepare + convolve);
            println!(
                "{:30} {:10.1} {:11.1} {:9.2} {:9.2}",
                row.name,
                prepare * 1e6,
                convolve * 1e6,
                rate / 1e9,
                rate / limit
            );
        }
        let multiply_adds: u64 = network.iter().map(|(geometry, _)| geometry.multiply_adds()).sum();
        let mut times: Vec<f64> = (0..15).map(|_| self.pass(&network, word)).collect();
        times.sort_by(f64::total_cmp);
        let bytes: usize = network.iter().map(|(_, packed)| packed.bytes()).sum();
        for (what, seconds) in
            [("whole network, fastest", times[0]), ("whole network, median", times[times.len() / 2])]
        {
            let rate = multiply_adds as f64 / seconds;
            println!("{what:30} {:22.1} {:9.2} {:9.2}", seconds * 1e6, rate / 1e9, rate / limit);
        }
        println!("{multiply_adds} multiply-adds, {:.1} MB of packed weights", bytes as f64 / 1e6);
    }

    fn pass(&mut self, network: &[(Convolution, PackedWeights)], word: WordKind) -> f64 {
        let start = Instant::now();
        for (geometry, packed) in network {
            let input = self.weights.words(word, geometry.input.elements());
            self.kernel.prepare(&mut self.scratch, geometry, input).expect("the geometry is valid");
            let elements = geometry.output().elements();
            let out = self.out.words_mut(word, elements);
            self.kernel
                .convolve(packed, &self.scratch, 0..elements, out)
                .expect("the operands are the layer's");
        }
        black_box(&self.out.u32);
        start.elapsed().as_secs_f64()
    }
}

/// Seconds of the fastest of many runs.
fn fastest(mut run: impl FnMut()) -> f64 {
    let end = Instant::now() + Duration::from_millis(20);
    let mut best = f64::INFINITY;
    while Instant::now() < end {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

/// Prints elements a second of packing and unpacking `bits` bits, by core's packer and by every one here.
fn packing<W: Word>(bits: u8) {
    const COUNT: usize = 4096;
    let values: Vec<W> =
        (0..COUNT as u64).map(|i| W::from_u64(i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7)).collect();
    let mut bytes = vec![0; packed_len(COUNT, bits)];
    let mut back = values.clone();
    print!("{bits:2} bits in {:2}: pack, unpack G/s:", W::BITS);
    let pack = fastest(|| {
        let mut packer = Packer::new(&mut bytes);
        packer.extend(black_box(&values), bits);
        black_box(packer.finish());
    });
    let unpack =
        fastest(|| Unpacker::new(black_box(&bytes)).take(bits, &mut back).expect("as many as were packed"));
    let rate = |seconds: f64| COUNT as f64 / seconds / 1e9;
    print!("  core {:5.2} {:5.2}", rate(pack), rate(unpack));
    for packing in BitPacking::available() {
        let pack = fastest(|| drop(black_box(packing.pack(black_box(&values), bits, &mut bytes))));
        let unpack = fastest(|| drop(black_box(packing.unpack(black_box(&bytes), bits, &mut back))));
        print!("  {} {:5.2} {:5.2}", packing.name(), rate(pack), rate(unpack));
    }
    println!();
}

fn main() {
    let limit = limit();
    println!(
        "limit: {:.2} G multiply-adds a second, {:.2} G PRG bytes a second",
        limit.multiply_adds / 1e9,
        limit.prg_bytes / 1e9
    );
    // Cargo passes --bench; every other argument names a kernel.
    let names: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let kernels: Vec<Kernel> = if names.is_empty() {
        Kernels::available().collect()
    } else {
        names.iter().map(|name| Kernels::named(name).unwrap_or_else(|error| panic!("{error}"))).collect()
    };
    for bits in [4, 10, 16] {
        packing::<u16>(bits);
    }
    for bits in [10, 20, 24, 30, 32] {
        packing::<u32>(bits);
    }
    for bits in [20, 36, 40] {
        packing::<u64>(bits);
    }
    for kernel in kernels {
        let mut bench = Bench {
            kernel,
            weights: Operands::new(1 << 22),
            out: Operands::new(1 << 16),
            scratch: PackedInput::new(),
        };
        for word in [WordKind::U32, WordKind::U16] {
            bench.network("ResNet-18, CIFAR", RESNET18, word, limit.multiply_adds);
            bench.network("ResNet-20, CIFAR", RESNET20, word, limit.multiply_adds);
            bench.network("small", OTHERS, word, limit.multiply_adds);
        }
        bench.network("64-bit words", &RESNET20[..4], WordKind::U64, limit.multiply_adds);
    }
}
