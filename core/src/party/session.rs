//! One inference, the same for both roles: what is sent and what may come, while `walk.rs` goes through the
//! plan.
//!
//! Each direction is a fixed sequence of frames; the walk keeps one position in what it sends and one in what
//! it receives, and both must end before the next group of tiles begins. `docs/PROTOCOL.md`, "Order on the
//! wire", says what each step is.
//!
//! Call [`Session::poll_transmit`] until it gives nothing, hand over frames while [`Session::can_receive`],
//! until [`Session::is_finished`].

use zeroize::Zeroize;

use super::half::{Half, ModelHalf};
use super::tournament::Tournament;
use super::walk::{Group, Positions};
use super::{ErrorKind, SessionError};
use crate::plan::{Client, Layers, Mode, Plan, Role, Step, StepPlan};
use crate::wire::frame::{HEADER, Header};
use crate::wire::message::{self, Code, INPUT_HASH};

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
    pub(super) half: H,
    pub(super) model: M,
    pub(super) wires: &'m mut [u64],
    pub(super) window: &'m mut [u64],
    pub(super) state: &'m mut [u64],
    pub(super) phase: Phase,
    /// Tiles of the input that have passed.
    pub(super) input_tiles: usize,
    pub(super) input_hash: Option<[u8; INPUT_HASH]>,
    pub(super) layers: Layers<'p>,
    pub(super) group: Option<Group<'p>>,
    pub(super) positions: Positions,
    pub(super) tournament: Tournament,
    pub(super) output_ready: bool,
    pub(super) rounds: u32,
}

impl<H: Half, M> core::fmt::Debug for Session<'_, '_, H, M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Session").field("role", &H::ROLE).field("at", &self.at()).finish_non_exhaustive()
    }
}

impl<H, M> Drop for Session<'_, '_, H, M> {
    // Sums, shares of the output and opened bits are worth as much as the picture.
    fn drop(&mut self) {
        self.wires.zeroize();
        self.window.zeroize();
        self.state.zeroize();
        self.positions.windows.zeroize();
    }
}

impl<H, M> Session<'_, '_, H, M> {
    /// Layer and step of the walk.
    #[must_use]
    pub fn at(&self) -> Option<(u16, Step)> {
        let group = self.group.as_ref()?;
        let index = group.sent.0.min(group.received.0).min(group.steps.len().saturating_sub(1));
        Some((group.layer.index, *group.steps.get(index)?))
    }
}

pub use super::answer::{combine_outputs, output_shape};
pub use super::input::Input;

impl<'p, 'm, H: Half, M: ModelHalf> Session<'p, 'm, H, M> {
    /// A session whose counter both parties have burned and acknowledged.
    ///
    /// # Errors
    /// The arena is shorter than [`Plan::arena_words`], or the plan is of mode T and the half is no server's
    /// of two.
    pub fn new(parts: Parts<'p, 'm, H, M>) -> Result<Self, SessionError> {
        let Parts { plan, half, model, arena } = parts;
        Self::accepts(&plan, arena.len())?;
        let memory = SessionError { at: None, kind: ErrorKind::Memory };
        let r = H::ROLE.index();
        let (wires, rest) = arena.split_at_mut_checked(plan.header.wire_words[r] as usize).ok_or(memory)?;
        let (window, rest) = rest.split_at_mut_checked(plan.header.window_words[r] as usize).ok_or(memory)?;
        let (state, _) = rest.split_at_mut_checked(plan.header.state_words[r] as usize).ok_or(memory)?;
        let layers = plan.layers();
        Ok(Self {
            plan,
            half,
            model,
            wires,
            window,
            state,
            phase: Phase::Input,
            input_tiles: 0,
            input_hash: None,
            layers,
            group: None,
            positions: Positions::default(),
            tournament: Tournament::default(),
            output_ready: false,
            // The acknowledgements.
            rounds: 1,
        })
    }

    /// Is there anything that [`Session::new`] would refuse? To be asked before a counter is burned.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn accepts(plan: &Plan<'_>, arena_words: usize) -> Result<(), SessionError> {
        let kind = if plan.header.options.mode == Mode::TwoServers && !H::TWO_SERVERS {
            ErrorKind::Mode
        } else if arena_words < plan.arena_words(H::ROLE) {
            ErrorKind::Memory
        } else {
            return Ok(());
        };
        Err(SessionError { at: None, kind })
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

    pub(super) const fn mode(&self) -> Mode {
        self.plan.header.options.mode
    }

    /// Mode T: both parties send their shares of every opening.
    pub(super) const fn is_mutual(&self) -> bool {
        H::TWO_SERVERS && matches!(self.mode(), Mode::TwoServers)
    }

    pub(super) fn is_seed(&self) -> bool {
        H::ROLE == Role::Seed
    }

    /// P0 in H: no wires, no linear work.
    pub(super) fn is_blind(&self) -> bool {
        !self.plan.keeps_wires(H::ROLE)
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
        let Some(mut group) = self.group.take() else { return Ok(None) };
        let result = self.transmit_frame(&mut group, out);
        self.group = Some(group);
        let length = result.map_err(|e| SessionError { at: e.at.or(self.at()), ..e })?;
        if length.is_some() {
            self.finish_group()?;
        }
        Ok(length)
    }

