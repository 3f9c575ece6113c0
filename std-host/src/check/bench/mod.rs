//! Networks to measure on: one gate large enough to be timed ([`gates`]), and a whole random ResNet-18
//! ([`resnet18`]).
//!
//! They run between two processes as any other model does; see [`crate::check::trial`].

pub mod gates;
mod random;
pub mod resnet18;
