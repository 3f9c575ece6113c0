//! What a hostile P1 does, and what the board must make of it.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use halfnet_core::wire::frame::{HEADER, Header, MAX_PAYLOAD, NO_LAYER};
use halfnet_core::wire::message::{Code, HELLO, Hello, Verdict};

use super::knowledge::Knowledge;
use super::peer::{Peer, framed, spoiled};
use super::random::Random;
use super::target::{Report, Target};
use crate::work::Link;

/// Everything that is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Attack {
    /// Connects, says nothing and leaves.
    Nothing,
    /// Leaves at a byte of what an honest P1 would send.
    Leave,
    /// The same, but resets the connection.
    Reset,
    /// Noise instead of a hello.
    Noise,
    /// Noise in the middle of an inference.
    NoiseWithin,
    /// A frame longer than the plan has, as the first or within.
    TooLong,
    /// A hello of another length.
    Length,
    /// Another message than a hello.
    Code,
    /// A frame left out, doubled or before its turn.
    Order,
    /// A bit, anywhere.
    Flip,
    /// A counter that is burned.
    OldCounter,
    /// The last counter there is, after which none would be left.
    LastCounter,
    /// Another pairing, plan or provisioning.
    Agreement,
    /// Another version.
    Version,
    /// An acknowledgement of another counter or session.
    Acknowledge,
    /// Says no more, as the first or within a frame, or where the board waits for one.
    Silence,
    /// Everything as it should be, byte by byte.
    Slow,
    /// What an earlier P1 sent, under a counter of its own: the answer is worth nothing, but it is one.
    Replay,
    /// A second peer comes while the first is served.
    Crowd,
    /// Does not stop sending.
    Flood,
    /// The cable is pulled out and put in.
    Unplug,
    /// The board is reset.
    ResetBoard,
    /// The board's power is cut.
    CutPower,
}

impl Attack {
    const ALL: [Self; 23] = [
        Self::Nothing,
        Self::Leave,
        Self::Reset,
        Self::Noise,
        Self::NoiseWithin,
        Self::TooLong,
        Self::Length,
        Self::Code,
        Self::Order,
        Self::Flip,
        Self::OldCounter,
        Self::LastCounter,
        Self::Agreement,
        Self::Version,
        Self::Acknowledge,
        Self::Silence,
        Self::Slow,
        Self::Replay,
        Self::Crowd,
        Self::Flood,
        Self::Unplug,
        Self::ResetBoard,
        Self::CutPower,
    ];
    /// Those that have more ways to go than one, and so are tried more often.
    const OFTEN: [Self; 6] = [Self::Leave, Self::Leave, Self::Reset, Self::Flip, Self::Flip, Self::Order];

    /// Any that a peer at the end of `link` can do.
    pub(super) fn draw(random: &mut Random, link: Link) -> Self {
        loop {
            let at = random.within(0..Self::ALL.len() + Self::OFTEN.len());
            let drawn = Self::ALL
                .get(at)
                .or_else(|| Self::OFTEN.get(at - Self::ALL.len()))
                .copied()
                .unwrap_or(Self::Flip);
            let ethernet_only = matches!(drawn, Self::Crowd | Self::Unplug | Self::Flood);
            if link == Link::Ethernet || !ethernet_only {
                return drawn;
            }
        }
    }
}

/// What the board's log must say of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// One of these faults.
    Faults(&'static [u16]),
    /// A fault or an answer.
    Report,
    /// An answer.
    Answer,
    /// A report or none: the board may not have noticed anybody.
    Perhaps,
    /// Already taken: it was said before the board was started anew.
    Said(Vec<Report>),
}

/// How the board takes that a peer is gone: a connection breaks, a line falls silent.
const fn gone(link: Link) -> Expected {
    match link {
        Link::Ethernet => Expected::Faults(&[101]),
        Link::Uart => Expected::Faults(&[102]),
    }
}

