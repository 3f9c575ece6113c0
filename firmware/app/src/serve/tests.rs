//! A board beside a P1 that says what a recorded one said, over links that break at any byte.

use std::collections::VecDeque;
use std::vec;
use std::vec::Vec;

use embedded_storage_async::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use halfnet_core::board::Body;
use halfnet_core::party::input::Input;
use halfnet_core::wire::frame::{HEADER, Header};
use halfnet_core::wire::message::{Acknowledge, Code, Hello, Reply, Verdict, header};
use halfnet_vectors::{REPLAY_HELD, REPLAY_SHARED, Replay, Vector, read};

use super::*;
use crate::link::Broken;
use crate::memory::Needs;

/// Bytes of a page.
const PAGE: usize = 512;
/// Milliseconds.
const TIMEOUT: u32 = 30_000;

/// Flash in memory, lent so that a second boot finds it.
struct Flash<'f>(&'f mut [u8]);

impl ErrorType for Flash<'_> {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Flash<'_> {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        bytes.copy_from_slice(&self.0[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.0.len()
    }
}

impl NorFlash for Flash<'_> {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = PAGE;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        self.0[from as usize..to as usize].fill(0xff);
        Ok(())
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        for (cell, byte) in self.0[offset as usize..].iter_mut().zip(bytes) {
            *cell &= byte;
        }
        Ok(())
    }
}

/// A picture in integers of the input wire.
struct Integers<'i>(&'i [u8]);

impl Input for Integers<'_> {
    fn elements(&self) -> usize {
        self.0.len()
    }

    fn read(&mut self, first: usize, out: &mut [i32]) {
        for (slot, &byte) in out.iter_mut().zip(&self.0[first..]) {
            *slot = i32::from(byte as i8);
        }
    }
}

/// P1 at the other end of a link: it proposes, acknowledges and says what it said when it was recorded.
struct One<'r> {
    hello: Hello,
    recorded: &'r [u8],
    says: VecDeque<u8>,
    hears: Vec<u8>,
    /// Bytes in both directions after which the link breaks, once.
    breaks_after: Option<usize>,
    /// Counters of all acceptances heard, in order.
    accepted: Vec<u64>,
    now: u32,
}

impl<'r> One<'r> {
    fn new(replay: &Replay<'r>, board: &Board<'_>, counter: u64) -> Self {
        let hello = Hello {
            agreement: board.agreement,
            deal: replay.deal,
            nonce: [9; 16],
            request: [0; 16],
            counter,
        };
        let mut one = Self {
            hello,
            recorded: replay.received,
            says: VecDeque::new(),
            hears: Vec::new(),
            breaks_after: None,
            accepted: Vec::new(),
            now: 0,
        };
        one.propose(counter);
        one
    }

    fn say(&mut self, code: Code, payload: &[u8]) {
        self.says.extend(header(code, 0, payload.len() as u32).encode());
        self.says.extend(payload);
    }

    fn propose(&mut self, counter: u64) {
        self.hello.counter = counter;
        self.say(Code::Hello, &self.hello.encode());
    }

    /// Answers what has come whole.
    fn answer(&mut self) {
        while let Some(head) = self.hears.first_chunk::<HEADER>().map(Header::decode) {
            let end = HEADER + head.length as usize;
            if self.hears.len() < end {
                return;
            }
            let frame: Vec<u8> = self.hears.drain(..end).collect();
            if head != header(Code::Reply, 0, head.length) {
                continue;
            }
            let reply = Reply::decode(&frame[HEADER..]).unwrap();
            match reply.verdict {
                Verdict::Accepted => {
                    self.accepted.push(self.hello.counter);
                    let acknowledge =
                        Acknowledge { counter: self.hello.counter, session: reply.session(&self.hello) };
                    self.say(Code::Acknowledge, &acknowledge.encode());
                    self.says.extend(self.recorded);
                }
                Verdict::OldCounter => self.propose(reply.next),
                verdict => panic!("{verdict:?}"),
            }
        }
    }

    fn moves(&mut self, wanted: usize) -> Result<usize, Broken> {
        let Some(left) = &mut self.breaks_after else { return Ok(wanted) };
        if *left == 0 {
            self.breaks_after = None;
            self.says.clear();
            self.hears.clear();
            // It knows of no later counter than the one it proposed.
            self.propose(self.hello.counter);
            return Err(Broken);
        }
        let moved = wanted.min(*left);
        *left -= moved;
        Ok(moved)
    }
}

impl Link for One<'_> {
    fn send(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let count = self.moves(bytes.len())?;
        self.hears.extend_from_slice(&bytes[..count]);
        self.answer();
        Ok(count)
    }

    fn receive(&mut self, out: &mut [u8]) -> Result<usize, Broken> {
        let wanted = out.len().min(self.says.len());
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.moves(wanted)?;
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

/// Runs `test` with the first recorded inference of `file`.
fn with_board(file: &[u8], test: impl FnOnce(&Replay<'_>, &Board<'_>)) {
    let replay = read(file).find_map(|vector| match vector.unwrap() {
        Vector::Replay(replay) => Some(replay),
        _ => None,
    });
    let replay = replay.unwrap();
    let pictures: Vec<u8> = [replay.picture, replay.picture].concat();
    let body = Body {
        pairing: replay.pairing,
        provisioning: replay.provisioning,
        test: true,
        next: replay.counter,
        seed: replay.seed,
        plan: replay.plan,
        pictures: &pictures,
    };
    test(&replay, &Board::from_body(&body).unwrap());
}

/// Memory as the plan asks for it.
struct Lent([Vec<u64>; 2], [Vec<u8>; 2]);

impl Lent {
    fn of(board: &Board<'_>) -> Self {
        let needs = Needs::of(&board.plan);
        Self(
            [vec![0; needs.arena], vec![0; needs.channel]],
            [vec![0; needs.outgoing], vec![0; needs.incoming]],
        )
    }

    fn memory(&mut self) -> Memory<'_> {
        let Self([arena, channel], [outgoing, incoming]) = self;
        Memory { arena, channel, outgoing, incoming }
    }
}

