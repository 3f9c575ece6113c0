//! How much is done at once: output channels whose weights lie in memory together, rows and input planes of a
//! strip.

use halfnet_core::ring::WordKind;
use halfnet_core::shape::Convolution;

use super::word::{block, lanes, weight_words};

/// Kernels wider than this are left to the portable loop.
const WIDEST: usize = 15;
/// More output channels than this are never kept together: a strip's building is then a small part already.
const MOST_CHANNELS: usize = 8;
/// 64-bit words beyond the least that are worth their memory.
const COMFORT: usize = 1024;
/// Bytes of the generator's block: raw weights are asked for in multiples of it.
const GENERATOR_BLOCK: usize = 64;

/// Taps of a kernel row that a record holds: `taps` columns `phase + stride · (first ..)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) phase: usize,
    pub(super) first: usize,
}

/// The pieces of a kernel row, those of 3 taps first, then of 2, then of 1.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pieces {
    list: [Piece; WIDEST],
    /// How many there are of 3, 2 and 1 taps.
    pub(super) counts: [usize; 3],
}

/// Taps of the pieces of each section.
pub(super) const TAPS: [usize; 3] = [3, 2, 1];

impl Pieces {
    fn new(width: usize, stride: usize) -> Self {
        let mut pieces = Self::default();
        let mut at = 0;
        for (count, taps) in pieces.counts.iter_mut().zip(TAPS) {
            for phase in 0..stride.min(width) {
                let all = (width - phase).div_ceil(stride);
                let (first, times) = match taps {
                    3 => (0, all / 3),
                    _ => (all - all % 3, usize::from(all % 3 == taps)),
                };
                for time in 0..times {
                    if let Some(slot) = pieces.list.get_mut(at) {
                        *slot = Piece { phase, first: first + 3 * time };
                    }
                    at += 1;
                }
                *count += times;
            }
        }
        pieces
    }

    /// The pieces of a section, number 0, 1 or 2.
    pub(super) fn section(&self, section: usize) -> &[Piece] {
        let first: usize = self.counts.iter().take(section).sum();
        let count = self.counts.get(section).copied().unwrap_or(0);
        self.list.get(first..first + count).unwrap_or(&[])
    }

    fn count(&self) -> usize {
        self.counts.iter().sum()
    }
}

/// What is done at once, and where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// The word of sums and weights.
    pub(super) kind: WordKind,
    pub(super) stride: usize,
    /// Rows of a strip from one output row to the next.
    pub(super) row_step: usize,
    pub(super) kernel_height: usize,
    pub(super) kernel_width: usize,
    pub(super) out_width: usize,
    pub(super) pieces: Pieces,
    /// Words of a phase of the stride; a strip's row holds the phases one after another.
    pub(super) span: usize,
    pub(super) row_words: usize,
    /// Planes (of `lanes` channels each) of a group.
    pub(super) planes: usize,
    /// Planes of a strip.
    pub(super) chunk: usize,
    /// Output rows of a strip, and its input rows.
    pub(super) rows: usize,
    pub(super) strip_rows: usize,
    /// Output channels whose records are kept.
    pub(super) channels: usize,
    /// 32-bit words of a channel's records.
    pub(super) channel_words: usize,
    /// 64-bit words for weights as they come, and the input channels they are of.
    pub(super) raw_words: usize,
    pub(super) raw_channels: usize,
}

impl Layout {
    /// The least that works, unless the geometry is none for blocks.
    fn least(kind: WordKind, geometry: &Convolution) -> Option<Self> {
        geometry.validate().ok()?;
        let (kernel_height, kernel_width) =
            (usize::from(geometry.kernel_height), usize::from(geometry.kernel_width));
        let (stride, output) = (usize::from(geometry.stride), geometry.output());
        // One output a channel is a dot product, and its weights cost more than its products.
        if kernel_width > WIDEST || output.plane() == 1 {
            return None;
        }
        let phases = stride.min(kernel_width);
        let out_width = usize::from(output.width);
        let span = out_width + kernel_width.div_ceil(stride) - 1;
        let pieces = Pieces::new(kernel_width, stride);
        let planes = geometry.group_channels().div_ceil(lanes(kind));
        let kernel = kernel_height * kernel_width;
        let raw_channels = (GENERATOR_BLOCK / kind.bytes()).min(planes * lanes(kind));
        Some(Self {
            kind,
            stride,
            row_step: stride.min(kernel_height),
            kernel_height,
            kernel_width,
            out_width,
            pieces,
            span,
            row_words: phases * span,
            planes,
            chunk: 1,
            rows: 1,
            strip_rows: kernel_height,
            channels: 1,
            channel_words: planes * kernel_height * (pieces.count() + kernel_width * weight_words(kind)),
            raw_words: (raw_channels * kernel * kind.bytes()).div_ceil(8),
            raw_channels,
        })
    }

