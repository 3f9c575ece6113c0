//! P1's end: it proposes a counter that it has a bundle for, until P0 accepts one.

use super::inference::{self, Burned, Inference, OfBundleParty};
use super::{
    Account, Contradiction, Endpoint, EndpointError, Event, Lent, NoPicture, Nonces, Part, Phase, Who,
    longest_before, read_message, write_message,
};
use crate::party::half::{Half, ModelHalf};
use crate::plan::{Role, Step};
use crate::wire::message::{Acknowledge, Agreement, Code, Hello, Identifier, MessageError, Reply, Verdict};

/// Where the handshake stands.
#[derive(Clone, Copy, Debug)]
enum State {
    /// The caller chooses a bundle.
    Choosing { below: Option<u64> },
    /// A proposal is to leave.
    Proposing(Hello),
    /// P0's reply is to come.
    Reply(Hello),
    /// The caller burns the bundle.
    Burning(Hello, Identifier),
    /// [`Inference`]'s.
    Running,
    /// An error ended it.
    Failed,
}

/// P1's end of one inference.
pub struct Proposer<'p, 'm, H, M> {
    agreement: Agreement,
    request: Identifier,
    nonces: &'m mut Nonces,
    lent: Option<Lent<'p, 'm, M>>,
    state: State,
    spent: Option<u64>,
    inference: Option<OfBundleParty<'p, 'm, H, M>>,
}

impl<H: Half, M> core::fmt::Debug for Proposer<'_, '_, H, M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Proposer")
            .field("state", &self.state)
            .field("inference", &self.inference)
            .finish_non_exhaustive()
    }
}

impl<'p, 'm, H: Half, M: ModelHalf> Proposer<'p, 'm, H, M> {
    /// P1. `request` is a third client's name for its request, zeros where P0 is the client.
    ///
    /// # Errors
    /// The arena is shorter than the plan states, or the half has no code for its mode.
    pub fn new(
        lent: Lent<'p, 'm, M>,
        agreement: Agreement,
        request: Identifier,
        nonces: &'m mut Nonces,
    ) -> Result<Self, EndpointError> {
        const { assert!(matches!(H::ROLE, Role::Bundle), "P1's half") };
        inference::check::<H, M, NoPicture>(&lent, &NoPicture)?;
        Ok(Self {
            agreement,
            request,
            nonces,
            lent: Some(lent),
            state: State::Choosing { below: None },
            spent: None,
            inference: None,
        })
    }

    /// Answers [`Event::Propose`]: the lowest counter that there is a bundle for, and the deal that it is of.
    ///
    /// # Errors
    /// Nothing was asked, or P0 has refused this counter.
    pub fn propose(&mut self, deal: Identifier, counter: u64) -> Result<(), EndpointError> {
        let State::Choosing { below } = self.state else { return Err(EndpointError::Misuse) };
        if below.is_some_and(|below| counter < below) {
            return Err(EndpointError::Misuse);
        }
        let (agreement, request) = (self.agreement, self.request);
        self.state = State::Proposing(Hello { agreement, deal, nonce: self.nonces.draw(), request, counter });
        Ok(())
    }

    /// Answers [`Event::Burn`]: the counter's bundle is burned, durably, and `half` reads it: a
    /// [`crate::party::bundle::BundleHalf`] of its bytes and [`crate::plan::cost::input_section_bytes`].
    ///
    /// # Errors
    /// Nothing was to be burned.
    pub fn burned(&mut self, half: H) -> Result<(), EndpointError> {
        let State::Burning(hello, session) = self.state else { return Err(EndpointError::Misuse) };
        (self.state, self.spent) = (State::Failed, Some(hello.counter));
        let lent = self.lent.take().ok_or(EndpointError::Misuse)?;
        let acknowledge = Acknowledge { counter: hello.counter, session };
        let burned = Burned { acknowledge, deal: hello.deal, request: hello.request };
        self.inference = Some(Inference::begin(lent, half, NoPicture, burned)?);
        self.state = State::Running;
        Ok(())
    }

