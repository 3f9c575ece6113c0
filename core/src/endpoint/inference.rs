//! What follows the burn, the same for both parties: acknowledgements, what passes with a third client, and the
//! session between.

use super::client::{packed_input, packed_output};
use super::{Account, EndpointError, Event, Lent, NoPicture, Phase, Who, read_message, write_message};
use crate::party::half::{Half, ModelHalf};
use crate::party::input::Input;
use crate::party::session::{Parts, Session};
use crate::plan::{Client, Mode, Plan, Role, Step};
use crate::wire::frame::HEADER;
use crate::wire::message::{self, Acknowledge, Code, Identifier, MASK, MaskHeader};

/// What both parties know of a burned counter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Burned {
    pub(super) acknowledge: Acknowledge,
    pub(super) deal: Identifier,
    pub(super) request: Identifier,
}

/// Where an inference stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Acknowledgements: has this party's left, has the peer's come?
    Acknowledge { sent: bool, received: bool },
    /// This party's share of A is to go to the client.
    Mask,
    /// E is to come from the client.
    Masked,
    /// The session.
    Layers,
    /// This party's words of the output are to go to the client.
    Output,
    /// Done.
    Finished,
    /// An error ended it.
    Failed,
}

/// An inference whose counter this party has burned.
pub(super) struct Inference<'p, 'm, H, M, I> {
    session: Session<'p, 'm, H, M>,
    /// P0's own picture, or [`NoPicture`].
    picture: I,
    burned: Burned,
    stage: Stage,
    sent: u64,
}

/// Is there anything that `Inference::begin` would refuse? To be asked before the counter is burned.
pub(super) fn check<H: Half, M: ModelHalf, I: Input>(
    lent: &Lent<'_, '_, M>,
    picture: &I,
) -> Result<(), EndpointError> {
    let client = lent.plan.header.options.client;
    let own = H::ROLE == Role::Seed && client == Client::SeedParty;
    if I::IS_CLIENT != own {
        return Err(EndpointError::Client);
    }
    if own {
        check_picture(&lent.plan, picture)?;
    }
    Ok(Session::<H, M>::accepts(&lent.plan, lent.arena.len())?)
}

/// Has a picture as many elements as the plan takes?
pub(super) fn check_picture(plan: &Plan<'_>, picture: &impl Input) -> Result<(), EndpointError> {
    let (expected, found) = (plan.header.input.elements, picture.elements());
    if found == expected as usize {
        Ok(())
    } else {
        Err(EndpointError::Picture { expected, found: found.try_into().unwrap_or(u32::MAX) })
    }
}

impl<'p, 'm, H: Half, M: ModelHalf, I: Input> Inference<'p, 'm, H, M, I> {
    pub(super) fn begin(
        lent: Lent<'p, 'm, M>,
        half: H,
        picture: I,
        burned: Burned,
    ) -> Result<Self, EndpointError> {
        let Lent { plan, model, arena } = lent;
        let session = Session::new(Parts { plan, half, model, arena })?;
        Ok(Self {
            session,
            picture,
            burned,
            stage: Stage::Acknowledge { sent: false, received: false },
            sent: 0,
        })
    }

