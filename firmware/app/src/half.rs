//! A board's half of the correlations: the seed party's, and never one of two servers, so that mode T takes
//! no flash.

use halfnet_core::party::half::OneServer;
use halfnet_core::party::seed::SeedHalf;
use halfnet_core::prg::Key;

use crate::generator::Generator;

/// Streams of an inference's key.
pub type BoardHalf = OneServer<SeedHalf<Generator>>;

/// The half of one inference.
#[must_use]
pub fn board_half(inference: Key) -> BoardHalf {
    OneServer(SeedHalf::with_keystream(inference))
}
