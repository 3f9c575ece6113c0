//! Where weights and inputs lie in memory: packed panels, zero-padded planes, and the offsets that tie one to
//! the other.
//!
//! A *panel* holds the weights of [`Layout::lanes`] neighbouring output channels, a lane each, *step* after
//! step; a step is what one multiply-add instruction consumes. An input *plane* is one channel with its
//! padding. The input of step `s` at an output position is the element at `offset[s] + place(position)`:
//! convolution of any geometry is then one loop over steps, and small planes are as good as large ones,
//! because lanes run over channels.
//!
//! # Formats
//! * [`Format::Words`]: a step is one product of two words.
//! * [`Format::Pairs`] (16-bit rings): a step is the sum of two 16-bit products, of input channels 2c and
//!   2c + 1, in 32 bits (`vpmaddwd`, `vpdpwssd`). Signed or unsigned, a product's low 16 bits are the same, and
//!   only they are kept.
//! * [`Format::Digits`] (32-bit rings): x = x0 + 2^16·x1 with x0 in −2^15 .. 2^15, likewise w, and so modulo
//!   2^32 **x·w = x0·w0 + 2^16·(x0·w1 + x1·w0)**. The bracket is one step; x0·w0 of two neighbouring channels
//!   is another; both are exact modulo 2^32, since the instruction adds two signed 32-bit products without
//!   saturation and the accumulator wraps. *Main* steps sum the brackets, the sum is shifted left by 16 once,
//!   then *low* steps are added: 1½ instructions a product where `vpmulld` and `vpaddd` take 3 operations,
//!   and exact for any ring of up to 32 bits. A weight is kept once, in 4 bytes: of an even channel as w0 |
//!   w1 << 16, of an odd one as w1 | w0 << 16, so that a low step takes the low half of one and the high half
//!   of the other.
//! * [`Format::Direct`]: for groups of a few channels (depthwise): words, weights as they came, lanes run
//!   over positions. So that neighbouring output positions are neighbours in memory whatever the stride, rows
//!   are split into *phases*: column x lies at `(x mod stride) · phase_width + x / stride`. The other formats
//!   have one phase.

use halfnet_core::ring::WordKind;
use halfnet_core::shape::{Convolution, Shape};

use super::KernelError;

/// Elements of all padded planes, at most: offsets then fit `u32`.
const MAX_PADDED: usize = 1 << 28;

/// How a kernel wants one word's products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One word a step.
    Words,
    /// Two 16-bit words a step.
    Pairs,
    /// Two 16-bit digits a step.
    Digits,
    /// Positions in lanes.
    Direct,
}

/// Everything that follows from a geometry, a word and a kernel's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) geometry: Convolution,
    pub(super) output: Shape,
    pub(super) word: WordKind,
    pub(super) format: Format,
    /// Output channels of a panel; 1 for [`Format::Direct`].
    pub(super) lanes: usize,
    /// Phases of a row.
    pub(super) phases: usize,
    /// Columns of a padded row in one phase.
    pub(super) phase_width: usize,
    /// Elements of a plane from an output position's input to the next column's.
    pub(super) column_step: usize,
    /// Elements of a plane from an output position's input to the next row's.
    pub(super) row_step: usize,
    /// Elements of a padded row.
    pub(super) pitch: usize,
    /// Elements of a padded plane.
    pub(super) plane: usize,
    /// Planes of one group that main steps read.
    pub(super) group_planes: usize,
    /// Planes of one group that low steps read; zero except for [`Format::Digits`].
    pub(super) group_low_planes: usize,
    /// Output channels of one group.
    pub(super) group_outputs: usize,
    /// Panels of one group.
    pub(super) group_panels: usize,
    /// Main steps of one panel.
    pub(super) steps: usize,
}

