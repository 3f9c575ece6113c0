//! Convolutions in registers: `halfnet-core`'s `convolve_words`, word for word, in about one instruction a multiply-add of Z_16.
//!
//! Shares of a few output channels are laid out as *records*, inputs of a few rows as a *strip* with its padding, both in lent memory; then
//! each block of neighbouring outputs goes once through all records with its sums in registers.
//!
//! | module | what it answers |
//! |---|---|
//! | [`layout`] | how much of channels, rows and planes fits into the memory lent |
//! | [`strip`] | how does an input row lie: two channels a word in Z_16, columns by phase of the stride, zeros around |
//! | [`records`] | in which order do the weights come, and where are their inputs |
//! | `arm`, [`portable`] | the blocks themselves: assembly for a Cortex-M with DSP, and what it must equal |
//!
//! Instructions on a Cortex-M4 or M7, 3 × 3, stride 1, on paper: a record is three taps of a kernel row, for 4 outputs (2 of Z_64).
//!
//! | | a record | products | a product | with loop, block and strip |
//! |---|---|---|---|---|
//! | Z_16 | 3 loads of several words, 1 add, 12 `smlad` | 24 | 0.67 | 0.71 + 30 / (8 · fan-in of a chunk) + … ≈ 0.9 |
//! | Z_32 | 3 loads of several words, 1 add, 12 `mla` | 12 | 1.33 | ≈ 1.6 |
//! | Z_64 | 4 loads, 1 add, 6 `umlal`, 6 `mla` | 6 | 2.83 | ≈ 3.3 |
//!
//! No branch and no address depends on an input or a weight.

mod layout;
mod portable;
mod records;
mod strip;
#[cfg(test)]
mod tests;
mod word;

#[cfg(halfnet_dsp)]
#[expect(unsafe_code, reason = "assembly: the one place that has it")]
mod arm;

use core::ops::Range;

use halfnet_core::gate::linear;
use halfnet_core::party::half::MaterialError;
use halfnet_core::ring::{Word, Words, WordsMut};
use halfnet_core::shape::Convolution;
use halfnet_core::with_words;

use layout::Layout;
use word::{BlockWord, Rows};

pub use layout::memory_words;

