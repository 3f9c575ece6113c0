//! What every exchange of a party works on: its material, the lent arena, and the group of tiles in hand.

use zeroize::Zeroize;

use super::linear;
use super::opening::Turn;
use super::{Known, Order, activation, comparison, pool, tournament};
use crate::packing::packed_len;
use crate::party::half::{Half, MaterialError, ModelHalf, Position};
use crate::party::memory::region_mut;
use crate::party::{ErrorKind, SessionError};
use crate::plan::{GroupPlan, LayerPlan, Mode, Options, Plan, Role, Step, Work, cost};
use crate::with_words;

/// One party: its halves of correlations and model, and the parts of its arena.
pub(crate) struct Party<'m, H, M> {
    pub(crate) options: Options,
    pub(crate) half: H,
    pub(crate) model: M,
    /// Regions of wires, of C before a pool, and of pooled windows.
    pub(crate) wires: &'m mut [u64],
    /// A tile of sums, or, for P0 in H, of C.
    pub(crate) window: &'m mut [u64],
    /// Comparisons of a group, and P0's C of their ReLUs in H; a tournament; words of the output.
    pub(crate) state: &'m mut [u64],
}

impl<H, M> Drop for Party<'_, H, M> {
    // Sums, shares of the output and opened bits are worth as much as the picture.
    fn drop(&mut self) {
        self.wires.zeroize();
        self.window.zeroize();
        self.state.zeroize();
    }
}

impl<'m, H: Half, M: ModelHalf> Party<'m, H, M> {
    /// A party in an arena of [`Plan::arena_words`] words.
    pub(crate) fn new(
        plan: &Plan<'_>,
        half: H,
        model: M,
        arena: &'m mut [u64],
    ) -> Result<Self, SessionError> {
        Self::accepts(plan, arena.len())?;
        let (options, memory) = (plan.header.options, SessionError { at: None, kind: ErrorKind::Memory });
        let r = H::ROLE.index();
        let (wires, rest) = arena.split_at_mut_checked(plan.header.wire_words[r] as usize).ok_or(memory)?;
        let (window, rest) = rest.split_at_mut_checked(plan.header.window_words[r] as usize).ok_or(memory)?;
        let (state, _) = rest.split_at_mut_checked(plan.header.state_words[r] as usize).ok_or(memory)?;
        Ok(Self { options, half, model, wires, window, state })
    }

    /// What [`Party::new`] would refuse.
    pub(crate) fn accepts(plan: &Plan<'_>, arena_words: usize) -> Result<(), SessionError> {
        let kind = if plan.header.options.mode == Mode::TwoServers && !H::TWO_SERVERS {
            ErrorKind::Mode
        } else if arena_words < plan.arena_words(H::ROLE) {
            ErrorKind::Memory
        } else {
            return Ok(());
        };
        Err(SessionError { at: None, kind })
    }

    /// This party's part in every opening.
    #[inline(always)]
    pub(crate) const fn turn(&self) -> Turn {
        Turn::of_half::<H>(self.options.mode)
    }

    /// P1: public terms of a sum enter through it.
    #[inline(always)]
    pub(crate) fn holds_public(&self) -> bool {
        H::ROLE == Role::Bundle
    }

    /// P0 in H: no wires, no linear work.
    #[inline(always)]
    pub(crate) fn is_blind(&self) -> bool {
        self.turn() == Turn::Blind
    }

    /// By turns P1 answers: its frame of an opening waits for P0's.
    pub(crate) fn answers(&self, step: Step) -> bool {
        step.order() == Order::Opening && self.turn() == Turn::Answer
    }

    /// By turns P0 asks: P1's frame of an opening waits for its own.
    pub(crate) fn asks(&self, step: Step) -> bool {
        step.order() == Order::Opening && self.turn() == Turn::Ask
    }

    /// Does the peer's frame wait until this party has sent its own, of which it needs what is kept then?
    pub(crate) fn sends_first(&self, step: Step) -> bool {
        match step.order() {
            Order::Both => true,
            Order::Opening => self.turn() == Turn::Mutual,
            Order::OneWay => false,
        }
    }

