//! The dealer's own state: what it needs to go on dealing, and what a simulator needs to predict every coin.

use std::path::{Path, PathBuf};

use halfnet_core::dealer::Secrets;
use halfnet_core::model::blob::Kind;
use halfnet_core::plan::Plan;
use halfnet_core::prg::Key;
use halfnet_core::wire::message::Identifier;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::file::{read_sealed, write_sealed};
use super::{FileError, Public};

/// Bundles that one dealing run made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Drawn anew at every dealing run.
    pub deal: Identifier,
    /// Its first counter.
    pub first: u64,
    /// Its number of counters.
    pub count: u64,
}

/// The dealer's state.
#[derive(Debug)]
pub struct DealerState {
    /// Identifiers and plan.
    pub public: Public,
    /// The dealer's own randomness follows from it.
    pub dealer_seed: Key,
    /// P0's seed.
    pub party_seed: Key,
    /// The next counter to be dealt. Advanced before the bundles are made: a counter is never dealt twice.
    pub next: u64,
    /// All dealing runs.
    pub batches: Vec<Batch>,
    /// Where the model lay.
    pub model: PathBuf,
    /// BLAKE3 of the model's file.
    pub model_hash: [u8; 32],
}

#[derive(Serialize, Deserialize)]
struct Body {
    public: Public,
    dealer_seed: Zeroizing<[u8; 32]>,
    party_seed: Zeroizing<[u8; 32]>,
    next: u64,
    batches: Vec<Batch>,
    model: String,
    model_hash: [u8; 32],
}

impl DealerState {
    /// Writes `dealer.postcard`, replacing the one before.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        let body = Body {
            public: self.public.clone(),
            dealer_seed: Zeroizing::new(*self.dealer_seed.expose()),
            party_seed: Zeroizing::new(*self.party_seed.expose()),
            next: self.next,
            batches: self.batches.clone(),
            model: self.model.to_string_lossy().into_owned(),
            model_hash: self.model_hash,
        };
        write_sealed(path, Kind::State, &body)
    }

    /// Reads `dealer.postcard`.
    ///
    /// # Errors
    /// It cannot be read, is damaged or of another kind.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let body: Body = read_sealed(path, Kind::State)?;
        body.public.plan(path)?;
        Ok(Self {
            public: body.public,
            dealer_seed: Key::new(*body.dealer_seed),
            party_seed: Key::new(*body.party_seed),
            next: body.next,
            batches: body.batches,
            model: PathBuf::from(body.model),
            model_hash: body.model_hash,
        })
    }

    /// The dealer's secrets of one inference; `None` if its counter was never dealt.
    #[must_use]
    pub fn secrets(&self, plan: &Plan<'_>, counter: u64) -> Option<Secrets> {
        let batch =
            self.batches.iter().find(|b| (b.first..b.first.saturating_add(b.count)).contains(&counter))?;
        Some(Secrets::new(
            &self.dealer_seed,
            &self.party_seed,
            &self.public.agreement(plan),
            &batch.deal,
            counter,
        ))
    }
}
