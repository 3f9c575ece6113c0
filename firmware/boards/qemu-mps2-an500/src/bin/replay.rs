//! A whole inference from memory: what P1 sent lies in flash, and what P0 does with it is counted by layer
//! and phase. Under `-icount shift=0` an instruction takes a nanosecond, so the figures repeat exactly, to
//! the clock's 40 at each end of a stretch.
//!
//! `HALFNET_BOARD` names the material, `HALFNET_REPLAY` everything that P1 sent for its first picture, the
//! handshake in front (as the harness records it).
//!
//! | phase | what is counted |
//! |---|---|
//! | linear | convolutions, with the regeneration of this party's weight shares |
//! | streams | all other shares from the generator |
//! | opening 1 | of sums: packing, unpacking, adding up |
//! | comparison | leaves, tree, sign |
//! | opening 2 | polynomials and ReLUs, pools, and their openings; the released values |
#![no_std]
#![no_main]

use core::cell::RefCell;
use core::ops::Range;

use cortex_m_rt::entry;
use halfnet_core::board::Board;
use halfnet_core::endpoint::{Acceptor, Endpoint, EndpointError, Event, Lent, Who, write_message};
use halfnet_core::party::half::{Half, LinearTerm, MaterialError, ModelHalf, Position};
use halfnet_core::party::input::Input;
use halfnet_core::party::seed::{inference_key, model_key};
use halfnet_core::plan::{Mode, Role, Section};
use halfnet_core::ring::{Word, WordsMut};
use halfnet_core::wire::frame::{HEADER, Header, NO_LAYER};
use halfnet_core::wire::message::{Acknowledge, Code, Hello, Reply, header};
use halfnet_firmware::half::{BoardHalf, board_half};
use halfnet_firmware::memory::Memory;
use halfnet_firmware::model::{BoardModel, SharedModel};
use halfnet_firmware::nonce::of_boot;
use halfnet_qemu_mps2_an500::{clock, exit, stack};

#[allow(dead_code, unreachable_pub, reason = "what a link needs is not needed here")]
mod provisioned {
    include!(concat!(env!("OUT_DIR"), "/provisioned.rs"));
}
use provisioned::{BLOB, memory};

static FROM_PEER: &[u8] = include_bytes!(env!("HALFNET_REPLAY"));

const LAYERS: usize = 100;
const NAMES: [&str; 5] = ["linear", "streams", "opening 1", "comparison", "opening 2"];

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Linear,
    Streams,
    Opening1,
    Comparison,
    Opening2,
}

impl Phase {
    const fn of_section(section: Section) -> Self {
        match section {
            Section::Sum => Self::Opening1,
            Section::Leaf | Section::Tree(_) | Section::TournamentLeaf(_) | Section::TournamentTree(..) => {
                Self::Comparison
            }
            _ => Self::Opening2,
        }
    }

    /// Of a frame, by its step's code.
    const fn of_step(code: u8) -> Self {
        match code {
            1 => Self::Opening1,
            // The tree's levels and t; of a tournament, all but the differences.
            3 | 16..32 => Self::Comparison,
            32.. if !code.is_multiple_of(8) => Self::Comparison,
            _ => Self::Opening2,
        }
    }
}

/// Who is being counted for.
struct Ledger {
    /// The input, then the layers.
    counts: [[u64; NAMES.len()]; LAYERS],
    layer: usize,
    phase: Phase,
    since: u64,
}

impl Ledger {
    /// What passed since the last switch goes to the phase before.
    fn switch(&mut self, phase: Phase) -> Phase {
        let now = clock::nanoseconds();
        if let Some(slot) =
            self.counts.get_mut(self.layer).and_then(|layer| layer.get_mut(self.phase as usize))
        {
            *slot += now - self.since;
        }
        self.since = now;
        core::mem::replace(&mut self.phase, phase)
    }
}

/// The seed's half, counted.
struct CountedHalf<'l>(BoardHalf, &'l RefCell<Ledger>);

impl CountedHalf<'_> {
    fn count<T>(&mut self, section: Section, draw: impl FnOnce(&mut BoardHalf) -> T) -> T {
        self.1.borrow_mut().switch(Phase::Streams);
        let drawn = draw(&mut self.0);
        // What uses the words follows.
        self.1.borrow_mut().switch(Phase::of_section(section));
        drawn
    }
}

