//! Dealing: from a model to the material of both parties and to bundles, offline.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use halfnet_core::dealer::{self, arena_words};
use halfnet_core::error::ModelError;
use halfnet_core::model::Model;
use halfnet_core::plan::cost::plan_cost;
use halfnet_core::plan::{Options, Plan, Release, compile};
use rayon::prelude::*;
use zeroize::{Zeroize, Zeroizing};

use super::ProcessError;
use crate::party::entropy::Entropy;
use crate::party::material::file::sync_folder;
use crate::party::material::{
    Batch, DealerState, FileError, Lock, PartyOne, PartyZero, Public, create_secret_folder, names,
};
use crate::party::model::{HostModel, HostWeights};
use crate::party::store::{BundleHeader, BundleWriter, Counter};

/// Bytes tried for a plan before more are.
const PLAN_BYTES: usize = 1 << 20;
/// No plan is longer.
const MAX_PLAN_BYTES: usize = 1 << 27;

/// A new pairing.
#[derive(Clone, Debug)]
pub struct DealRequest {
    /// `model.postcard`.
    pub model: PathBuf,
    /// A folder for everything that is made; it must not hold a pairing yet.
    pub out: PathBuf,
    /// What is fixed when dealing.
    pub options: Options,
    /// Bundles: inferences.
    pub count: u64,
    /// Derive everything from this instead of the operating system's entropy.
    pub test_seed: Option<String>,
}

/// More bundles for a pairing.
#[derive(Clone, Debug)]
pub struct MoreRequest {
    /// `dealer.postcard`.
    pub state: PathBuf,
    /// The model, if it lies elsewhere than it did.
    pub model: Option<PathBuf>,
    /// Where bundles go: `bundles` beside the state if not named.
    pub bundles: Option<PathBuf>,
    /// Bundles.
    pub count: u64,
    /// The test seed of the pairing, if it has one.
    pub test_seed: Option<String>,
}

/// What was dealt.
#[derive(Clone, Debug, serde::Serialize)]
pub struct DealReport {
    /// First counter.
    pub first: u64,
    /// Counters.
    pub count: u64,
    /// Bytes of a bundle's correlations.
    pub bundle_bytes: u64,
    /// Bytes that each party sends in an inference, [P0, P1].
    pub bytes_sent: [u64; 2],
    /// Exchanges of an inference.
    pub rounds: u32,
    /// Longest chain of dependent messages.
    pub flights: u32,
    /// Bytes of each party's working memory, [P0, P1].
    pub arena_bytes: [u64; 2],
    /// Dealt under a test seed.
    pub insecure_test_seed: bool,
    /// Bundles that this pairing was ever dealt: they cap the queries.
    pub dealt: u64,
    /// What repeated queries would tell.
    pub note: String,
}

/// What repeated queries tell the client, in words; `dealt` bundles of the pairing cap them.
#[must_use]
pub fn repetition_note(release: Release, dealt: u64) -> String {
    let bits = 0.5 * (dealt.max(1) as f64).log2();
    let released = match release {
        Release::Label => "the label".to_owned(),
        Release::Logits { bits } => format!("logits of {bits} bits"),
    };
    format!(
        "each inference releases {released}; rounding is unbiased, so N repeats of one input add about ½·log2 N bits to each logit \
         ({bits:.1} bits if all {dealt} bundles of this pairing went to one input), and fine logits tell about the weights. Nothing caps \
         repeated queries but the number of bundles."
    )
}

fn read_model(path: &Path) -> Result<(Zeroizing<Vec<u8>>, [u8; 32]), ProcessError> {
    let bytes = std::fs::read(path).map_err(FileError::io("read", path))?;
    let hash = *blake3::hash(&bytes).as_bytes();
    Ok((Zeroizing::new(bytes), hash))
}

fn decode<'a>(path: &Path, bytes: &'a [u8]) -> Result<Model<'a>, ProcessError> {
    Model::decode(bytes).map_err(|source| ProcessError::Model { path: path.display().to_string(), source })
}

/// The plan's bytes.
fn compile_plan(model: &Model<'_>, options: &Options) -> Result<Vec<u8>, ProcessError> {
    let mut size = PLAN_BYTES;
    loop {
        let mut bytes = vec![0; size];
        match compile::compile(model, options, &mut bytes) {
            Ok(length) => {
                bytes.truncate(length);
                return Ok(bytes);
            }
            // The error of a short buffer too.
            Err(ModelError::TooLarge) if size < MAX_PLAN_BYTES => size *= 8,
            Err(e) => return Err(ProcessError::Plan(e)),
        }
    }
}

