//! A pair of parties with somebody on the line who damages one frame, and what came of it.

use std::collections::VecDeque;

use halfnet_core::party::{ErrorKind, SessionError};
use halfnet_core::plan::{Client, Role};
use halfnet_core::wire::frame::{HEADER, Header};

use crate::network::Random;
use crate::pair::{self, Deal, Pair};

/// What happens to one frame on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Only so many bytes of it arrive (fewer than there are).
    Cut(usize),
    /// So many bytes more arrive (at least one).
    Extend(usize),
    /// As [`Damage::Extend`], with the header's length changed to match.
    Restate(usize),
    /// A bit of the header is flipped.
    FlipHeader(usize),
    /// A bit of the payload is flipped.
    FlipPayload(usize),
    /// It arrives twice.
    Repeat,
    /// The sender's frame so many before it arrives once more, ahead of it.
    Replay(usize),
    /// It arrives after the sender's next one.
    Swap,
    /// It does not arrive.
    Drop,
    /// A frame of this seed, with a name and length of its own, arrives ahead of it.
    Invent(u64),
    /// A frame with its header and a payload of this seed arrives ahead of it.
    Forge(u64),
}

impl Damage {
    /// One of each kind, the parameters drawn.
    pub fn all(random: &mut Random) -> [Self; 11] {
        let mut draw = || random.word();
        [
            Self::Cut(draw() as usize),
            Self::Extend(1 + draw() as usize % 9),
            Self::Restate(1 + draw() as usize % 9),
            Self::FlipHeader(draw() as usize),
            Self::FlipPayload(draw() as usize),
            Self::Repeat,
            Self::Replay(1 + draw() as usize % 3),
            Self::Swap,
            Self::Drop,
            Self::Invent(draw()),
            Self::Forge(draw()),
        ]
    }

    /// What arrives instead of `frame`: frames now, and one to be kept back until the sender's next.
    fn apply(self, frame: &[u8], earlier: &[Vec<u8>]) -> (Vec<Vec<u8>>, Option<Vec<u8>>) {
        let whole = frame.to_vec();
        let now = match self {
            Self::Cut(length) => vec![frame[..length % frame.len()].to_vec()],
            Self::Extend(more) | Self::Restate(more) => {
                let mut longer = whole;
                longer.resize(frame.len() + more, 0);
                if let (Self::Restate(_), Some(head)) = (self, longer.first_chunk_mut::<HEADER>()) {
                    let header = Header::decode(head);
                    *head = Header { length: header.length + more as u32, ..header }.encode();
                }
                vec![longer]
            }
            Self::FlipHeader(bit) => vec![flipped(frame, bit % (8 * HEADER))],
            Self::FlipPayload(bit) => vec![flipped(frame, 8 * HEADER + bit % (8 * (frame.len() - HEADER)))],
            Self::Repeat => vec![whole.clone(), whole],
            Self::Replay(back) => {
                earlier.iter().rev().nth(back - 1).cloned().into_iter().chain([whole]).collect()
            }
            Self::Swap => return (Vec::new(), Some(whole)),
            Self::Drop => Vec::new(),
            Self::Invent(seed) => vec![invented(seed), whole],
            Self::Forge(seed) => {
                let mut random = Random(seed);
                let mut forged = whole.clone();
                forged[HEADER..].fill_with(|| random.word() as u8);
                vec![forged, whole]
            }
        };
        (now, None)
    }
}

fn flipped(frame: &[u8], bit: usize) -> Vec<u8> {
    let mut out = frame.to_vec();
    out[bit / 8] ^= 1 << (bit % 8);
    out
}

/// A frame that is well-formed in itself.
pub fn invented(seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let length = random.below(40) as u32;
    let layer = if random.one_in(4) { u16::MAX } else { random.below(9) as u16 };
    let header = Header { layer, step: random.below(60) as u8, tile: random.below(3) as u16, length };
    let mut frame = header.encode().to_vec();
    frame.extend((0..length).map(|_| random.word() as u8));
    frame
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Both parties are done; the answer (P0's, or of both words).
    Finished(Vec<i64>),
    /// A party refused a frame.
    Refused(Role, SessionError),
    /// Neither party has anything to send and one waits for a frame: with a clock, a timeout.
    Waiting,
}

/// A run with one damaged frame.
#[derive(Clone, Debug)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// The names (layer, step, tile) of what each party sent, in order.
    pub sent: [Vec<(u16, u8, u16)>; 2],
    /// Did the damage change what arrived?
    pub damaged: bool,
}

/// The name of a frame.
pub fn name(frame: &[u8]) -> (u16, u8, u16) {
    let header = Header::decode(frame.first_chunk().expect("a session sends whole headers"));
    (header.layer, header.step, header.tile)
}

