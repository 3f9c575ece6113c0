//! Layers of a network for training on a processor: each one's value and its gradients, over slices of `f32`.
//!
//! **Layout.** Sixteen pictures ([`LANES`]) lie side by side: a tensor is (block, channel, row, column,
//! lane), so that every operation on a position works on sixteen pictures in one or two vector registers,
//! whatever the kernel, stride or padding. A batch is a whole number of blocks.
//!
//! [`mod@convolution`] has the three products of a layer, [`normalisation`] and [`activation`] what lies
//! between two layers, [`layout`] the way in and out. Every result is the same whatever the number of
//! threads: sums are taken in one fixed order.

pub mod activation;
pub mod convolution;
mod correlate;
pub mod layout;
pub mod normalisation;
mod scratch;
mod simd;
mod sizes;
mod sweep;
mod tiles;
mod winograd;

pub use simd::Level;

/// Pictures of a block.
pub const LANES: usize = 16;
