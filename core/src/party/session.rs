//! One inference, the same for both roles: what is sent and what may come, while `walk.rs` goes through the
//! plan.
//!
//! Each direction is a fixed sequence of frames; the walk keeps one position in what it sends and one in what
//! it receives, and both must end before the next group of tiles begins. `docs/PROTOCOL.md`, "Order on the
//! wire", says what each step is.
//!
//! Call [`Session::poll_transmit`] until it gives nothing, hand over frames while [`Session::can_receive`],
//! until [`Session::is_finished`].

use super::half::{Half, ModelHalf};
use super::walk::Walk;
use super::{ErrorKind, SessionError};
use crate::exchange::party::Party;
use crate::plan::{Client, Layers, Plan, Step};
use crate::wire::frame::{HEADER, Header};
use crate::wire::message::{self, Code, INPUT_HASH};

pub use super::input::Input;
pub use crate::exchange::output::{combine_outputs, output_shape};

/// What a session is made of.
pub struct Parts<'p, 'm, H, M> {
    /// The plan.
    pub plan: Plan<'p>,
    /// Correlations.
    pub half: H,
    /// Weights.
    pub model: M,
    /// [`Plan::arena_words`] words; wiped when the session is dropped.
    pub arena: &'m mut [u64],
}

pub(super) enum Phase {
    Input,
    InputHash {
        sent: bool,
        received: bool,
    },
    Layers,
    Finished,
    /// An error ended it: no position is ever computed a second time.
    Failed,
}

/// One party's inference.
pub struct Session<'p, 'm, H, M> {
    pub(super) plan: Plan<'p>,
    pub(super) party: Party<'m, H, M>,
    pub(super) phase: Phase,
    /// Tiles of the input that have passed.
    pub(super) input_tiles: usize,
    pub(super) input_hash: Option<[u8; INPUT_HASH]>,
    pub(super) layers: Layers<'p>,
    pub(super) walk: Option<Walk<'p>>,
    pub(super) rounds: u32,
}

impl<H: Half, M> core::fmt::Debug for Session<'_, '_, H, M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Session").field("role", &H::ROLE).field("at", &self.at()).finish_non_exhaustive()
    }
}

impl<H, M> Session<'_, '_, H, M> {
    /// Layer and step of the walk.
    #[must_use]
    pub fn at(&self) -> Option<(u16, Step)> {
        self.walk.as_ref().and_then(Walk::at)
    }
}

impl<'p, 'm, H: Half, M: ModelHalf> Session<'p, 'm, H, M> {
    /// A session whose counter both parties have burned and acknowledged.
    ///
    /// # Errors
    /// The arena is shorter than [`Plan::arena_words`], or the plan is of mode T and the half is no server's
    /// of two.
    pub fn new(parts: Parts<'p, 'm, H, M>) -> Result<Self, SessionError> {
        let Parts { plan, half, model, arena } = parts;
        let party = Party::new(&plan, half, model, arena)?;
        let layers = plan.layers();
        Ok(Self {
            plan,
            party,
            phase: Phase::Input,
            input_tiles: 0,
            input_hash: None,
            layers,
            walk: None,
            // The acknowledgements.
            rounds: 1,
        })
    }

