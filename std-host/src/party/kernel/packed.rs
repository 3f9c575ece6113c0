//! A layer's operands in a kernel's layout, with every byte of them wiped on drop.

use halfnet_core::ring::{Word, WordKind, Words};
use zeroize::Zeroize;

use super::KernelError;
use super::layout::{Format, Layout};

/// Elements that a vector load may read past the last plane's end.
const SLACK: usize = 64;

/// One cache line, so that no vector load straddles two.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u64; 8]);

/// A buffer of words of any width, aligned to cache lines and wiped on drop.
#[derive(Default)]
pub(super) struct Lines(Vec<Line>);

impl Lines {
    /// A buffer of at least `bytes` zero bytes.
    fn zeroed(bytes: usize) -> Self {
        Self(vec![Line([0; 8]); bytes.div_ceil(size_of::<Line>())])
    }

    /// Grows to at least `bytes` bytes, whose content is then anything.
    fn grow(&mut self, bytes: usize) {
        let lines = bytes.div_ceil(size_of::<Line>());
        if lines > self.0.len() {
            // A fresh allocation, so that the old one is wiped.
            *self = Self::zeroed(bytes);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.len() * size_of::<Line>()
    }

    pub(super) fn words<T: bytemuck::Pod>(&self) -> &[T] {
        bytemuck::cast_slice(&self.0)
    }

    fn words_mut<T: bytemuck::Pod>(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.words_mut::<u64>().zeroize();
    }
}

/// The digits of x = x0 + 2^16·x1, x0 signed, as (x0, x1) in the low 16 bits of each.
#[inline(always)]
const fn digits(x: u32) -> (u32, u32) {
    (x & 0xffff, x.wrapping_add(0x8000) >> 16)
}

/// A layer's weights, packed for one kernel. Wiped on drop.
pub struct PackedWeights {
    pub(super) layout: Layout,
    pub(super) panels: Lines,
    /// Input offset of each main step.
    pub(super) main: Vec<u32>,
    /// Input offset of each low step.
    pub(super) low: Vec<u32>,
}

impl PackedWeights {
    pub(super) fn zeroed(layout: Layout) -> Self {
        let (main, low) = layout.offsets();
        let elements = layout.groups() * layout.group_panels * layout.steps * layout.lanes;
        Self { layout, panels: Lines::zeroed(elements * layout.element_bytes()), main, low }
    }

    /// Packs the weights of output channels `first_channel ..`, as many as `weights` holds, replacing what
    /// was there. A whole number of panels (16 channels are one in any kernel) at a time is fastest.
    ///
    /// # Shapes
    /// `weights`: (channels, C / groups, kernel_height, kernel_width), row-major.
    ///
    /// # Errors
    /// The word is not the layer's, or the weights are not those of whole channels inside the layer.
    pub fn fill(&mut self, first_channel: usize, weights: Words<'_>) -> Result<(), KernelError> {
        let fan_in = self.layout.geometry.fan_in();
        let room = usize::from(self.layout.geometry.out_channels).saturating_sub(first_channel);
        if !weights.len().is_multiple_of(fan_in) || weights.len() / fan_in > room {
            return Err(KernelError::Length {
                what: "packed weights",
                expected: room * fan_in,
                found: weights.len(),
            });
        }
        match (self.layout.word, weights) {
            (WordKind::U16, Words::U16(weights)) => self.fill_words(first_channel, weights),
            (WordKind::U32, Words::U32(weights)) => self.fill_words(first_channel, weights),
            (WordKind::U64, Words::U64(weights)) => self.fill_words(first_channel, weights),
            (expected, _) => return Err(KernelError::Word { what: "weights", expected }),
        }
        Ok(())
    }

