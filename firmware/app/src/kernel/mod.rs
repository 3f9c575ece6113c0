//! Convolutions in registers: `halfnet-core`'s `convolve_words`, word for word, in about one instruction a
//! multiply-add of Z_16.
//!
//! Shares of a few output channels are laid out as *records*, inputs of a few rows as a *strip* with its
//! padding, both in lent memory; then each block of neighbouring outputs goes once through all records with
//! its sums in registers.
//!
//! | module | what it answers |
//! |---|---|
//! | [`layout`] | how much of channels, rows and planes fits into the memory lent |
//! | [`strip`] | how does an input row lie: two channels a word in Z_16, columns by phase of the stride, zeros around |
//! | [`records`] | in which order do the weights come, and where are their inputs |
//! | [`job`] | which records meet which strips |
//! | `arm`, [`portable`] | the blocks themselves: assembly for a Cortex-M with DSP, and what it must equal |
//!
//! Instructions on a Cortex-M4 or M7, 3 × 3, stride 1, on paper: a record is three taps of a kernel row, for
//! 4 outputs (2 of Z_64).
//!
//! | | a record | products | a product | with loop, block and strip |
//! |---|---|---|---|---|
//! | Z_16 | 3 loads of several words, 1 add, 12 `smlad` | 24 | 0.67 | ≈ 0.9 |
//! | Z_32 | 3 loads of several words, 1 add, 12 `mla` | 12 | 1.33 | ≈ 1.6 |
//! | Z_64 | 4 loads, 1 add, 6 `umlal`, 6 `mla` | 6 | 2.83 | ≈ 3.3 |
//!
//! No branch and no address depends on an input or a weight.

mod job;
mod layout;
#[cfg(any(test, not(halfnet_dsp)))]
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

use halfnet_core::error::Internal;
use halfnet_core::gate::linear;
use halfnet_core::party::half::MaterialError;
use halfnet_core::ring::{Word, Words, WordsMut};
use halfnet_core::shape::Convolution;

use job::Job;
use layout::Layout;

pub use layout::memory_words;

/// Where a term's weights come from, in the order of the model: (output channel, input channel, row, column).
pub trait Weights {
    /// Fills `out` with weights number `first` and following.
    ///
    /// # Errors
    /// They cannot be had.
    fn fill(&mut self, first: usize, out: WordsMut<'_>) -> Result<(), MaterialError>;
}

/// out += input ⊗ weights for output elements `tile`, in `memory`: [`memory_words`] says how much, and what
/// is in it afterwards is as secret as the weights.
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
    let mut out = out;
    // Without assembly the blocks are no better than the portable loop.
    if cfg!(halfnet_dsp) && blocks(geometry, input, weights, tile.clone(), out.reborrow(), memory)? {
        return Ok(());
    }
    let multiply = if cfg!(halfnet_dsp) { direct } else { linear::convolve_words };
    channels(geometry, input, weights, tile, out, memory, multiply)
}

/// [`convolve`] in blocks. `false`: geometry, input or memory are none for them, and nothing was done.
fn blocks(
    geometry: &Convolution,
    input: Words<'_>,
    weights: &mut dyn Weights,
    tile: Range<usize>,
    out: WordsMut<'_>,
    memory: &mut [u64],
) -> Result<bool, MaterialError> {
    let Some(layout) = Layout::fit(out.kind(), geometry, memory.len()) else { return Ok(false) };
    let (bytes, sum_bytes) = (input.kind().bytes(), out.kind().bytes());
    // No plan has inputs that are wider than the sums that read them.
    if bytes == 8 || bytes > sum_bytes {
        return Ok(false);
    }
    if input.len() != geometry.input.elements()
        || tile.len() != out.len()
        || tile.end > geometry.output().elements()
    {
        return Err(MaterialError::Weights);
    }
    Job { geometry, layout, tile }.run(input, weights, out, memory).map(|()| true)
}

/// One output channel, as `halfnet-core`'s `convolve_words`.
type Multiply =
    fn(&Convolution, Words<'_>, Words<'_>, usize, Range<usize>, WordsMut<'_>) -> Result<(), Internal>;

/// [`convolve`] channel by channel, for everything that [`blocks`] does not do.
fn channels(
    geometry: &Convolution,
    input: Words<'_>,
    weights: &mut dyn Weights,
    tile: Range<usize>,
    mut out: WordsMut<'_>,
    memory: &mut [u64],
    multiply: Multiply,
) -> Result<(), MaterialError> {
    let (plane, fan_in) = (geometry.output().plane().max(1), geometry.fan_in());
    let mut own = WordsMut::of(out.kind(), memory).slice(0..fan_in).ok_or(MaterialError::Weights)?;
    let mut first = 0;
    for channel in tile.start / plane..tile.end.div_ceil(plane) {
        weights.fill(channel * fan_in, own.reborrow())?;
        let positions = linear::positions(&tile, channel, plane);
        let slots = first..first + positions.len();
        first = slots.end;
        let part = out.reborrow().slice(slots).ok_or(MaterialError::Weights)?;
        multiply(geometry, input, own.as_words(), channel, positions, part)?;
    }
    Ok(())
}

/// What `halfnet-core`'s `convolve_words` does, a kernel row at a time: a fraction of its speed and of its
/// flash. Where there are blocks, fully connected layers are what is left for it.
fn direct(
    geometry: &Convolution,
    input: Words<'_>,
    weights: Words<'_>,
    channel: usize,
    positions: Range<usize>,
    mut out: WordsMut<'_>,
) -> Result<(), Internal> {
    let size = |side: u16| usize::from(side);
    let (height, width, padding) =
        (size(geometry.input.height), size(geometry.input.width), size(geometry.padding));
    let (channels, kernel) =
        (geometry.group_channels(), [size(geometry.kernel_height), size(geometry.kernel_width)]);
    let group = channel * size(geometry.groups) / size(geometry.out_channels).max(1);
    let out_width = size(geometry.output().width).max(1);
    for (slot, position) in positions.enumerate() {
        let [top, left] = [position / out_width, position % out_width].map(|at| at * size(geometry.stride));
        // Rows and columns of the kernel that lie on the input.
        let rows = padding.saturating_sub(top)..kernel[0].min((height + padding).saturating_sub(top));
        let columns = padding.saturating_sub(left)..kernel[1].min((width + padding).saturating_sub(left));
        let mut sum = out.as_words().get(slot).ok_or(Internal)?;
        for plane in 0..channels {
            for row in rows.clone() {
                let from = ((group * channels + plane) * height + top + row - padding) * width
                    + left
                    + columns.start
                    - padding;
                let weight = (plane * kernel[0] + row) * kernel[1] + columns.start;
                sum = sum.wrapping_add(products(input, from, weights, weight, columns.len()));
            }
        }
        out.set(slot, sum)?;
    }
    Ok(())
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
        _ => (0..count).fold(0, |sum: u64, at| {
            let pair = input.get(from + at).zip(weights.get(weight + at));
            pair.map_or(sum, |(x, w)| sum.wrapping_add(x.wrapping_mul(w)))
        }),
    }
}
