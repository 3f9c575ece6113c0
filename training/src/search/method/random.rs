//! Elements drawn at random: the order of the auxiliary parameters as they start.

use super::{Method, NONE, Press};
use crate::trainer::Trainer;

#[derive(Debug)]
pub(super) struct Uniform;

impl Method for Uniform {
    fn steps(&self, _: u64) -> u64 {
        0
    }

    fn press(&mut self, _: u64, _: &mut Trainer<'_>) -> Press {
        NONE
    }
}