    fn fill_words<W: Word>(&mut self, first_channel: usize, weights: &[W]) {
        let Self { layout, panels, .. } = self;
        let fan_in = layout.geometry.fan_in();
        let last_channel = first_channel + weights.len() / fan_in;
        let mut channel = first_channel;
        while channel < last_channel {
            let (group, within) = (channel / layout.group_outputs, channel % layout.group_outputs);
            let (panel, lane) = (within / layout.lanes, within % layout.lanes);
            let count = (layout.lanes - lane).min(layout.group_outputs - within).min(last_channel - channel);
            let rows = &weights[(channel - first_channel) * fan_in..][..count * fan_in];
            let start = (group * layout.group_panels + panel) * layout.steps * layout.lanes + lane;
            if layout.format == Format::Words || layout.format == Format::Direct {
                let panel = &mut panels.words_mut::<W>()[start..];
                layout.each_step(|index, step, _| {
                    let at = &mut panel[step * layout.lanes..][..count];
                    at.iter_mut()
                        .zip(rows[index..].iter().step_by(fan_in))
                        .for_each(|(at, &weight)| *at = weight);
                });
            } else {
                let digits_format = layout.format == Format::Digits;
                let panel = &mut panels.words_mut::<u32>()[start..];
                layout.each_step(|index, step, odd| {
                    let at = &mut panel[step * layout.lanes..][..count];
                    for (at, weight) in at.iter_mut().zip(rows[index..].iter().step_by(fan_in)) {
                        let weight = weight.to_u64() as u32;
                        *at = match (digits_format, odd) {
                            (false, false) => *at & 0xffff_0000 | weight,
                            (false, true) => *at & 0xffff | weight << 16,
                            (true, odd) => {
                                let (low, high) = digits(weight);
                                if odd { high | low << 16 } else { low | high << 16 }
                            }
                        };
                    }
                });
            }
            channel += count;
        }
    }

    /// Bytes that the packed weights take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.panels.bytes()
    }
}

/// Scratch for a layer's input: zero-padded planes. One is enough for a whole network. Wiped on drop.
#[derive(Default)]
pub struct PackedInput {
    pub(super) layout: Option<Layout>,
    pub(super) planes: Lines,
}

impl PackedInput {
    /// An empty scratch; it grows to the largest input it sees.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lays out `input` as `layout` says. Inlined into every kernel, so that its loops are vectorised as that
    /// kernel's.
    #[inline(always)]
    pub(super) fn fill(&mut self, layout: &Layout, input: Words<'_>) -> Result<(), KernelError> {
        let expected = layout.geometry.input.elements();
        if input.len() != expected {
            return Err(KernelError::Length {
                what: "the convolution's input",
                expected,
                found: input.len(),
            });
        }
        self.layout = None;
        let planes = layout.groups() * (layout.group_planes + layout.group_low_planes);
        self.planes.grow((planes * layout.plane + SLACK) * layout.element_bytes());
        match (layout.word, input) {
            (WordKind::U16, Words::U16(input)) => self.fill_words(layout, input),
            (WordKind::U32, Words::U32(input)) => self.fill_words(layout, input),
            (WordKind::U64, Words::U64(input)) => self.fill_words(layout, input),
            (expected, _) => return Err(KernelError::Word { what: "the convolution's input", expected }),
        }
        self.layout = Some(*layout);
        Ok(())
    }

