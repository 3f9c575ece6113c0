//! All ends of an inference with somebody on their lines who damages one frame, from the first byte to the
//! answer, and what came of it.

use std::collections::VecDeque;

use halfnet_core::endpoint::{
    self, Endpoint, EndpointError, Event, NoPicture, ThirdClient, Who, client, write_message,
};
use halfnet_core::party::input::Input;
use halfnet_core::party::{ErrorKind, SessionError};
use halfnet_core::plan::Client;
use halfnet_core::wire::frame::{HEADER, Header, NO_LAYER};
use halfnet_core::wire::message::{Code, Hello};

pub use crate::damage::{Damage, invented};
use crate::pair::{self, DEAL, Deal, One, REQUEST, Zero};

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All ends are done; the answer, the client's.
    Finished(Vec<i64>),
    /// An end refused a frame.
    Refused(Who, EndpointError),
    /// A frame is left that has no place in the conversation: its receiver does not take it.
    Surplus(Who),
    /// No end has anything to send and one waits for a frame: with a clock, a timeout.
    Waiting,
}

/// Layer, step and tile of a frame.
pub type Name = (u16, u8, u16);

/// A run with one damaged frame.
#[derive(Clone, Debug)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// What P0, P1 and a third client sent, in order: to whom, and the frame's name.
    pub sent: [Vec<(Who, Name)>; 3],
    /// Counters that P0 and P1 burned.
    pub burned: [Vec<u64>; 2],
    /// Did the damage change what arrived?
    pub damaged: bool,
    /// Was the damaged frame one of the handshake?
    pub in_handshake: bool,
}

/// The name of a frame.
pub fn name(frame: &[u8]) -> Name {
    let header = Header::decode(frame.first_chunk().expect("an end sends whole headers"));
    (header.layer, header.step, header.tile)
}

const ENDS: [Who; 3] = [Who::Seed, Who::Bundle, Who::Client];

/// Runs one inference in which frame number `index`, counted over all ends in the order of sending, meets with
/// `damage`.
///
/// # Panics
/// An end panics, fails at something that no frame caused, or sends anything secret before both parties have
/// burned the counter.
pub fn run(deal: &Deal, bundle: &[u8], counter: u64, pixels: &[i32], index: usize, damage: Damage) -> Report {
    let plan = deal.plan();
    let [mut arena_0, mut arena_1] = pair::arenas(&plan);
    let [mut nonces_0, mut nonces_1] = pair::nonces();
    let line = Line::new(index, damage, counter);
    let one = deal.one(&mut arena_1, &mut nonces_1, None).expect("an arena as the plan states");
    if plan.header.options.client == Client::Third {
        let mut memory = vec![0; client::memory_bytes(&plan)];
        let mut asking = ThirdClient::new(&plan, REQUEST, pixels, &mut memory).expect("memory as stated");
        let mut buffer = [0; HEADER + REQUEST.len()];
        for who in [Who::Seed, Who::Bundle] {
            let length = asking.poll_transmit(who, &mut buffer).expect("room").expect("a request");
            assert_eq!(endpoint::read_request(&buffer[..length]), Ok(REQUEST));
        }
        let zero = deal.zero(counter, &mut arena_0, &mut nonces_0, NoPicture).expect("an arena as stated");
        Ends { deal, bundle, counter, zero, one, client: Some(asking), line }.run()
    } else {
        let zero = deal.zero(counter, &mut arena_0, &mut nonces_0, pixels).expect("an arena as stated");
        Ends { deal, bundle, counter, zero, one, client: None, line }.run()
    }
}

