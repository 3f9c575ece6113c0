//! Everything of Halfnet that needs an operating system, in four wings:
//!
//! * [`party`]: who deals, and a party or a client as a process. Material and bundles, links, kernels. Start at
//!   [`party::process`]: [`deal`](party::process::deal()), [`run_party`](party::process::run_party),
//!   [`ThirdClient`](party::process::ThirdClient).
//! * `network`, with the feature `import`: from a data set and a trained network to the integer model, and
//!   that model in the clear. Start at `network::import::import_network`.
//! * `check`, with the feature `check`: whether two processes answer what they must, and where an answer
//!   leaves its reference. Start at `check::trial::Trial`.
//! * `cli`, with the feature `cli`: the command `halfnet`.
//!
//! `cli` knows `check`, `check` knows `network` and `party`, and these two do not know each other. All features
//! are on by default; a service that runs a party wants none. `examples/party.rs` is one, `examples/import.rs`
//! imports from memory.
#![deny(unsafe_code)]

#[cfg(feature = "check")]
pub mod check;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "import")]
pub mod network;
pub mod party;
