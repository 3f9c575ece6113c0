//! A model dealt into a folder as `halfnet deal` does it, and what the reference says that its inferences
//! must release.

use std::path::PathBuf;

use halfnet_core::gate::argmax;
use halfnet_core::gate::truncation::{self, Coins, Opening};
use halfnet_core::model::blob::{self, ENVELOPE_BYTES, Kind};
use halfnet_core::model::{Model, Normalisation, Step};
use halfnet_core::plan::{Options, Release};
use halfnet_host::check::coins::DealtCoins;
use halfnet_host::party::material::{DealerState, PartyZero, names};
use halfnet_host::party::model::{HostModel, HostWeights};
use halfnet_host::party::process::{DealReport, DealRequest, MoreRequest, deal, deal_more};
use tempfile::TempDir;

use crate::network::Random;
use crate::reference;

/// The seed of everything dealt here, as the command line takes it.
pub const TEST_SEED: &str = "00c0ffee";

/// A dealt folder, removed when dropped.
#[derive(Debug)]
pub struct Dealt {
    /// The model.
    pub model: Model<'static>,
    /// What dealing said.
    pub report: DealReport,
    folder: TempDir,
}

/// A picture's bytes.
pub fn pixels(model: &Model<'_>, seed: u64) -> Vec<u8> {
    let mut random = Random(seed ^ 0xfeed);
    (0..model.header.input.elements()).map(|_| (random.about(120) + 128) as u8).collect()
}

/// The model's file.
pub fn sealed(model: &Model<'_>) -> Vec<u8> {
    let mut body = vec![0; 1 << 22];
    let body = model.encode_body(&mut body).expect("a small model");
    let mut out = vec![0; body.len() + ENVELOPE_BYTES];
    blob::seal(Kind::Model, body, &mut out).expect("room").to_vec()
}

impl Dealt {
    /// Deals `count` bundles of a model whose pixels lie around 128.
    pub fn new(model: Model<'static>, options: Options, count: u64) -> Self {
        Self::with_seed(model, options, count, TEST_SEED)
    }

    /// As [`Dealt::new`] under another seed: another pairing.
    pub fn with_seed(mut model: Model<'static>, options: Options, count: u64, seed: &str) -> Self {
        for normalisation in &mut model.header.normalisation {
            *normalisation = Normalisation::shifted(-128);
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("model.postcard");
        std::fs::write(&path, sealed(&model)).expect("a model file");
        let request = DealRequest {
            model: path,
            out: folder.path().join("dealt"),
            options,
            count,
            test_seed: Some(seed.into()),
        };
        let report = deal(&request, &|_| {}).expect("dealing");
        Self { model, report, folder }
    }

    /// The folder of parties' files.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join("dealt")
    }

    /// One of its files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Continues the counters.
    pub fn more(&self, count: u64) -> DealReport {
        let state = self.file(names::DEALER);
        deal_more(
            &MoreRequest { state, model: None, bundles: None, count, test_seed: Some(TEST_SEED.into()) },
            &|_| {},
        )
        .expect("dealing more")
    }

    /// What inference `counter` must release for a picture; `None` where the picture breaks a range.
    pub fn expected(&self, counter: u64, pixels: &[u8]) -> Option<Vec<i64>> {
        let path = self.file(names::DEALER);
        let state = DealerState::read(&path).expect("the dealer's state");
        let plan = state.public.plan(&path).expect("a plan");
        let zero = PartyZero::read(&self.file(names::PARTY_ZERO)).expect("P0's material");
        let weights = HostWeights::of_seed_party(&plan, &zero).expect("P0's weights");
        let secrets = state.secrets(&plan, counter).expect("a dealt counter");
        let mut coins = DealtCoins::new(plan.clone(), secrets, HostModel::new(weights.into()));
        let picture: Vec<i64> = pixels.iter().map(|&p| i64::from(p) - 128).collect();
        let trace = reference::run(&self.model, &picture, &mut coins);
        let last = self.model.layers.len() - 1;
        let answer = match (plan.header.options.release, &self.model.layers[last].step) {
            (Release::Label, _) => vec![argmax::reference(trace.logits.iter().copied()) as i64],
            (Release::Logits { bits }, Step::Release { ring_bits }) => {
                let shift = ring_bits - bits;
                let mut drawn = vec![0; trace.logits.len()];
                coins.fill(last, Opening::First, shift, 0, &mut drawn);
                trace
                    .logits
                    .iter()
                    .zip(drawn)
                    .map(|(&z, coin)| truncation::reference(z, shift, coin))
                    .collect()
            }
            _ => unreachable!("the last layer releases"),
        };
        coins.finish().expect("coins");
        (trace.violations == 0).then_some(answer)
    }
}
