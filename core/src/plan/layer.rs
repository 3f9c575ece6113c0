//! One layer of a plan: its tiles and groups, and its steps; what each step moves, its exchange says.
//!
//! Of a group of tiles, in every mode and direction: opening 1 tile by tile; opening 2 of the tiles'
//! polynomial elements; the comparison tree level by level; t; opening 2 of the ReLU elements. After the last
//! group, opening 2 of pooled windows.

use core::ops::Range;

use super::step::{MAX_TOURNAMENT, Step, tournament_rounds};
use super::{LayerPlan, Options, Release, StepPlan};
use crate::bits::LANES;
use crate::gate::comparison::Layout;
use crate::model::Bitmap;
use crate::ring::WordKind;
use crate::shape::Pool;

/// What a layer's elements become, with the widths that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// b of the linear sum (L of a rescaling).
    pub ring_bits: u8,
    /// Bits cut by the first opening.
    pub shift: u8,
    /// n = b − f1 (W of a rescaling, the released bits of logits).
    pub opened_bits: u8,
    /// f2 of polynomial elements and mixed windows.
    pub frac_bits: u8,
    /// W of the output wire.
    pub wire_bits: u8,
    /// The word in which the sum is computed.
    pub word: WordKind,
    /// How ReLUs compare.
    pub layout: Layout,
}

impl<'a> LayerPlan<'a> {
    /// Widths.
    #[must_use]
    pub fn work(&self, options: &Options) -> Work {
        let (ring_bits, shift, frac_bits) = match self.step {
            StepPlan::Activate { ring_bits, shift, frac_bits, .. } => (ring_bits, shift, frac_bits),
            StepPlan::Rescale { shift, .. } => (self.output.bits.saturating_add(shift), shift, 0),
            StepPlan::Release { ring_bits } => match options.release {
                Release::Logits { bits } => (ring_bits, ring_bits.saturating_sub(bits), 0),
                Release::Label => (ring_bits, 0, 0),
            },
        };
        let mut bits = ring_bits;
        for term in &self.terms {
            bits = bits.max(term.source.bits);
        }
        let opened_bits = ring_bits.saturating_sub(shift);
        Work {
            ring_bits,
            shift,
            opened_bits,
            frac_bits,
            wire_bits: self.output.bits,
            word: WordKind::for_bits(bits),
            layout: Layout::new(opened_bits, options.chunk_bits),
        }
    }

    /// Bits of the widest ring that the layer computes in.
    #[must_use]
    pub fn widest(&self, work: &Work) -> u8 {
        let sources = self.terms.iter().map(|term| term.source.bits).fold(0, u8::max);
        let regions = self.pooled.iter().map(|region| region.bits).fold(0, u8::max);
        let wires = self.output.bits.max(self.opened.bits).max(sources).max(regions);
        work.ring_bits.max(work.wire_bits.saturating_add(work.frac_bits)).max(wires)
    }

