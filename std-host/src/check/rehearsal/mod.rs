//! Both parties in one process, in lock step, with everything kept: each frame, and E of each wire that P1
//! multiplied by.
//!
//! A rehearsal is dealt for looking into it: whoever holds all of this has the picture and the network. Its
//! material lies in a folder of its own for as long as the value lives, the sessions are those of the real
//! parties, and only the links between them are missing.

mod lockstep;

use std::path::PathBuf;
use std::sync::Arc;

use halfnet_core::model::Model;
use halfnet_core::plan::{Options, Plan, Role};
use halfnet_core::wire::message::Agreement;

use crate::check::predict::Predictor;
use crate::check::trial::{Folder, TrialError};
use crate::party::material::{PartyOne, PartyZero, names, write_secret};
use crate::party::model::HostWeights;
use crate::party::process::{DealRequest, ProcessError, deal};
use crate::party::store::BundleStore;

/// Who sent a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A party, to the other or (its words of the output) to a third client.
    Party(Role),
    /// A third client: E, the same to each party that needs it.
    Client,
}

/// A frame as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// By whom.
    pub from: Sender,
    /// Header and payload.
    pub bytes: Vec<u8>,
}

/// The line between the parties and their client: takes each frame as it was sent, gives what is delivered.
pub trait Wire {
    /// Delivers a frame, header and payload.
    fn carry(&mut self, frame: Frame) -> Vec<u8>;
}

/// Delivers every frame as it was sent, and keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorder {
    /// Every frame in the order of sending, which is the same in every run of a plan.
    pub frames: Vec<Frame>,
}

impl Wire for Recorder {
    fn carry(&mut self, frame: Frame) -> Vec<u8> {
        let delivered = frame.bytes.clone();
        self.frames.push(frame);
        delivered
    }
}

/// Delivers every frame as it was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plain;

impl Wire for Plain {
    fn carry(&mut self, frame: Frame) -> Vec<u8> {
        frame.bytes
    }
}

/// One rehearsed inference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its counter.
    pub counter: u64,
    /// The label alone, or the released logits.
    pub answer: Vec<i64>,
    /// E of each wire, modulo 2^W, where a convolution reads it; wire 0 is the input.
    pub masked: Vec<Option<Vec<u64>>>,
}

/// Material dealt for looking into it.
#[derive(Debug)]
pub struct Rehearsal {
    folder: Folder,
    zero: PartyZero,
    agreement: Agreement,
    weights: [Arc<HostWeights>; 2],
    store: BundleStore,
    predictor: Predictor,
}

impl Rehearsal {
    /// Deals `count` inferences of a model.
    ///
    /// # Errors
    /// The options do not fit the model, or the disk fails.
    pub fn new(
        model_bytes: &[u8],
        options: Options,
        count: u64,
        test_seed: Option<&str>,
    ) -> Result<Self, TrialError> {
        let model = Model::decode(model_bytes)?;
        // Refused here already, with its own error.
        crate::check::inspection::plan_bytes(&model, &options)?;
        let folder =
            Folder::new().map_err(|source| TrialError::Folder { path: std::env::temp_dir(), source })?;
        let path = folder.path().join("model.postcard");
        write_secret(&path, |out| out.write_all(model_bytes))?;
        let out = folder.path().join("dealt");
        deal(
            &DealRequest {
                model: path,
                out: out.clone(),
                options,
                count,
                test_seed: test_seed.map(str::to_owned),
            },
            &|_| {},
        )?;
        let zero_path = out.join(names::PARTY_ZERO);
        let zero = PartyZero::read(&zero_path).map_err(ProcessError::from)?;
        let one = PartyOne::open(&out.join(names::PARTY_ONE)).map_err(ProcessError::from)?;
        let plan = zero.public.plan(&zero_path).map_err(ProcessError::from)?;
        let agreement = zero.public.agreement(&plan);
        let weights = [HostWeights::of_seed_party(&plan, &zero), HostWeights::of_bundle_party(&plan, &one)];
        let [first, second] = weights.map(|w| w.map(Arc::new).map_err(ProcessError::from));
        let weights = [first?, second?];
        let store =
            BundleStore::open(&out.join(names::BUNDLES), agreement, &plan).map_err(ProcessError::from)?;
        let predictor = Predictor::open(&out.join(names::DEALER), model_bytes, &model)?;
        drop(plan);
        Ok(Self { folder, zero, agreement, weights, store, predictor })
    }

    /// Knows what each of these inferences must answer.
    #[must_use]
    pub const fn predictor(&self) -> &Predictor {
        &self.predictor
    }

    /// The plan's bytes.
    #[must_use]
    pub fn plan_bytes(&self) -> &[u8] {
        &self.zero.public.plan
    }

    fn plan(&self) -> Result<Plan<'_>, ProcessError> {
        Ok(self.zero.public.plan(&self.path())?)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("dealt").join(names::PARTY_ZERO)
    }

    /// Runs the next inference; its frames travel over `wire`.
    ///
    /// # Shapes
    /// `pixels`: the model's input, bytes in (channel, row, column) order.
    ///
    /// # Errors
    /// The picture has another size, no bundle is left, or a session ended early.
    pub fn run(&mut self, pixels: &[u8], wire: &mut dyn Wire) -> Result<Run, TrialError> {
        let bundle = self.store.lowest().map_err(ProcessError::from)?;
        let header = *bundle.header();
        let windows = bundle.burn(&mut self.store).map_err(ProcessError::from)?;
        Ok(lockstep::run(self, &header, windows, pixels, wire)?)
    }
}