    #[inline(always)]
    fn fill_words<W: Word>(&mut self, layout: &Layout, input: &[W]) {
        let channels = layout.geometry.group_channels();
        let size = layout.geometry.input.plane();
        let source = |group: usize, channel: usize| {
            if channel < channels { &input[(group * channels + channel) * size..][..size] } else { &[] }
        };
        let low_base = layout.low_base();
        for group in 0..layout.groups() {
            match layout.format {
                Format::Words | Format::Direct => {
                    for channel in 0..channels {
                        let to = (group * channels + channel) * layout.plane;
                        let plane = &mut self.planes.words_mut::<W>()[to..][..layout.plane];
                        fill_plane(layout, plane, source(group, channel), &[], |x, _| x);
                    }
                }
                Format::Pairs => {
                    for pair in 0..layout.group_planes {
                        let to = (group * layout.group_planes + pair) * layout.plane;
                        let plane = &mut self.planes.words_mut::<u32>()[to..][..layout.plane];
                        fill_plane(layout, plane, source(group, 2 * pair), source(group, 2 * pair + 1), join);
                    }
                }
                Format::Digits => {
                    for pair in 0..layout.group_low_planes {
                        let (even, odd) = (source(group, 2 * pair), source(group, 2 * pair + 1));
                        let to = (group * layout.group_planes + 2 * pair) * layout.plane;
                        let (first, second) = self.planes.words_mut::<u32>()[to..][..2 * layout.plane]
                            .split_at_mut(layout.plane);
                        // The order of digits is the weight's turned round: low meets high.
                        fill_plane(layout, first, even, &[], |x: W, _: W| {
                            let (low, high) = digits(x.to_u64() as u32);
                            high | low << 16
                        });
                        fill_plane(layout, second, odd, &[], |x: W, _: W| {
                            let (low, high) = digits(x.to_u64() as u32);
                            low | high << 16
                        });
                        let to = low_base + (group * layout.group_low_planes + pair) * layout.plane;
                        let plane = &mut self.planes.words_mut::<u32>()[to..][..layout.plane];
                        fill_plane(layout, plane, even, odd, join);
                    }
                }
            }
        }
    }
}

/// The low 16 bits of two words, the first lowest.
#[inline(always)]
fn join<W: Word>(even: W, odd: W) -> u32 {
    (even.to_u64() as u32 & 0xffff) | (odd.to_u64() as u32) << 16
}

/// Fills one padded plane from one channel, or two; an empty channel is zeros.
#[inline(always)]
fn fill_plane<W: Word, T: bytemuck::Pod>(
    layout: &Layout,
    plane: &mut [T],
    even: &[W],
    odd: &[W],
    element: impl Fn(W, W) -> T,
) {
    let (padding, width) = (usize::from(layout.geometry.padding), usize::from(layout.geometry.input.width));
    let height = usize::from(layout.geometry.input.height);
    let phases = layout.phases;
    let (stride, taps) = (usize::from(layout.geometry.stride), usize::from(layout.geometry.kernel_height));
    for (row, line) in plane.chunks_exact_mut(layout.pitch).enumerate() {
        if row % stride >= taps {
            // Between the rows that a narrow kernel reads.
            continue;
        }
        let inside = row.wrapping_sub(padding);
        if inside >= height || even.is_empty() {
            line.fill(T::zeroed());
            continue;
        }
        let even = &even[inside * width..][..width];
        let odd = odd.get(inside * width..(inside + 1) * width);
        for phase in 0..phases {
            // Columns phase, phase + phases, ... of the padded row; the first inside the picture is `first`.
            let line = &mut line[phase * layout.phase_width..][..layout.phase_width];
            let first = padding.saturating_sub(phase).div_ceil(phases).min(layout.phase_width);
            let column = (first * phases + phase).saturating_sub(padding).min(width);
            let count = (width - column).div_ceil(phases).min(layout.phase_width - first);
            let (before, rest) = line.split_at_mut(first);
            let (middle, after) = rest.split_at_mut(count);
            before.fill(T::zeroed());
            after.fill(T::zeroed());
            match (phases, odd) {
                (1, Some(odd)) => {
                    let pairs = even[column..].iter().zip(&odd[column..]);
                    middle.iter_mut().zip(pairs).for_each(|(to, (&even, &odd))| *to = element(even, odd));
                }
                (1, None) => middle
                    .iter_mut()
                    .zip(&even[column..])
                    .for_each(|(to, &even)| *to = element(even, W::default())),
                (_, Some(odd)) => {
                    let pairs =
                        even[column..].iter().step_by(phases).zip(odd[column..].iter().step_by(phases));
                    middle.iter_mut().zip(pairs).for_each(|(to, (&even, &odd))| *to = element(even, odd));
                }
                (_, None) => {
                    let inputs = even[column..].iter().step_by(phases);
                    middle.iter_mut().zip(inputs).for_each(|(to, &even)| *to = element(even, W::default()));
                }
            }
        }
    }
}
