//! P0's end: it accepts or refuses what P1 proposes, for pictures of its own or for a third client's.

use super::inference::{self, Burned, Inference};
use super::{
    Account, Contradiction, Endpoint, EndpointError, Event, Lent, Nonces, Part, Phase, Who, longest_before,
    read_message, write_message,
};
use crate::party::half::{Half, ModelHalf};
use crate::party::input::Input;
use crate::plan::{Role, Step};
use crate::wire::message::{Acknowledge, Agreement, Code, Hello, MessageError, Reply, Verdict};

/// Where the handshake stands.
#[derive(Clone, Copy, Debug)]
enum State {
    /// A proposal is to come.
    Hello,
    /// A third client's request is to be looked for.
    Request(Hello),
    /// A refusal is to leave; after it another proposal may come, or this is the end.
    Refusing(Reply, Option<EndpointError>),
    /// The caller burns the counter; the reply waits until it has.
    Burning(Hello, Reply),
    /// The acceptance is to leave.
    Accepting(Reply),
    /// [`Inference`]'s.
    Running,
    /// A refusal has left.
    Refused(EndpointError),
    /// An error ended it.
    Failed,
}

/// P0's end of one inference.
pub struct Acceptor<'p, 'm, H, M, I> {
    agreement: Agreement,
    next: u64,
    nonces: &'m mut Nonces,
    /// The picture, where P0 is the client.
    lent: Option<(Lent<'p, 'm, M>, I)>,
    state: State,
    spent: Option<u64>,
    inference: Option<Inference<'p, 'm, H, M, I>>,
}

impl<H: Half, M, I> core::fmt::Debug for Acceptor<'_, '_, H, M, I> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Acceptor")
            .field("state", &self.state)
            .field("inference", &self.inference)
            .finish_non_exhaustive()
    }
}

impl<'p, 'm, H: Half, M: ModelHalf, I: Input> Acceptor<'p, 'm, H, M, I> {
    /// P0, which accepts any counter from `next` on. `picture` is P0's own, or [`super::NoPicture`] where the
    /// plan is for third clients.
    ///
    /// # Errors
    /// The plan is for another client, the arena is shorter than it states, or the half has no code for its
    /// mode.
    pub fn new(
        lent: Lent<'p, 'm, M>,
        agreement: Agreement,
        next: u64,
        nonces: &'m mut Nonces,
        picture: I,
    ) -> Result<Self, EndpointError> {
        const { assert!(matches!(H::ROLE, Role::Seed), "P0's half") };
        inference::check::<H, M, I>(&lent, &picture)?;
        Ok(Self {
            agreement,
            next,
            nonces,
            lent: Some((lent, picture)),
            state: State::Hello,
            spent: None,
            inference: None,
        })
    }

    /// Answers [`Event::Request`]: does a third client wait under this name? If not, P1 is told so and may
    /// propose again.
    ///
    /// # Errors
    /// Nothing was asked.
    pub fn answer_request(&mut self, known: bool) -> Result<(), EndpointError> {
        let State::Request(hello) = self.state else { return Err(EndpointError::Misuse) };
        self.state = if known {
            State::Burning(hello, self.reply(Verdict::Accepted))
        } else {
            State::Refusing(self.reply(Verdict::UnknownRequest), None)
        };
        Ok(())
    }

    /// Its next is what was next before a burn: P1 compares it with the counter that it proposed.
    fn reply(&mut self, verdict: Verdict) -> Reply {
        Reply { agreement: self.agreement, nonce: self.nonces.draw(), verdict, next: self.next }
    }

    /// Answers [`Event::Burn`]: the counter is burned, durably, and `next` is what the store accepts now. `half`
    /// is P0's half of this inference: a [`crate::party::seed::SeedHalf`] of
    /// [`crate::party::seed::inference_key`].
    ///
    /// # Errors
    /// Nothing was to be burned, or `next` is not the counter's successor: then nothing is said.
    pub fn burned(&mut self, next: u64, half: H) -> Result<(), EndpointError> {
        let State::Burning(hello, reply) = self.state else { return Err(EndpointError::Misuse) };
        (self.state, self.spent) = (State::Failed, Some(hello.counter));
        if hello.counter.checked_add(1) != Some(next) {
            return Err(EndpointError::NotBurned { burned: hello.counter, next });
        }
        let (lent, picture) = self.lent.take().ok_or(EndpointError::Misuse)?;
        let acknowledge = Acknowledge { counter: hello.counter, session: reply.session(&hello) };
        let burned = Burned { acknowledge, deal: hello.deal, request: hello.request };
        self.inference = Some(Inference::begin(lent, half, picture, burned)?);
        self.state = State::Accepting(reply);
        Ok(())
    }

    fn running(&mut self) -> Result<&mut Inference<'p, 'm, H, M, I>, EndpointError> {
        self.inference.as_mut().ok_or(EndpointError::Misuse)
    }