/// Where a term's weights come from, in the order of the model: (output channel, input channel, row, column).
pub trait Weights {
    /// Fills `out` with weights number `first` and following.
    ///
    /// # Errors
    /// They cannot be had.
    fn fill(&mut self, first: usize, out: WordsMut<'_>) -> Result<(), MaterialError>;
}

/// out += input ⊗ weights for output elements `tile`, in `memory`: [`memory_words`] says how much, and what is in it afterwards is as secret
/// as the weights.
///
/// # Shapes
/// `input`: the whole input tensor; `out`: one slot for each element of `tile`.
///
/// # Errors
/// The weights failed, the memory is too short, or slices are shorter than geometry and tile say.
pub fn convolve(
    geometry: &Convolution,
    input: Words<'_>,
    weights: &mut dyn Weights,
    tile: Range<usize>,
    out: WordsMut<'_>,
    memory: &mut [u64],
) -> Result<(), MaterialError> {
    with_words!(WordsMut, out, out => {
        // Without assembly the blocks are no better than the portable loop.
        if cfg!(halfnet_dsp) && blocks(geometry, input, weights, tile.clone(), out, memory)? {
            return Ok(());
        }
        let multiply = if cfg!(halfnet_dsp) { direct } else { linear::convolve_words };
        channels(geometry, input, weights, tile, out, memory, multiply)
    })
}

/// [`convolve`] in blocks. `false`: geometry, input or memory are none for them, and nothing was done.
fn blocks<W: BlockWord>(
    geometry: &Convolution,
    input: Words<'_>,
    weights: &mut dyn Weights,
    tile: Range<usize>,
    out: &mut [W],
    memory: &mut [u64],
) -> Result<bool, MaterialError> {
    let Some(layout) = Layout::fit::<W>(geometry, memory.len()) else { return Ok(false) };
    match input {
        Words::U64(_) => Ok(false),
        // No plan has it: sums are at least as wide as the wires under them.
        Words::U32(_) if W::BYTES < 4 => Ok(false),
        _ if input.len() != geometry.input.elements() || tile.len() != out.len() || tile.end > geometry.output().elements() => {
            Err(MaterialError::Weights)
        }
        _ => Job { geometry, layout, tile }.run(input, weights, out, memory).map(|()| true),
    }
}

/// One output channel, as `halfnet-core`'s `convolve_words`.
type Multiply = fn(&Convolution, Words<'_>, Words<'_>, usize, Range<usize>, WordsMut<'_>);

/// [`convolve`] channel by channel, for everything that [`blocks`] does not do.
fn channels<W: BlockWord>(
    geometry: &Convolution,
    input: Words<'_>,
    weights: &mut dyn Weights,
    tile: Range<usize>,
    out: &mut [W],
    memory: &mut [u64],
    multiply: Multiply,
) -> Result<(), MaterialError> {
    let (plane, fan_in) = (geometry.output().plane().max(1), geometry.fan_in());
    let own: &mut [W] = bytemuck::cast_slice_mut(memory);
    let own = own.get_mut(..fan_in).ok_or(MaterialError::Weights)?;
    let mut rest = out;
    for channel in tile.start / plane..tile.end.div_ceil(plane) {
        weights.fill(channel * fan_in, W::words_mut(own))?;
        let positions = linear::positions(&tile, channel, plane);
        let (part, after) = core::mem::take(&mut rest).split_at_mut_checked(positions.len()).ok_or(MaterialError::Weights)?;
        rest = after;
        multiply(geometry, input, W::words(own), channel, positions, W::words_mut(part));
    }
    Ok(())
}

/// What `halfnet-core`'s `convolve_words` does, a kernel row at a time: a fraction of its speed and of its flash. Where there are blocks,
/// fully connected layers are what is left for it.
fn direct(geometry: &Convolution, input: Words<'_>, weights: Words<'_>, channel: usize, positions: Range<usize>, mut out: WordsMut<'_>) {
    let size = |side: u16| usize::from(side);
    let (height, width, padding) = (size(geometry.input.height), size(geometry.input.width), size(geometry.padding));
    let (channels, kernel) = (geometry.group_channels(), [size(geometry.kernel_height), size(geometry.kernel_width)]);
    let group = channel * size(geometry.groups) / size(geometry.out_channels).max(1);
    let out_width = size(geometry.output().width).max(1);
    for (slot, position) in positions.enumerate() {
        let [top, left] = [position / out_width, position % out_width].map(|at| at * size(geometry.stride));
        // Rows and columns of the kernel that lie on the input.
        let rows = padding.saturating_sub(top)..kernel[0].min((height + padding).saturating_sub(top));
        let columns = padding.saturating_sub(left)..kernel[1].min((width + padding).saturating_sub(left));
        let mut sum = out.as_words().get(slot);
        for plane in 0..channels {
            for row in rows.clone() {
                let from = ((group * channels + plane) * height + top + row - padding) * width + left + columns.start - padding;
                let weight = (plane * kernel[0] + row) * kernel[1] + columns.start;
                sum = sum.wrapping_add(products(input, from, weights, weight, columns.len()));
            }
        }
        out.set(slot, sum);
    }
}

/// The sum of `count` products, modulo the weights' word at least.
fn products(input: Words<'_>, from: usize, weights: Words<'_>, weight: usize, count: usize) -> u64 {
    fn sum<I: Word, W: Word>(input: &[I], from: usize, weights: &[W], weight: usize, count: usize) -> u64 {
        let pairs = input.iter().skip(from).zip(weights.iter().skip(weight)).take(count);
        pairs.fold(W::default(), |sum, (x, w)| sum.add(W::from_u64(x.to_u64()).mul(*w))).to_u64()
    }
    match (input, weights) {
        (Words::U16(x), Words::U16(w)) => sum(x, from, w, weight, count),
        (Words::U16(x), Words::U32(w)) => sum(x, from, w, weight, count),
        (Words::U32(x), Words::U32(w)) => sum(x, from, w, weight, count),
        (Words::U16(x), Words::U64(w)) => sum(x, from, w, weight, count),
        (Words::U32(x), Words::U64(w)) => sum(x, from, w, weight, count),
        _ => (0..count).fold(0, |sum: u64, at| sum.wrapping_add(input.get(from + at).wrapping_mul(weights.get(weight + at)))),
    }
}

/// One call of [`convolve`].
struct Job<'g> {
    geometry: &'g Convolution,
    layout: Layout,
    tile: Range<usize>,
}

impl Job<'_> {
    fn run<W: BlockWord>(
        &self,
        input: Words<'_>,
        weights: &mut dyn Weights,
        out: &mut [W],
        memory: &mut [u64],
    ) -> Result<(), MaterialError> {
        let Self { geometry, layout, tile } = self;
        let plane = geometry.output().plane().max(1);
        let per_group = (usize::from(geometry.out_channels) / usize::from(geometry.groups).max(1)).max(1);
        let (raw, rest) = memory.split_at_mut_checked(layout.raw_words).ok_or(MaterialError::Weights)?;
        let rest: &mut [u32] = bytemuck::cast_slice_mut(rest);
        let (records, strip) = rest.split_at_mut_checked(layout.channels * layout.channel_words).ok_or(MaterialError::Weights)?;
        for own in records.chunks_exact_mut(layout.channel_words) {
            records::frame(layout, own);
        }
        // Columns outside the input stay zero from here on.
        strip.get_mut(..layout.strip_words()).unwrap_or(&mut []).fill(0);
        let last = tile.end.div_ceil(plane);
        let mut channel = tile.start / plane;
        while channel < last {
            let positions = linear::positions(tile, channel, plane);
            // Whole channels of one group share a strip; of a channel that the tile cuts, the part is done alone.
            let group = channel / per_group;
            let whole = (tile.end / plane).min((group + 1) * per_group).saturating_sub(channel);
            let count = if positions.len() == plane { whole.clamp(1, layout.channels) } else { 1 };
            for (own, channel) in records.chunks_exact_mut(layout.channel_words).zip(channel..channel + count) {
                records::fill(layout, geometry, weights, channel, bytemuck::cast_slice_mut::<u64, W>(raw), own)?;
            }
            let slots = channel * plane + positions.start - tile.start..(channel + count - 1) * plane + positions.end - tile.start;
            let part = out.get_mut(slots).ok_or(MaterialError::Weights)?;
            let own = records.get(..count * layout.channel_words).ok_or(MaterialError::Weights)?;
            // Never wider than the sum's words.
            match input {
                Words::U16(input) => self.channels(group, input, own, strip, &positions, plane, part),
                Words::U32(input) if W::BYTES >= 4 => self.channels(group, input, own, strip, &positions, plane, part),
                _ => return Err(MaterialError::Weights),
            }
            channel += count;
        }
        Ok(())
    }