#[test]
fn a_recorded_inference_comes_out_as_recorded() {
    for file in [REPLAY_SHARED, REPLAY_HELD] {
        with_board(file, |replay, board| {
            let (mut cells, mut lent) = (vec![0xff; 3 * PAGE], Lent::of(board));
            let Started { mut party, .. } =
                start(board, Flash(&mut cells), 0..3 * PAGE as u32, Entropy::None, lent.memory(), TIMEOUT)
                    .unwrap();
            let mut one = One::new(replay, board, replay.counter);
            let outcome = party.infer(&mut one, &mut Integers(replay.picture)).unwrap();
            let expected: Vec<i64> = replay.answer.iter().map(|value| value as i64).collect();
            assert_eq!(outcome.answer(), expected);
            assert_eq!((outcome.counter, one.accepted), (replay.counter, vec![replay.counter]));
        });
    }
}

#[test]
fn a_link_that_breaks_at_any_byte_costs_a_counter_at_most_and_no_picture() {
    with_board(REPLAY_SHARED, |replay, board| {
        let total = replay.sent as usize + replay.received.len() + 400;
        for at in (0..total).step_by(37) {
            let (mut cells, mut lent) = (vec![0xff; 3 * PAGE], Lent::of(board));
            let Started { mut party, .. } = start(
                board,
                Flash(&mut cells),
                0..3 * PAGE as u32,
                Entropy::Random([7; 32]),
                lent.memory(),
                TIMEOUT,
            )
            .unwrap();
            let mut one = One::new(replay, board, replay.counter);
            one.breaks_after = Some(at);
            let (mut answered, mut faults) = (Vec::new(), Vec::new());
            let mut told = |event: &Event| match event {
                Event::Answer { picture, outcome } => answered.push((*picture, outcome.counter)),
                Event::Fault(failure) => faults.push(failure.fault.code()),
            };
            // The second picture's proposal comes when the first is answered.
            let mut proposing = Proposing(one);
            ask(&mut party, &mut proposing, board, &mut told);
            let pictures: Vec<usize> = answered.iter().map(|&(picture, _)| picture).collect();
            assert_eq!(pictures, [0, 1], "broken after {at} bytes");
            assert!(
                faults.iter().all(|&code| code == 101) && faults.len() <= 1,
                "broken after {at} bytes: {faults:?}"
            );
            let accepted = &proposing.0.accepted;
            assert!(
                accepted.is_sorted_by(|a, b| a < b),
                "a counter came twice, broken after {at} bytes: {accepted:?}"
            );
        }
    });
}

/// A P1 that proposes anew whenever it has nothing left to say.
struct Proposing<'r>(One<'r>);

impl Link for Proposing<'_> {
    fn send(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        self.0.send(bytes)
    }

    fn receive(&mut self, out: &mut [u8]) -> Result<usize, Broken> {
        self.0.receive(out)
    }

    fn idle(&mut self) {
        self.0.idle();
        if self.0.now.is_multiple_of(1000) && self.0.says.is_empty() {
            let counter = self.0.hello.counter;
            self.0.propose(counter);
        }
    }

    fn milliseconds(&mut self) -> u32 {
        self.0.milliseconds()
    }
}

#[test]
fn a_second_boot_refuses_what_the_first_burned() {
    with_board(REPLAY_HELD, |replay, board| {
        let mut cells = vec![0xff; 3 * PAGE];
        for expected in [replay.counter, replay.counter + 1] {
            let mut lent = Lent::of(board);
            let Started { mut party, .. } =
                start(board, Flash(&mut cells), 0..3 * PAGE as u32, Entropy::None, lent.memory(), TIMEOUT)
                    .unwrap();
            let mut one = One::new(replay, board, replay.counter);
            // The frames were recorded under the first counter; under the second they decode, and the answer
            // means nothing.
            let outcome = party.infer(&mut one, &mut Integers(replay.picture)).unwrap();
            assert_eq!((outcome.counter, one.accepted), (expected, vec![expected]));
        }
    });
}

#[test]
fn a_board_without_room_or_pictures_does_not_begin() {
    with_board(REPLAY_HELD, |replay, board| {
        let (mut cells, mut lent) = (vec![0xff; 3 * PAGE], Lent::of(board));
        let small =
            start(board, Flash(&mut cells), 0..2 * PAGE as u32, Entropy::None, lent.memory(), TIMEOUT)
                .map(|_| ());
        assert_eq!(small.unwrap_err().code(), 310);
        let mut lent = Lent::of(board);
        let short = Memory { arena: &mut [], ..lent.memory() };
        let short =
            start(board, Flash(&mut cells), 0..3 * PAGE as u32, Entropy::None, short, TIMEOUT).map(|_| ());
        assert_eq!(short, Err(StartError::Fault(Fault::Memory)));
        let body = Body {
            pairing: replay.pairing,
            provisioning: replay.provisioning,
            test: true,
            next: 0,
            seed: replay.seed,
            plan: replay.plan,
            pictures: &[],
        };
        let empty = Board::from_body(&body).unwrap();
        let mut lent = Lent::of(&empty);
        let none =
            start(&empty, Flash(&mut cells), 0..3 * PAGE as u32, Entropy::None, lent.memory(), TIMEOUT)
                .map(|_| ());
        assert_eq!(none, Err(StartError::Pictures));
    });
}