    /// Judges a proposal; on a part of the stack that the layers use again.
    #[inline(never)]
    fn hello(&mut self, from: Who, frame: &[u8]) -> Result<State, EndpointError> {
        let hello = match Hello::decode(read_message(from, Code::Hello, frame)?) {
            Ok(hello) => hello,
            Err(MessageError::Version) => {
                return Ok(State::Refusing(self.reply(Verdict::Version), Some(EndpointError::Version)));
            }
            Err(source) => return Err(EndpointError::Malformed { from, source }),
        };
        if let Some(what) = Part::difference(&self.agreement, &hello.agreement) {
            let end = EndpointError::Disagreement { what };
            return Ok(State::Refusing(self.reply(Verdict::Disagreement), Some(end)));
        }
        // It cannot be burned: no counter follows it.
        if hello.counter == u64::MAX {
            return Err(EndpointError::Contradiction(Contradiction::LastCounter));
        }
        if hello.counter < self.next {
            return Ok(State::Refusing(self.reply(Verdict::OldCounter), None));
        }
        if !I::IS_CLIENT {
            return Ok(State::Request(hello));
        }
        Ok(State::Burning(hello, self.reply(Verdict::Accepted)))
    }

    /// What is known of the inference, once its counter is burned.
    #[must_use]
    pub fn account(&self) -> Option<Account> {
        self.inference.as_ref().map(Inference::account)
    }

    /// The counter that the caller said to have burned: it is spent, whatever came of it.
    #[must_use]
    pub const fn spent(&self) -> Option<u64> {
        self.spent
    }

    /// The answer, for P0 as the client, once [`Event::Done`] stands: the label as one number, or the released
    /// logits, one after another, each the model's divided by 2^(b − the bits released). Empty otherwise.
    pub fn answer(&self) -> impl Iterator<Item = i64> + '_ {
        self.inference.iter().flat_map(Inference::answer)
    }
}

/// On a part of the stack that the layers use again.
#[inline(never)]
fn write_reply(reply: &Reply, out: &mut [u8]) -> Result<usize, EndpointError> {
    write_message(Code::Reply, &reply.encode(), out)
}

impl<'p, 'm, H: Half, M: ModelHalf, I: Input> Endpoint for Acceptor<'p, 'm, H, M, I> {
    fn event(&self) -> Option<Event> {
        match self.state {
            State::Request(hello) => Some(Event::Request(hello.request)),
            State::Burning(hello, _) => Some(Event::Burn { deal: hello.deal, counter: hello.counter }),
            State::Refused(error) => Some(Event::Refused(error)),
            State::Running => self.inference.as_ref().and_then(Inference::event),
            _ => None,
        }
    }

    fn phase(&self) -> Phase {
        match self.state {
            State::Hello | State::Refusing(..) => Phase::Handshake,
            State::Request(_) | State::Burning(..) => Phase::Caller,
            State::Accepting(_) => Phase::Acknowledge,
            State::Running => self.inference.as_ref().map_or(Phase::Failed, Inference::phase),
            State::Refused(_) | State::Failed => Phase::Failed,
        }
    }

    fn poll_transmit(&mut self, to: Who, out: &mut [u8]) -> Result<Option<usize>, EndpointError> {
        match &self.state {
            State::Refusing(reply, end) if to == Who::Bundle => {
                let length = write_reply(reply, out)?;
                self.state = end.map_or(State::Hello, State::Refused);
                Ok(Some(length))
            }
            State::Accepting(reply) if to == Who::Bundle => {
                let length = write_reply(reply, out)?;
                self.state = State::Running;
                Ok(Some(length))
            }
            State::Running => self.running()?.poll_transmit(to, out),
            State::Failed => Err(EndpointError::Misuse),
            _ => Ok(None),
        }
    }

    fn can_receive(&self, from: Who) -> bool {
        match self.state {
            State::Hello => from == Who::Bundle,
            State::Running => self.inference.as_ref().is_some_and(|i| i.can_receive(from)),
            _ => false,
        }
    }

    fn longest_frame(&self, from: Who) -> usize {
        self.inference.as_ref().map_or_else(|| longest_before(from), |i| i.longest_frame(from))
    }

    fn handle_frame(&mut self, from: Who, frame: &[u8]) -> Result<(), EndpointError> {
        match self.state {
            State::Hello if from == Who::Bundle => {
                self.state = State::Failed;
                self.state = self.hello(from, frame)?;
                Ok(())
            }
            State::Running => self.running()?.handle_frame(from, frame),
            _ => {
                self.state = State::Failed;
                Err(EndpointError::Misuse)
            }
        }
    }

    fn at(&self) -> Option<(u16, Step)> {
        self.inference.as_ref().and_then(Inference::at)
    }
}
