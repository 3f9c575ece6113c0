//! Where a session stands in the plan: groups of tiles one after another, and in each the frames of both
//! directions.

use super::half::{Half, ModelHalf};
use super::session::{Phase, Session};
use super::{ErrorKind, SessionError};
use crate::exchange;
use crate::exchange::party::{Course, Group};
use crate::plan::step::MAX_STEPS;
use crate::plan::{Options, Role, Step};
use crate::wire::frame::Header;

/// Where the walk stands in one direction: (index in the group's steps, tile).
pub(super) type Place = (usize, usize);

/// The walk through one group.
pub(super) struct Walk<'p> {
    pub(super) group: Group<'p>,
    pub(super) steps: heapless::Vec<Step, MAX_STEPS>,
    pub(super) sent: Place,
    pub(super) received: Place,
}

impl<'p> Walk<'p> {
    fn new<H: Half>(group: Group<'p>, options: &Options) -> Self {
        let steps = group.plan(options).steps();
        let mut walk = Self { group, steps, sent: (0, 0), received: (0, 0) };
        walk.sent = walk.next_frame(options, (0, 0), H::ROLE);
        walk.received = walk.next_frame(options, (0, 0), H::ROLE.peer());
        walk
    }

    /// Layer and step.
    pub(super) fn at(&self) -> Option<(u16, Step)> {
        let index = self.sent.0.min(self.received.0).min(self.steps.len().saturating_sub(1));
        Some((self.group.layer.index, *self.steps.get(index)?))
    }

    /// The header of a frame.
    pub(super) fn header(&self, options: &Options, step: Step, tile: usize, role: Role) -> Header {
        Header {
            layer: self.group.layer.index,
            step: step.code(),
            tile: self.group.layer.frame_tile(self.group.index, step, tile),
            length: self.group.plan(options).payload(step, tile, role) as u32,
        }
    }

    /// The next place at which `role` has a frame to send, from `place` on.
    pub(super) fn next_frame(&self, options: &Options, mut place: Place, role: Role) -> Place {
        let group = self.group.plan(options);
        while let Some(&step) = self.steps.get(place.0) {
            while place.1 < group.frames(step) {
                if group.payload(step, place.1, role) > 0 {
                    return place;
                }
                place.1 += 1;
            }
            place = (place.0 + 1, 0);
        }
        place
    }

    /// Exchanges of the group: every step that moves anything, but for what travels beside comparisons.
    fn rounds(&self, options: &Options) -> u32 {
        let group = self.group.plan(options);
        let sends = |step: Step, role: Role| group.payloads(step, role).any(|(payload, _)| payload > 0);
        let moves = |step: &&Step| [Role::Seed, Role::Bundle].iter().any(|&role| sends(**step, role));
        let counts = |step: &&Step| !step.is_beside_comparisons() || self.group.relus == 0;
        self.steps.iter().filter(counts).filter(moves).count() as u32
    }

    /// Every frame has passed.
    fn is_over(&self) -> bool {
        self.sent.0 == self.steps.len() && self.received.0 == self.steps.len()
    }
}

impl<H: Half, M: ModelHalf> Session<'_, '_, H, M> {
    /// Begins the next group, or the next layer, or ends; does what needs no message.
    pub(super) fn next_group(&mut self) -> Result<(), SessionError> {
        self.phase = Phase::Layers;
        let options = self.plan.header.options;
        loop {
            let group = match self.walk.take().and_then(|walk| walk.group.next(&options)) {
                Some(group) => group,
                None => match self.layers.next() {
                    Some(layer) => {
                        let failed = |kind| SessionError { at: None, kind };
                        self.party.begin_layer(&layer).map_err(failed)?;
                        Group::new(layer, &options, 0, Course::default())
                    }
                    None if self.layers.is_complete() => {
                        self.phase = Phase::Finished;
                        return Ok(());
                    }
                    None => return Err(SessionError { at: None, kind: ErrorKind::Plan }),
                },
            };
            let mut walk = Walk::new::<H>(group, &options);
            self.rounds += walk.rounds(&options);
            let begun = exchange::begin(&mut self.party, &mut walk.group);
            let is_over = walk.is_over();
            self.walk = Some(walk);
            begun.map_err(|kind| self.error(kind))?;
            if !is_over {
                return Ok(());
            }
        }
    }

    /// Moves on from a group whose frames have all passed.
    pub(super) fn finish_group(&mut self) -> Result<(), SessionError> {
        if self.walk.as_ref().is_some_and(Walk::is_over) { self.next_group() } else { Ok(()) }
    }
}
