//! What a party reports while it runs: one JSON object a line when a parent process asks for it.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::party::link::LayerTrace;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The party listens; ports are known.
    Listening {
        /// For the other party.
        peer: Option<SocketAddr>,
        /// For clients.
        clients: Option<SocketAddr>,
    },
    /// Bundles that P0 would refuse were dropped.
    Dropped {
        /// P0's next counter.
        next: u64,
        /// Bundles dropped.
        bundles: usize,
    },
    /// An inference is done.
    Inference(InferenceStats),
    /// The answer of one (P0 as the client).
    Answer {
        /// The label alone, or the logits.
        values: Vec<i64>,
    },
    /// An inference failed and the party goes on.
    Failed {
        /// Why.
        reason: String,
    },
    /// The party ends because the other end of a link was gone: the cause is to be looked for there.
    PeerGone,
    /// The party ends.
    Finished(PartyStats),
}

/// One party's figures of one inference, from the burn on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InferenceStats {
    /// Its counter.
    pub counter: u64,
    /// Its session.
    pub session: String,
    /// Bytes written to any link.
    pub bytes_sent: u64,
    /// Exchanges with the other party.
    pub rounds: u32,
    /// Seconds.
    pub wall_s: f64,
    /// Processor seconds of the one thread.
    pub cpu_s: f64,
    /// By layer, between the parties.
    pub layers: Vec<LayerTrace>,
    /// Input and hash of E, between the parties.
    pub outside: LayerTrace,
}

/// One party's figures of a whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartyStats {
    /// Bytes of the session's memory, as the plan states.
    pub arena_bytes: u64,
    /// Bytes of a bundle (P1).
    pub bundle_bytes: u64,
    /// Bytes of packed weights.
    pub weight_bytes: u64,
    /// The most memory that the process ever held resident.
    pub peak_rss_bytes: u64,
}
