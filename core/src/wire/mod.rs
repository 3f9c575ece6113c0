//! What travels: frames, and the messages of handshake and clients.

pub mod frame;
pub mod message;
