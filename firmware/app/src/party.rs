//! One inference of the seed party, its own client: the handshake, the burn, the session.
//!
//! P1 proposes a counter; P0 refuses one that is burned and says which is next. On an acceptance it burns the
//! counter durably, then both acknowledge, and only then does anything that depends on the picture leave.
//! After a fault the counter stays burned.

use halfnet_core::board::Board;
use halfnet_core::party::seed::{inference_key, model_key};
use halfnet_core::party::session::{Input, Parts, Session};
use halfnet_core::party::{ErrorKind, SessionError};
use halfnet_core::plan::{Client, Mode, Step};
use halfnet_core::wire::message::{Acknowledge, Code, Hello, Identifier, MessageError, Reply, Verdict};

use crate::counter::{CounterError, CounterStore};
use crate::fault::Fault;
use crate::frames::Frames;
use crate::half::{BoardHalf, board_half};
use crate::link::Link;
use crate::memory::{Memory, Needs};
use crate::model::{BoardModel, SharedModel};
use crate::nonce::Nonces;

/// Values that a board keeps of an answer: the label, or so many logits.
pub const MAX_ANSWER: usize = 16;

/// What an inference released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The counter that it burned.
    pub counter: u64,
    /// The first values: the label alone, or the logits in order.
    pub values: [i64; MAX_ANSWER],
    /// How many values there are, of which at most [`MAX_ANSWER`] are kept.
    pub count: usize,
    /// Bytes sent and received, handshake included.
    pub moved: [u32; 2],
    /// Exchanges with P1.
    pub rounds: u32,
}

impl Outcome {
    /// The values kept.
    #[must_use]
    pub fn answer(&self) -> &[i64] {
        self.values.get(..self.count.min(MAX_ANSWER)).unwrap_or(&[])
    }
}

/// A fault, and what became of the counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Failure {
    /// What.
    pub fault: Fault,
    /// The counter that is spent; none if the fault came before the burn.
    pub burned: Option<u64>,
    /// Layer and step, where the session was in one.
    pub at: Option<(u16, Step)>,
}

/// P0 at work.
#[derive(Debug)]
pub struct SeedParty<'a, C> {
    board: &'a Board<'a>,
    counter: C,
    nonces: Nonces,
    timeout: u32,
    arena: &'a mut [u64],
    channel: &'a mut [u64],
    frames: Frames<'a>,
}

/// What both parties have burned.
#[derive(Clone, Copy)]
struct Burned {
    acknowledge: Acknowledge,
    deal: Identifier,
}

impl<'a, C: CounterStore> SeedParty<'a, C> {
    /// A party that takes its peer for gone after `timeout` milliseconds without a byte.
    ///
    /// # Errors
    /// The memory lent is shorter than the plan states, or the material was dealt for a third client.
    pub fn new(
        board: &'a Board<'a>,
        counter: C,
        nonces: Nonces,
        memory: Memory<'a>,
        timeout: u32,
    ) -> Result<Self, Fault> {
        if board.plan.header.options.client != Client::SeedParty {
            return Err(Fault::Client);
        }
        let needs = Needs::of(&board.plan);
        let Memory { arena, channel, outgoing, incoming } = memory;
        let given = [arena.len(), channel.len(), outgoing.len(), incoming.len()];
        let needed = [needs.arena, needs.channel, needs.outgoing, needs.incoming];
        if given.iter().zip(needed).any(|(&given, needed)| given < needed) {
            return Err(Fault::Memory);
        }
        Ok(Self { board, counter, nonces, timeout, arena, channel, frames: Frames::new(outgoing, incoming) })
    }

    /// Waits for P1's proposal, as long as it takes, and asks one picture.
    ///
    /// # Errors
    /// The inference ended early; the party is ready for another proposal. Until the line is quiet, what the
    /// peer sends is dropped.
    pub fn infer(&mut self, link: &mut impl Link, picture: &mut impl Input) -> Result<Outcome, Failure> {
        let mut burned = None;
        let mut at = None;
        let result = self.attempt(link, picture, &mut burned, &mut at);
        result.map_err(|fault| {
            self.frames.resynchronise(link);
            Failure { fault, burned, at }
        })
    }

    fn attempt(
        &mut self,
        link: &mut impl Link,
        picture: &mut impl Input,
        spent: &mut Option<u64>,
        at: &mut Option<(u16, Step)>,
    ) -> Result<Outcome, Fault> {
        self.frames.count();
        let burned = self.accept(link, spent)?;
        self.frames.queue_message(Code::Acknowledge, &burned.acknowledge.encode())?;
        let found = self.frames.message(link, Code::Acknowledge, self.timeout, false, |payload| {
            Acknowledge::decode(payload).map_err(Fault::Malformed)
        })?;
        if found != burned.acknowledge {
            return Err(Fault::Acknowledge);
        }
        let Self { board, arena, channel, frames, timeout, .. } = self;
        let counter = burned.acknowledge.counter;
        let half = board_half(inference_key(&board.seed, &board.agreement, &burned.deal, counter));
        let desk = Desk { link, frames, timeout: *timeout, at };
        let plan = board.plan.clone();
        let shared = plan.header.options.mode != Mode::Held;
        let model =
            BoardModel(shared.then(|| SharedModel::new(model_key(&board.seed, &board.agreement), channel)));
        let mut outcome = desk.run(Parts { plan, half, model, arena }, picture)?;
        outcome.counter = counter;
        Ok(outcome)
    }