/// Does P0, whose next is behind `burned`, refuse to burn it again?
///
/// # Panics
/// P0 refuses an honest proposal otherwise than by its counter.
pub fn refuses(deal: &Deal, burned: u64) -> bool {
    let ([mut arena, _], [mut nonces, _]) = (pair::arenas(&deal.plan()), pair::nonces());
    let agreement = pair::agreement(&deal.plan());
    let hello = Hello { agreement, deal: DEAL, nonce: [7; 16], request: REQUEST, counter: burned };
    let mut buffer = [0; 256];
    let length = write_message(Code::Hello, &hello.encode(), &mut buffer).expect("room");
    let asked = |zero: &mut dyn Endpoint| {
        zero.handle_frame(Who::Bundle, &buffer[..length]).expect("an honest proposal");
        zero.event().is_some()
    };
    !if deal.plan().header.options.client == Client::Third {
        asked(&mut deal.zero(burned + 1, &mut arena, &mut nonces, NoPicture).expect("an arena as stated"))
    } else {
        let picture = vec![0; deal.plan().header.input.elements as usize];
        let zero = deal.zero(burned + 1, &mut arena, &mut nonces, &picture[..]);
        asked(&mut zero.expect("an arena as stated"))
    }
}

/// All ends of an inference.
struct Ends<'e, I> {
    deal: &'e Deal,
    bundle: &'e [u8],
    counter: u64,
    zero: Zero<'e, 'e, I>,
    one: One<'e, 'e>,
    client: Option<ThirdClient<'e, 'e, &'e [i32]>>,
    line: Line,
}

impl<'e, I: Input + 'e> Ends<'e, I> {
    fn end(&mut self, who: Who) -> Option<&mut (dyn Endpoint + 'e)> {
        match who {
            Who::Seed => Some(&mut self.zero),
            Who::Bundle => Some(&mut self.one),
            Who::Client => self.client.as_mut().map(|client| client as &mut dyn Endpoint),
        }
    }

    fn run(mut self) -> Report {
        let outcome = match self.converse() {
            Err((who, error)) => Outcome::Refused(who, error),
            Ok(()) => self.surplus().map_or_else(|| self.answer(), Outcome::Surplus),
        };
        let Line { sent, burned, damaged, in_handshake, .. } = self.line;
        Report { outcome, sent, burned, damaged, in_handshake }
    }

    fn converse(&mut self) -> Result<(), (Who, EndpointError)> {
        let plan = self.deal.plan();
        let mut buffer = pair::frame_buffer(&plan);
        buffer.resize(buffer.len().max(endpoint::longest_to_client(&plan)).max(1024), 0);
        loop {
            let mut progress = self.answer_events()?;
            for (own, other) in ENDS.into_iter().flat_map(|own| ENDS.map(|other| (own, other))) {
                if self.client.is_none() && [own, other].contains(&Who::Client) || own == other {
                    continue;
                }
                let Some(end) = self.end(own) else { continue };
                if let Some(length) = end.poll_transmit(other, &mut buffer).expect("honest material") {
                    self.line.send(own, other, &buffer[..length]);
                    progress = true;
                    continue;
                }
                if end.can_receive(other)
                    && let Some(frame) = self.line.queue(other, own).pop_front()
                    && let Some(end) = self.end(own)
                {
                    end.handle_frame(other, &frame).map_err(|error| (own, error))?;
                    progress = true;
                }
            }
            if !progress {
                return Ok(());
            }
        }
    }

    /// What the callers of the ends do; says whether there was anything to do.
    fn answer_events(&mut self) -> Result<bool, (Who, EndpointError)> {
        let at_zero = match self.zero.event() {
            Some(Event::Request(request)) => self.zero.answer_request(request == REQUEST),
            Some(Event::Burn { counter, .. }) => {
                self.line.burned[0].push(counter);
                self.zero.burned(counter + 1, self.deal.seed_half(counter))
            }
            Some(Event::Refused(error)) => return Err((Who::Seed, error)),
            _ => Err(EndpointError::Misuse),
        };
        let at_one = match self.one.event() {
            Some(Event::Propose { below: None }) => self.one.propose(DEAL, self.counter),
            Some(Event::Burn { counter, .. }) => {
                self.line.burned[1].push(counter);
                self.one.burned(self.deal.bundle_half(self.bundle))
            }
            _ => Err(EndpointError::Misuse),
        };
        let at_client = match &mut self.client {
            Some(client) if matches!(client.event(), Some(Event::Masked { .. })) => client.send_masked(),
            _ => Err(EndpointError::Misuse),
        };
        Ok([at_zero, at_one, at_client].iter().any(Result::is_ok))
    }

    /// What arrived and is not taken.
    fn surplus(&mut self) -> Option<Who> {
        ENDS.into_iter().flat_map(|to| ENDS.map(|from| (from, to))).find_map(|(from, to)| {
            let frame = self.line.queue(from, to).pop_front()?;
            self.end(to)?.handle_frame(from, &frame).expect_err("a surplus frame is refused");
            Some(to)
        })
    }

    fn answer(&self) -> Outcome {
        let done = Some(Event::Done);
        let client_done = self.client.as_ref().is_none_or(|client| client.event() == done);
        if self.zero.event() != done || self.one.event() != done || !client_done {
            return Outcome::Waiting;
        }
        Outcome::Finished(match &self.client {
            Some(client) => client.answer().collect(),
            None => self.zero.answer().collect(),
        })
    }
}

