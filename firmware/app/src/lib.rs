//! P0, the seed party, on a microcontroller: what is the same on every board.
//!
//! | module | question that it answers |
//! |---|---|
//! | [`memory`] | how much memory does a plan ask for |
//! | [`model`] | where do P0's weight shares come from |
//! | [`kernel`] | how are they multiplied, in about an instruction a product |
//! | [`half`] | whose correlations are these, and in which modes |
//! | [`generator`] | how do the streams come, faster than portably |
//! | [`counter`] | which inference may still be accepted, whatever happened before |
//! | [`nonce`] | what are the handshake's nonces made of without a random generator |
//! | [`link`] | how do bytes come and go without ever waiting for one while the other could go on |
//! | `tcp` | the same over Ethernet, with the feature `tcp` |
//! | [`frames`] | how do bytes become frames, within the memory that the plan states |
//! | [`party`] | one inference: what does the conversation ask of a board |
//! | [`serve`] | what does a board do from its start on |
//! | [`fault`] | why one ended early, in a number that never changes its meaning |
//!
//! A board is provisioned with `halfnet-core`'s [`Board`](halfnet_core::board::Board), lends memory and a
//! [`link::Link`], and calls [`party::SeedParty::infer`] once a picture. The conversation, handshake included,
//! is `halfnet-core`'s [`Acceptor`](halfnet_core::endpoint::Acceptor): the board moves its frames, burns the
//! counter when it asks for that, and measures silence. Nothing here allocates and nothing panics, whatever
//! comes over the link.
#![no_std]
#![deny(unsafe_code)]

#[cfg(test)]
extern crate std;

/// What assembly begins with: outside functions the assembler knows the architecture, but not its extensions.
/// ARMv7E-M has DSP always, of ARMv8-M the Cortex-M33 where its maker chose so.
#[cfg(halfnet_m33)]
macro_rules! target {
    () => {
        ".cpu cortex-m33"
    };
}
#[cfg(all(halfnet_dsp, not(halfnet_m33)))]
macro_rules! target {
    () => {
        ""
    };
}
#[cfg(halfnet_dsp)]
pub(crate) use target;

pub mod counter;
pub mod fault;
pub mod frames;
pub mod generator;
pub mod half;
pub mod kernel;
pub mod link;
pub mod memory;
pub mod model;
pub mod nonce;
pub mod party;
#[cfg(feature = "selftest")]
pub mod selftest;
pub mod serve;
#[cfg(any(feature = "tcp", test))]
pub mod tcp;
