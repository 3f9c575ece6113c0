//! What a board is provisioned with: the bytes of `party0.postcard`, in flash. Plan and identifiers are public, the seed is the secret.

use halfnet_core::error::ModelError;
use halfnet_core::model::blob::{self, BlobError, Kind};
use halfnet_core::plan::{Client, LinearPlan, Mode, Plan, Role};
use halfnet_core::prg::Key;
use halfnet_core::wire::message::{Agreement, Identifier};
use serde::Deserialize;

/// Why the material was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum MaterialError {
    /// The envelope is damaged or of another kind.
    #[error(transparent)]
    Blob(BlobError),
    /// The body is none of a seed party's material.
    #[error("the body is no encoding of a seed party's material")]
    Encoding,
    /// The plan inside is none.
    #[error("the plan inside is not well-formed")]
    Plan(ModelError),
    /// Dealt for a third client, which a board does not serve.
    #[error("this material was dealt for a third client: deal with `--client p0`")]
    Client,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    public: Public<'a>,
    seed: [u8; 32],
}

#[derive(Deserialize)]
struct Public<'a> {
    pairing: Identifier,
    provisioning: Identifier,
    #[serde(borrow)]
    plan: &'a [u8],
    test: bool,
}

/// The material, its plan borrowed from flash.
#[derive(Debug)]
pub struct Material<'a> {
    /// The network from outside.
    pub plan: Plan<'a>,
    /// What P1 must hold too.
    pub agreement: Agreement,
    /// Everything of P0's follows from it.
    pub seed: Key,
    /// Dealt under a test seed.
    pub test: bool,
}

impl<'a> Material<'a> {
    /// Reads and checks the material.
    ///
    /// # Errors
    /// It is damaged, of another kind or version, or not for a client on the board.
    pub fn open(bytes: &'a [u8]) -> Result<Self, MaterialError> {
        let body = blob::open(bytes, Kind::PartyZero).map_err(MaterialError::Blob)?;
        let (body, rest) = postcard::take_from_bytes::<Body<'a>>(body).map_err(|_| MaterialError::Encoding)?;
        if !rest.is_empty() {
            return Err(MaterialError::Encoding);
        }
        let Public { pairing, provisioning, plan, test } = body.public;
        let plan = Plan::decode(plan).map_err(MaterialError::Plan)?;
        if plan.header.options.client != Client::SeedParty {
            return Err(MaterialError::Client);
        }
        let agreement = Agreement { pairing, plan: *plan.hash(), provisioning };
        Ok(Self { plan, agreement, seed: Key::new(body.seed), test })
    }

    /// What the board must lend.
    #[must_use]
    pub fn needs(&self) -> Needs {
        Needs::of(&self.plan)
    }
}

/// Sizes of the memory that a plan asks of P0, in the units of [`crate::party::Memory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Needs {
    /// 64-bit words of the arena.
    pub arena: usize,
    /// 64-bit words for the weights of one output channel; 0 where P1 holds them.
    pub channel: usize,
    /// Bytes of the longest frame that P0 sends.
    pub outgoing: usize,
    /// Bytes of the longest frame that P1 sends.
    pub incoming: usize,
}

impl Needs {
    /// Of a plan.
    #[must_use]
    pub fn of(plan: &Plan<'_>) -> Self {
        let options = plan.header.options;
        let channel = if options.mode == Mode::Held {
            0
        } else {
            let words = plan.layers().flat_map(|layer| {
                let bytes = layer.work(&options).word.bytes();
                layer.terms.into_iter().map(move |term| match term.linear {
                    LinearPlan::Convolution(geometry) => (geometry.fan_in() * bytes).div_ceil(8),
                    LinearPlan::JoinShift { .. } | LinearPlan::JoinScaled { .. } => 1,
                })
            });
            words.max().unwrap_or(0)
        };
        let longest = |role: Role| (plan.header.longest_frame[role.index()] as usize).max(crate::frames::LONGEST_MESSAGE);
        Self { arena: plan.arena_words(Role::Seed), channel, outgoing: longest(Role::Seed), incoming: longest(Role::Bundle) }
    }
}