    /// Is there anything that [`Session::new`] would refuse? To be asked before a counter is burned.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn accepts(plan: &Plan<'_>, arena_words: usize) -> Result<(), SessionError> {
        Party::<H, M>::accepts(plan, arena_words)
    }

    /// Exchanges so far between the parties, the acknowledgements included.
    #[must_use]
    pub const fn rounds(&self) -> u32 {
        self.rounds
    }

    /// Nothing is left to send or receive.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Finished)
    }

    /// The plan.
    #[must_use]
    pub const fn plan(&self) -> &Plan<'p> {
        &self.plan
    }

    pub(super) fn error(&self, kind: impl Into<ErrorKind>) -> SessionError {
        SessionError { at: self.at(), kind: kind.into() }
    }

    pub(super) fn check(&self, found: &Header, expected: &Header) -> Result<(), SessionError> {
        if (found.layer, found.step, found.tile) != (expected.layer, expected.step, expected.tile) {
            return Err(self.error(ErrorKind::Unexpected {
                layer: found.layer,
                step: found.step,
                tile: found.tile,
            }));
        }
        if found.length != expected.length {
            return Err(self.error(ErrorKind::Length { expected: expected.length, found: found.length }));
        }
        Ok(())
    }

    /// The next frame to send, if one is ready; `out` holds [`crate::plan::PlanHeader::longest_frame`] bytes.
    ///
    /// # Errors
    /// `out` is too short or the material failed.
    #[must_use = "a frame that is not sent stops the inference"]
    pub fn poll_transmit(&mut self, out: &mut [u8]) -> Result<Option<usize>, SessionError> {
        let result = self.transmit(out);
        self.end_on_error(result)
    }

    /// After an error nothing is sent, taken or computed any more: a second try could use a mask twice.
    pub(super) fn end_on_error<T>(&mut self, result: Result<T, SessionError>) -> Result<T, SessionError> {
        if result.is_err() {
            self.phase = Phase::Failed;
        }
        result
    }

    fn transmit(&mut self, out: &mut [u8]) -> Result<Option<usize>, SessionError> {
        if matches!(self.phase, Phase::Failed) {
            return Err(self.error(ErrorKind::Misuse));
        }
        if let (Phase::InputHash { sent: false, received }, Some(hash)) = (&self.phase, self.input_hash) {
            let received = *received;
            frame_payload(out, INPUT_HASH, None)?.copy_from_slice(&hash);
            write_header(out, &message::header(Code::InputHash, 0, INPUT_HASH as u32));
            self.phase = Phase::InputHash { sent: true, received };
            if received {
                self.next_group()?;
            }
            return Ok(Some(HEADER + INPUT_HASH));
        }
        let Some(mut walk) = self.walk.take() else { return Ok(None) };
        let result = self.transmit_frame(&mut walk, out);
        self.walk = Some(walk);
        let length = result.map_err(|e| SessionError { at: e.at.or(self.at()), ..e })?;
        if length.is_some() {
            self.finish_group()?;
        }
        Ok(length)
    }

    fn transmit_frame(&mut self, walk: &mut Walk<'p>, out: &mut [u8]) -> Result<Option<usize>, SessionError> {
        let (index, tile) = walk.sent;
        let Some(&step) = walk.steps.get(index) else { return Ok(None) };
        let answers = self.party.answers(step);
        if !walk.group.knows(step, tile) || (answers && walk.received <= walk.sent) {
            return Ok(None);
        }
        let header = walk.header(&self.plan.header.options, step, tile, H::ROLE);
        let payload = frame_payload(out, header.length as usize, None)?;
        step.write(&mut self.party, &mut walk.group, tile, payload)
            .map_err(|kind| SessionError { at: Some((header.layer, step)), kind })?;
        write_header(out, &header);
        walk.sent = walk.next_frame(&self.plan.header.options, (index, tile + 1), H::ROLE);
        Ok(Some(HEADER + header.length as usize))
    }

    /// May the next frame be handed over? If not, [`Session::poll_transmit`] comes first, or
    /// [`Session::provide_masked`]: a peer that got a third client's E earlier has already sent its hash.
    #[must_use]
    pub fn can_receive(&self) -> bool {
        let waits_for_client =
            matches!(self.phase, Phase::Input) && self.plan.header.options.client == Client::Third;
        let Some(walk) = &self.walk else {
            return !waits_for_client && !matches!(self.phase, Phase::Finished);
        };
        let Some(&step) = walk.steps.get(walk.received.0) else { return true };
        if self.party.sends_first(step) {
            walk.sent > walk.received
        } else {
            // The window holds a tile whose polynomials are still to be sent.
            walk.group.pending.is_none()
        }
    }

    /// Takes one frame, header and payload.
    ///
    /// # Errors
    /// The peer misbehaved, the caller did not heed [`Session::can_receive`], or the material failed. The
    /// inference is then over.
    pub fn handle_frame(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        let result = self.take_frame(bytes);
        self.end_on_error(result)
    }

    fn take_frame(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        let Some((head, payload)) = bytes.split_first_chunk::<HEADER>() else {
            return Err(self.error(ErrorKind::Length { expected: HEADER as u32, found: bytes.len() as u32 }));
        };
        let header = Header::decode(head);
        if header.length as usize != payload.len() {
            return Err(
                self.error(ErrorKind::Length { expected: header.length, found: payload.len() as u32 })
            );
        }
        match &self.phase {
            Phase::Input if self.party.takes_input() => self.receive_input(&header, payload),
            Phase::InputHash { sent, received: false } => {
                let sent = *sent;
                self.check(&header, &message::header(Code::InputHash, 0, INPUT_HASH as u32))?;
                if self.input_hash.as_ref().is_none_or(|own| own[..] != *payload) {
                    return Err(self.error(ErrorKind::InputDiffers));
                }
                self.phase = Phase::InputHash { sent, received: true };
                if sent { self.next_group() } else { Ok(()) }
            }
            Phase::Layers => {
                if !self.can_receive() {
                    return Err(self.error(ErrorKind::Misuse));
                }
                let Some(mut walk) = self.walk.take() else { return Err(self.error(ErrorKind::Misuse)) };
                let result = self.receive_frame(&mut walk, &header, payload);
                self.walk = Some(walk);
                result?;
                self.finish_group()
            }
            _ => Err(self.error(ErrorKind::Unexpected {
                layer: header.layer,
                step: header.step,
                tile: header.tile,
            })),
        }
    }

    fn receive_frame(
        &mut self,
        walk: &mut Walk<'p>,
        header: &Header,
        payload: &[u8],
    ) -> Result<(), SessionError> {
        let (index, tile) = walk.received;
        let unexpected = ErrorKind::Unexpected { layer: header.layer, step: header.step, tile: header.tile };
        let layer = walk.group.layer.index;
        let Some(&step) = walk.steps.get(index) else {
            return Err(SessionError { at: walk.steps.last().map(|&s| (layer, s)), kind: unexpected });
        };
        let at = Some((layer, step));
        let options = &self.plan.header.options;
        let expected = walk.header(options, step, tile, H::ROLE.peer());
        self.check(header, &expected).map_err(|e| SessionError { at, ..e })?;
        // A frame may come before this party could have caused it only if the peer skips a step; an answer
        // comes after what it answers.
        let due =
            if self.party.asks(step) { walk.sent > walk.received } else { walk.group.knows(step, tile) };
        if !due {
            return Err(SessionError { at, kind: unexpected });
        }
        let failed = |kind| SessionError { at, kind };
        step.read(&mut self.party, &mut walk.group, tile, payload).map_err(failed)?;
        walk.received = walk.next_frame(options, (index, tile + 1), H::ROLE.peer());
        if walk.received.0 == index {
            return Ok(());
        }
        step.finish(&mut self.party, &mut walk.group).map_err(failed)
    }

    /// This party's words of the output for a third client, packed; call when the session is finished.
    ///
    /// # Errors
    /// Not finished, or `out` is too short.
    pub fn output_share(&self, out: &mut [u8]) -> Result<usize, SessionError> {
        if !self.is_finished() {
            return Err(self.error(ErrorKind::Misuse));
        }
        self.party.output_share(&self.plan, out).map_err(|kind| self.error(kind))
    }

    /// The answer, for P0 as the client: the label as one number, or the released logits, one after another.
    pub fn answer(&self) -> impl Iterator<Item = i64> + '_ {
        self.is_finished().then(|| self.party.answer(&self.plan)).into_iter().flatten()
    }
}

/// The payload's place in a frame buffer.
pub(super) fn frame_payload(
    out: &mut [u8],
    length: usize,
    at: Option<(u16, Step)>,
) -> Result<&mut [u8], SessionError> {
    out.get_mut(HEADER..HEADER + length).ok_or(SessionError { at, kind: ErrorKind::Memory })
}

pub(super) fn write_header(out: &mut [u8], header: &Header) {
    if let Some(slot) = out.first_chunk_mut::<HEADER>() {
        *slot = header.encode();
    }
}
