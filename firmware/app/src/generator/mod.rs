//! `halfnet-core`'s streams, byte for byte, with ChaCha12's block function in assembly where there is one.

#[cfg(halfnet_dsp)]
#[expect(unsafe_code, reason = "assembly")]
mod arm;
#[cfg(halfnet_dsp)]
mod blocks;

/// The generator of this processor.
#[cfg(halfnet_dsp)]
pub use blocks::Generator;
/// The generator of this processor.
#[cfg(not(halfnet_dsp))]
pub use halfnet_core::prg::Stream as Generator;