/// Runs one inference in which frame number `index`, counted over both parties in the order of sending, meets
/// with `damage`.
///
/// # Panics
/// A party panics, or fails at something that no frame caused.
pub fn run(deal: &Deal, bundle: &[u8], counter: u64, pixels: &[i32], index: usize, damage: Damage) -> Report {
    let plan = deal.plan();
    let mut arenas = pair::arenas(&plan);
    let [arena_0, arena_1] = &mut arenas;
    let mut pair =
        pair::sessions(deal, bundle, counter, [arena_0, arena_1], None).expect("arenas as the plan states");
    let third = plan.header.options.client == Client::Third;
    if third {
        let masked = pair::mask_input(&mut pair, &plan, pixels).expect("shares of A");
        pair::provide(&mut pair, &plan, &masked).expect("the input");
    }
    let mut line = Line::new(index, damage);
    let mut buffer = pair::frame_buffer(&plan);
    let mut input = pixels;
    let refused = loop {
        let mut progress = false;
        let mut refused = None;
        for role in [Role::Seed, Role::Bundle] {
            while let Some(length) =
                transmit(&mut pair, role, &mut input, &mut buffer, third).expect("honest material")
            {
                line.send(role, &buffer[..length]);
                progress = true;
            }
            if let Some(frame) = ready(&pair, role).then(|| line.queues[role.index()].pop_front()).flatten() {
                progress = true;
                if let Err(error) = handle(&mut pair, role, &frame) {
                    refused = Some((role, error));
                    break;
                }
            }
        }
        if refused.is_some() || !progress {
            break refused;
        }
    };
    // What arrived and was not read yet: surplus that a party has to refuse.
    let surplus = || {
        [Role::Seed, Role::Bundle].into_iter().find_map(|role| {
            let frame = line.queues[role.index()].pop_front()?;
            Some((role, handle(&mut pair, role, &frame).expect_err("a surplus frame is refused")))
        })
    };
    let outcome = match refused.or_else(surplus) {
        Some((role, error)) => Outcome::Refused(role, error),
        None if !(pair.0.is_finished() && pair.1.is_finished()) => Outcome::Waiting,
        None if third => {
            let mut shares = [vec![0; 4096], vec![0; 4096]];
            let lengths = [pair.0.output_share(&mut shares[0]), pair.1.output_share(&mut shares[1])]
                .map(|l| l.expect("a finished run"));
            let words = [&shares[0][..lengths[0]], &shares[1][..lengths[1]]];
            Outcome::Finished(
                halfnet_core::party::session::combine_outputs(&plan, words).expect("whole words").collect(),
            )
        }
        None => Outcome::Finished(pair.0.answer().collect()),
    };
    Report { outcome, sent: line.sent, damaged: line.damaged }
}

/// What P0 or P1 has to send now.
///
/// # Errors
/// As the session's.
pub fn transmit(
    pair: &mut Pair<'_, '_>,
    role: Role,
    input: &mut &[i32],
    buffer: &mut [u8],
    third: bool,
) -> Result<Option<usize>, SessionError> {
    match role {
        Role::Seed if !third => match pair.0.transmit_input(input, buffer)? {
            Some(length) => Ok(Some(length)),
            None => pair.0.poll_transmit(buffer),
        },
        Role::Seed => pair.0.poll_transmit(buffer),
        Role::Bundle => pair.1.poll_transmit(buffer),
    }
}

/// Hands a frame to a party.
///
/// # Errors
/// As the session's.
pub fn handle(pair: &mut Pair<'_, '_>, role: Role, frame: &[u8]) -> Result<(), SessionError> {
    match role {
        Role::Seed => pair.0.handle_frame(frame),
        Role::Bundle => pair.1.handle_frame(frame),
    }
}

/// May a frame be handed to a party?
pub fn ready(pair: &Pair<'_, '_>, role: Role) -> bool {
    match role {
        Role::Seed => pair.0.can_receive(),
        Role::Bundle => pair.1.can_receive(),
    }
}

/// Is this what a party says when its peer is at fault?
pub const fn blames_the_peer(kind: &ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unexpected { .. } | ErrorKind::Length { .. } | ErrorKind::InputDiffers)
}

/// The line, with its one fault.
struct Line {
    queues: [VecDeque<Vec<u8>>; 2],
    sent: [Vec<(u16, u8, u16)>; 2],
    frames: [Vec<Vec<u8>>; 2],
    held: [Option<Vec<u8>>; 2],
    index: usize,
    damage: Damage,
    damaged: bool,
}

impl Line {
    fn new(index: usize, damage: Damage) -> Self {
        Self {
            queues: Default::default(),
            sent: Default::default(),
            frames: Default::default(),
            held: Default::default(),
            index,
            damage,
            damaged: false,
        }
    }

    fn send(&mut self, role: Role, frame: &[u8]) {
        let number = self.sent[0].len() + self.sent[1].len();
        let r = role.index();
        let queue = &mut self.queues[role.peer().index()];
        if number == self.index {
            let (now, held) = self.damage.apply(frame, &self.frames[r]);
            self.damaged = held.is_some() || now != [frame];
            queue.extend(now);
            self.held[r] = held;
        } else {
            queue.push_back(frame.to_vec());
            queue.extend(self.held[r].take());
        }
        self.sent[r].push(name(frame));
        self.frames[r].push(frame.to_vec());
    }
}