impl Half for CountedHalf<'_> {
    const ROLE: Role = BoardHalf::ROLE;
    const TWO_SERVERS: bool = BoardHalf::TWO_SERVERS;

    fn begin_layer(&mut self, layer: u16, sections: &mut dyn Iterator<Item = (Section, u64)>) {
        {
            let mut ledger = self.1.borrow_mut();
            ledger.switch(Phase::Streams);
            ledger.layer = if layer == NO_LAYER { 0 } else { 1 + usize::from(layer) };
        }
        self.0.begin_layer(layer, sections);
        self.1.borrow_mut().switch(Phase::Opening1);
    }

    fn words<W: Word>(
        &mut self,
        section: Section,
        position: Position,
        bits: u8,
        out: &mut [W],
    ) -> Result<(), MaterialError> {
        self.count(section, |half| half.words(section, position, bits, out))
    }

    fn mixed_words(
        &mut self,
        section: Section,
        position: Position,
        bits: &[u8],
        out: &mut [u64],
    ) -> Result<(), MaterialError> {
        self.count(section, |half| half.mixed_words(section, position, bits, out))
    }
}

/// The model, counted.
struct CountedModel<'m, 'l>(BoardModel<'m>, &'l RefCell<Ledger>);

impl ModelHalf for CountedModel<'_, '_> {
    fn prepare(&mut self, term: LinearTerm<'_>) -> Result<(), MaterialError> {
        self.0.prepare(term)
    }

    fn convolve(
        &mut self,
        term: LinearTerm<'_>,
        tile: Range<usize>,
        out: WordsMut<'_>,
    ) -> Result<(), MaterialError> {
        let before = self.1.borrow_mut().switch(Phase::Linear);
        let done = self.0.convolve(term, tile, out);
        self.1.borrow_mut().switch(before);
        done
    }

    fn quadratic(&mut self, layer: u16, channel: u16) -> Result<u64, MaterialError> {
        let before = self.1.borrow_mut().switch(Phase::Streams);
        let word = self.0.quadratic(layer, channel);
        self.1.borrow_mut().switch(before);
        word
    }
}

/// The next frame, and what follows it.
fn frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let head = bytes.first_chunk::<HEADER>()?;
    bytes.split_at_checked(HEADER + Header::decode(head).length as usize)
}

/// The proposal that was accepted, and what came after the handshake.
fn handshake(mut bytes: &[u8]) -> Option<(Hello, &[u8])> {
    let mut accepted = None;
    loop {
        let (head, payload) = frame(bytes)?.0.split_first_chunk::<HEADER>()?;
        let found = Header::decode(head);
        bytes = frame(bytes)?.1;
        if found == header(Code::Hello, 0, found.length) {
            accepted = Hello::decode(payload).ok();
        } else if found == header(Code::Acknowledge, 0, found.length) {
            return Some((accepted?, bytes));
        }
    }
}

#[entry]
fn main() -> ! {
    stack::paint();
    if let Some(peripherals) = cortex_m::Peripherals::take() {
        clock::start(peripherals.SYST);
    }
    let (Ok(board), Some((hello, frames))) = (Board::decode(BLOB), handshake(FROM_PEER)) else {
        defmt::error!("the material or the peer's frames are refused");
        exit(false);
    };
    let ledger = Ledger {
        counts: [[0; NAMES.len()]; LAYERS],
        layer: 0,
        phase: Phase::Opening1,
        since: clock::nanoseconds(),
    };
    let ledger = RefCell::new(ledger);
    match replay(&board, &hello, frames, &ledger) {
        Ok(true) => report(&ledger.into_inner()),
        Ok(false) => {
            defmt::error!("the inference did not come to its end with the peer's last frame");
            exit(false)
        }
        Err(error) => {
            defmt::error!("the inference failed: {}", error);
            exit(false)
        }
    }
    defmt::info!(
        "statics {=usize} bytes, stack at most {=usize} bytes",
        stack::statics(),
        stack::high_water()
    );
    exit(true)
}

/// P0's end, counted.
type Zero<'p, 'm, I> = Acceptor<'p, 'm, CountedHalf<'m>, CountedModel<'m, 'm>, I>;

/// Answers the proposal and takes an acknowledgement made here: the recorded one is of a session with other
/// nonces.
fn shake_hands<'m>(
    board: &Board<'_>,
    hello: &Hello,
    zero: &mut Zero<'_, 'm, impl Input>,
    ledger: &'m RefCell<Ledger>,
    out: &mut [u8],
) -> Result<(), EndpointError> {
    let length = write_message(Code::Hello, &hello.encode(), out)?;
    zero.handle_frame(Who::Bundle, out.get(..length).ok_or(EndpointError::Memory)?)?;
    // There is no counter here to be burned.
    let inference = inference_key(&board.seed, &board.agreement, &hello.deal, hello.counter);
    zero.burned(hello.counter + 1, CountedHalf(board_half(inference), ledger))?;
    let length = zero.poll_transmit(Who::Bundle, out)?.ok_or(EndpointError::Misuse)?;
    let reply = Reply::decode(out.get(HEADER..length).ok_or(EndpointError::Memory)?)
        .map_err(|source| EndpointError::Malformed { from: Who::Seed, source })?;
    zero.poll_transmit(Who::Bundle, out)?.ok_or(EndpointError::Misuse)?;
    let acknowledge = Acknowledge { counter: hello.counter, session: reply.session(hello) };
    let length = write_message(Code::Acknowledge, &acknowledge.encode(), out)?;
    zero.handle_frame(Who::Bundle, out.get(..length).ok_or(EndpointError::Memory)?)
}

