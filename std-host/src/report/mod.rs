//! Reports: figures gathered for people ([`table`]) and for machines (serde).
//!
//! [`inspection`] says what a model costs before it runs.

pub mod inspection;
pub mod table;