    fn running(&mut self) -> Result<&mut OfBundleParty<'p, 'm, H, M>, EndpointError> {
        self.inference.as_mut().ok_or(EndpointError::Misuse)
    }

    /// Reads P0's verdict.
    fn reply(&self, hello: &Hello, from: Who, frame: &[u8]) -> Result<State, EndpointError> {
        let reply = match Reply::decode(read_message(from, Code::Reply, frame)?) {
            Ok(reply) => reply,
            Err(MessageError::Version) => return Err(EndpointError::Version),
            Err(source) => return Err(EndpointError::Malformed { from, source }),
        };
        match (reply.verdict, Part::difference(&self.agreement, &reply.agreement)) {
            (Verdict::Version, _) => Err(EndpointError::Version),
            // Whatever else it says counts only from a party of these bundles' pairing, plan and provisioning. All
            // three are public: that it is that party, only an authenticated channel says.
            (_, Some(what)) => Err(EndpointError::Disagreement { what }),
            (Verdict::UnknownRequest, None) => Err(EndpointError::UnknownRequest),
            (Verdict::Idle, None) => Err(EndpointError::Contradiction(Contradiction::Idle)),
            (Verdict::Disagreement, None) => Err(EndpointError::Contradiction(Contradiction::Disagreement)),
            (Verdict::OldCounter, None) if reply.next <= hello.counter => {
                Err(EndpointError::Contradiction(Contradiction::OldCounter))
            }
            (Verdict::OldCounter, None) => Ok(State::Choosing { below: Some(reply.next) }),
            (Verdict::Accepted, None) if reply.next > hello.counter => {
                Err(EndpointError::Contradiction(Contradiction::Accepted))
            }
            (Verdict::Accepted, None) => Ok(State::Burning(*hello, reply.session(hello))),
        }
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
}

impl<'p, 'm, H: Half, M: ModelHalf> Endpoint for Proposer<'p, 'm, H, M> {
    fn event(&self) -> Option<Event> {
        match self.state {
            State::Choosing { below } => Some(Event::Propose { below }),
            State::Burning(hello, _) => Some(Event::Burn { deal: hello.deal, counter: hello.counter }),
            State::Running => self.inference.as_ref().and_then(Inference::event),
            _ => None,
        }
    }

    fn phase(&self) -> Phase {
        match self.state {
            State::Choosing { .. } | State::Burning(..) => Phase::Caller,
            State::Proposing(_) | State::Reply(_) => Phase::Handshake,
            State::Running => self.inference.as_ref().map_or(Phase::Failed, Inference::phase),
            State::Failed => Phase::Failed,
        }
    }

    fn poll_transmit(&mut self, to: Who, out: &mut [u8]) -> Result<Option<usize>, EndpointError> {
        match self.state {
            State::Proposing(hello) if to == Who::Seed => {
                let length = write_message(Code::Hello, &hello.encode(), out)?;
                self.state = State::Reply(hello);
                Ok(Some(length))
            }
            State::Running => self.running()?.poll_transmit(to, out),
            State::Failed => Err(EndpointError::Misuse),
            _ => Ok(None),
        }
    }

    fn can_receive(&self, from: Who) -> bool {
        match self.state {
            State::Reply(_) => from == Who::Seed,
            State::Running => self.inference.as_ref().is_some_and(|i| i.can_receive(from)),
            _ => false,
        }
    }

    fn longest_frame(&self, from: Who) -> usize {
        self.inference.as_ref().map_or_else(|| longest_before(from), |i| i.longest_frame(from))
    }

    fn handle_frame(&mut self, from: Who, frame: &[u8]) -> Result<(), EndpointError> {
        match self.state {
            State::Reply(hello) if from == Who::Seed => {
                self.state = State::Failed;
                self.state = self.reply(&hello, from, frame)?;
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