impl Knowledge {
    /// Carries an attack out; says what the board's log must say of it.
    ///
    /// A peer that is to be there until then is left in `held`.
    pub(super) fn carry_out(
        &mut self,
        attack: Attack,
        target: &mut Target,
        random: &mut Random,
        held: &mut Option<Peer>,
    ) -> Result<Expected> {
        Ok(match attack {
            Attack::Nothing => {
                let peer = Peer::connect(target.address)?;
                if random.coin() {
                    peer.leave()
                } else {
                    peer.reset()
                }
                Expected::Perhaps
            }
            Attack::Leave | Attack::Reset => self.break_off(attack == Attack::Reset, target, random)?,
            Attack::Noise => {
                let mut peer = Peer::connect(target.address)?;
                let count = random.within(HEADER..4096);
                peer.send(&random.bytes(count));
                peer.leave();
                Expected::Faults(&[101, 102, 103, 201, 202, 203, 204, 205])
            }
            Attack::NoiseWithin => {
                let mut peer = self.begun(target, random)?;
                let cut = random.within(0..self.frames.len());
                peer.send(&self.frames[..cut].concat());
                let count = random.within(HEADER..4096);
                peer.send(&random.bytes(count));
                peer.leave();
                Expected::Report
            }
            Attack::TooLong => {
                let length = random.within(self.longest - HEADER + 1..MAX_PAYLOAD) as u32;
                let (mut peer, header) = if random.coin() {
                    (
                        Peer::connect(target.address)?,
                        Header { layer: NO_LAYER, step: Code::Hello as u8, tile: 0, length },
                    )
                } else {
                    let peer = self.begun(target, random)?;
                    let first = self.frames.first().and_then(|frame| frame.first_chunk()).map(Header::decode);
                    (peer, Header { length, ..first.context("nothing was recorded")? })
                };
                peer.send(&header.encode());
                peer.send(&random.bytes(100));
                peer.listen(Duration::from_millis(100));
                Expected::Faults(&[103])
            }
            Attack::Length => {
                let mut peer = Peer::connect(target.address)?;
                let mut hello = self.hello(random).encode().to_vec();
                hello.resize(
                    if random.coin() { random.within(2..HELLO) } else { HELLO + random.within(1..9) },
                    0,
                );
                peer.send(&framed(Code::Hello, &hello));
                peer.listen(Duration::from_millis(100));
                // The board has no room for a longer one where no frame of the plan is.
                Expected::Faults(&[103, 202])
            }
            Attack::Code => {
                let mut peer = Peer::connect(target.address)?;
                let code =
                    *random.pick(&[Code::Reply, Code::Acknowledge, Code::Input, Code::Output, Code::Failed]);
                peer.send(&framed(code, &self.hello(random).encode()));
                peer.listen(Duration::from_millis(100));
                Expected::Faults(&[201])
            }
            Attack::Order => {
                let mut peer = self.begun(target, random)?;
                let mut frames = self.frames.clone();
                let at = random.within(0..frames.len() - 1);
                match random.within(0..3) {
                    0 => drop(frames.remove(at)),
                    1 => frames.insert(at, frames[at].clone()),
                    _ => frames.swap(at, at + 1),
                }
                peer.send(&frames.concat());
                peer.leave();
                Expected::Faults(&[101, 102, 401])
            }
            Attack::Flip => self.flip(target, random, held)?,
            Attack::OldCounter => self.old(target, random)?,
            Attack::LastCounter => {
                let hello = Hello { counter: u64::MAX, ..self.hello(random) };
                let reply = Peer::connect(target.address)?.propose(&hello.encode())?;
                ensure!(
                    reply.is_none_or(|reply| reply.verdict != Verdict::Accepted),
                    "the board accepts the last counter"
                );
                Expected::Faults(&[301])
            }
            Attack::Agreement => {
                let hello = spoiled(&self.hello(random), random.within(0..3), random.next() as u8);
                let reply = Peer::connect(target.address)?.propose(&hello.encode())?;
                ensure!(
                    reply.is_none_or(|reply| reply.verdict == Verdict::Disagreement),
                    "the board agrees: {reply:?}"
                );
                Expected::Faults(&[205])
            }
            Attack::Version => {
                let mut hello = self.hello(random).encode();
                hello[random.within(0..2)] ^= 1 << random.within(0..8);
                let reply = Peer::connect(target.address)?.propose(&hello)?;
                ensure!(
                    reply.is_none_or(|reply| reply.verdict == Verdict::Version),
                    "the board takes another version: {reply:?}"
                );
                Expected::Faults(&[203])
            }
            Attack::Acknowledge => {
                let (mut peer, mut acknowledge) = self.accepted(target, random)?;
                if random.coin() {
                    acknowledge.counter ^= 1 << random.within(0..64);
                } else {
                    acknowledge.session[random.within(0..16)] ^= 1 << random.within(0..8);
                }
                peer.send(&framed(Code::Acknowledge, &acknowledge.encode()));
                peer.leave();
                Expected::Faults(&[206])
            }
            Attack::Silence => {
                let mut peer = match random.within(0..3) {
                    0 => {
                        let mut peer = Peer::connect(target.address)?;
                        let hello = framed(Code::Hello, &self.hello(random).encode());
                        peer.send(&hello[..random.within(1..hello.len())]);
                        peer
                    }
                    1 => self.accepted(target, random)?.0,
                    _ => {
                        let mut peer = self.begun(target, random)?;
                        let rest = self.rest();
                        peer.send(&rest[..random.within(0..rest.len())]);
                        peer
                    }
                };
                // Until the board ends the connection; an emulator may be slow.
                peer.listen(Duration::from_millis(
                    u64::from(self.timeout) * if target.link == Link::Uart { 2 } else { 20 },
                ));
                Expected::Faults(&[102])
            }
            Attack::Slow => {
                let (mut peer, acknowledge) = self.accepted(target, random)?;
                for byte in framed(Code::Acknowledge, &acknowledge.encode()) {
                    peer.send(&[byte]);
                    std::thread::sleep(Duration::from_millis(1));
                }
                peer.send(&self.rest());
                *held = Some(peer);
                Expected::Answer
            }
            Attack::Replay => {
                let mut peer = self.begun(target, random)?;
                peer.send(&self.rest());
                *held = Some(peer);
                Expected::Answer
            }
            Attack::Crowd => {
                let mut first = self.begun(target, random)?;
                let mut second = Peer::connect(target.address)?;
                second.send(&framed(Code::Hello, &self.hello(random).encode()));
                first.send(&self.rest());
                *held = Some(first);
                drop(second);
                Expected::Answer
            }
            Attack::Flood => {
                let mut peer = Peer::connect(target.address)?;
                peer.send(&framed(Code::Reply, &[0; 8]));
                let noise = random.bytes(1 << 16);
                for _ in 0..16 {
                    if !peer.send(&noise) {
                        break;
                    }
                }
                Expected::Faults(&[201])
            }
            Attack::Unplug => {
                let mut peer = self.begun(target, random)?;
                let rest = self.rest();
                peer.send(&rest[..random.within(0..rest.len() / 2)]);
                target.plug(false)?;
                std::thread::sleep(Duration::from_millis(250));
                target.plug(true)?;
                Expected::Faults(&[101, 102])
            }
            Attack::ResetBoard | Attack::CutPower => {
                let mut peer = self.begun(target, random)?;
                let rest = self.rest();
                peer.send(&rest[..random.within(0..rest.len())]);
                let said = if attack == Attack::CutPower { target.cut_power()? } else { target.reset()? };
                Expected::Said(said)
            }
        })
    }