    /// Prepares terms and windows of a layer whose inputs are complete.
    pub(crate) fn begin_layer(&mut self, layer: &LayerPlan<'_>) -> Result<(), ErrorKind> {
        let options = self.options;
        self.half.begin_layer(layer.index, &mut cost::sections(layer, &options));
        if !self.is_blind() {
            linear::prepare(layer, &mut self.model, self.wires)?;
        }
        if layer.pool().is_some() {
            let pooled = layer.pooled[H::ROLE.index()];
            with_words!(WordsMut, region_mut(self.wires, &pooled)?, windows => windows.fill(0));
        }
        Ok(())
    }
}

/// Positions in a layer's sections: each moves on with the chunks that are used up.
#[derive(Default)]
pub(crate) struct Course {
    pub(crate) sums: Position,
    pub(crate) values: activation::Course,
    pub(crate) comparisons: comparison::Course,
    pub(crate) windows: pool::Course,
}

/// The group of tiles in hand.
pub(crate) struct Group<'p> {
    pub(crate) layer: LayerPlan<'p>,
    pub(crate) work: Work,
    pub(crate) index: usize,
    /// Its ReLUs.
    pub(crate) relus: usize,
    /// Tiles of which C is known.
    pub(crate) opened: usize,
    /// P0 in H: the tile whose C is in the window and whose polynomials are still to be sent.
    pub(crate) pending: Option<usize>,
    /// t is known.
    pub(crate) signed: bool,
    /// The step of a chain whose words are masked and kept, to be sent.
    pub(crate) ready: Option<Step>,
    pub(crate) course: Course,
    pub(crate) tournament: tournament::Tournament,
}

impl<'p> Group<'p> {
    /// Group `index` of a layer, behind the groups that `course` has passed.
    pub(crate) fn new(layer: LayerPlan<'p>, options: &Options, index: usize, course: Course) -> Self {
        Self {
            work: layer.work(options),
            relus: layer.group_relus(index),
            layer,
            index,
            opened: 0,
            pending: None,
            signed: false,
            ready: None,
            course,
            tournament: tournament::Tournament::default(),
        }
    }

    /// What it moves.
    pub(crate) fn plan<'l>(&'l self, options: &'l Options) -> GroupPlan<'l, 'p> {
        let Self { layer, work, index, relus, .. } = self;
        GroupPlan { layer, options, work, index: *index, relus: *relus }
    }

    /// The next group of the layer, or the layer is over.
    pub(crate) fn next(mut self, options: &Options) -> Option<Self> {
        if self.index + 1 >= self.layer.groups() {
            return None;
        }
        self.course.comparisons.pass(self.relus);
        self.course.values.pass();
        Some(Self::new(self.layer, options, self.index + 1, self.course))
    }

    /// Elements of a tile.
    pub(crate) fn range(&self, tile: usize) -> core::ops::Range<usize> {
        self.layer.tile_range(self.index, tile)
    }

    /// Tiles of the group.
    pub(crate) fn tiles(&self) -> usize {
        self.layer.group_tiles(self.index)
    }

    /// Does this party know what a frame waits for?
    pub(crate) fn knows(&self, step: Step, tile: usize) -> bool {
        match step.after(&self.layer) {
            Known::Before => true,
            Known::Opened => self.opened > tile,
            Known::Link => self.ready == Some(step),
            Known::Activated => self.opened == self.tiles() && (self.relus == 0 || self.signed),
        }
    }
}

impl Position {
    pub(crate) fn advance(&mut self, count: usize, words: usize, bits: u8) {
        self.words += (count * words) as u64;
        self.bytes += packed_len(count * words, bits) as u64;
    }
}

/// A chunk of a section: this party's words of `count` elements at `position`, which moves on.
pub(crate) fn draw<H: Half, W: crate::ring::Word>(
    half: &mut H,
    section: crate::plan::Section,
    position: &mut Position,
    bits: u8,
    out: &mut [W],
) -> Result<(), MaterialError> {
    half.words(section, *position, bits, out)?;
    position.advance(out.len(), 1, bits);
    Ok(())
}
