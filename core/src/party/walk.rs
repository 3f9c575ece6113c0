//! Where a session stands in the plan: groups of tiles one after another, and what each begins and ends
//! without a message.

use super::half::{Half, ModelHalf, Position, TermId};
use super::linear::add_to_windows;
use super::memory::{region, region_mut, store_run, window_as};
use super::session::{Phase, Session};
use super::{ErrorKind, SessionError};
use crate::bits::LANES;
use crate::gate::linear;
use crate::packing::packed_len;
use crate::plan::step::MAX_STEPS;
use crate::plan::{LayerPlan, LinearPlan, Mode, Release, Role, Step, StepPlan, Work, cost};
use crate::ring::Word;
use crate::{with_kind, with_words};

/// Where the walk stands in one direction: (index in the group's steps, tile).
pub(super) type Place = (usize, usize);

pub(super) struct Group<'p> {
    pub(super) layer: LayerPlan<'p>,
    pub(super) work: Work,
    pub(super) group: usize,
    /// Its ReLUs.
    pub(super) relus: usize,
    pub(super) steps: heapless::Vec<Step, MAX_STEPS>,
    pub(super) sent: Place,
    pub(super) received: Place,
    /// Tiles of which C is known.
    pub(super) opened: usize,
    /// P0 in H: the tile whose C is in the window and whose polynomials are still to be sent.
    pub(super) pending: Option<usize>,
    /// Level of the comparison tree whose operands are masked and kept; the number of levels when t's share
    /// is.
    pub(super) level: Option<usize>,
    /// t is known.
    pub(super) signed: bool,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Positions {
    pub(super) sum: Position,
    pub(super) polynomial: Position,
    pub(super) relu: Position,
    /// Words of 64 comparisons in the groups before.
    pub(super) comparisons: u64,
    /// ReLUs of this group in the tiles before the next to be selected.
    pub(super) selected: usize,
    /// ReLUs of this group whose C was copied aside.
    pub(super) kept: usize,
    /// The masks of the 64 windows in progress, and the packed bytes behind them.
    pub(super) windows: Option<[u64; LANES]>,
    pub(super) window_bytes: u64,
}

impl Position {
    pub(super) fn advance(&mut self, count: usize, words: usize, bits: u8) {
        self.words += (count * words) as u64;
        self.bytes += packed_len(count * words, bits) as u64;
    }
}