    /// The channels whose `records` are given, strip by strip. `out` begins at the first one's `positions.start`.
    #[allow(clippy::too_many_arguments, reason = "the borrows are of different lives")]
    fn channels<W: BlockWord, I: Word>(
        &self,
        group: usize,
        input: &[I],
        records: &[u32],
        strip: &mut [u32],
        positions: &Range<usize>,
        plane: usize,
        out: &mut [W],
    ) {
        let Self { geometry, layout, .. } = self;
        let width = layout.out_width;
        let channels = geometry.group_channels();
        let first = group * channels * geometry.input.plane();
        let planes = input.get(first..).and_then(|p| p.get(..channels * geometry.input.plane())).unwrap_or(&[]);
        let mut row = positions.start / width;
        while row * width < positions.end {
            let end = (row + layout.rows).min(positions.end.div_ceil(width));
            for chunk in 0..layout.chunks() {
                strip::build::<I, W>(layout, geometry, planes, chunk, row..end, strip);
                for (own, out) in records.chunks_exact(layout.channel_words).zip(out.chunks_mut(plane)) {
                    let (own, sections) = layout.chunk_records(own, chunk);
                    let mut at = row;
                    while at < end {
                        let columns = positions.start.max(at * width)..positions.end.min((at + 1) * width);
                        // Rows whose blocks leave nothing over are done together.
                        let together = columns.len() == width && width % W::BLOCK == 0;
                        let count = if together { end.min(positions.end / width) - at } else { 1 };
                        let part = columns.start - positions.start..columns.start - positions.start + count * columns.len();
                        let rows = Rows {
                            first: (at - row) * layout.row_step * layout.row_words + columns.start - at * width,
                            step: layout.row_step * layout.row_words,
                            width: columns.len(),
                            count,
                        };
                        add_rows(strip, &rows, own, sections, out.get_mut(part).unwrap_or(&mut []));
                        at += count;
                    }
                }
            }
            row = end;
        }
    }
}

/// Adds to the outputs `out` of rows that consist of blocks, or of one row of any width.
fn add_rows<W: BlockWord>(strip: &[u32], rows: &Rows, records: &[u32], sections: [u32; 3], out: &mut [W]) {
    W::add_blocks(strip, rows, records, sections, out);
    let whole = rows.width - rows.width % W::BLOCK;
    let tail = if rows.width > whole { out.get_mut(whole..).unwrap_or(&mut []) } else { &mut [] };
    if !tail.is_empty() {
        // A whole block all the same: what is beyond the row is thrown away.
        let mut block = [W::default(); 4];
        let block = block.get_mut(..W::BLOCK).unwrap_or(&mut []);
        for (slot, sum) in block.iter_mut().zip(tail.iter()) {
            *slot = *sum;
        }
        let rows = Rows { first: rows.first + whole, width: W::BLOCK, ..*rows };
        W::add_blocks(strip, &rows, records, sections, block);
        for (sum, slot) in tail.iter_mut().zip(block.iter()) {
            *sum = *slot;
        }
    }
}
