//! A group of a layer's tiles: what it moves, with what has to be counted for it counted once.

use super::step::MAX_STEPS;
use super::{LayerPlan, Options, Role, Step, Work};
use crate::exchange::{self, Place};
use crate::model::Bitmap;

/// A group of tiles, whose comparisons are carried out together.
#[derive(Clone, Copy, Debug)]
pub struct GroupPlan<'l, 'p> {
    /// Its layer.
    pub layer: &'l LayerPlan<'p>,
    /// What was chosen when dealing.
    pub options: &'l Options,
    /// The layer's widths.
    pub work: &'l Work,
    /// Its number in the layer.
    pub index: usize,
    /// Its ReLUs.
    pub relus: usize,
}

impl<'l, 'p> GroupPlan<'l, 'p> {
    /// Group `index` of a layer.
    #[must_use]
    pub fn new(layer: &'l LayerPlan<'p>, options: &'l Options, work: &'l Work, index: usize) -> Self {
        Self { layer, options, work, index, relus: layer.group_relus(index) }
    }

    /// Its steps, in the order of every direction.
    #[must_use]
    pub fn steps(&self) -> heapless::Vec<Step, MAX_STEPS> {
        exchange::steps(self)
    }

    /// Frames of a step, before empty ones are left out.
    #[must_use]
    pub fn frames(&self, step: Step) -> usize {
        step.frames(self)
    }

    /// Payload bytes of a frame that `role` sends; 0 where it sends none.
    #[must_use]
    pub fn payload(&self, step: Step, tile: usize, role: Role) -> usize {
        step.payload(&Place { group: self, tile }, role)
    }

    /// The payloads of a step's frames, as (payload bytes, how many frames in a row have them). Where all tiles
    /// are of one kind only the last can be another: their number then costs nothing.
    pub fn payloads(&self, step: Step, role: Role) -> impl Iterator<Item = (usize, usize)> + use<'_> {
        let runs = runs(self.frames(step), self.layer.is_uniform());
        runs.map(move |(tile, count)| (self.payload(step, tile, role), count))
    }
}

impl<'p> LayerPlan<'p> {
    /// Are its elements all ReLU, or all something else? Then all of its tiles but the last are alike.
    #[must_use]
    pub const fn is_uniform(&self) -> bool {
        !matches!(self.relu(), Bitmap::Bits(_))
    }

    /// Its groups, as (a group, how many in a row are like it): one by one where a bitmap makes them differ.
    pub fn group_plans<'l>(
        &'l self,
        options: &'l Options,
        work: &'l Work,
    ) -> impl Iterator<Item = (GroupPlan<'l, 'p>, usize)> {
        runs(self.groups(), self.is_uniform())
            .map(move |(index, count)| (GroupPlan::new(self, options, work, index), count))
    }
}

/// (first, count) of runs of alike things among `count`: each alone, or all but the last and the last.
fn runs(count: usize, uniform: bool) -> impl Iterator<Item = (usize, usize)> {
    let last = count.saturating_sub(1);
    let (alike, step) = if uniform { (last, last.max(1)) } else { (1, 1) };
    (0..last).step_by(step).map(move |first| (first, alike)).chain((count > 0).then_some((last, 1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn runs_cover_everything_once() {
        for uniform in [false, true] {
            for count in 0..6 {
                let all: Vec<_> = runs(count, uniform).collect();
                assert_eq!(all.iter().map(|(_, many)| many).sum::<usize>(), count, "{uniform} {count}");
                assert_eq!(all.last().map(|run| run.0), count.checked_sub(1));
                assert!(all.windows(2).all(|pair| pair[0].0 + pair[0].1 == pair[1].0), "{all:?}");
                assert!(!uniform || all.len() <= 2);
            }
        }
    }
}
