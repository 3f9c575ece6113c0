//! What a hostile P1 knows: the public identifiers, what an honest P1 said once, and which counters are
//! burned.

use anyhow::{Context, Result, bail, ensure};
use halfnet_core::wire::message::{Acknowledge, Agreement, Code, Hello, Identifier, Reply, Verdict};

use super::peer::{Peer, framed};
use super::random::Random;
use super::target::Target;

/// What P1 needs to know for its part.
pub(super) struct Knowledge {
    pub(super) agreement: Agreement,
    pub(super) deal: Identifier,
    /// What an honest P1 sent after its acknowledgement, frame by frame.
    pub(super) frames: Vec<Vec<u8>>,
    /// Bytes of the longest frame that the board takes.
    pub(super) longest: usize,
    /// Milliseconds after which the board takes a silent peer for gone.
    pub(super) timeout: u32,
    /// The lowest counter that is not known to be burned.
    pub(super) next: u64,
}

impl Knowledge {
    /// The lowest counter that the board must take.
    pub(super) fn hello(&self, random: &mut Random) -> Hello {
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&random.bytes(16));
        Hello { agreement: self.agreement, deal: self.deal, nonce, request: [0; 16], counter: self.next }
    }

    /// Holds what an answer says against what is known, and learns from it.
    pub(super) fn check(&mut self, hello: &Hello, reply: &Reply) -> Result<()> {
        ensure!(
            reply.next >= self.next,
            "the board's counter went back: its next was {} and is {}",
            self.next,
            reply.next
        );
        self.next = reply.next;
        if reply.verdict == Verdict::Accepted {
            ensure!(
                hello.counter >= reply.next,
                "the board accepted counter {} twice: its next is {}",
                hello.counter,
                reply.next
            );
            self.next = hello.counter + 1;
        }
        Ok(())
    }

    /// A hello that must be accepted: the peer, and the acknowledgement that is due.
    pub(super) fn accepted(&mut self, target: &Target, random: &mut Random) -> Result<(Peer, Acknowledge)> {
        let mut peer = Peer::connect(target.address)?;
        let mut hello = self.hello(random);
        // A power cut may have come after a burn that nobody heard of.
        for _ in 0..2 {
            let reply = peer.propose(&hello.encode())?.context("the board does not answer a hello")?;
            self.check(&hello, &reply)?;
            match reply.verdict {
                Verdict::Accepted => {
                    return Ok((
                        peer,
                        Acknowledge { counter: hello.counter, session: reply.session(&hello) },
                    ));
                }
                Verdict::OldCounter => hello.counter = reply.next,
                verdict => bail!("the board answers {verdict:?} to an honest hello"),
            }
        }
        bail!("the board refuses the counter that it calls its next")
    }

    /// The same, with the acknowledgement said.
    pub(super) fn begun(&mut self, target: &Target, random: &mut Random) -> Result<Peer> {
        let (mut peer, acknowledge) = self.accepted(target, random)?;
        peer.send(&framed(Code::Acknowledge, &acknowledge.encode()));
        Ok(peer)
    }

    /// What P1 sends after its acknowledgement.
    pub(super) fn rest(&self) -> Vec<u8> {
        self.frames.concat()
    }
}
