//! What a board is flashed with to be P0: the public plan, the identifiers, the seed, and pictures if it is
//! the client. Never weights.
//!
//! The body of a [`Kind::Board`] blob is a [`Body`] in postcard. [`Board::decode`] borrows the plan and the
//! pictures from the blob, which may lie in flash at any address: nothing in it needs to be aligned. Only the
//! seed is copied, into a [`Key`].
//!
//! Pictures are pixels: [`Picture`] makes the integers of the input wire while a session asks for them, as a
//! host does, so that they take a quarter of the flash.

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use crate::error::ModelError;
use crate::model::blob::{self, BlobError, DecodeError, Kind};
use crate::model::{Header, Normalisation};
use crate::party::input::Input;
use crate::plan::{Client, Mode, Plan};
use crate::prg::Key;
use crate::wire::message::{Agreement, Identifier};

/// The encoded body.
#[derive(Clone, Serialize, Deserialize)]
pub struct Body<'a> {
    /// Drawn when the two party files were made.
    #[serde(deserialize_with = "bytes")]
    pub pairing: Identifier,
    /// Drawn when the weights were split.
    #[serde(deserialize_with = "bytes")]
    pub provisioning: Identifier,
    /// Dealt under a test seed.
    pub test: bool,
    /// Counters below this were burned before the board took over.
    pub next: u64,
    /// P0's seed.
    #[serde(deserialize_with = "bytes")]
    pub seed: [u8; 32],
    /// The plan's bytes.
    #[serde(borrow)]
    pub plan: &'a [u8],
    /// Pixels of all pictures, one behind the other, in (channel, row, column) order.
    #[serde(borrow)]
    pub pictures: &'a [u8],
}

/// What serde's own arrays of bytes are, in a fifth of the flash.
#[inline(never)]
fn bytes<'de, D: Deserializer<'de>, const N: usize>(deserializer: D) -> Result<[u8; N], D::Error> {
    struct Bytes<const N: usize>;

    impl<'de, const N: usize> Visitor<'de> for Bytes<N> {
        type Value = [u8; N];

        fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            write!(f, "{N} bytes")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<[u8; N], A::Error> {
            let mut bytes = [0; N];
            for (index, byte) in bytes.iter_mut().enumerate() {
                *byte = elements.next_element()?.ok_or_else(|| A::Error::invalid_length(index, &self))?;
            }
            Ok(bytes)
        }
    }

    deserializer.deserialize_tuple(N, Bytes)
}

impl core::fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "Body(plan of {} bytes, {} bytes of pictures, seed ..)",
            self.plan.len(),
            self.pictures.len()
        )
    }
}

impl Drop for Body<'_> {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.seed);
    }
}

/// Why a board's material was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum BoardError {
    /// The envelope.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The body is no encoding of a board's material.
    #[error("the body is no encoding of a board's material of this format version")]
    Encoding,
    /// The plan.
    #[error("the plan inside is not well-formed: {0}")]
    Plan(#[from] ModelError),
    /// Two servers.
    #[error("a board is no server of mode t: it takes material of mode s or h")]
    Mode,
    /// Pictures, but the client is another.
    #[error("there are pictures, but this material was dealt for a third client, who brings them")]
    Client,
    /// Pictures of the wrong size.
    #[error("{found} bytes of pictures are no whole number of them: the plan's have {expected} pixels")]
    Pictures {
        /// Pixels of a picture.
        expected: u32,
        /// Bytes that there are.
        found: u32,
    },
}

/// A board's material, checked.
#[derive(Clone, Debug)]
pub struct Board<'a> {
    /// The public plan.
    pub plan: Plan<'a>,
    /// What P1 must have in common.
    pub agreement: Agreement,
    /// Dealt under a test seed: what it computes is no secret.
    pub test: bool,
    /// Counters below this were burned before the board took over.
    pub next: u64,
    /// Everything of P0's follows from it.
    pub seed: Key,
    pictures: &'a [u8],
}

impl<'a> Board<'a> {
    /// Opens the envelope, decodes and checks everything.
    ///
    /// # Errors
    /// See [`BoardError`].
    // What decoding needs of the stack is free again when the session runs.
    #[inline(never)]
    pub fn decode(bytes: &'a [u8]) -> Result<Self, BoardError> {
        let body = blob::open(bytes, Kind::Board)?;
        let body: Body<'a> = blob::decode_body(body).map_err(|error| match error {
            DecodeError::Blob(error) => BoardError::Blob(error),
            _ => BoardError::Encoding,
        })?;
        Self::from_body(&body)
    }

    /// Checks a body.
    ///
    /// # Errors
    /// Its plan is not well-formed or not for a board, or its pictures are not of the plan's shape.
    pub fn from_body(body: &Body<'a>) -> Result<Self, BoardError> {
        let plan = Plan::decode(body.plan)?;
        let options = &plan.header.options;
        if options.mode == Mode::TwoServers {
            return Err(BoardError::Mode);
        }
        if !body.pictures.is_empty() && options.client != Client::SeedParty {
            return Err(BoardError::Client);
        }
        let size = plan.header.model.input.elements();
        if !body.pictures.len().is_multiple_of(size) {
            return Err(BoardError::Pictures { expected: size as u32, found: body.pictures.len() as u32 });
        }
        let agreement =
            Agreement { pairing: body.pairing, plan: *plan.hash(), provisioning: body.provisioning };
        let Body { test, next, pictures, .. } = *body;
        Ok(Self { agreement, test, next, seed: Key::new(body.seed), pictures, plan })
    }

    /// The pictures, in order.
    #[must_use]
    pub fn pictures(&self) -> impl ExactSizeIterator<Item = Picture<'_>> {
        let header = &self.plan.header.model;
        self.pictures.chunks_exact(header.input.elements().max(1)).map(|pixels| Picture::new(header, pixels))
    }
}

/// One picture as the input of a session.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    pixels: &'a [u8],
    normalisation: &'a [Normalisation],
    plane: usize,
}

impl<'a> Picture<'a> {
    /// A picture of the model's input.
    ///
    /// # Shapes
    /// `pixels`: (channel, row, column) of `header.input`.
    #[must_use]
    pub fn new(header: &'a Header<'_>, pixels: &'a [u8]) -> Self {
        Self { pixels, normalisation: &header.normalisation, plane: header.input.plane().max(1) }
    }
}

impl Input for Picture<'_> {
    fn elements(&self) -> usize {
        self.pixels.len()
    }

    fn read(&mut self, first: usize, out: &mut [i32]) {
        for (at, slot) in (first..).zip(out) {
            let normalisation = self.normalisation.get(at / self.plane);
            *slot = normalisation
                .zip(self.pixels.get(at))
                .map_or(0, |(normalisation, pixel)| normalisation.apply(*pixel));
        }
    }
}
