//! The host's linear kernels: convolutions modulo 2^16, 2^32 and 2^64, vectorised, chosen at run time.
//!
//! * [`Kernels`] chooses a [`Kernel`] for this machine: the fastest whose instructions are there and which
//!   gives known answers.
//! * [`PackedWeights`] and [`PackedInput`] hold operands the way that kernel reads them (`packed.rs`,
//!   `layout.rs`).
//! * [`Kernel::convolve`] adds any run of output elements (`panels.rs` and `block.rs`, for depthwise layers
//!   `direct.rs`).
//! * [`BitPacking`] packs elements of any width into bytes and back (`bits.rs`).
//! * [`limit`] measures what the machine could do at best, the yardstick beside which speeds are reported.
//!
//! Weights and inputs are secret: no branch and no address depends on their values.
//!
//! # Panics
//! Nothing here panics on what a caller passes: lengths, words and tiles are checked and refused as
//! [`KernelError`].
//!
//! ```
//! use halfnet_core::ring::{WordKind, Words, WordsMut};
//! use halfnet_core::shape::{Convolution, Shape};
//! use halfnet_host::party::kernel::{Kernels, PackedInput};
//!
//! let geometry =
//!     Convolution { input: Shape::new(1, 3, 3), out_channels: 2, kernel_height: 3, kernel_width: 3, stride: 1, padding: 1, groups: 1 };
//! let kernel = Kernels::detect()?;
//! let weights = kernel.pack(&geometry, WordKind::U32, Words::U32(&[1; 18]))?;
//! let mut input = PackedInput::new();
//! kernel.prepare(&mut input, &geometry, Words::U32(&[1, 2, 3, 4, 5, 6, 7, 8, 9]))?;
//! let mut out = [0; 18];
//! kernel.convolve(&weights, &input, 0..18, WordsMut::U32(&mut out))?;
//! assert_eq!(out[4], 45);
//! # Ok::<(), halfnet_host::party::kernel::KernelError>(())
//! ```

mod bits;
#[cfg(target_arch = "x86_64")]
mod bits_x86;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "kernels in digits are those of x86"))]
mod block;
mod choice;
mod direct;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "kernels in digits are those of x86"))]
mod layout;
mod limit;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod neon;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "kernels in digits are those of x86"))]
mod packed;
mod panels;
mod portable;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use core::fmt;
use core::ops::Range;

use halfnet_core::error::ModelError;
use halfnet_core::ring::{WordKind, Words, WordsMut};
use halfnet_core::shape::Convolution;
use thiserror::Error;

pub use bits::BitPacking;
pub use choice::{KERNEL_VARIABLE, Kernels};
pub use limit::{Limit, limit};
pub use packed::{PackedInput, PackedWeights};

use layout::{Format, Layout};

/// Why a kernel could not be chosen or refused its operands.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KernelError {
    /// The geometry is not one.
    #[error("the convolution's geometry is not valid: {0}")]
    Geometry(#[from] ModelError),
    /// The padded input would be enormous.
    #[error("the padded input of {geometry:?} takes more than 2^28 elements: use less padding")]
    Padding {
        /// The geometry refused.
        geometry: Convolution,
    },
    /// A slice's length is wrong.
    #[error("{what}: expected {expected} elements, found {found}")]
    Length {
        /// Which slice.
        what: &'static str,
        /// Elements that it must have (at most, for weights filled in chunks).
        expected: usize,
        /// Elements that it has.
        found: usize,
    },
    /// A slice is of the wrong word.
    #[error("{what} must be in {expected:?} words, the layer's")]
    Word {
        /// Which slice.
        what: &'static str,
        /// The layer's word.
        expected: WordKind,
    },
    /// The tile is not inside the output.
    #[error("the tile {tile:?} is not inside the {elements} elements of the output")]
    Tile {
        /// The tile asked for.
        tile: Range<usize>,
        /// Elements of the output.
        elements: usize,
    },
    /// The weights were packed by another kernel.
    #[error("the weights were not packed for kernel {kernel}: pack and convolve with one kernel")]
    WeightsElsewhere {
        /// The kernel asked to convolve.
        kernel: &'static str,
    },
    /// The prepared input belongs to another layer or kernel.
    #[error(
        "the prepared input is not this layer's: prepare it with the layer's geometry, word and kernel first"
    )]
    InputElsewhere,
    /// A kernel was asked for by name and cannot be had.
    #[error("kernel {name:?} is not available on this machine, which has: {available}")]
    Unavailable {
        /// The name asked for.
        name: String,
        /// Names that can be had.
        available: String,
    },
    /// A width does not suit a word.
    #[error("elements of {bits} bits do not fit words of {word}: choose 1 to {word}")]
    Bits {
        /// The width asked for.
        bits: u8,
        /// The word's.
        word: u8,
    },
    /// Not even the portable kernel gives known answers.
    #[error("no kernel computes correctly on this machine: its processor or memory is faulty")]
    Faulty,
}