/// Makes a new pairing: material of both parties, what a third client needs, the dealer's state, and bundles.
///
/// `progress` is told how many bundles are done.
///
/// # Errors
/// The model is malformed or the options do not fit it, the folder holds a pairing already, or the disk
/// fails.
pub fn deal(request: &DealRequest, progress: &(dyn Fn(u64) + Sync)) -> Result<DealReport, ProcessError> {
    let (bytes, model_hash) = read_model(&request.model)?;
    let model = decode(&request.model, &bytes)?;
    let plan_bytes = compile_plan(&model, &request.options)?;
    create_secret_folder(&request.out)?;
    let place = |name: &str| request.out.join(name);
    let bundles = place(names::BUNDLES);
    let zero = place(names::PARTY_ZERO);
    let counter = Counter::path_beside(&zero);
    let _lock = Lock::take(&place(names::DEALER))?;
    let occupied =
        [names::DEALER, names::PARTY_ZERO, names::PARTY_ONE, names::PLAN, names::BUNDLES].map(place);
    if let Some(path) = occupied.into_iter().chain([counter.clone()]).find(|path| path.exists()) {
        return Err(FileError::Exists { path }.into());
    }

    let mut entropy = Entropy::from_flag(request.test_seed.as_deref())?;
    let public = Public {
        pairing: *entropy.bytes()?,
        provisioning: *entropy.bytes()?,
        plan: plan_bytes,
        test: entropy.is_test(),
    };
    let mut state = DealerState {
        dealer_seed: entropy.key()?,
        party_seed: entropy.key()?,
        public,
        next: 0,
        batches: Vec::new(),
        model: std::path::absolute(&request.model)?,
        model_hash,
    };
    let plan = Plan::decode(&state.public.plan).map_err(ProcessError::Plan)?;
    let party_zero = PartyZero { public: state.public.clone(), seed: state.party_seed.clone() };
    Counter::create(&counter, state.public.pairing)?;
    party_zero.write(&zero)?;
    PartyOne::write(&place(names::PARTY_ONE), &state.public, &plan, &model, &state.party_seed)?;
    state.public.write(&place(names::PLAN))?;
    create_secret_folder(&bundles)?;
    drop(plan);
    deal_batch(&mut state, &place(names::DEALER), &bundles, &model, request.count, &entropy, progress)
}

/// Continues a pairing's counters with more bundles; P0 need not know.
///
/// # Errors
/// The state is damaged, the model is not the one dealt before, or the disk fails.
pub fn deal_more(request: &MoreRequest, progress: &(dyn Fn(u64) + Sync)) -> Result<DealReport, ProcessError> {
    // Missing or damaged is said before a lock is made beside it.
    DealerState::read(&request.state)?;
    // From the reading of the next counter until its bundles are made: two runs at once would deal one
    // counter twice.
    let _lock = Lock::take(&request.state)?;
    let mut state = DealerState::read(&request.state)?;
    let entropy = Entropy::from_flag(request.test_seed.as_deref())?;
    match (state.public.test, entropy.is_test()) {
        (true, false) => return Err(ProcessError::TestSeed { dealt: true }),
        (false, true) => return Err(ProcessError::TestSeed { dealt: false }),
        _ => {}
    }
    let path = request.model.clone().unwrap_or_else(|| state.model.clone());
    let (bytes, hash) = read_model(&path)?;
    if hash != state.model_hash {
        return Err(ProcessError::OtherModel { path: path.display().to_string() });
    }
    let model = decode(&path, &bytes)?;
    let beside = || request.state.parent().unwrap_or(Path::new("")).join(names::BUNDLES);
    let bundles = request.bundles.clone().unwrap_or_else(beside);
    create_secret_folder(&bundles)?;
    deal_batch(&mut state, &request.state, &bundles, &model, request.count, &entropy, progress)
}

fn deal_batch(
    state: &mut DealerState,
    state_path: &Path,
    bundles: &Path,
    model: &Model<'_>,
    count: u64,
    entropy: &Entropy,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<DealReport, ProcessError> {
    let first = state.next;
    let next = first.checked_add(count).ok_or(ProcessError::NoCounters { count })?;
    // Drawn anew at every dealing run. Under a test seed it follows from the seed and the first counter,
    // which never comes twice.
    let deal = *entropy.part("halfnet 1 deal identifier", first).bytes()?;
    // On disk before the first bundle: a counter is never dealt twice, whatever crashes.
    state.next = next;
    state.batches.push(Batch { deal, first, count });
    state.write(state_path)?;

    let state = &*state;
    let plan = state.public.plan(state_path)?;
    let agreement = state.public.agreement(&plan);
    let weights = Arc::new(HostWeights::of_dealer(&plan, model)?);
    let done = AtomicU64::new(0);
    let worker = || (HostModel::new(weights.clone()), Arena(vec![0; arena_words(&plan)]));
    (first..next).into_par_iter().try_for_each_init(worker, |(weights, arena), counter| {
        let secrets = dealer::Secrets::new(&state.dealer_seed, &state.party_seed, &agreement, &deal, counter);
        let mut writer = BundleWriter::create(bundles, &BundleHeader { agreement, deal, counter })?;
        dealer::deal(&plan, model, &secrets, weights, &mut arena.0, writer.sink())
            .map_err(|source| ProcessError::Deal { counter, source })?;
        writer.finish()?;
        progress(done.fetch_add(1, Ordering::Relaxed) + 1);
        Ok::<_, ProcessError>(())
    })?;
    sync_folder(bundles)?;
    let cost = plan_cost(&plan);
    let arena = |role| 8 * plan.arena_words(role) as u64;
    Ok(DealReport {
        first,
        count,
        bundle_bytes: cost.bundle_bytes,
        bytes_sent: cost.bytes_sent,
        rounds: cost.rounds,
        flights: cost.flights,
        arena_bytes: [arena(halfnet_core::plan::Role::Seed), arena(halfnet_core::plan::Role::Bundle)],
        insecure_test_seed: state.public.test,
        dealt: next,
        note: repetition_note(plan.header.options.release, next),
    })
}

/// The dealer's working memory holds masks.
struct Arena(Vec<u64>);

impl Drop for Arena {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
