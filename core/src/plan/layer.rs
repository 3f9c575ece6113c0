//! One layer of a plan: its tiles and groups, its steps, and what each step moves.
//!
//! Of a group of tiles, in every mode and direction: opening 1 tile by tile; opening 2 of the tiles'
//! polynomial elements; the comparison tree level by level; t; opening 2 of the ReLU elements. After the last
//! group, opening 2 of pooled windows.

use core::ops::Range;

use super::step::{MAX_STEPS, MAX_TOURNAMENT, Step, tournament_round, tournament_rounds};
use super::{LayerPlan, LinearPlan, Mode, Options, Plan, Release, Role, StepPlan};
use crate::bits::LANES;
use crate::error::ModelError;
use crate::gate::comparison::Layout;
use crate::model::Bitmap;
use crate::packing::packed_len;
use crate::ring::{WIDEST, WordKind};
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
        let sources = self.terms.iter().map(|term| term.source.bits).max().unwrap_or(0);
        let regions = self.pooled.iter().map(|region| region.bits).max().unwrap_or(0);
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

    /// The steps of a group, in the order of every direction.
    #[must_use]
    pub fn steps(&self, options: &Options, group: usize) -> heapless::Vec<Step, MAX_STEPS> {
        let mut steps = heapless::Vec::new();
        let mut push = |step| {
            // The capacity is for the longest list that a validated plan has.
            let _ = steps.push(step);
        };
        let last = group + 1 == self.groups();
        match self.step {
            StepPlan::Activate { pool, .. } => {
                let layout = self.work(options).layout;
                push(Step::Open);
                if pool.is_none() {
                    push(Step::OpenPolynomial);
                }
                if self.group_relus(group) > 0 {
                    for level in 0..layout.levels() {
                        push(Step::Tree(level as u8));
                    }
                    push(Step::Sign);
                    if pool.is_none() {
                        push(Step::OpenRelu);
                    }
                }
                if pool.is_some() && last {
                    push(Step::OpenPool);
                }
            }
            StepPlan::Rescale { pool: None, .. } => push(Step::OpenLinear),
            StepPlan::Rescale { pool: Some(_), .. } => {
                if last {
                    push(Step::OpenPool);
                }
            }
            StepPlan::Release { .. } => {
                match options.release {
                    Release::Logits { .. } => push(Step::Release),
                    Release::Label => {
                        let layout = self.work(options).layout;
                        for round in 0..tournament_rounds(self.elements()) {
                            push(Step::TournamentOpen(round));
                            for level in 0..layout.levels() {
                                push(Step::TournamentTree(round, level as u8));
                            }
                            push(Step::TournamentSign(round));
                        }
                    }
                }
                if options.client == super::Client::SeedParty {
                    push(Step::Output);
                }
            }
        }
        steps
    }

    /// Frames of a step of a group, before empty ones are left out.
    #[must_use]
    pub fn step_tiles(&self, group: usize, step: Step) -> usize {
        match step {
            Step::Open | Step::OpenPolynomial | Step::OpenRelu | Step::OpenLinear => self.group_tiles(group),
            Step::Tree(_) | Step::Sign => {
                self.group_relus(group).div_ceil(LANES).div_ceil(self.words_a_frame())
            }
            Step::OpenPool => self.windows().div_ceil((self.tile as usize).max(1)),
            _ => 1,
        }
    }

    /// The number that names a frame of a step: of steps that every group has, tiles are counted through the
    /// layer (a group's bit steps have no more frames than the group has tiles).
    #[must_use]
    pub fn frame_tile(&self, group: usize, step: Step, tile: usize) -> u16 {
        let before = match step {
            Step::Open
            | Step::OpenPolynomial
            | Step::OpenRelu
            | Step::OpenLinear
            | Step::Tree(_)
            | Step::Sign => group * usize::from(self.group),
            _ => 0,
        };
        (before + tile) as u16
    }

    /// The group and the tile in it that [`LayerPlan::frame_tile`] gave this number.
    #[must_use]
    pub fn tile_of_frame(&self, step: Step, number: u16) -> (usize, usize) {
        let (number, tiles) = (usize::from(number), usize::from(self.group).max(1));
        match step {
            Step::Open
            | Step::OpenPolynomial
            | Step::OpenRelu
            | Step::OpenLinear
            | Step::Tree(_)
            | Step::Sign => (number / tiles, number % tiles),
            _ => (self.groups().saturating_sub(1), number),
        }
    }

    /// Payload bytes of a frame that `role` sends; 0 where it sends none.
    #[must_use]
    pub fn payload(
        &self,
        options: &Options,
        work: &Work,
        group: usize,
        step: Step,
        tile: usize,
        role: Role,
    ) -> usize {
        let seed = role == Role::Seed;
        let mode = options.mode;
        // Bits an element of an opening that cuts `all` bits to `high`.
        let opening = |all: u8, high: u8| match (mode, seed) {
            (Mode::TwoServers, _) | (Mode::Shared, false) => high,
            (Mode::Shared | Mode::Held, true) => all,
            (Mode::Held, false) => 0,
        };
        // Directly after a linear layer P1 knows the value in H.
        let after_linear = |all: u8, high: u8| if mode == Mode::Held { 0 } else { opening(all, high) };
        match step {
            Step::Open => {
                let bits = if mode == Mode::Held && !seed {
                    work.opened_bits
                } else {
                    after_linear(work.ring_bits, work.opened_bits)
                };
                packed_len(self.tile_range(group, tile).len(), bits)
            }
            Step::OpenPolynomial => {
                let range = self.tile_range(group, tile);
                let count = range.len() - self.relu().count(range);
                packed_len(count, opening(work.wire_bits + work.frac_bits, work.wire_bits))
            }
            Step::OpenRelu => packed_len(
                self.relu().count(self.tile_range(group, tile)),
                opening(work.wire_bits, work.wire_bits),
            ),
            Step::OpenLinear => {
                packed_len(self.tile_range(group, tile).len(), after_linear(work.ring_bits, work.wire_bits))
            }
            Step::OpenPool => {
                let windows = self.window_range(tile);
                if matches!(self.step, StepPlan::Rescale { .. }) {
                    return packed_len(windows.len(), after_linear(work.ring_bits, work.wire_bits));
                }
                let bits: u64 =
                    windows.map(|w| u64::from(opening(self.window_bits(work, w), work.wire_bits))).sum();
                bits.div_ceil(8) as usize
            }
            Step::Tree(level) => self.plane_bytes(group, tile, work.layout.opened_planes(usize::from(level))),
            Step::Sign => self.plane_bytes(group, tile, 1),
            Step::Release => {
                packed_len(self.elements(), if mode == Mode::Shared && seed { work.ring_bits } else { 0 })
            }
            Step::TournamentOpen(round) => {
                let (pairs, _) = tournament_round(self.elements(), round);
                packed_len(if round == 0 { pairs } else { 2 * pairs }, work.ring_bits)
            }
            Step::TournamentTree(round, level) => plane_bytes(
                tournament_round(self.elements(), round).0,
                work.layout.opened_planes(usize::from(level)),
            ),
            Step::TournamentSign(round) => plane_bytes(tournament_round(self.elements(), round).0, 1),
            Step::Output => packed_len(self.output_words(options), if seed { 0 } else { work.opened_bits }),
        }
    }

    fn plane_bytes(&self, group: usize, tile: usize, planes: usize) -> usize {
        let relus = self.group_relus(group);
        let first = (tile * self.words_a_frame() * LANES).min(relus);
        plane_bytes((relus - first).min(self.words_a_frame() * LANES), planes)
    }

    /// Words that each party gives to the client.
    #[must_use]
    pub fn output_words(&self, options: &Options) -> usize {
        match options.release {
            Release::Label => 1,
            Release::Logits { .. } => self.elements(),
        }
    }

    /// # Errors
    /// Regions, shapes or widths do not fit each other or the plan's header.
    pub(crate) fn validate(&self, plan: &Plan<'_>) -> Result<(), ModelError> {
        self.sum.validate()?;
        if self.terms.is_empty() || self.tile == 0 || self.group == 0 {
            return Err(ModelError::Shape);
        }
        for term in &self.terms {
            let (input, output) = match &term.linear {
                LinearPlan::Convolution(geometry) => {
                    geometry.validate()?;
                    (geometry.input, geometry.output())
                }
                LinearPlan::JoinShift { geometry, .. } | LinearPlan::JoinScaled { geometry } => {
                    geometry.validate()?;
                    (geometry.input, geometry.output)
                }
            };
            if input.elements() != term.source.elements as usize || output != self.sum {
                return Err(ModelError::Shape);
            }
            self.inside(plan, &term.source)?;
        }
        // A tile is large enough to make progress; a release is one tile.
        let release = matches!(self.step, StepPlan::Release { .. });
        let smallest =
            if release { self.elements() } else { super::compile::SMALLEST_TILE.min(self.elements()) };
        let too_many = |count: usize| count.div_ceil(self.tile as usize) > usize::from(u16::MAX);
        if (self.tile as usize) < smallest || too_many(self.elements()) || too_many(self.windows()) {
            return Err(ModelError::Shape);
        }
        let work = self.work(&plan.header.options);
        let widths = match self.step {
            StepPlan::Activate { ring_bits, shift, frac_bits, .. } => {
                ring_bits <= 32
                    && shift < ring_bits
                    && (2..=16).contains(&work.opened_bits)
                    && self.output.bits.saturating_add(frac_bits) <= 64
            }
            StepPlan::Rescale { .. } => work.ring_bits <= 64,
            StepPlan::Release { ring_bits } => {
                (4..=32).contains(&ring_bits)
                    && match plan.header.options.release {
                        Release::Logits { bits } => bits >= 2 && bits <= 16.min(ring_bits - 2),
                        Release::Label => label_fits(self.elements(), ring_bits),
                    }
            }
        };
        let needs_output = !matches!(self.step, StepPlan::Release { .. });
        if !widths || (needs_output && !(1..=64).contains(&self.output.bits)) {
            return Err(ModelError::Widths);
        }
        if self.widest(&work) > WIDEST {
            return Err(ModelError::TooWide);
        }
        if let Bitmap::Bits(bytes) = self.relu() {
            let spare = bytes.len() * 8;
            if bytes.len() != self.elements().div_ceil(8)
                || (self.elements()..spare).any(|i| self.relu().get(i))
            {
                return Err(ModelError::Bitmap);
            }
        }
        if !needs_output {
            return Ok(());
        }
        if let Some(pool) = self.pool() {
            pool.validate(self.sum)?;
            if pool.output(self.sum).elements() != self.windows() {
                return Err(ModelError::Shape);
            }
            let wire_words = plan.header.wire_words;
            for (region, limit) in self.pooled.iter().zip(wire_words) {
                let wide = (0..self.windows()).all(|w| self.window_bits(&work, w) <= region.bits);
                if region.elements as usize != self.windows()
                    || region.range().end > limit as usize
                    || region.bits > 64
                    || !wide
                {
                    return Err(ModelError::Shape);
                }
            }
        } else if self.elements() != self.windows() {
            return Err(ModelError::Shape);
        }
        if matches!(self.step, StepPlan::Activate { .. })
            && (self.opened.elements as usize != self.elements()
                || 8 * self.opened.word().bytes() < usize::from(work.opened_bits))
        {
            return Err(ModelError::Shape);
        }
        self.inside(plan, &self.output)?;
        self.inside(plan, &self.opened)
    }

    /// Regions of wires lie in P1's arena and, where P0 keeps wires, in P0's.
    fn inside(&self, plan: &Plan<'_>, region: &super::Region) -> Result<(), ModelError> {
        let mut limit = plan.header.wire_words[1] as usize;
        if plan.keeps_wires(Role::Seed) {
            limit = limit.min(plan.header.wire_words[0] as usize);
        }
        if !(1..=64).contains(&region.bits) || region.range().end > limit {
            Err(ModelError::Shape)
        } else {
            Ok(())
        }
    }
}

/// Can a tournament find the largest of so many logits, and its index be told modulo 2^ring_bits?
#[must_use]
pub const fn label_fits(classes: usize, ring_bits: u8) -> bool {
    tournament_rounds(classes) as usize <= MAX_TOURNAMENT
        && classes as u64 - 1 <= crate::ring::low_mask(ring_bits)
}

/// Bytes of `planes` bit planes over `lanes` comparisons: whole words of 8 bytes, the last word's planes cut
/// to its lanes.
#[must_use]
pub const fn plane_bytes(lanes: usize, planes: usize) -> usize {
    planes * (lanes / LANES * 8 + (lanes % LANES).div_ceil(8))
}
