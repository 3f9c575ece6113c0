//! One inference of the seed party, its own client.
//!
//! The conversation is `halfnet-core`'s [`Acceptor`], from P1's proposal to the answer. Here stands what only a
//! board can do for it: move bytes between the link and the endpoint within two lent buffers, burn the counter
//! when the endpoint asks for it, and give up on a peer that has fallen silent. After a fault the counter stays
//! burned.

use halfnet_core::board::Board;
use halfnet_core::endpoint::{Acceptor, Endpoint, EndpointError, Event, Lent, Nonces, Phase, Who};
use halfnet_core::party::input::Input;
use halfnet_core::party::seed::{inference_key, model_key};
use halfnet_core::plan::{Client, Mode, Step};
use halfnet_core::wire::message::Identifier;

use crate::counter::CounterStore;
use crate::fault::Fault;
use crate::frames::Frames;
use crate::half::{BoardHalf, board_half};
use crate::link::Link;
use crate::memory::{Memory, Needs};
use crate::model::{BoardModel, SharedModel};

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
        let result = self.attempt(link, picture);
        if result.is_err() {
            self.frames.resynchronise(link);
        }
        result
    }

    #[inline(never)]
    fn attempt(&mut self, link: &mut impl Link, picture: &mut impl Input) -> Result<Outcome, Failure> {
        let Self { board, counter, nonces, timeout, arena, channel, frames } = self;
        // It stays where it is made: moved, it would take its place on the stack twice.
        let mut begun = begin(board, counter.next(), nonces, arena, channel, picture);
        let acceptor = match &mut begun {
            Ok(acceptor) => acceptor,
            Err(error) => return Err(Failure { fault: (*error).into(), burned: None, at: None }),
        };
        let mut desk = Desk { board, counter, link, frames, timeout: *timeout };
        let result = desk.run(acceptor);
        result.map_err(|fault| Failure { fault, burned: acceptor.spent(), at: acceptor.at() })
    }
}

/// P0's end of the conversation, on a board.
type Conversation<'p, 'm, I> = Acceptor<'p, 'm, BoardHalf, BoardModel<'m>, I>;

/// A conversation about `picture`, which accepts any counter from `next` on.
#[inline(never)]
fn begin<'p, 'm, I: Input>(
    board: &'p Board<'_>,
    next: u64,
    nonces: &'m mut Nonces,
    arena: &'m mut [u64],
    channel: &'m mut [u64],
    picture: I,
) -> Result<Conversation<'p, 'm, I>, EndpointError> {
    let shared = board.plan.header.options.mode != Mode::Held;
    let key = || model_key(&board.seed, &board.agreement);
    let model = BoardModel(shared.then(|| SharedModel::new(key(), channel)));
    let lent = Lent { plan: board.plan.clone(), model, arena };
    Acceptor::new(lent, board.agreement, next, nonces, picture)
}

/// What a conversation runs on.
struct Desk<'d, 'a, C, L> {
    board: &'a Board<'a>,
    counter: &'d mut C,
    link: &'d mut L,
    frames: &'d mut Frames<'a>,
    timeout: u32,
}

impl<C: CounterStore, L: Link> Desk<'_, '_, C, L> {
    /// Runs a conversation to its end. Frames leave as soon as they are ready and are taken as soon as they are
    /// wanted.
    #[inline(never)]
    fn run(&mut self, acceptor: &mut Conversation<'_, '_, impl Input>) -> Result<Outcome, Fault> {
        self.frames.count();
        loop {
            match acceptor.event() {
                Some(Event::Burn { deal, counter }) => self.burn(acceptor, &deal, counter)?,
                Some(Event::Refused(error)) => {
                    // Whether the peer still hears that or has left: this is the fault.
                    let _ = self.flush();
                    return Err(error.into());
                }
                // Before the link is asked again: the peer may leave as soon as it has said its last.
                Some(Event::Done) if self.frames.is_flushed() => {
                    return outcome(acceptor, self.frames.moved());
                }
                _ => {}
            }
            if !self.step(acceptor)? {
                // A proposal may take for ever, but not once it has begun.
                let patient = acceptor.phase() == Phase::Handshake
                    && self.frames.is_flushed()
                    && !self.frames.is_partial();
                self.wait(patient)?;
            }
        }
    }

    /// Moves what can move now; says whether anything did.
    fn step(&mut self, acceptor: &mut Conversation<'_, '_, impl Input>) -> Result<bool, Fault> {
        let Self { link, frames, .. } = self;
        if let Some(room) = frames.room()
            && let Some(length) = acceptor.poll_transmit(Who::Bundle, room)?
        {
            // It leaves next: a peer that is told why it is refused may have left already.
            frames.queue(length);
            return Ok(true);
        }
        let mut moved = frames.poll(*link)?;
        if acceptor.can_receive(Who::Bundle) {
            if let Some(frame) = frames.frame()? {
                acceptor.handle_frame(Who::Bundle, frame)?;
                frames.consume();
                moved = true;
            }
        } else if !moved && frames.is_flushed() {
            // Nothing to send, nothing to wait for: a fault of ours, never a reason to hang.
            return Err(EndpointError::Misuse.into());
        }
        Ok(moved)
    }

    /// Burns the counter, and only then has the endpoint say so; on a part of the stack that the layers use
    /// again.
    #[inline(never)]
    fn burn(
        &mut self,
        acceptor: &mut Conversation<'_, '_, impl Input>,
        deal: &Identifier,
        counter: u64,
    ) -> Result<(), Fault> {
        // Before a byte of the acceptance leaves: a cut of power from here on finds the counter burned.
        self.counter.burn(counter)?;
        let half = board_half(inference_key(&self.board.seed, &self.board.agreement, deal, counter));
        acceptor.burned(self.counter.next(), half)?;
        self.frames.touch(self.link);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        while !self.frames.is_flushed() {
            if !self.frames.poll(self.link)? {
                self.wait(false)?;
            }
        }
        Ok(())
    }

    /// Nothing has moved: waits for something to do, or no longer.
    fn wait(&mut self, patient: bool) -> Result<(), Fault> {
        if !patient && self.frames.silence(self.link) > self.timeout {
            return Err(Fault::Silent);
        }
        self.link.idle();
        Ok(())
    }
}

fn outcome(acceptor: &Conversation<'_, '_, impl Input>, moved: [u32; 2]) -> Result<Outcome, Fault> {
    let account = acceptor.account().ok_or(EndpointError::Misuse)?;
    let mut outcome = Outcome {
        counter: account.counter,
        values: [0; MAX_ANSWER],
        count: 0,
        moved,
        rounds: account.rounds,
    };
    for value in acceptor.answer() {
        if let Some(slot) = outcome.values.get_mut(outcome.count) {
            *slot = value;
        }
        outcome.count += 1;
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests;