impl Layout {
    /// The layout of `geometry` for a kernel that keeps `lanes` channels in a vector and wants `format`.
    ///
    /// # Errors
    /// The geometry is not valid, or its padding makes the planes too large.
    pub(super) fn new(
        geometry: &Convolution,
        word: WordKind,
        format: Format,
        lanes: usize,
    ) -> Result<Self, KernelError> {
        geometry.validate()?;
        let group_outputs = usize::from(geometry.out_channels / geometry.groups);
        // Panels of a group that fills a quarter of its lanes waste more than positions in lanes cost.
        let (format, lanes) = if group_outputs * 4 <= lanes { (Format::Direct, 1) } else { (format, lanes) };
        let stride = usize::from(geometry.stride);
        let (padded_height, padded_width) = padded(geometry);
        let phases = if format == Format::Direct { stride } else { 1 };
        let phase_width = padded_width.div_ceil(phases);
        let pitch = phase_width * phases;
        let plane = pitch * padded_height;
        let channels = geometry.group_channels();
        let pairs = channels.div_ceil(2);
        let taps = usize::from(geometry.kernel_height) * usize::from(geometry.kernel_width);
        let (group_planes, group_low_planes, steps) = match format {
            Format::Words | Format::Direct => (channels, 0, channels * taps),
            Format::Pairs => (pairs, 0, pairs * taps),
            Format::Digits => (2 * pairs, pairs, 2 * pairs * taps),
        };
        if usize::from(geometry.groups) * (group_planes + group_low_planes) * plane > MAX_PADDED {
            return Err(KernelError::Padding { geometry: *geometry });
        }
        Ok(Self {
            geometry: *geometry,
            output: geometry.output(),
            word,
            format,
            lanes,
            phases,
            phase_width,
            column_step: stride / phases,
            row_step: stride * pitch,
            pitch,
            plane,
            group_planes,
            group_low_planes,
            group_outputs,
            group_panels: group_outputs.div_ceil(lanes),
            steps,
        })
    }

    /// Bytes of one step's weight of one lane, and of one input element.
    pub(super) const fn element_bytes(&self) -> usize {
        match self.format {
            Format::Words | Format::Direct => self.word.bytes(),
            Format::Pairs | Format::Digits => 4,
        }
    }

    pub(super) fn groups(&self) -> usize {
        usize::from(self.geometry.groups)
    }

    /// First element of the planes that low steps read.
    pub(super) fn low_base(&self) -> usize {
        self.groups() * self.group_planes * self.plane
    }

    /// Element, within a plane, of the padded input at `row` and `column`.
    const fn place(&self, row: usize, column: usize) -> usize {
        row * self.pitch + column % self.phases * self.phase_width + column / self.phases
    }

    /// Weights within panels: calls `visit` with the index of each of an output channel's weights and its
    /// step (of the even channel's step, and whether the weight is the odd one, where two share a step or are
    /// its halves).
    pub(super) fn each_step(&self, mut visit: impl FnMut(usize, usize, bool)) {
        let taps = usize::from(self.geometry.kernel_height) * usize::from(self.geometry.kernel_width);
        for channel in 0..self.geometry.group_channels() {
            for tap in 0..taps {
                let index = channel * taps + tap;
                let pair = channel / 2 * taps + tap;
                match self.format {
                    Format::Words | Format::Direct => visit(index, index, false),
                    Format::Pairs => visit(index, pair, channel % 2 == 1),
                    Format::Digits => visit(index, 2 * pair + channel % 2, channel % 2 == 1),
                }
            }
        }
    }

    /// Input offsets of the main and of the low steps, for group 0.
    pub(super) fn offsets(&self) -> (Vec<u32>, Vec<u32>) {
        let taps = |plane: usize| {
            (0..usize::from(self.geometry.kernel_height)).flat_map(move |row| {
                (0..usize::from(self.geometry.kernel_width))
                    .map(move |column| (plane * self.plane + self.place(row, column)) as u32)
            })
        };
        if self.format == Format::Digits {
            let low: Vec<u32> = (0..self.group_low_planes).flat_map(taps).collect();
            let main = (0..self.group_low_planes)
                .flat_map(|pair| taps(2 * pair).zip(taps(2 * pair + 1)))
                .flat_map(|(e, o)| [e, o]);
            (main.collect(), low)
        } else {
            ((0..self.group_planes).flat_map(taps).collect(), Vec::new())
        }
    }
}

/// Rows and columns of the padded input.
fn padded(geometry: &Convolution) -> (usize, usize) {
    let side = |size: u16| usize::from(size) + 2 * usize::from(geometry.padding);
    (side(geometry.input.height), side(geometry.input.width))
}
