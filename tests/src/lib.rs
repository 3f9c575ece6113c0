//! What the cross-validation tests share: random small networks, dealt folders, a slow reference that owes
//! the host nothing, and a pair of parties in one process.

pub mod command;
mod damage;
pub mod dealt;
pub mod hostile;
pub mod network;
pub mod pair;
pub mod processes;
pub mod reference;
pub mod residual;
pub mod sessions;
pub mod statistics;
pub mod targets;
pub mod vectors;
