//! What is fixed when dealing, as flags: mode, client, release, memory, comparison leaves.

use std::str::FromStr;

use clap::{Args, ValueEnum};
use halfnet_core::model::{Model, Step};
use halfnet_core::plan::compile::ample;
use halfnet_core::plan::{Client, Mode, Options, Release};

/// Flags that `deal`, `demo`, `bench`, `inspect`, `compare` and `transcript record` share.
#[derive(Clone, Debug, Args)]
pub(crate) struct DealFlags {
    /// Who holds the weights: two servers (t), shared with a client (s), held by P1 (h)
    #[arg(long, value_enum)]
    mode: Option<ModeFlag>,
    /// Who brings the picture and gets the answer
    #[arg(long, value_enum)]
    client: Option<ClientFlag>,
    /// What the client learns: `label`, or `logits:BITS` (at most min(16, b − 2) of the last layer; `logits`
    /// for the most)
    #[arg(long, value_name = "label|logits[:BITS]")]
    release: Option<ReleaseFlag>,
    /// Bytes that P0's arena may take; tiles are made smaller to fit [default: as many as it likes]
    #[arg(long, value_name = "BYTES")]
    p0_memory: Option<u64>,
    /// Bytes that P1's arena may take [default: as many as it likes]
    #[arg(long, value_name = "BYTES")]
    p1_memory: Option<u64>,
    /// Bits of a comparison's leaf: more of them make fewer rounds and larger bundles
    #[arg(long, value_name = "BITS", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=8))]
    chunk: u8,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeFlag {
    /// Two servers, the weights shared between them
    T,
    /// The weights shared, openings by turns
    S,
    /// The weights held by P1
    H,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ClientFlag {
    /// The seed party itself
    P0,
    /// Somebody who talks to both parties
    Third,
}

#[derive(Clone, Copy, Debug)]
enum ReleaseFlag {
    Label,
    Logits(Option<u8>),
}

impl FromStr for ReleaseFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bits = |bits: &str| bits.parse().ok().filter(|b| (1..=16).contains(b));
        match text.split_once(':') {
            None if text == "label" => Ok(Self::Label),
            None if text == "logits" => Ok(Self::Logits(None)),
            Some(("logits", "exact" | "all")) => {
                Err("exact logits are never released: BITS must be 1 to 16".to_owned())
            }
            Some(("logits", text)) => {
                bits(text).map(|b| Self::Logits(Some(b))).ok_or_else(|| "BITS must be 1 to 16".to_owned())
            }
            _ => Err("must be `label`, `logits` or `logits:BITS`, BITS from 1 to 16".to_owned()),
        }
    }
}

/// The flag of everything that deals or opens connections.
#[derive(Clone, Debug, Args)]
pub(crate) struct TestSeed {
    /// Derive every secret and nonce from this: repeatable, insecure, and what is dealt works on loopback
    /// alone
    #[arg(long, value_name = "HEX")]
    insecure_test_seed: Option<String>,
}

impl TestSeed {
    /// The seed, if there is one, after a warning.
    pub(crate) fn warned(&self) -> Option<String> {
        if self.insecure_test_seed.is_some() {
            warn_of_test_seed();
        }
        self.insecure_test_seed.clone()
    }
}

/// Says on standard error what a test seed means.
pub(crate) fn warn_of_test_seed() {
    eprintln!(
        "warning: --insecure-test-seed makes secrets that anybody can know; for tests on this machine alone"
    );
}

/// What is meant where a flag is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defaults {
    /// Mode s, P0 as the client, the label alone.
    Private,
    /// Mode t, a third client, logits with the most bits allowed: what measures the most.
    Measured,
    /// Mode s, P0 as the client, logits with the most bits allowed: what is dealt to be looked into.
    Looked,
}

impl DealFlags {
    /// Options for a model. Whether they go together is the plan's to say.
    pub(crate) fn resolve(&self, model: &Model<'_>, defaults: Defaults) -> Options {
        let measured = defaults == Defaults::Measured;
        let mode = match self.mode {
            Some(ModeFlag::T) => Mode::TwoServers,
            Some(ModeFlag::S) => Mode::Shared,
            Some(ModeFlag::H) => Mode::Held,
            None if measured => Mode::TwoServers,
            None => Mode::Shared,
        };
        let client = match self.client {
            Some(ClientFlag::P0) => Client::SeedParty,
            Some(ClientFlag::Third) => Client::Third,
            // In mode t nobody else may be.
            None if measured || mode == Mode::TwoServers => Client::Third,
            None => Client::SeedParty,
        };
        let release = match self.release {
            Some(ReleaseFlag::Label) => Release::Label,
            Some(ReleaseFlag::Logits(Some(bits))) => Release::Logits { bits },
            Some(ReleaseFlag::Logits(None)) => Release::Logits { bits: most_bits(model) },
            None if defaults == Defaults::Private => Release::Label,
            None => Release::Logits { bits: most_bits(model) },
        };
        let [p0, p1] = ample();
        let memory = [self.p0_memory.unwrap_or(p0), self.p1_memory.unwrap_or(p1)];
        Options { mode, client, release, chunk_bits: self.chunk, memory }
    }
}

/// Bits that logits of this model may be released with, at most.
pub(crate) fn most_bits(model: &Model<'_>) -> u8 {
    match model.layers.last().map(|l| l.step) {
        Some(Step::Release { ring_bits }) => ring_bits.saturating_sub(2).min(16),
        _ => 16,
    }
}
