//! Messages outside the layers: handshake, acknowledgements, input, output. Fixed layouts, so that every byte
//! can be predicted.
//!
//! P1 opens with [`Hello`]; P0 answers with [`Reply`]. On an acceptance both burn the counter durably, then
//! exchange [`Acknowledge`]; only then does anything that depends on data, or a mask, leave either party.

use super::frame::{self, NO_LAYER};

/// Version of everything that travels.
pub const VERSION: u16 = 1;
/// Bytes of a [`Hello`].
pub const HELLO: usize = 2 + 16 + 32 + 16 + 16 + 16 + 16 + 8;
/// Bytes of a [`Reply`].
pub const REPLY: usize = 2 + 16 + 32 + 16 + 16 + 1 + 8;
/// Bytes of an [`Acknowledge`].
pub const ACKNOWLEDGE: usize = 8 + 16;
/// Bytes before the packed words of a [`Code::Mask`]: an [`Acknowledge`], the deal and the request.
pub const MASK: usize = ACKNOWLEDGE + 16 + 16;
/// Bytes of a [`Code::Request`]: a third client's name for it.
pub const REQUEST: usize = 16;
/// Bytes of the hash of E.
pub const INPUT_HASH: usize = 32;
/// The longest message between the parties outside input tiles.
pub const LONGEST: usize = HELLO;

/// What names a message in a frame's step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Code {
    /// P1's [`Hello`].
    Hello = 1,
    /// P0's [`Reply`].
    Reply = 2,
    /// Either party's [`Acknowledge`].
    Acknowledge = 3,
    /// A tile of E, from P0 as the client.
    Input = 4,
    /// The hash of E, of each party to the other.
    InputHash = 5,
    /// A third client's request, with its 16-byte name for it.
    Request = 6,
    /// A party's answer to a request: its acknowledgement and its share of A.
    Mask = 7,
    /// A third client's E.
    Masked = 8,
    /// A party's words of the output, to a third client.
    Output = 9,
    /// A party's refusal or failure, to a third client: one byte of reason.
    Failed = 10,
}

/// Why a party gives a third client no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Reason {
    /// The other party knows no such request.
    UnknownRequest = 1,
    /// P1 has no bundle left.
    NoBundle = 2,
    /// The parties are not connected, or do not agree.
    Parties = 3,
    /// The inference was begun and failed: its counter is spent.
    Aborted = 4,
    /// The request came twice, or something else than a request.
    BadRequest = 5,
}

impl Reason {
    /// The reason of a byte.
    #[must_use]
    pub const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::UnknownRequest),
            2 => Some(Self::NoBundle),
            3 => Some(Self::Parties),
            4 => Some(Self::Aborted),
            5 => Some(Self::BadRequest),
            _ => None,
        }
    }

    /// The reason in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::UnknownRequest => {
                "the other party did not get this request: are both addresses of one pair?"
            }
            Self::NoBundle => "no bundle is left: the dealer must deal more",
            Self::Parties => "the two parties are not connected or do not agree",
            Self::Aborted => "the inference failed after it had begun; its counter is spent, ask again",
            Self::BadRequest => "the request was malformed or came twice",
        }
    }
}

/// The header of a message frame.
#[must_use]
pub const fn header(code: Code, tile: u16, length: u32) -> frame::Header {
    frame::Header { layer: NO_LAYER, step: code as u8, tile, length }
}

/// A 128-bit identifier.
pub type Identifier = [u8; 16];

/// What both parties of one pairing must have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// 16 random bytes, drawn when the two party files were made.
    pub pairing: Identifier,
    /// [`crate::plan::Plan::hash`]: mode, client, release, tiles, every width.
    pub plan: [u8; 32],
    /// 16 random bytes, drawn when the weights were split.
    pub provisioning: Identifier,
}

/// P1's opening: what it holds, and the lowest counter it has a bundle for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Must equal P0's.
    pub agreement: Agreement,
    /// The deal that the bundle is of.
    pub deal: Identifier,
    /// 16 bytes that this party drew for this session alone.
    pub nonce: Identifier,
    /// A third client's request; zeros where P0 is the client.
    pub request: Identifier,
    /// The lowest counter of which P1 has a bundle.
    pub counter: u64,
}

/// P0's verdict on a [`Hello`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Verdict {
    /// Burn it and go on.
    Accepted = 0,
    /// The counter is below P0's next: P1 drops every bundle below that.
    OldCounter = 1,
    /// Pairing, plan or provisioning differ.
    Disagreement = 2,
    /// No client of P0 knows the request.
    UnknownRequest = 3,
    /// Another protocol version.
    Version = 4,
    /// P0 has nothing to ask.
    Idle = 5,
}

/// P0's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What P0 was given: on an acceptance, the same as P1's.
    pub agreement: Agreement,
    /// 16 bytes that this party drew for this session alone.
    pub nonce: Identifier,
    /// Whether P0 accepts, or why not.
    pub verdict: Verdict,
    /// P0's next counter: anything below is refused.
    pub next: u64,
}

