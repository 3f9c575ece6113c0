//! Everything of Halfnet that needs an operating system, in four wings. Each knows those named before it, and
//! none knows one named after it:
//!
//! * [`party`]: two parties and a client as processes. Material and bundles, links, kernels.
//! * [`network`]: from a data set and a trained network to the integer model, and that model in the clear.
//! * [`check`]: whether two processes answer what they must, and where an answer leaves its reference.
//! * [`cli`]: the command line.
#![deny(unsafe_code)]

#[cfg(feature = "check")]
pub mod check;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "import")]
pub mod network;
pub mod party;
