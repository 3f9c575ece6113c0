//! Assembly, for processors of ARMv7E-M and those of ARMv8-M with DSP.

mod blocks;
mod copy;

pub(super) use blocks::add_blocks;
pub(super) use copy::copy_rows;
