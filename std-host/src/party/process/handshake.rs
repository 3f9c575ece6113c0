//! What P1 and P0 say to each other before and just after they burn a counter. Nothing here depends on data.

use halfnet_core::wire::message::{
    Acknowledge, Agreement, Code, Hello, Identifier, MessageError, Reply, Verdict,
};

use super::ProcessError;
use crate::party::entropy::Entropy;
use crate::party::link::{Limits, Link, Reactor};
use crate::party::store::{BundleStore, Counter, StoreError, Windows};

use super::report::Event;

/// A counter that this party has burned, in a session with the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Burned {
    pub(super) counter: u64,
    pub(super) session: Identifier,
    pub(super) deal: Identifier,
    pub(super) request: Identifier,
}

impl Burned {
    pub(super) const fn acknowledge(&self) -> Acknowledge {
        Acknowledge { counter: self.counter, session: self.session }
    }
}

/// What differs between two agreements, if anything.
fn difference(a: &Agreement, b: &Agreement) -> Option<&'static str> {
    let parts = [
        (a.pairing != b.pairing, "pairing"),
        (a.provisioning != b.provisioning, "provisioning of weights"),
        (a.plan != b.plan, "plan"),
    ];
    parts.into_iter().find(|(differs, _)| *differs).map(|(_, what)| what)
}

fn malformed(link: &Link) -> impl FnOnce(MessageError) -> ProcessError + use<> {
    let peer = link.peer().to_owned();
    move |source| match source {
        MessageError::Version => ProcessError::Version,
        source => ProcessError::Message { peer, source },
    }
}

/// P1's side of the handshake.
pub(super) struct Proposer<'a> {
    pub(super) reactor: &'a mut Reactor,
    pub(super) link: &'a mut Link,
    pub(super) agreement: &'a Agreement,
    pub(super) store: &'a mut BundleStore,
    pub(super) entropy: &'a mut Entropy,
    pub(super) limits: &'a Limits,
}

impl Proposer<'_> {
    /// P1: proposes its lowest counter until P0 accepts one, and burns it.
    ///
    /// # Errors
    /// No bundle is left or the lowest is damaged, P0 disagrees, or it left.
    pub(super) fn propose(
        &mut self,
        request: Identifier,
        report: &mut dyn FnMut(Event),
    ) -> Result<(Burned, Windows), ProcessError> {
        let mut dropped = None;
        loop {
            let bundle = match (self.store.lowest(), dropped) {
                (Err(StoreError::Empty { .. }), Some((next, dropped))) => {
                    return Err(ProcessError::OldCounter { next, dropped });
                }
                (bundle, _) => bundle?,
            };
            let header = *bundle.header();
            let hello = Hello {
                agreement: *self.agreement,
                deal: header.deal,
                nonce: *self.entropy.bytes()?,
                request,
                counter: header.counter,
            };
            self.link.queue_message(Code::Hello, &hello.encode());
            let payload = self.link.receive_message(self.reactor, Code::Reply, self.limits.timeout)?;
            let reply = Reply::decode(&payload).map_err(malformed(self.link))?;
            if reply.verdict == Verdict::Version {
                return Err(ProcessError::Version);
            }
            // Whatever else it says counts only from the party that these bundles were dealt for: a stranger
            // must not have them dropped.
            if let Some(what) = difference(self.agreement, &reply.agreement) {
                return Err(ProcessError::Disagreement { what });
            }
            match reply.verdict {
                Verdict::Version => return Err(ProcessError::Version),
                Verdict::UnknownRequest => return Err(ProcessError::UnknownRequest),
                Verdict::Idle => {
                    return Err(ProcessError::Reply("it answers an invitation with no question"));
                }
                Verdict::Disagreement => return Err(ProcessError::Reply("it disagrees with what is equal")),
                Verdict::OldCounter if reply.next <= header.counter => {
                    return Err(ProcessError::Reply("it calls a counter old that is not below its next"));
                }
                Verdict::OldCounter => {
                    let bundles = self.store.drop_below(reply.next)?;
                    report(Event::Dropped { next: reply.next, bundles });
                    dropped = Some((reply.next, bundles));
                }
                Verdict::Accepted => {
                    if reply.next > header.counter {
                        return Err(ProcessError::Reply("it accepts a counter below its next"));
                    }
                    let windows = bundle.burn(self.store)?;
                    let session = reply.session(&hello);
                    return Ok((
                        Burned { counter: header.counter, session, deal: header.deal, request },
                        windows,
                    ));
                }
            }
        }
    }
}

