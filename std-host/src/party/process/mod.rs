//! Dealing, and the processes of parties and clients.
//!
//! * [`deal()`] and [`deal_more`] make material and bundles.
//! * [`run_party`] serves a third client's requests as P0 or P1, or answers P0 as the client as P1;
//!   [`infer_as_seed_party`] is P0 with its own pictures; [`ThirdClient`] talks to both parties.
//! * [`provision()`] writes what a board is flashed with to be P0.

mod bundle_party;
mod client;
mod clients;
mod config;
mod deal;
mod error;
mod measure;
mod pixels;
mod provision;
mod report;
mod seed_party;
mod usage;

pub use bundle_party::run_bundle_party;
pub use client::{ClientConfig, ThirdClient};
pub use config::{PartyConfig, PeerAddress, check_address};
pub use deal::{DealReport, DealRequest, MoreRequest, deal, deal_more, repetition_note};
pub use error::{ClientError, ProcessError};
pub use halfnet_core::wire::message::Reason;
pub use pixels::{integers, read_raw};
pub use provision::{ProvisionReport, ProvisionRequest, provision};
pub use report::{Event, InferenceStats, PartyStats};
pub use seed_party::{infer_as_seed_party, run_seed_party};
pub use usage::{peak_rss_bytes, thread_seconds};

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use halfnet_core::plan::Role;

/// Between looks at the flag that stops a party.
const LOOK: Duration = Duration::from_millis(100);

/// Runs a party until `shutdown` is set, the wanted number of inferences is done, or something fails.
///
/// # Errors
/// See [`ProcessError`].
pub fn run_party(
    config: &PartyConfig,
    role: Role,
    shutdown: &AtomicBool,
    report: &mut dyn FnMut(Event),
) -> Result<(), ProcessError> {
    match role {
        Role::Seed => run_seed_party(config, shutdown, report),
        Role::Bundle => run_bundle_party(config, shutdown, report),
    }
}
