//! Training for two-party inference: which ReLUs of a network stay, and which polynomials take the place of
//! the others.
//!
//! [`network`] describes what is trained, [`state`] holds what training changes, [`forward`] makes a recorded
//! pass, [`loss`] and [`optimiser`] the rest of a step. [`ops`] are the layers as differentiable operations.
//! [`pretrain`] makes the network with all its ReLUs, [`search`] is AutoReP, [`dapa`] its polynomials;
//! [`export`] folds the result into an integer model and [`evaluate`] runs it in the clear. [`random`] and
//! [`data`] make a run depend on its seed alone; `course` is its way through the pictures and `checkpoint`
//! the file that it goes on from.
#![forbid(unsafe_code)]

pub mod bench;
mod checkpoint;
mod course;
pub mod dapa;
pub mod data;
pub mod device;
pub mod error;
pub mod evaluate;
pub mod export;
pub mod file;
pub mod forward;
pub mod loss;
pub mod moments;
pub mod network;
pub mod ops;
pub mod optimiser;
pub mod plot;
pub mod pretrain;
pub mod pytorch;
pub mod random;
pub mod search;
pub mod state;
pub mod trainer;
pub mod weights;