/// P0: what it says to a hello.
pub(super) enum Answer {
    /// Accepted and burned.
    Burned(Burned),
    /// An old counter, or a request that no client made: P1 may propose again.
    Refused,
}

/// P0's side of the handshake.
pub(super) struct Acceptor<'a> {
    pub(super) link: &'a mut Link,
    pub(super) agreement: &'a Agreement,
    pub(super) counter: &'a mut Counter,
    pub(super) entropy: &'a mut Entropy,
}

impl Acceptor<'_> {
    /// Reads a hello; another version is told so.
    pub(super) fn read(&mut self, payload: &[u8]) -> Result<Hello, ProcessError> {
        let hello = Hello::decode(payload);
        if hello == Err(MessageError::Version) {
            self.reply(Verdict::Version)?;
        }
        hello.map_err(malformed(self.link))
    }

    fn reply(&mut self, verdict: Verdict) -> Result<Reply, ProcessError> {
        let reply = Reply {
            agreement: *self.agreement,
            nonce: *self.entropy.bytes()?,
            verdict,
            next: self.counter.next(),
        };
        self.link.queue_message(Code::Reply, &reply.encode());
        self.link.flush()?;
        Ok(reply)
    }

    /// Answers a hello; on an acceptance the counter is burned when this returns. `known`: is the request a
    /// client's?
    ///
    /// # Errors
    /// The files do not belong together, or the disk failed.
    pub(super) fn answer(&mut self, hello: &Hello, known: bool) -> Result<Answer, ProcessError> {
        if let Some(what) = difference(self.agreement, &hello.agreement) {
            self.reply(Verdict::Disagreement)?;
            return Err(ProcessError::Disagreement { what });
        }
        // It cannot be burned: no counter follows it.
        if hello.counter == u64::MAX {
            return Err(ProcessError::Proposal(
                "it proposes the last counter there is, which is never dealt",
            ));
        }
        let verdict = match (hello.counter < self.counter.next(), known) {
            (true, _) => Verdict::OldCounter,
            (false, false) => Verdict::UnknownRequest,
            (false, true) => Verdict::Accepted,
        };
        let reply = self.reply(verdict)?;
        if verdict != Verdict::Accepted {
            return Ok(Answer::Refused);
        }
        self.counter.burn(hello.counter)?;
        let session = reply.session(hello);
        Ok(Answer::Burned(Burned {
            counter: hello.counter,
            session,
            deal: hello.deal,
            request: hello.request,
        }))
    }
}

/// Both: "burned by me in this session". Until the peer's has come, nothing that depends on data may leave.
///
/// # Errors
/// The peer left, or acknowledged something else.
pub(super) fn acknowledge(
    link: &mut Link,
    reactor: &mut Reactor,
    burned: &Burned,
    limits: &Limits,
) -> Result<(), ProcessError> {
    link.queue_message(Code::Acknowledge, &burned.acknowledge().encode());
    let payload = link.receive_message(reactor, Code::Acknowledge, limits.timeout)?;
    let found = Acknowledge::decode(&payload).map_err(malformed(link))?;
    if found == burned.acknowledge() {
        Ok(())
    } else {
        Err(ProcessError::Acknowledge { expected: burned.counter, found: found.counter })
    }
}