/// For each word: how a kernel wants its products, and how many output channels a panel of them holds.
#[derive(Clone, Copy)]
struct Formats {
    u16: (Format, usize),
    u32: (Format, usize),
    u64: (Format, usize),
}

type Prepare = unsafe fn(&mut PackedInput, &Layout, Words<'_>) -> Result<(), KernelError>;
type Accumulate = unsafe fn(&PackedWeights, &PackedInput, Range<usize>, WordsMut<'_>);

/// The linear kernels of one instruction set.
///
/// A value in hand is one that this machine can run: [`Kernels`] gives out no other.
#[derive(Clone, Copy)]
pub struct Kernel {
    name: &'static str,
    supported: fn() -> bool,
    formats: Formats,
    /// Needs the instruction set.
    prepare: Prepare,
    /// Needs the instruction set, equal layouts that this kernel made, and a tile inside the output, as long
    /// as the slice.
    accumulate: Accumulate,
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kernel({})", self.name)
    }
}

impl Kernel {
    /// Its name, as `avx2`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    fn layout(&self, geometry: &Convolution, word: WordKind) -> Result<Layout, KernelError> {
        let (format, lanes) = match word {
            WordKind::U16 => self.formats.u16,
            WordKind::U32 => self.formats.u32,
            WordKind::U64 => self.formats.u64,
        };
        Layout::new(geometry, word, format, lanes)
    }

    /// Room for a layer's packed weights, all zero, to be filled with [`PackedWeights::fill`] chunk by chunk.
    ///
    /// # Errors
    /// The geometry is not valid or its padding enormous.
    pub fn pack_empty(&self, geometry: &Convolution, word: WordKind) -> Result<PackedWeights, KernelError> {
        Ok(PackedWeights::zeroed(self.layout(geometry, word)?))
    }

    /// Packs a layer's weights.
    ///
    /// # Shapes
    /// `weights`: (O, C / groups, kernel_height, kernel_width), row-major, in `word`s.
    ///
    /// # Errors
    /// The geometry is not valid, or the weights are of another length or word.
    pub fn pack(
        &self,
        geometry: &Convolution,
        word: WordKind,
        weights: Words<'_>,
    ) -> Result<PackedWeights, KernelError> {
        let mut packed = self.pack_empty(geometry, word)?;
        let expected = geometry.weights();
        if weights.len() != expected {
            return Err(KernelError::Length {
                what: "the convolution's weights",
                expected,
                found: weights.len(),
            });
        }
        packed.fill(0, weights)?;
        Ok(packed)
    }

    /// Lays out a layer's input in `scratch`, whose last content is gone.
    ///
    /// # Shapes
    /// `input`: `geometry.input`, in the words that the layer's weights are packed in.
    ///
    /// # Errors
    /// The geometry is not valid, or the input is of another length.
    pub fn prepare(
        &self,
        scratch: &mut PackedInput,
        geometry: &Convolution,
        input: Words<'_>,
    ) -> Result<(), KernelError> {
        let layout = self.layout(geometry, input.kind())?;
        // SAFETY: a kernel in hand is one whose instructions this machine has.
        unsafe { (self.prepare)(scratch, &layout, input) }
    }

    /// Adds elements `tile` of the convolution of `input` with `weights` to `out`, modulo the word.
    ///
    /// Whole channels are fastest, 16 or 32 of them at once best.
    ///
    /// # Shapes
    /// `tile`: indices of the output in (channel, row, column) order; `out`: one element for each.
    ///
    /// # Errors
    /// The operands were made for another kernel or layer, the tile is not inside the output, or `out` is of
    /// another length or word.
    pub fn convolve(
        &self,
        weights: &PackedWeights,
        input: &PackedInput,
        tile: Range<usize>,
        out: WordsMut<'_>,
    ) -> Result<(), KernelError> {
        let layout = &weights.layout;
        if self.layout(&layout.geometry, layout.word)? != *layout {
            return Err(KernelError::WeightsElsewhere { kernel: self.name });
        }
        if input.layout != Some(*layout) {
            return Err(KernelError::InputElsewhere);
        }
        let elements = layout.output.elements();
        if tile.start > tile.end || tile.end > elements {
            return Err(KernelError::Tile { tile, elements });
        }
        if out.len() != tile.len() {
            return Err(KernelError::Length {
                what: "the tile's sums",
                expected: tile.len(),
                found: out.len(),
            });
        }
        match (layout.word, &out) {
            (WordKind::U16, WordsMut::U16(_))
            | (WordKind::U32, WordsMut::U32(_))
            | (WordKind::U64, WordsMut::U64(_)) => {}
            (expected, _) => return Err(KernelError::Word { what: "the tile's sums", expected }),
        }
        // SAFETY: a kernel in hand is one whose instructions this machine has; layouts, tile and length are
        // checked above.
        unsafe { (self.accumulate)(weights, input, tile, out) };
        Ok(())
    }
}
