//! What the cross-validation tests share: random small networks, a slow reference that owes the host nothing, and a pair of
//! parties in one process.

pub mod network;
pub mod pair;
pub mod reference;