/// "Counter burned by me in this session."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledge {
    /// The counter that this party has burned, durably.
    pub counter: u64,
    /// Derived from both nonces and everything said before.
    pub session: Identifier,
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum MessageError {
    /// The length is not that of the message.
    #[error("a message has another length than its kind")]
    Length,
    /// The peer speaks another version.
    #[error("the peer speaks another protocol version: run the same release on both sides")]
    Version,
    /// A field has no meaning.
    #[error("a message's field has no meaning")]
    Field,
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], MessageError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(MessageError::Length)?;
        self.0 = rest;
        Ok(*head)
    }

    fn version(&mut self) -> Result<(), MessageError> {
        if u16::from_le_bytes(self.take()?) == VERSION { Ok(()) } else { Err(MessageError::Version) }
    }

    fn agreement(&mut self) -> Result<Agreement, MessageError> {
        Ok(Agreement { pairing: self.take()?, plan: self.take()?, provisioning: self.take()? })
    }

    fn end<T>(self, value: T) -> Result<T, MessageError> {
        if self.0.is_empty() { Ok(value) } else { Err(MessageError::Length) }
    }
}

/// Writes parts one after another into an array whose length is their sum.
fn concat<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut out = [0; N];
    let bytes = parts.iter().flat_map(|p| p.iter());
    for (slot, byte) in out.iter_mut().zip(bytes) {
        *slot = *byte;
    }
    out
}

impl Hello {
    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HELLO] {
        let a = &self.agreement;
        let counter = self.counter.to_le_bytes();
        concat(&[
            &VERSION.to_le_bytes(),
            &a.pairing,
            &a.plan,
            &a.provisioning,
            &self.deal,
            &self.nonce,
            &self.request,
            &counter,
        ])
    }

    /// # Errors
    /// Malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let mut f = Fields(bytes);
        f.version()?;
        let value = Self {
            agreement: f.agreement()?,
            deal: f.take()?,
            nonce: f.take()?,
            request: f.take()?,
            counter: u64::from_le_bytes(f.take()?),
        };
        f.end(value)
    }
}

impl Reply {
    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; REPLY] {
        let a = &self.agreement;
        let next = self.next.to_le_bytes();
        concat(&[
            &VERSION.to_le_bytes(),
            &a.pairing,
            &a.plan,
            &a.provisioning,
            &self.nonce,
            &[self.verdict as u8],
            &next,
        ])
    }

    /// # Errors
    /// Malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let mut f = Fields(bytes);
        f.version()?;
        let (agreement, nonce) = (f.agreement()?, f.take()?);
        let [verdict] = f.take()?;
        let verdict = match verdict {
            0 => Verdict::Accepted,
            1 => Verdict::OldCounter,
            2 => Verdict::Disagreement,
            3 => Verdict::UnknownRequest,
            4 => Verdict::Version,
            5 => Verdict::Idle,
            _ => return Err(MessageError::Field),
        };
        let next = u64::from_le_bytes(f.take()?);
        f.end(Self { agreement, nonce, verdict, next })
    }

    /// The session that an accepted hello and this reply begin.
    #[must_use]
    pub fn session(&self, hello: &Hello) -> Identifier {
        let mut hasher = blake3::Hasher::new_derive_key("halfnet 1 session");
        hasher.update(&hello.encode());
        hasher.update(&self.encode());
        // The first bytes of the hash are those of BLAKE3's extendable output, which need no code of their
        // own.
        let hash = hasher.finalize();
        let bytes = hash.as_bytes();
        core::array::from_fn(|i| bytes[i])
    }
}

impl Acknowledge {
    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; ACKNOWLEDGE] {
        concat(&[&self.counter.to_le_bytes(), &self.session])
    }

    /// # Errors
    /// Malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let mut f = Fields(bytes);
        let value = Self { counter: u64::from_le_bytes(f.take()?), session: f.take()? };
        f.end(value)
    }
}

/// What precedes the packed share of A in a [`Code::Mask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskHeader {
    /// Both parties' must agree.
    pub acknowledge: Acknowledge,
    /// Both parties' must agree.
    pub deal: Identifier,
    /// The client's own.
    pub request: Identifier,
}

impl MaskHeader {
    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; MASK] {
        concat(&[&self.acknowledge.encode(), &self.deal, &self.request])
    }

    /// Reads the header; returns it and the packed words.
    ///
    /// # Errors
    /// Malformed.
    pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), MessageError> {
        let (head, words) = bytes.split_at_checked(MASK).ok_or(MessageError::Length)?;
        let mut f = Fields(head);
        let acknowledge = Acknowledge { counter: u64::from_le_bytes(f.take()?), session: f.take()? };
        Ok((Self { acknowledge, deal: f.take()?, request: f.take()? }, words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_round_trip_and_refuse_cut_and_extended_bytes() {
        let agreement = Agreement { pairing: [1; 16], plan: [2; 32], provisioning: [3; 16] };
        let hello = Hello { agreement, deal: [4; 16], nonce: [5; 16], request: [6; 16], counter: 7 };
        let reply = Reply { agreement, nonce: [8; 16], verdict: Verdict::OldCounter, next: 9 };
        let bytes = hello.encode();
        assert_eq!(Hello::decode(&bytes), Ok(hello));
        assert_eq!(Hello::decode(&bytes[..HELLO - 1]), Err(MessageError::Length));
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert_eq!(Hello::decode(&longer), Err(MessageError::Length));
        longer[0] ^= 1;
        assert_eq!(Hello::decode(&longer), Err(MessageError::Version));
        assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
        assert_ne!(reply.session(&hello), Reply { next: 10, ..reply }.session(&hello));
    }
}