    fn plan(&self) -> &Plan<'p> {
        self.session.plan()
    }

    /// Does a third client talk to this party?
    fn is_served(&self) -> bool {
        !I::IS_CLIENT && self.plan().header.options.client == Client::Third
    }

    /// Is this a third client? Where the party is its own, what is for one is left out of the code.
    fn is_client(who: Who) -> bool {
        !I::IS_CLIENT && who == Who::Client
    }

    pub(super) const fn account(&self) -> Account {
        let Burned { acknowledge: Acknowledge { counter, session }, request, .. } = self.burned;
        Account { counter, session, request, rounds: self.session.rounds(), bytes_sent: self.sent }
    }

    pub(super) fn at(&self) -> Option<(u16, Step)> {
        self.session.at()
    }

    pub(super) const fn phase(&self) -> Phase {
        match self.stage {
            Stage::Acknowledge { .. } => Phase::Acknowledge,
            Stage::Mask | Stage::Masked => Phase::Input,
            Stage::Layers => Phase::Layers,
            Stage::Output => Phase::Output,
            Stage::Finished => Phase::Finished,
            Stage::Failed => Phase::Failed,
        }
    }

    pub(super) fn event(&self) -> Option<Event> {
        (self.stage == Stage::Finished).then_some(Event::Done)
    }

    pub(super) fn answer(&self) -> impl Iterator<Item = i64> + '_ {
        self.session.answer().take_while(|_| self.stage == Stage::Finished)
    }

    /// Bytes of the longest frame that may come next.
    pub(super) fn longest_frame(&self, from: Who) -> usize {
        match (from, self.stage) {
            (Who::Client, Stage::Mask | Stage::Masked) => super::longest_from_client(self.plan()),
            (Who::Client, _) | (_, Stage::Acknowledge { .. }) => super::longest_before(from),
            _ => super::longest_between_parties(self.plan(), H::ROLE.peer()),
        }
    }

    pub(super) fn can_receive(&self, from: Who) -> bool {
        match self.stage {
            Stage::Acknowledge { received, .. } => !received && from == Who::party(H::ROLE.peer()),
            Stage::Masked => Self::is_client(from),
            Stage::Layers => from == Who::party(H::ROLE.peer()) && self.session.can_receive(),
            Stage::Mask | Stage::Output | Stage::Finished | Stage::Failed => false,
        }
    }

    /// After an error nothing is said any more.
    fn end_on_error<T>(&mut self, result: Result<T, EndpointError>) -> Result<T, EndpointError> {
        if result.is_err() {
            self.stage = Stage::Failed;
        }
        result
    }

    pub(super) fn poll_transmit(&mut self, to: Who, out: &mut [u8]) -> Result<Option<usize>, EndpointError> {
        let result = self.transmit(to, out);
        let length = self.end_on_error(result)?;
        self.sent += length.unwrap_or_default() as u64;
        Ok(length)
    }

    fn transmit(&mut self, to: Who, out: &mut [u8]) -> Result<Option<usize>, EndpointError> {
        let to_peer = to == Who::party(H::ROLE.peer());
        match self.stage {
            Stage::Acknowledge { sent: false, received } if to_peer => {
                let length = write_message(Code::Acknowledge, &self.burned.acknowledge.encode(), out)?;
                self.acknowledged(true, received);
                Ok(Some(length))
            }
            Stage::Mask if Self::is_client(to) => {
                let length = self.write_mask(out)?;
                if self.session.plan().header.options.mode == Mode::Held && H::ROLE == Role::Seed {
                    // E goes to P1 alone.
                    self.session.begin_without_input()?;
                    self.stage = Stage::Layers;
                } else {
                    self.stage = Stage::Masked;
                }
                Ok(Some(length))
            }
            Stage::Layers if to_peer => {
                let mut length = None;
                if I::IS_CLIENT {
                    length = self.session.transmit_input(&mut self.picture, out)?;
                }
                if length.is_none() {
                    length = self.session.poll_transmit(out)?;
                }
                self.moved();
                Ok(length)
            }
            Stage::Output if Self::is_client(to) => {
                let end = HEADER + packed_output(self.plan());
                let payload = out.get_mut(HEADER..end).ok_or(EndpointError::Memory)?;
                let written = self.session.output_share(payload)?;
                write_header(Code::Output, written, out)?;
                self.stage = Stage::Finished;
                Ok(Some(HEADER + written))
            }
            Stage::Failed => Err(EndpointError::Misuse),
            _ => Ok(None),
        }
    }

    /// This party's acknowledgement and its share of A, as one message.
    fn write_mask(&mut self, out: &mut [u8]) -> Result<usize, EndpointError> {
        let Burned { acknowledge, deal, request } = self.burned;
        let header = MaskHeader { acknowledge, deal, request }.encode();
        let (head, share) =
            out.get_mut(HEADER..).and_then(|p| p.split_at_mut_checked(MASK)).ok_or(EndpointError::Memory)?;
        head.copy_from_slice(&header);
        let share = share.get_mut(..packed_input(self.plan())).ok_or(EndpointError::Memory)?;
        let length = MASK + self.session.mask_share(share)?;
        write_header(Code::Mask, length, out)?;
        Ok(HEADER + length)
    }

    pub(super) fn handle_frame(&mut self, from: Who, frame: &[u8]) -> Result<(), EndpointError> {
        let result = self.handle(from, frame);
        self.end_on_error(result)
    }

    fn handle(&mut self, from: Who, frame: &[u8]) -> Result<(), EndpointError> {
        let from_peer = from == Who::party(H::ROLE.peer());
        match self.stage {
            Stage::Acknowledge { sent, received: false } if from_peer => {
                let payload = read_message(from, Code::Acknowledge, frame)?;
                let found = Acknowledge::decode(payload)
                    .map_err(|source| EndpointError::Malformed { from, source })?;
                let own = self.burned.acknowledge;
                if found != own {
                    return Err(EndpointError::Acknowledge { expected: own.counter, found: found.counter });
                }
                self.acknowledged(sent, true);
                Ok(())
            }
            Stage::Masked if Self::is_client(from) => {
                let masked = read_message(from, Code::Masked, frame)?;
                let expected = packed_input(self.plan());
                if masked.len() != expected {
                    let (expected, found) = (expected as u32, masked.len() as u32);
                    return Err(EndpointError::Length { from, expected, found });
                }
                self.session.provide_masked(masked)?;
                self.stage = Stage::Layers;
                self.moved();
                Ok(())
            }
            Stage::Layers if from_peer => {
                self.session.handle_frame(frame)?;
                self.moved();
                Ok(())
            }
            _ => Err(EndpointError::Misuse),
        }
    }

    /// Only when both have said that the counter is burned may anything leave that depends on data, or a share
    /// of A.
    fn acknowledged(&mut self, sent: bool, received: bool) {
        self.stage = match (sent && received, self.is_served()) {
            (false, _) => Stage::Acknowledge { sent, received },
            (true, true) => Stage::Mask,
            (true, false) => Stage::Layers,
        };
    }

    /// The session has moved: is it at its end?
    fn moved(&mut self) {
        if self.session.is_finished() {
            self.stage = if self.is_served() { Stage::Output } else { Stage::Finished };
        }
    }
}

/// Writes the header of a message whose payload stands behind it already.
fn write_header(code: Code, length: usize, out: &mut [u8]) -> Result<(), EndpointError> {
    let head = out.first_chunk_mut::<HEADER>().ok_or(EndpointError::Memory)?;
    *head = message::header(code, 0, length as u32).encode();
    Ok(())
}

impl<H: Half, M, I> core::fmt::Debug for Inference<'_, '_, H, M, I> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Inference")
            .field("counter", &self.burned.acknowledge.counter)
            .field("stage", &self.stage)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

/// P1's: it is never the client.
pub(super) type OfBundleParty<'p, 'm, H, M> = Inference<'p, 'm, H, M, NoPicture>;
