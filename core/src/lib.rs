//! Two-party private inference, from the ring up, without an operating system.
//!
//! Layers, each using only those above it: [`ring`], [`fixed_point`], [`shape`] and [`error`]; [`packing`],
//! [`bits`] and [`prg`]; [`model`], the integer network; [`plan`], the same network seen from outside; the
//! `gate`s and [`opening`]s; the [`exchange`]s; [`dealer`] and [`party`]; [`wire`]; [`board`], what a microcontroller is flashed
//! with.
//!
//! Features: `wide-rings` (default), code for rings of 33 to 64 bits; without it plans that have any are
//! refused, and a board saves flash. `defmt`, for a microcontroller's log.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod bits;
pub mod board;
pub mod dealer;
pub mod endpoint;
pub mod error;
pub mod exchange;
pub mod fixed_point;
pub mod gate;
pub mod model;
pub mod opening;
pub mod packing;
pub mod party;
pub mod plan;
pub mod prg;
pub mod ring;
pub mod shape;
pub mod wire;