/// Is this what a party says of a third client's E that the parties got differently?
pub const fn input_differs(error: &EndpointError) -> bool {
    matches!(error, EndpointError::Session(SessionError { kind: ErrorKind::InputDiffers, .. }))
}

/// Is this what an end says when another is at fault?
pub const fn blames_the_peer(error: &EndpointError) -> bool {
    match error {
        EndpointError::Session(error) => {
            matches!(
                error.kind,
                ErrorKind::Unexpected { .. } | ErrorKind::Length { .. } | ErrorKind::InputDiffers
            )
        }
        EndpointError::NotBurned { .. }
        | EndpointError::Memory
        | EndpointError::Client
        | EndpointError::Misuse => false,
        _ => true,
    }
}

/// The lines between the ends, with their one fault.
struct Line {
    queues: [[VecDeque<Vec<u8>>; 3]; 3],
    frames: [[Vec<Vec<u8>>; 3]; 3],
    held: [[Option<Vec<u8>>; 3]; 3],
    sent: [Vec<(Who, Name)>; 3],
    burned: [Vec<u64>; 2],
    counter: u64,
    index: usize,
    damage: Damage,
    damaged: bool,
    in_handshake: bool,
}

impl Line {
    fn new(index: usize, damage: Damage, counter: u64) -> Self {
        Self {
            queues: Default::default(),
            frames: Default::default(),
            held: Default::default(),
            sent: Default::default(),
            burned: Default::default(),
            counter,
            index,
            damage,
            damaged: false,
            in_handshake: false,
        }
    }

    fn queue(&mut self, from: Who, to: Who) -> &mut VecDeque<Vec<u8>> {
        &mut self.queues[from as usize][to as usize]
    }

    fn send(&mut self, from: Who, to: Who, frame: &[u8]) {
        let (layer, step, _) = name(frame);
        let public = [Code::Hello, Code::Reply, Code::Acknowledge].map(|code| (NO_LAYER, code as u8));
        let public = public.contains(&(layer, step));
        let both = [vec![self.counter], vec![self.counter]];
        assert!(public || self.burned == both, "{from:?} sends {:?} before both have burned", name(frame));
        let number: usize = self.sent.iter().map(Vec::len).sum();
        let (f, t) = (from as usize, to as usize);
        if number == self.index {
            let (now, held) = self.damage.apply(frame, &self.frames[f][t]);
            self.damaged = held.is_some() || now != [frame];
            self.in_handshake = public;
            self.queues[f][t].extend(now);
            self.held[f][t] = held;
        } else {
            self.queues[f][t].push_back(frame.to_vec());
            self.queues[f][t].extend(self.held[f][t].take());
        }
        self.sent[f].push((to, name(frame)));
        self.frames[f][t].push(frame.to_vec());
    }
}
