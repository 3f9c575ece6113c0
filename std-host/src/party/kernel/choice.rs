//! Which kernel runs: the fastest that this machine has and that computes correctly.

use halfnet_core::ring::{Word, WordKind, Words, WordsMut};
use halfnet_core::shape::{Convolution, Shape};

use super::{Kernel, KernelError, PackedInput, portable};

/// Environment variable that names the kernel to run, for tests and measurements.
pub const KERNEL_VARIABLE: &str = "HALFNET_KERNEL";

/// The kernels of this build, fastest first.
pub(super) const ALL: &[Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    super::x86::AVX512_VNNI,
    #[cfg(target_arch = "x86_64")]
    super::x86::AVX512,
    #[cfg(target_arch = "x86_64")]
    super::x86::AVX_VNNI,
    #[cfg(target_arch = "x86_64")]
    super::x86::AVX2,
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    super::neon::KERNEL,
    portable::KERNEL,
];

/// The choice among kernels.
pub struct Kernels;

impl Kernels {
    /// The kernel to use: the one that [`KERNEL_VARIABLE`] names, or else the fastest whose instructions this
    /// machine has and that passes its known-answer check.
    ///
    /// # Errors
    /// The variable names a kernel that cannot be had, or nothing computes correctly.
    pub fn detect() -> Result<Kernel, KernelError> {
        match std::env::var(KERNEL_VARIABLE) {
            Ok(name) if !name.is_empty() => Self::named(&name),
            _ => first_correct(ALL).ok_or(KernelError::Faulty),
        }
    }

    /// The kernel of that name.
    ///
    /// # Errors
    /// This build or machine has none of that name, or it fails its known-answer check.
    pub fn named(name: &str) -> Result<Kernel, KernelError> {
        Self::available().find(|kernel| kernel.name == name).ok_or_else(|| {
            let available: Vec<&str> = Self::available().map(|kernel| kernel.name).collect();
            KernelError::Unavailable { name: name.into(), available: available.join(", ") }
        })
    }

    /// Every kernel that this machine can run and that computes correctly, fastest first.
    pub fn available() -> impl Iterator<Item = Kernel> {
        ALL.iter().copied().filter(usable)
    }
}

pub(super) fn first_correct(candidates: &[Kernel]) -> Option<Kernel> {
    candidates.iter().copied().find(usable)
}

pub(super) fn usable(kernel: &Kernel) -> bool {
    (kernel.supported)() && known_answers(kernel).unwrap_or(false)
}

/// Small layers through every format of the kernel, against the definition of a convolution.
fn known_answers(kernel: &Kernel) -> Result<bool, KernelError> {
    let base = Convolution {
        input: Shape::new(3, 5, 5),
        out_channels: 37,
        kernel_height: 3,
        kernel_width: 3,
        stride: 1,
        padding: 1,
        groups: 1,
    };
    let strided = Convolution { input: Shape::new(4, 6, 5), out_channels: 20, stride: 2, ..base };
    let depthwise = Convolution { input: Shape::new(3, 6, 7), out_channels: 3, groups: 3, ..base };
    let mut scratch = PackedInput::new();
    for geometry in [base, strided, depthwise] {
        let correct = answers::<u16>(kernel, &geometry, &mut scratch)?
            && answers::<u32>(kernel, &geometry, &mut scratch)?
            && answers::<u64>(kernel, &geometry, &mut scratch)?;
        if !correct {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Words as the enumerations that carry them.
pub(super) trait Enumerated: Word {
    const KIND: WordKind;
    fn words(slice: &[Self]) -> Words<'_>;
    fn words_mut(slice: &mut [Self]) -> WordsMut<'_>;
}

macro_rules! enumerated {
    ($word:ty, $kind:ident) => {
        impl Enumerated for $word {
            const KIND: WordKind = WordKind::$kind;
            fn words(slice: &[Self]) -> Words<'_> {
                Words::$kind(slice)
            }
            fn words_mut(slice: &mut [Self]) -> WordsMut<'_> {
                WordsMut::$kind(slice)
            }
        }
    };
}

enumerated!(u16, U16);
enumerated!(u32, U32);
enumerated!(u64, U64);

fn answers<W: Enumerated>(
    kernel: &Kernel,
    geometry: &Convolution,
    scratch: &mut PackedInput,
) -> Result<bool, KernelError> {
    let weights = operands::<W>(1, geometry.weights());
    let input = operands::<W>(2, geometry.input.elements());
    let mut out = operands::<W>(3, geometry.output().elements());
    let mut expected = out.clone();
    reference(geometry, &weights, &input, &mut expected);
    let packed = kernel.pack(geometry, W::KIND, W::words(&weights))?;
    kernel.prepare(scratch, geometry, W::words(&input))?;
    kernel.convolve(&packed, scratch, 0..out.len(), W::words_mut(&mut out))?;
    Ok(out == expected)
}

/// Operands for a check: every fifth at an edge of the word or of its 16-bit digits, the others scattered
/// (Steele et al., SplitMix64).
pub(super) fn operands<W: Word>(seed: u64, count: usize) -> Vec<W> {
    const EDGES: [u64; 6] =
        [0x8000_8000_8000_8000, u64::MAX, 0x7fff_7fff_7fff_7fff, 1 << 15, 0xffff, 0x8000_0000_8000_0000];
    let scattered = |index: u64| {
        let mut z = seed.wrapping_add(index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    };
    (0..count as u64)
        .map(scattered)
        .map(|z| W::from_u64(if z % 5 == 0 { EDGES[(z >> 32) as usize % 6] } else { z }))
        .collect()
}

/// The definition: out += input ⊗ weights, element by element.
pub(super) fn reference<W: Word>(geometry: &Convolution, weights: &[W], input: &[W], out: &mut [W]) {
    let output = geometry.output();
    let (height, width) = (usize::from(geometry.input.height), usize::from(geometry.input.width));
    let (kernel_height, kernel_width) =
        (usize::from(geometry.kernel_height), usize::from(geometry.kernel_width));
    let (stride, padding) = (usize::from(geometry.stride), usize::from(geometry.padding));
    let (channels, group_outputs) =
        (geometry.group_channels(), usize::from(geometry.out_channels / geometry.groups));
    for (index, out) in out.iter_mut().enumerate() {
        let (channel, position) = (index / output.plane(), index % output.plane());
        let (row, column) = (position / usize::from(output.width), position % usize::from(output.width));
        for tap in 0..geometry.fan_in() {
            let (from, tap_row, tap_column) = (
                tap / (kernel_height * kernel_width),
                tap / kernel_width % kernel_height,
                tap % kernel_width,
            );
            let y = (row * stride + tap_row).wrapping_sub(padding);
            let x = (column * stride + tap_column).wrapping_sub(padding);
            if y < height && x < width {
                let from = channel / group_outputs * channels + from;
                *out = out.add(
                    input[(from * height + y) * width + x].mul(weights[channel * geometry.fan_in() + tap]),
                );
            }
        }
    }
}