    /// Which elements are ReLU; none where the step is no activation.
    #[must_use]
    pub const fn relu(&self) -> Bitmap<'a> {
        match self.step {
            StepPlan::Activate { relu, .. } => relu,
            _ => Bitmap::None,
        }
    }

    /// The pool, if there is one.
    #[must_use]
    pub const fn pool(&self) -> Option<Pool> {
        match self.step {
            StepPlan::Activate { pool, .. } | StepPlan::Rescale { pool, .. } => pool,
            StepPlan::Release { .. } => None,
        }
    }

    /// Elements of the sum.
    #[must_use]
    pub const fn elements(&self) -> usize {
        self.sum.elements()
    }

    /// Number of groups.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.elements().div_ceil(self.group_elements())
    }

    fn group_elements(&self) -> usize {
        (self.tile as usize).saturating_mul(usize::from(self.group)).max(1)
    }

    /// Elements of a group.
    #[must_use]
    pub fn group_range(&self, group: usize) -> Range<usize> {
        let first = group.saturating_mul(self.group_elements());
        first.min(self.elements())..first.saturating_add(self.group_elements()).min(self.elements())
    }

    /// Tiles of a group.
    #[must_use]
    pub fn group_tiles(&self, group: usize) -> usize {
        self.group_range(group).len().div_ceil((self.tile as usize).max(1))
    }

    /// Elements of a group's tile.
    #[must_use]
    pub fn tile_range(&self, group: usize, tile: usize) -> Range<usize> {
        let range = self.group_range(group);
        let first = range.start.saturating_add(tile.saturating_mul(self.tile as usize));
        first.min(range.end)..first.saturating_add(self.tile as usize).min(range.end)
    }

    /// Pooled windows, or elements where there is no pool.
    #[must_use]
    pub fn windows(&self) -> usize {
        self.output.elements as usize
    }

    /// Windows of a tile of pooled windows.
    #[must_use]
    pub fn window_range(&self, tile: usize) -> Range<usize> {
        let first = tile.saturating_mul(self.tile as usize);
        first.min(self.windows())..first.saturating_add(self.tile as usize).min(self.windows())
    }

    /// Does a window hold a polynomial element? Then it is shifted and cut by f_c.
    #[must_use]
    pub fn window_is_cut(&self, window: usize) -> bool {
        let StepPlan::Activate { relu, pool: Some(pool), .. } = self.step else { return false };
        match relu {
            Bitmap::All => false,
            Bitmap::None => true,
            Bitmap::Bits(_) => {
                let output = pool.output(self.sum);
                let plane = output.plane().max(1);
                let width = usize::from(output.width).max(1);
                let (channel, position) = (window / plane, window % plane);
                let span = |at: usize, size: u16| {
                    let start = (at * usize::from(pool.stride)).saturating_sub(usize::from(pool.padding));
                    let end = (at * usize::from(pool.stride) + usize::from(pool.kernel))
                        .saturating_sub(usize::from(pool.padding));
                    start..end.min(usize::from(size))
                };
                let columns = span(position % width, self.sum.width);
                span(position / width, self.sum.height).any(|row| {
                    let first = (channel * usize::from(self.sum.height) + row) * usize::from(self.sum.width);
                    relu.count(first + columns.start..first + columns.end) < columns.len()
                })
            }
        }
    }

    /// L of a window: W, and f_c more if it is cut.
    #[must_use]
    pub fn window_bits(&self, work: &Work, window: usize) -> u8 {
        match self.step {
            StepPlan::Rescale { .. } => work.ring_bits,
            _ if self.window_is_cut(window) => work.wire_bits + work.frac_bits,
            _ => work.wire_bits,
        }
    }

    /// ReLUs of a group.
    #[must_use]
    pub fn group_relus(&self, group: usize) -> usize {
        self.relu().count(self.group_range(group))
    }

    /// Words of 64 comparisons that one frame of a bit step carries.
    #[must_use]
    pub fn words_a_frame(&self) -> usize {
        (self.tile as usize).div_ceil(LANES).max(1)
    }

    /// Does it open values and activate them?
    #[must_use]
    pub const fn activates(&self) -> bool {
        matches!(self.step, StepPlan::Activate { .. })
    }

    /// Every tile's elements, with the group that it is in.
    pub(crate) fn tiles(&self) -> impl Iterator<Item = (usize, Range<usize>)> + '_ {
        (0..self.groups()).flat_map(move |group| {
            (0..self.group_tiles(group)).map(move |tile| (group, self.tile_range(group, tile)))
        })
    }

    /// The number that names a frame of a step: of steps that every group has, tiles are counted through the
    /// layer (a group's bit steps have no more frames than the group has tiles).
    #[must_use]
    pub fn frame_tile(&self, group: usize, step: Step, tile: usize) -> u16 {
        let before = if step.is_in_every_group() { group * usize::from(self.group) } else { 0 };
        (before + tile) as u16
    }

    /// The group and the tile in it that [`LayerPlan::frame_tile`] gave this number.
    #[must_use]
    pub fn tile_of_frame(&self, step: Step, number: u16) -> (usize, usize) {
        let (number, tiles) = (usize::from(number), usize::from(self.group).max(1));
        if step.is_in_every_group() {
            (number / tiles, number % tiles)
        } else {
            (self.groups().saturating_sub(1), number)
        }
    }

    /// Words that each party gives to the client.
    #[must_use]
    pub fn output_words(&self, options: &Options) -> usize {
        match options.release {
            Release::Label => 1,
            Release::Logits { .. } => self.elements(),
        }
    }
}

/// Can a tournament find the largest of so many logits, and its index be told modulo 2^ring_bits?
#[must_use]
pub const fn label_fits(classes: usize, ring_bits: u8) -> bool {
    tournament_rounds(classes) as usize <= MAX_TOURNAMENT
        && classes as u64 - 1 <= crate::ring::low_mask(ring_bits)
}
