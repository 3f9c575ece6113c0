//! The integer model in the clear: bit for bit what two parties compute, given the same coins.
//!
//! [`Reference`] walks a model's layers on one picture; [`test_set::run`] does it for a whole data set on all
//! cores. Coins come from anything that is a [`Coins`]: [`Nearest`] for the deterministic network,
//! [`SeededCoins`] for the stochastic one, or a dealer's masks.

mod coins;
mod layer;
mod products;
mod reference;
pub mod test_set;

pub use halfnet_core::gate::truncation::{Coins, Nearest};

pub use coins::SeededCoins;
pub use layer::{
    IntegerActivation, IntegerLayer, IntegerLinear, IntegerPolynomial, IntegerStep, IntegerTerm,
};
pub use products::{Products, Scratch};
pub use reference::{LayerRange, LayerTrace, Observer, Outcome, Reference};