    /// Leaves at a byte of everything that P1 sends; every second time within the handshake, which is short.
    fn break_off(&mut self, reset: bool, target: &Target, random: &mut Random) -> Result<Expected> {
        let end = |peer: Peer| if reset { peer.reset() } else { peer.leave() };
        let within = random.within(0..4);
        if within == 0 {
            let mut peer = Peer::connect(target.address)?;
            let hello = framed(Code::Hello, &self.hello(random).encode());
            peer.send(&hello[..random.within(1..hello.len())]);
            end(peer);
            // A reset may come so soon after the bytes that the board never saw anybody.
            return Ok(if reset { Expected::Perhaps } else { gone(target.link) });
        }
        let (mut peer, acknowledge) = self.accepted(target, random)?;
        let mut rest = framed(Code::Acknowledge, &acknowledge.encode());
        let handshake = rest.len();
        rest.extend(self.rest());
        let cut = random.within(0..if within == 1 { handshake } else { rest.len() });
        peer.send(&rest[..cut]);
        end(peer);
        Ok(gone(target.link))
    }

    /// One bit of everything that P1 sends, but not of the counter's upper bytes: P1 may propose a counter as
    /// high as it likes, and this run wants to go on.
    fn flip(&mut self, target: &Target, random: &mut Random, held: &mut Option<Peer>) -> Result<Expected> {
        let hello = self.hello(random);
        if random.within(0..4) == 0 {
            let mut bytes = framed(Code::Hello, &hello.encode());
            let at = random.within(0..bytes.len() - 7);
            // The lowest byte of the counter is the last that may differ.
            let bit = if at == bytes.len() - 8 { random.within(0..4) } else { random.within(0..8) };
            bytes[at] ^= 1 << bit;
            let mut peer = Peer::connect(target.address)?;
            peer.send(&bytes);
            let said = bytes.get(HEADER..).and_then(|payload| Hello::decode(payload).ok());
            if let (Some(said), true) = (said, at >= HEADER)
                && let Some(reply) = peer.reply()?
            {
                self.check(&said, &reply)?;
            }
            peer.leave();
            return Ok(if target.link == Link::Uart { Expected::Perhaps } else { Expected::Report });
        }
        let (mut peer, acknowledge) = self.accepted(target, random)?;
        let mut rest = framed(Code::Acknowledge, &acknowledge.encode());
        rest.extend(self.rest());
        let at = random.within(0..rest.len());
        rest[at] ^= 1 << random.within(0..8);
        peer.send(&rest);
        *held = Some(peer);
        Ok(Expected::Report)
    }

    fn old(&mut self, target: &Target, random: &mut Random) -> Result<Expected> {
        let mut peer = Peer::connect(target.address)?;
        for _ in 0..random.within(1..4) {
            let counter = if self.next == 0 { 0 } else { random.next() % self.next };
            let hello = Hello { counter, ..self.hello(random) };
            let Some(reply) = peer.propose(&hello.encode())? else {
                bail!("the board does not answer an old counter")
            };
            self.check(&hello, &reply)?;
            ensure!(
                reply.verdict == Verdict::OldCounter,
                "the board answers {:?} to the burned counter {counter}",
                reply.verdict
            );
        }
        peer.leave();
        Ok(if target.link == Link::Uart { Expected::Perhaps } else { gone(target.link) })
    }
}