/// Asks the first picture; says whether the inference ended where the frames do.
fn replay(
    board: &Board<'_>,
    hello: &Hello,
    mut frames: &[u8],
    ledger: &RefCell<Ledger>,
) -> Result<bool, EndpointError> {
    let shared = board.plan.header.options.mode != Mode::Held;
    let Memory { arena, channel, outgoing: out, .. } = memory();
    let model =
        BoardModel(shared.then(|| SharedModel::new(model_key(&board.seed, &board.agreement), channel)));
    let lent = Lent { plan: board.plan.clone(), model: CountedModel(model, ledger), arena };
    let Some(picture) = board.pictures().next() else { return Ok(false) };
    let mut nonces = of_boot(&board.seed, 0);
    let mut zero = Acceptor::new(lent, board.agreement, hello.counter, &mut nonces, picture)?;
    shake_hands(board, hello, &mut zero, ledger, out)?;
    let mut sent = 0;
    loop {
        ledger.borrow_mut().switch(Phase::Opening1);
        if let Some(length) = zero.poll_transmit(Who::Bundle, out)? {
            let mut ledger = ledger.borrow_mut();
            // What was not counted for anything else was for this frame.
            let head = out.first_chunk::<HEADER>().map(Header::decode);
            let input = head.is_some_and(|head| head == header(Code::Input, head.tile, head.length));
            let own = head.map_or(Phase::Opening1, |head| Phase::of_step(head.step));
            if !input && ledger.phase == Phase::Opening1 {
                ledger.phase = own;
            }
            let phase = ledger.phase;
            ledger.switch(phase);
            sent += length;
            continue;
        }
        if !zero.can_receive(Who::Bundle) {
            break;
        }
        let Some((next, rest)) = frame(frames) else { break };
        frames = rest;
        if let Some(head) = next.first_chunk::<HEADER>() {
            ledger.borrow_mut().switch(Phase::of_step(Header::decode(head).step));
        }
        zero.handle_frame(Who::Bundle, next)?;
    }
    ledger.borrow_mut().switch(Phase::Opening1);
    for value in zero.answer() {
        defmt::info!("answer {=i64}, {=usize} bytes sent", value, sent);
    }
    // Behind the last frame may come the proposal of the next inference.
    let next = frames.first_chunk::<HEADER>().map(Header::decode);
    let ended = zero.event() == Some(Event::Done);
    Ok(ended && next.is_none_or(|next| next == header(Code::Hello, 0, next.length)))
}

fn report(ledger: &Ledger) {
    defmt::println!(
        "| instructions | {=str} | {=str} | {=str} | {=str} | {=str} | all |",
        NAMES[0],
        NAMES[1],
        NAMES[2],
        NAMES[3],
        NAMES[4]
    );
    defmt::println!("|---|---|---|---|---|---|---|");
    let mut sums = [0; NAMES.len()];
    let last = ledger.counts.iter().rposition(|layer| layer.iter().any(|&count| count > 0)).unwrap_or(0);
    for (layer, counts) in ledger.counts.iter().enumerate().take(last + 1) {
        let [a, b, c, d, e] = *counts;
        let all: u64 = counts.iter().sum();
        match layer.checked_sub(1) {
            None => defmt::println!(
                "| input | {=u64} | {=u64} | {=u64} | {=u64} | {=u64} | {=u64} |",
                a,
                b,
                c,
                d,
                e,
                all
            ),
            Some(layer) => {
                defmt::println!(
                    "| layer {=usize} | {=u64} | {=u64} | {=u64} | {=u64} | {=u64} | {=u64} |",
                    layer,
                    a,
                    b,
                    c,
                    d,
                    e,
                    all
                );
            }
        }
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    let [a, b, c, d, e] = sums;
    let all: u64 = sums.iter().sum();
    defmt::println!("| all | {=u64} | {=u64} | {=u64} | {=u64} | {=u64} | {=u64} |", a, b, c, d, e, all);
}
