//! What two parties will answer, bit for bit, from what the dealer knows.

use std::path::Path;
use std::sync::Arc;

use halfnet_core::dealer::Secrets;
use halfnet_core::model::Model;
use halfnet_core::party::half::MaterialError;
use halfnet_core::plan::{Options, Plan, Release};
use thiserror::Error;

use crate::check::coins::{DealtCoins, wire_masks};
use crate::network::simulate::{Observer, Outcome, Reference};
use crate::party::material::{DealerState, FileError, PartyZero};
use crate::party::model::{HostModel, HostWeights, WeightError};

/// Why an answer could not be predicted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PredictError {
    /// The dealer's state.
    #[error(transparent)]
    File(#[from] FileError),
    /// P0's weight shares.
    #[error(transparent)]
    Weights(#[from] WeightError),
    /// The model is not the one that was dealt.
    #[error("this model is not the one that {state} was dealt from: name the same file")]
    OtherModel {
        /// The dealer's state.
        state: String,
    },
    /// No bundle of that counter was dealt.
    #[error("counter {counter} was never dealt: {state} knows those below {next}")]
    Counter {
        /// The counter asked for.
        counter: u64,
        /// The dealer's state.
        state: String,
        /// The next counter to be dealt.
        next: u64,
    },
    /// The streams ended.
    #[error("the coins of counter {counter} cannot be derived: {source}")]
    Coins {
        /// The counter.
        counter: u64,
        /// What is wrong.
        source: MaterialError,
    },
}

/// Predicts the answers of one pairing.
#[derive(Debug)]
pub struct Predictor {
    state: DealerState,
    path: String,
    weights: Arc<HostWeights>,
    reference: Reference,
}

/// A predicted answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// What is released: the label alone, or the cut logits.
    pub values: Vec<i64>,
    /// What the reference computed on the way.
    pub outcome: Outcome,
}

impl Predictor {
    /// A predictor from `dealer.postcard` and the bytes of the model that was dealt.
    ///
    /// # Errors
    /// The state cannot be read, or is of another model.
    pub fn open(path: &Path, model_bytes: &[u8], model: &Model<'_>) -> Result<Self, PredictError> {
        let state = DealerState::read(path)?;
        if state.model_hash != *blake3::hash(model_bytes).as_bytes() {
            return Err(PredictError::OtherModel { state: path.display().to_string() });
        }
        let plan = state.public.plan(path)?;
        let zero = PartyZero { public: state.public.clone(), seed: state.party_seed.clone() };
        let weights = Arc::new(HostWeights::of_seed_party(&plan, &zero)?);
        drop(plan);
        Ok(Self { state, path: path.display().to_string(), weights, reference: Reference::new(model) })
    }

    /// The reference that it runs.
    #[must_use]
    pub const fn reference(&self) -> &Reference {
        &self.reference
    }

    /// What was fixed when dealing.
    ///
    /// # Errors
    /// The plan inside the state is none.
    pub fn options(&self) -> Result<Options, PredictError> {
        Ok(self.state.public.plan(Path::new(&self.path))?.header.options)
    }

    /// The next counter to be dealt: those below it can be predicted.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.state.next
    }

    fn secrets(&self, plan: &Plan<'_>, counter: u64) -> Result<Secrets, PredictError> {
        let absent = || PredictError::Counter { counter, state: self.path.clone(), next: self.state.next };
        self.state.secrets(plan, counter).ok_or_else(absent)
    }

    /// A of every wire of inference `counter`, modulo 2^W: that of the input, then those that the layers
    /// write.
    ///
    /// # Errors
    /// The counter was never dealt, or its streams failed.
    pub fn wire_masks(&self, counter: u64) -> Result<Vec<Vec<u64>>, PredictError> {
        let plan: Plan<'_> = self.state.public.plan(Path::new(&self.path))?;
        let secrets = self.secrets(&plan, counter)?;
        wire_masks(&plan, &secrets).map_err(|source| PredictError::Coins { counter, source })
    }

    /// The answer of inference `counter` on a picture; `observer` sees every layer.
    ///
    /// # Shapes
    /// `pixels`: the model's input.
    ///
    /// # Errors
    /// The counter was never dealt, or its streams failed.
    pub fn answer(
        &self,
        counter: u64,
        pixels: &[u8],
        observer: Option<&mut dyn Observer>,
    ) -> Result<Prediction, PredictError> {
        let plan: Plan<'_> = self.state.public.plan(Path::new(&self.path))?;
        let secrets = self.secrets(&plan, counter)?;
        let release = plan.header.options.release;
        let mut coins = DealtCoins::new(plan, secrets, HostModel::new(self.weights.clone()));
        let outcome = self.reference.run(&self.reference.input(pixels), &mut coins, observer);
        let values = match release {
            Release::Label => vec![outcome.label() as i64],
            Release::Logits { bits } => self.reference.release(&outcome.logits, bits, &mut coins),
        };
        coins.finish().map_err(|source| PredictError::Coins { counter, source })?;
        Ok(Prediction { values, outcome })
    }
}