impl<'p, H: Half, M: ModelHalf> Session<'p, '_, H, M> {
    /// Payload bytes of a frame of the current group.
    pub(super) fn payload(&self, group: &Group<'_>, step: Step, tile: usize, role: Role) -> usize {
        group.layer.payload(&self.plan.header.options, &group.work, group.group, step, tile, role)
    }

    /// The next place at which `role` has a frame to send, from `place` on.
    pub(super) fn next_frame(&self, group: &Group<'_>, mut place: Place, role: Role) -> Place {
        while let Some(&step) = group.steps.get(place.0) {
            while place.1 < group.layer.step_tiles(group.group, step) {
                if self.payload(group, step, place.1, role) > 0 {
                    return place;
                }
                place.1 += 1;
            }
            place = (place.0 + 1, 0);
        }
        place
    }

    /// Begins the next group, or the next layer, or ends; does what needs no message.
    pub(super) fn next_group(&mut self) -> Result<(), SessionError> {
        self.phase = Phase::Layers;
        loop {
            let next = self
                .group
                .take()
                .map(|g| (g.layer, g.group + 1))
                .filter(|(layer, group)| *group < layer.groups());
            let (layer, index) = match next {
                Some((layer, group)) => {
                    self.positions.comparisons += layer.group_relus(group - 1).div_ceil(LANES) as u64;
                    (layer, group)
                }
                None => match self.layers.next() {
                    Some(layer) => (layer, 0),
                    None if self.layers.is_complete() => {
                        self.phase = Phase::Finished;
                        return Ok(());
                    }
                    None => return Err(SessionError { at: None, kind: ErrorKind::Plan }),
                },
            };
            self.positions.selected = 0;
            self.positions.kept = 0;
            let options = self.plan.header.options;
            let mut group = Group {
                work: layer.work(&options),
                steps: layer.steps(&options, index),
                group: index,
                relus: layer.group_relus(index),
                layer,
                sent: (0, 0),
                received: (0, 0),
                opened: 0,
                pending: None,
                level: None,
                signed: false,
            };
            if index == 0 {
                self.begin_layer(&group)?;
            }
            group.sent = self.next_frame(&group, (0, 0), H::ROLE);
            group.received = self.next_frame(&group, (0, 0), H::ROLE.peer());
            self.count_rounds(&group);
            let finished = group.sent.0 == group.steps.len() && group.received.0 == group.steps.len();
            self.group = Some(group);
            self.local_work()?;
            if !finished {
                return Ok(());
            }
        }
    }

    /// Exchanges of a group: every step that moves anything, but for polynomials beside comparisons.
    pub(super) fn count_rounds(&mut self, group: &Group<'_>) {
        for &step in &group.steps {
            if step == Step::OpenPolynomial && group.relus > 0 {
                continue;
            }
            let moves = (0..group.layer.step_tiles(group.group, step)).any(|tile| {
                [Role::Seed, Role::Bundle].iter().any(|&role| self.payload(group, step, tile, role) > 0)
            });
            self.rounds += u32::from(moves);
        }
    }

    pub(super) fn begin_layer(&mut self, group: &Group<'_>) -> Result<(), SessionError> {
        let layer = &group.layer;
        let options = self.plan.header.options;
        self.half.begin_layer(layer.index, &mut cost::sections(layer, &options));
        self.positions = Positions::default();
        if !self.is_blind() {
            for (index, term) in layer.terms.iter().enumerate() {
                let id = TermId { layer: layer.index, term: index as u8 };
                let geometry = match term.linear {
                    LinearPlan::Convolution(geometry) => geometry,
                    LinearPlan::JoinScaled { geometry } => linear::join_convolution(&geometry),
                    LinearPlan::JoinShift { .. } => continue,
                };
                let prepared = self.model.prepare(id, &geometry, region(self.wires, &term.source));
                prepared.map_err(|e| SessionError { at: None, kind: e.into() })?;
            }
        }
        if layer.pool().is_some() {
            let pooled = layer.pooled[H::ROLE.index()];
            with_words!(WordsMut, region_mut(self.wires, &pooled), windows => windows.fill(0));
        }
        Ok(())
    }

    /// What a group needs of no message: linear sums that flow into a pool or stay with P1, and the last
    /// layer's.
    pub(super) fn local_work(&mut self) -> Result<(), SessionError> {
        let Some(group) = self.group.take() else { return Ok(()) };
        let done = self.local_work_of(&group);
        self.group = Some(group);
        done.map_err(|kind| self.error(kind))
    }

    pub(super) fn local_work_of(&mut self, group: &Group<'p>) -> Result<(), ErrorKind> {
        let (layer, work) = (&group.layer, &group.work);
        match layer.step {
            StepPlan::Rescale { pool: Some(pool), .. } => {
                if !self.is_blind() {
                    for tile in 0..layer.group_tiles(group.group) {
                        let range = layer.tile_range(group.group, tile);
                        self.sum(group, range.clone(), false)?;
                        let pooled = layer.pooled[H::ROLE.index()];
                        with_kind!(work.word, W => {
                            let sums = window_as::<W>(self.window, range.len());
                            for (index, sum) in range.zip(sums) {
                                add_to_windows(self.wires, &pooled, &pool, layer.sum, index, sum.to_u64());
                            }
                        });
                    }
                }
                if self.mode() == Mode::Held && H::ROLE == Role::Bundle && group.group + 1 == layer.groups() {
                    for tile in 0..layer.step_tiles(group.group, Step::OpenPool) {
                        self.pool_values(group, tile, |_| 0)?;
                    }
                }
            }
            StepPlan::Rescale { pool: None, .. } if self.mode() == Mode::Held && H::ROLE == Role::Bundle => {
                for tile in 0..layer.group_tiles(group.group) {
                    let range = layer.tile_range(group.group, tile);
                    self.sum(group, range.clone(), true)?;
                    with_kind!(work.word, W => {
                        let sums: &mut [W] = bytemuck::cast_slice_mut(self.window);
                        let sums = sums.get_mut(..range.len()).unwrap_or(&mut []);
                        for sum in sums.iter_mut() {
                            *sum = sum.reduce(work.ring_bits).shr(work.shift);
                        }
                        store_run(region_mut(self.wires, &layer.output), range, sums);
                    });
                }
            }
            StepPlan::Release { .. } => match self.plan.header.options.release {
                Release::Label => {
                    // Both parties keep an additive share of the logits, P0 in H a word of its stream.
                    self.sum(group, 0..layer.elements(), true)?;
                    self.tournament.begin(layer.elements(), work, H::ROLE == Role::Bundle, self.state, |index| {
                        with_kind!(work.word, W => window_as::<W>(self.window, layer.elements()).get(index).map_or(0, |v| v.to_u64()))
                    });
                    if self.tournament.is_finished() {
                        self.output_ready = true;
                    } else {
                        self.tournament.open(work, &mut self.half, self.state)?;
                    }
                }
                Release::Logits { .. } => {
                    let seed_word = self.is_seed() && !self.is_mutual();
                    let waits = H::ROLE == Role::Bundle && self.mode() == Mode::Shared;
                    if !seed_word && !waits {
                        self.sum(group, 0..layer.elements(), true)?;
                        self.output_words(group, |_| 0)?;
                    } else if seed_word {
                        self.output_words(group, |_| 0)?;
                    }
                }
            },
            StepPlan::Activate { .. } | StepPlan::Rescale { pool: None, .. } => {}
        }
        Ok(())
    }

    /// Moves on from a group whose frames have all passed.
    pub(super) fn finish_group(&mut self) -> Result<(), SessionError> {
        let done =
            self.group.as_ref().is_some_and(|g| g.sent.0 == g.steps.len() && g.received.0 == g.steps.len());
        if done { self.next_group() } else { Ok(()) }
    }
}