    /// 32-bit words of a strip: a block at the end of the last row reads beyond it.
    pub(super) const fn strip_words(&self) -> usize {
        self.chunk.saturating_mul(self.strip_rows * self.row_words).saturating_add(3)
    }

    /// 64-bit words of all.
    const fn words(&self) -> usize {
        self.raw_words.saturating_add(
            (self.channels * self.channel_words).saturating_add(self.strip_words()).div_ceil(2),
        )
    }

    /// The best that `words` 64-bit words hold.
    pub(super) fn fit(kind: WordKind, geometry: &Convolution, words: usize) -> Option<Self> {
        let least = Self::least(kind, geometry)?;
        let per_group = usize::from(geometry.out_channels / geometry.groups);
        let out_rows = usize::from(geometry.output().height);
        let mut best: Option<(usize, Self)> = None;
        let mut channels = 1;
        while channels <= per_group.min(MOST_CHANNELS) {
            let mut rows = 1;
            loop {
                let mut layout = Self {
                    channels,
                    rows,
                    strip_rows: (rows - 1) * least.row_step + least.kernel_height,
                    ..least
                };
                // What is left for planes.
                let free =
                    words.saturating_sub(layout.words()) * 2 / (layout.strip_rows * layout.row_words).max(1);
                layout.chunk = (1 + free).min(layout.planes);
                if layout.words() <= words {
                    let cost = layout.overhead();
                    if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                        best = Some((cost, layout));
                    }
                }
                if rows >= out_rows {
                    break;
                }
                rows = (2 * rows).min(out_rows);
            }
            channels *= 2;
        }
        best.map(|(_, layout)| layout)
    }

    /// Instructions beside the products, a plane and 64 outputs: about 30 a block, 150 a channel's part of a
    /// strip, 90 a plane of a strip and 3 a word of it.
    pub(super) const fn overhead(&self) -> usize {
        let outputs = self.rows * self.out_width;
        let blocks = (64 * 30 / block(self.kind) + 64 * 150 / outputs) / self.chunk;
        let strip = 64 * (90 + (3 * self.row_words + 10) * self.strip_rows) / (outputs * self.channels);
        blocks + strip
    }

    /// Strips that the planes of a group are cut into.
    pub(super) const fn chunks(&self) -> usize {
        self.planes.div_ceil(self.chunk)
    }

    /// Planes of a chunk.
    pub(super) fn chunk_planes(&self, chunk: usize) -> usize {
        self.planes.saturating_sub(chunk * self.chunk).min(self.chunk)
    }

    /// 32-bit words of a record of a section.
    pub(super) fn record_words(&self, section: usize) -> usize {
        1 + TAPS.get(section).copied().unwrap_or(0) * weight_words(self.kind)
    }

    /// 32-bit words of a plane's records.
    pub(super) fn plane_words(&self) -> usize {
        self.channel_words / self.planes
    }

    /// A chunk's part of a channel's records, and how many it has of 3, 2 and 1 taps.
    pub(super) fn chunk_records<'r>(&self, records: &'r [u32], chunk: usize) -> (&'r [u32], [u32; 3]) {
        let planes = self.chunk_planes(chunk);
        let first = chunk * self.chunk * self.plane_words();
        let part = records.get(first..first + planes * self.plane_words()).unwrap_or(&[]);
        (part, self.pieces.counts.map(|count| (count * self.kernel_height * planes) as u32))
    }
}

/// 64-bit words of memory that a convolution in words of `kind` is to be lent: enough for the portable loop,
/// and for blocks with little beside their products.
#[must_use]
pub fn memory_words(geometry: &Convolution, kind: WordKind) -> usize {
    let plain = (geometry.fan_in() * kind.bytes()).div_ceil(8);
    let blocks = Layout::least(kind, geometry).map(|least| {
        let rows = usize::from(geometry.output().height);
        let channels = usize::from(geometry.out_channels / geometry.groups).min(MOST_CHANNELS);
        let strip_rows = (rows - 1) * least.row_step + least.kernel_height;
        let all = Layout { channels, rows, strip_rows, chunk: least.planes, ..least };
        all.words().min(least.words() + COMFORT)
    });
    plain.max(blocks.unwrap_or(0))
}
