//! The training program from outside. One binary, because it is the tensor library that takes the time to
//! build a test.

mod cli;
mod gradients;
mod networks;
mod pretrain;
mod search;
