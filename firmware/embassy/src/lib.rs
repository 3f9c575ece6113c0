//! What boards with embassy's drivers share.
//!
//! The party computes in thread mode and never waits; drivers are tasks on an executor in an interrupt, so
//! that a long computation never starves the link. Between the two is a [`Wire`]: two pipes, and whether the
//! connection has ended.
//!
//! | module | question that it answers |
//! |---|---|
//! | [`wire`] | how do bytes come from a task to the party and back |
//! | `usb` | how does a USB port become a wire |
//! | `board` | what does a board do on a panic, and where lies its counter |
#![no_std]

#[cfg(test)]
extern crate std;

#[cfg(target_os = "none")]
pub mod board;
#[cfg(feature = "usb")]
pub mod usb;
pub mod wire;

pub use wire::{Wire, WireLink};
