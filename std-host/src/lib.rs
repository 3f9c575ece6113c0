//! Everything of Halfnet that needs an operating system.
//!
//! [`data`] reads data sets and pictures; [`float`] holds a trained network in floating point, [`import`]
//! turns it into the integer model, and [`simulate`] runs that model in the clear. [`kernel`] computes a
//! party's convolutions. [`report`] is what commands print, [`bundled`] what they use when no model is named.
//!
//! Two parties as processes: [`material`] holds their files, [`store`] what is used once, [`link`] carries
//! frames, [`party_model`] multiplies by a party's weights, [`process`] deals and runs parties and clients.
//! [`entropy`] is where randomness enters.
//!
//! Whether they answer what they must: [`predict`] knows it beforehand from the dealer's state, [`trial`]
//! runs both processes and judges them, [`compare`] and [`transcript`] look into a [`rehearsal`] of both
//! parties in one process.
#![deny(unsafe_code)]

pub mod bench;
pub mod bundled;
pub mod coins;
pub mod compare;
pub mod data;
pub mod entropy;
pub mod float;
pub mod import;
pub mod interrupt;
#[allow(unsafe_code, reason = "vector instructions; every block says why it is sound")]
pub mod kernel;
pub mod link;
pub mod material;
pub mod party_model;
pub mod predict;
pub mod process;
pub mod progress;
pub mod rehearsal;
pub mod report;
pub mod simulate;
pub mod store;
pub mod transcript;
pub mod trial;