    /// Answers proposals until one is accepted and burned.
    #[inline(never)]
    fn accept(&mut self, link: &mut impl Link, spent: &mut Option<u64>) -> Result<Burned, Fault> {
        loop {
            let hello = self
                .frames
                .message(link, Code::Hello, self.timeout, true, |payload| Ok(Hello::decode(payload)))?;
            let hello = match hello {
                Ok(hello) => hello,
                Err(error) => {
                    if error == MessageError::Version {
                        // Whether it still hears that or has left: this is the fault.
                        let _ = self.refuse(link, Verdict::Version);
                    }
                    return Err(Fault::Malformed(error));
                }
            };
            if hello.agreement != self.board.agreement {
                let _ = self.refuse(link, Verdict::Disagreement);
                return Err(Fault::Disagreement);
            }
            if hello.counter < self.counter.next() {
                self.refuse(link, Verdict::OldCounter)?;
                continue;
            }
            let reply = self.reply(Verdict::Accepted);
            // Before a byte of the acceptance leaves: a cut of power from here on finds the counter burned.
            self.counter.burn(hello.counter)?;
            if self.counter.next() != hello.counter + 1 {
                return Err(CounterError::Kept.into());
            }
            *spent = Some(hello.counter);
            self.frames.queue_message(Code::Reply, &reply.encode())?;
            self.flush(link)?;
            let acknowledge = Acknowledge { counter: hello.counter, session: reply.session(&hello) };
            return Ok(Burned { acknowledge, deal: hello.deal });
        }
    }

    fn reply(&mut self, verdict: Verdict) -> Reply {
        Reply {
            agreement: self.board.agreement,
            nonce: self.nonces.draw(),
            verdict,
            next: self.counter.next(),
        }
    }

    fn refuse(&mut self, link: &mut impl Link, verdict: Verdict) -> Result<(), Fault> {
        let reply = self.reply(verdict);
        self.frames.queue_message(Code::Reply, &reply.encode())?;
        self.flush(link)
    }

    fn flush(&mut self, link: &mut impl Link) -> Result<(), Fault> {
        self.frames.touch(link);
        while !self.frames.is_flushed() {
            if !self.frames.poll(link)? {
                if self.frames.silence(link) > self.timeout {
                    return Err(Fault::Silent);
                }
                link.idle();
            }
        }
        Ok(())
    }
}

/// What a session runs on.
struct Desk<'d, 'a, L> {
    link: &'d mut L,
    frames: &'d mut Frames<'a>,
    timeout: u32,
    at: &'d mut Option<(u16, Step)>,
}

impl<L: Link> Desk<'_, '_, L> {
    /// Runs a session to its end, on a part of the stack that is its own. Frames leave as soon as they are
    /// ready and are taken as soon as they are wanted.
    #[inline(never)]
    fn run(
        self,
        parts: Parts<'_, '_, BoardHalf, BoardModel<'_>>,
        picture: &mut impl Input,
    ) -> Result<Outcome, Fault> {
        let Self { link, frames, timeout, at } = self;
        let mut session = Session::new(parts)?;
        let mut asking = true;
        frames.touch(link);
        loop {
            *at = session.at();
            let mut moved = false;
            if let Some(room) = frames.room() {
                let mut length = if asking { session.transmit_input(picture, room)? } else { None };
                if length.is_none() {
                    asking = false;
                    length = session.poll_transmit(room)?;
                }
                if let Some(length) = length {
                    frames.queue(length);
                    moved = true;
                }
            }
            // Before the link is asked again: the peer may leave as soon as it has said its last.
            if session.is_finished() && frames.is_flushed() {
                break;
            }
            moved |= frames.poll(link)?;
            if session.can_receive() {
                let came = match frames.frame()? {
                    Some(frame) => {
                        session.handle_frame(frame)?;
                        true
                    }
                    None => false,
                };
                if came {
                    frames.consume();
                    moved = true;
                }
            } else if !moved && frames.is_flushed() {
                // Nothing to send, nothing to wait for: a fault of ours, never a reason to hang.
                return Err(SessionError { at: *at, kind: ErrorKind::Misuse }.into());
            }
            if !moved {
                if frames.silence(link) > timeout {
                    return Err(Fault::Silent);
                }
                link.idle();
            }
        }
        let mut outcome = Outcome {
            counter: 0,
            values: [0; MAX_ANSWER],
            count: 0,
            moved: frames.moved(),
            rounds: session.rounds(),
        };
        for value in session.answer() {
            if let Some(slot) = outcome.values.get_mut(outcome.count) {
                *slot = value;
            }
            outcome.count += 1;
        }
        Ok(outcome)
    }
}
