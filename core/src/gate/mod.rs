//! The gates: one file each, its algebra in the header, then `deal` (the dealer's side), `evaluate` (a
//! party's, local, on slices) and `reference` (plaintext integers, bit for bit what the parties compute given
//! the same coins).

pub mod argmax;
pub mod comparison;
pub mod linear;
pub mod polynomial;
mod register_block;
pub mod relu;
pub mod truncation;
