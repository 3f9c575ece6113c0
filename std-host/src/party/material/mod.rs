//! The files of dealer and parties.
//!
//! | file | who keeps it | content |
//! |---|---|---|
//! | `dealer.postcard` | the dealer | its seed, P0's seed, identifiers, plan, the next counter, the batches dealt so far |
//! | `party0.postcard` | P0 | identifiers, plan, 32-byte seed |
//! | `party0.counter` | P0 | the next counter that it accepts |
//! | `party1.postcard` | P1 | identifiers, plan, its half of the weights (the weights themselves, in mode H) |
//! | `bundles/` | P1 | one file an inference |
//! | `.*.lock`, `bundles/.lock` | beside what they guard | nothing: a process that uses up material holds the lock, and a second is refused |
//! | `plan.postcard` | anybody | identifiers and plan: what a third client needs. Public |
//!
//! Each is a [`halfnet_core::model::blob`] envelope around a body. Those with secrets are readable by their
//! owner alone, and every file is written beside its place, synchronised and renamed, so a crash leaves the
//! old file or the new one.

mod dealer;
pub(crate) mod file;
mod lock;
mod party;
mod pending;
mod plan;

pub use dealer::{Batch, DealerState};
pub use file::{FileError, SealedFile, SealedWriter};
pub use lock::Lock;
pub use party::{PartyOne, PartyZero, TensorEntry};
pub use pending::{create_secret_folder, write_secret};
pub use plan::Public;

/// Names of the files inside a dealt folder.
pub mod names {
    /// The dealer's state.
    pub const DEALER: &str = "dealer.postcard";
    /// P0's material.
    pub const PARTY_ZERO: &str = "party0.postcard";
    /// P1's material.
    pub const PARTY_ONE: &str = "party1.postcard";
    /// What a third client needs.
    pub const PLAN: &str = "plan.postcard";
    /// P1's bundles.
    pub const BUNDLES: &str = "bundles";
}
