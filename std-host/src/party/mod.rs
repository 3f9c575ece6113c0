//! What deals, and what a party or a client is as a process.
//!
//! [`material`] holds their files, [`store`] what is used once, [`link`] carries frames, [`model`] multiplies by
//! a party's weights with the convolutions of [`kernel`], [`process`] deals and runs parties and clients.
//! [`entropy`] is where randomness enters.

pub mod entropy;
#[allow(unsafe_code, reason = "vector instructions; every block says why it is sound")]
pub mod kernel;
pub mod link;
pub mod material;
pub mod model;
pub mod process;
pub mod store;