    fn transmit_frame(
        &mut self,
        group: &mut Group<'p>,
        out: &mut [u8],
    ) -> Result<Option<usize>, SessionError> {
        let (index, tile) = group.sent;
        let Some(&step) = group.steps.get(index) else { return Ok(None) };
        if !self.may_send(group, step, tile) {
            return Ok(None);
        }
        let length = self.payload(group, step, tile, H::ROLE);
        let payload = frame_payload(out, length, None)?;
        self.transmit_step(group, step, tile, payload)
            .map_err(|kind| SessionError { at: Some((group.layer.index, step)), kind })?;
        let name = group.layer.frame_tile(group.group, step, tile);
        write_header(
            out,
            &Header { layer: group.layer.index, step: step.code(), tile: name, length: length as u32 },
        );
        group.sent = self.next_frame(group, (index, tile + 1), H::ROLE);
        Ok(Some(HEADER + length))
    }

    fn may_send(&self, group: &Group<'_>, step: Step, tile: usize) -> bool {
        let index = group.sent.0;
        let received = group.received > (index, tile);
        let answers = H::ROLE == Role::Bundle && self.mode() == Mode::Shared;
        match step {
            Step::Open | Step::OpenLinear => !answers || received,
            Step::OpenPolynomial => match (self.mode(), H::ROLE) {
                (Mode::Shared, Role::Bundle) => received,
                (Mode::Held, Role::Seed) => group.pending == Some(tile),
                _ => group.opened > tile,
            },
            Step::Tree(level) => group.level == Some(usize::from(level)),
            Step::Sign => group.level == Some(group.work.layout.levels()),
            Step::OpenRelu => group.signed && (!answers || received),
            Step::OpenPool => {
                let rescale = matches!(group.layer.step, StepPlan::Rescale { .. });
                (rescale || self.accumulated(group)) && (!answers || received)
            }
            Step::Release => true,
            Step::TournamentOpen(_) | Step::TournamentTree(..) | Step::TournamentSign(_) => {
                self.tournament.is_ready(step)
            }
            Step::Output => self.output_ready,
        }
    }

    /// Every element of the last group has flowed into its windows.
    fn accumulated(&self, group: &Group<'_>) -> bool {
        group.opened == group.layer.group_tiles(group.group) && (group.relus == 0 || group.signed)
    }

    /// May the next frame be handed over? If not, [`Session::poll_transmit`] comes first, or
    /// [`Session::provide_masked`]: a peer that got a third client's E earlier has already sent its hash.
    #[must_use]
    pub fn can_receive(&self) -> bool {
        let waits_for_client =
            matches!(self.phase, Phase::Input) && self.plan.header.options.client == Client::Third;
        let Some(group) = &self.group else {
            return !waits_for_client && !matches!(self.phase, Phase::Finished);
        };
        let Some(&step) = group.steps.get(group.received.0) else { return true };
        match step {
            // This party's own share of the tile is computed when it is sent.
            Step::Open | Step::OpenPolynomial | Step::OpenRelu | Step::OpenPool | Step::OpenLinear
                if self.is_mutual() =>
            {
                group.sent > group.received
            }
            // This party's own planes are kept until they have been sent.
            Step::Tree(_)
            | Step::Sign
            | Step::TournamentOpen(_)
            | Step::TournamentTree(..)
            | Step::TournamentSign(_) => group.sent > group.received,
            // The window holds a tile whose polynomials are still to be sent.
            _ => group.pending.is_none(),
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
            Phase::Input
                if H::ROLE == Role::Bundle && self.plan.header.options.client == Client::SeedParty =>
            {
                self.receive_input(&header, payload)
            }
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
                let Some(mut group) = self.group.take() else { return Err(self.error(ErrorKind::Misuse)) };
                let result = self.receive_frame(&mut group, &header, payload);
                self.group = Some(group);
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
        group: &mut Group<'p>,
        header: &Header,
        payload: &[u8],
    ) -> Result<(), SessionError> {
        let (index, tile) = group.received;
        let unexpected = ErrorKind::Unexpected { layer: header.layer, step: header.step, tile: header.tile };
        let Some(&step) = group.steps.get(index) else {
            return Err(SessionError {
                at: group.steps.last().map(|&s| (group.layer.index, s)),
                kind: unexpected,
            });
        };
        let at = Some((group.layer.index, step));
        let length = self.payload(group, step, tile, H::ROLE.peer()) as u32;
        let name = group.layer.frame_tile(group.group, step, tile);
        let expected = Header { layer: group.layer.index, step: step.code(), tile: name, length };
        self.check(header, &expected).map_err(|e| SessionError { at, ..e })?;
        // A frame may come before this party could have caused it only if the peer skips a step.
        if !self.may_receive(group, step) {
            return Err(SessionError { at, kind: unexpected });
        }
        self.receive_step(group, step, tile, payload).map_err(|kind| SessionError { at, kind })?;
        group.received = self.next_frame(group, (index, tile + 1), H::ROLE.peer());
        self.received_step(group, step, index).map_err(|kind| SessionError { at, kind })
    }

    /// An answer comes after what it answers, a tree level after the one before.
    fn may_receive(&self, group: &Group<'_>, step: Step) -> bool {
        let answered = self.is_seed() && self.mode() == Mode::Shared;
        match step {
            Step::Open | Step::OpenPolynomial | Step::OpenRelu | Step::OpenPool | Step::OpenLinear
                if answered =>
            {
                group.sent > group.received
            }
            Step::OpenPolynomial => group.opened > group.received.1,
            Step::Tree(level) => group.level == Some(usize::from(level)),
            Step::Sign => group.level == Some(group.work.layout.levels()),
            Step::OpenRelu => group.signed,
            Step::OpenPool => matches!(group.layer.step, StepPlan::Rescale { .. }) || self.accumulated(group),
            Step::TournamentOpen(_) | Step::TournamentTree(..) | Step::TournamentSign(_) => {
                self.tournament.is_ready(step)
            }
            _ => true,
        }
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
