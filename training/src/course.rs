//! The way of a run through its pictures: epochs of batches in an order that the seed alone decides, and what
//! they came to.

use std::time::Instant;

use halfnet_host::network::data::DataSet;
use halfnet_layers::LANES;
use serde::{Deserialize, Serialize};

use crate::data::{Augmentation, Batch, Parts, batch};
use crate::error::TrainError;
use crate::network::Network;

/// A run's place between two steps.
#[derive(Debug)]
pub(crate) struct Course<'a> {
    network: &'a Network,
    pub(crate) set: &'a DataSet,
    pub(crate) parts: Parts,
    /// Pictures of a batch.
    batch: usize,
    epochs: u32,
    seed: u64,
    /// Steps taken.
    pub(crate) step: u64,
    /// Sum of the epoch's losses, and how many there were.
    losses: (f64, u64),
    started: Instant,
    /// Seconds that were spent before a checkpoint was read.
    before: f64,
    /// The epoch whose order this is, and the order.
    order: Option<(u64, Vec<usize>)>,
}

/// An epoch that has just ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ended {
    /// From 1.
    pub(crate) epoch: u32,
    /// Mean loss of the steps that were not skipped.
    pub(crate) loss: f32,
}

/// What a checkpoint keeps of a course. Floats that a result depends on are kept as their bits.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    step: u64,
    losses: (u64, u64),
    seconds: f64,
}

impl<'a> Course<'a> {
    /// A course at its start.
    ///
    /// # Errors
    /// The pictures fill no batch, or it is no whole number of blocks.
    pub(crate) fn new(
        network: &'a Network,
        set: &'a DataSet,
        parts: Parts,
        batch: usize,
        epochs: u32,
        seed: u64,
    ) -> Result<Self, TrainError> {
        if batch == 0 || !batch.is_multiple_of(LANES) {
            return Err(TrainError::Usage(format!("a batch of {batch}: must be a multiple of {LANES}")));
        }
        if parts.batches(batch) == 0 || epochs == 0 {
            let text = format!(
                "{} training pictures fill no batch of {batch} in {epochs} epochs",
                parts.training.len()
            );
            return Err(TrainError::Usage(text));
        }
        let started = Instant::now();
        Ok(Self {
            network,
            set,
            parts,
            batch,
            epochs,
            seed,
            step: 0,
            losses: (0.0, 0),
            started,
            before: 0.0,
            order: None,
        })
    }

    /// Steps of an epoch.
    pub(crate) fn batches(&self) -> u64 {
        self.parts.batches(self.batch) as u64
    }

    /// Steps in all.
    pub(crate) fn total(&self) -> u64 {
        u64::from(self.epochs) * self.batches()
    }

    /// Part of the steps that are taken.
    pub(crate) fn progress(&self) -> f32 {
        self.step as f32 / self.total() as f32
    }

    /// The pictures of the next step.
    pub(crate) fn pictures(&mut self) -> Batch {
        let (epoch, index) = (self.step / self.batches(), (self.step % self.batches()) as usize);
        let order = match self.order.take() {
            Some((of, order)) if of == epoch => order,
            _ => self.parts.epoch(self.seed, epoch),
        };
        let chosen = &order[index * self.batch..(index + 1) * self.batch];
        let augmentation = Augmentation::of(self.network.data_set);
        let pictures = batch(self.set, &self.network.normalisation, chosen, augmentation, (self.seed, epoch));
        self.order = Some((epoch, order));
        pictures
    }

    /// Counts a step that had this loss, or was skipped; says what its epoch came to if it was the last of
    /// one.
    pub(crate) fn took(&mut self, loss: Option<f32>) -> Option<Ended> {
        if let Some(loss) = loss {
            self.losses.0 += f64::from(loss);
            self.losses.1 += 1;
        }
        self.step += 1;
        if !self.step.is_multiple_of(self.batches()) {
            return None;
        }
        let (sum, count) = std::mem::take(&mut self.losses);
        Some(Ended { epoch: (self.step / self.batches()) as u32, loss: (sum / count.max(1) as f64) as f32 })
    }

    /// Seconds since the start.
    pub(crate) fn seconds(&self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64()
    }

    /// For a checkpoint.
    pub(crate) fn place(&self) -> Place {
        Place { step: self.step, losses: (self.losses.0.to_bits(), self.losses.1), seconds: self.seconds() }
    }

    /// Goes on from a checkpoint's.
    pub(crate) fn set_place(&mut self, place: &Place) {
        (self.step, self.losses) = (place.step, (f64::from_bits(place.losses.0), place.losses.1));
        (self.started, self.before, self.order) = (Instant::now(), place.seconds, None);
    }
}
