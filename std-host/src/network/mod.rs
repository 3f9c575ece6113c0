//! From a data set and a trained network to the integer model.
//!
//! [`data`] reads data sets and [`pictures`] what a user names; [`float`] holds a trained network in floating
//! point, [`import`] turns it into the integer model, and [`simulate`] runs that model in the clear. [`bundled`]
//! is what is used when no model is named, [`table`] and [`progress`] are what people see of it.

pub mod bundled;
pub mod data;
pub mod float;
pub mod import;
pub mod pictures;
pub mod progress;
pub mod simulate;
pub mod table;
