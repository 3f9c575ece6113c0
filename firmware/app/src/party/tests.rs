//! What ends a conversation, by the numbers that logs and the harness know, and what has been said and burned
//! by then.

use std::vec;
use std::vec::Vec;

use halfnet_core::board::Body;
use halfnet_core::prg::Key;
use halfnet_core::wire::frame::HEADER;
use halfnet_core::wire::message::{ACKNOWLEDGE, Acknowledge, Code, HELLO, Hello, REPLY, Reply, header};
use halfnet_vectors::{REPLAY_HELD, Vector, read};

use super::*;
use crate::counter::CounterError;
use crate::link::Broken;
use crate::nonce::of_boot;

/// Milliseconds.
const TIMEOUT: u32 = 1000;

/// A counter in memory, which may fail to keep what was burned.
struct Store {
    next: u64,
    keeps: bool,
    burned: Vec<u64>,
}

impl CounterStore for &mut Store {
    fn next(&self) -> u64 {
        self.next
    }

    fn burn(&mut self, counter: u64) -> Result<(), CounterError> {
        if counter < self.next || counter == u64::MAX {
            return Err(CounterError::Burn);
        }
        self.burned.push(counter);
        self.next = if self.keeps { counter + 1 } else { self.next };
        Ok(())
    }
}

/// A P1 that says what it is told to, falls silent after it, and acknowledges an acceptance as it likes.
struct One {
    says: Vec<u8>,
    hears: Vec<u8>,
    acknowledges: Option<fn(Acknowledge) -> Acknowledge>,
    hello: Hello,
    now: u32,
}

impl One {
    fn say(&mut self, code: Code, payload: &[u8]) {
        self.says.extend(header(code, 0, payload.len() as u32).encode());
        self.says.extend(payload);
    }
}

impl Link for One {
    fn send(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        self.hears.extend(bytes);
        if let Some(reply) = self.hears.get(HEADER..).and_then(|payload| Reply::decode(payload).ok())
            && let Some(change) = self.acknowledges.take()
        {
            let (counter, session) = (self.hello.counter, reply.session(&self.hello));
            self.say(Code::Acknowledge, &change(Acknowledge { counter, session }).encode());
        }
        Ok(bytes.len())
    }

    fn receive(&mut self, out: &mut [u8]) -> Result<usize, Broken> {
        let count = out.len().min(self.says.len());
        out.iter_mut().zip(self.says.drain(..count)).for_each(|(slot, byte)| *slot = byte);
        Ok(count)
    }

    fn idle(&mut self) {
        self.now += 1;
    }

    fn milliseconds(&mut self) -> u32 {
        self.now
    }
}

/// What a board makes of a P1 that `prepare` makes out of an honest one: the fault, and what P1 heard.
fn fails(keeps: bool, prepare: impl FnOnce(&mut One)) -> (u16, Option<u64>, Vec<u64>, usize) {
    let replay = read(REPLAY_HELD).find_map(|vector| match vector.unwrap() {
        Vector::Replay(replay) => Some(replay),
        _ => None,
    });
    let replay = replay.unwrap();
    let body = Body {
        pairing: replay.pairing,
        provisioning: replay.provisioning,
        test: true,
        next: 3,
        seed: replay.seed,
        plan: replay.plan,
        pictures: replay.picture,
    };
    let board = Board::from_body(&body).unwrap();
    let needs = Needs::of(&board.plan);
    let (mut arena, mut channel) = (vec![0; needs.arena], vec![0; needs.channel]);
    let (mut outgoing, mut incoming) = (vec![0; needs.outgoing], vec![0; needs.incoming]);
    let memory =
        Memory { arena: &mut arena, channel: &mut channel, outgoing: &mut outgoing, incoming: &mut incoming };
    let (agreement, deal) = (board.agreement, replay.deal);
    let hello = Hello { agreement, deal, nonce: [9; 16], request: [0; 16], counter: 5 };
    let mut one = One { says: vec![], hears: vec![], acknowledges: None, hello, now: 0 };
    prepare(&mut one);
    let mut store = Store { next: 3, keeps, burned: vec![] };
    let nonces = of_boot(&Key::new([1; 32]), 0);
    let mut party = SeedParty::new(&board, &mut store, nonces, memory, TIMEOUT).unwrap();
    let failure = party.infer(&mut one, &mut board.pictures().next().unwrap()).unwrap_err();
    (failure.fault.code(), failure.burned, store.burned, one.hears.len())
}

/// Bytes of a reply, and of an acknowledgement.
const SAID: [usize; 2] = [HEADER + REPLY, HEADER + ACKNOWLEDGE];

#[test]
fn a_refused_proposal_burns_nothing() {
    let proposes = |change: fn(&mut Hello)| {
        move |one: &mut One| {
            change(&mut one.hello);
            let hello = one.hello.encode();
            one.say(Code::Hello, &hello);
        }
    };
    let none = |code, said| (code, None, vec![], said);
    assert_eq!(fails(true, proposes(|hello| hello.agreement.pairing[0] ^= 1)), none(205, SAID[0]));
    assert_eq!(fails(true, proposes(|hello| hello.agreement.plan[0] ^= 1)), none(205, SAID[0]));
    assert_eq!(fails(true, proposes(|hello| hello.counter = u64::MAX)), none(301, 0));
    let message = |code, payload: Vec<u8>| move |one: &mut One| one.say(code, &payload);
    assert_eq!(fails(true, message(Code::Hello, vec![0xff; HELLO])), none(203, SAID[0]));
    assert_eq!(fails(true, message(Code::Hello, vec![1, 0, 3])), none(202, 0));
    assert_eq!(fails(true, message(Code::Reply, vec![0; REPLY])), none(201, 0));
    let partial = |one: &mut One| {
        one.say(Code::Hello, &one.hello.encode());
        one.says.truncate(40);
    };
    assert_eq!(fails(true, partial), none(102, 0));
}

#[test]
fn what_follows_the_burn_leaves_it_burned() {
    let proposes = |acknowledges: Option<fn(Acknowledge) -> Acknowledge>| {
        move |one: &mut One| {
            one.acknowledges = acknowledges;
            one.say(Code::Hello, &one.hello.encode());
        }
    };
    let burned = |code, said| (code, Some(5), vec![5], said);
    // It never acknowledges, or another counter or session: not a byte of E has left.
    let handshake = SAID[0] + SAID[1];
    assert_eq!(fails(true, proposes(None)), burned(102, handshake));
    let other: fn(Acknowledge) -> Acknowledge = |said| Acknowledge { counter: 6, ..said };
    assert_eq!(fails(true, proposes(Some(other))), burned(206, handshake));
    let other: fn(Acknowledge) -> Acknowledge = |said| Acknowledge { session: [0; 16], ..said };
    assert_eq!(fails(true, proposes(Some(other))), burned(206, handshake));
}

#[test]
fn nothing_is_said_of_a_counter_that_does_not_read_back() {
    let (code, _, burned, said) = fails(false, |one| one.say(Code::Hello, &one.hello.encode()));
    assert_eq!((code, burned, said), (302, vec![5], 0));
}
