//! Errors: small, `Copy`, and telling apart the model's owner, the caller, the peer and the material.

use thiserror::Error;

/// A contradiction inside this crate: a slice is shorter than the accepted plan makes it, a frame is not filled
/// to the length that the plan states. No input leads here. The session ends with it, because what would stand
/// there instead of an error is a share without its mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[error("internal: a length that the accepted plan fixes was not kept; please report this")]
pub struct Internal;

/// What is wrong with a model, or with the public plan made from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ModelError {
    /// A shape is empty, too large, or does not fit its neighbour's.
    #[error("a shape is empty, too large, or does not fit its neighbour's")]
    Shape,
    /// A tensor's byte length is not its number of elements times their width.
    #[error("a tensor's byte length is not its element count times its element width")]
    TensorLength,
    /// A bitmap's byte length does not match its number of elements, or it has bits set beyond them.
    #[error("a bitmap's length does not match its tensor, or bits beyond the end are set")]
    Bitmap,
    /// Ring bits, shifts and fraction bits do not fit each other.
    #[error("ring bits, shift and fraction bits do not fit each other")]
    Widths,
    /// The bounds that the model states for its weights and activations do not fit the ring it names.
    #[error("the sums that these weights allow do not fit the stated ring: import again with more bits")]
    Range,
    /// A layer reads a wire that does not exist yet, or no layer reads a wire.
    #[error("a layer reads a wire that does not exist, or a wire is never read")]
    Wiring,
    /// The last layer must release and no other layer may.
    #[error("exactly the last layer must release its result")]
    Release,
    /// A layer has no terms, too many, or a list is longer than this build supports.
    #[error("too many layers, terms or channels for this build")]
    TooLarge,
    /// Polynomial coefficients are missing or there are elements without an activation.
    #[error("polynomial elements without coefficients, or a degree other than 1 or 2")]
    Polynomial,
    /// A text field is not what it must be.
    #[error("the header's names or normalisation are malformed")]
    Header,
    /// A role or mode that the protocol forbids.
    #[error(
        "this mode forbids this client: with two servers (t) the client is a third, and P1 is never the client"
    )]
    Role,
    /// The release asks for more than the last layer allows.
    #[error("logits may be released with 2 to min(16, ring bits - 2) bits of the last layer, never exactly")]
    ReleaseBits,
    /// A ring is wider than this build computes in.
    #[error(
        "a ring of more than {} bits, which this build has no code for: build it with the feature `wide-rings`",
        crate::ring::WIDEST
    )]
    TooWide,
    /// A party's memory budget is too small for this model.
    #[error("the memory budget is too small for this model: the plan's wires alone need more")]
    Memory,
}
