//! P0's side of a whole inference, fed with what P1 sent.

use halfnet_core::party::half::ModelHalf;
use halfnet_core::party::seed::{self, NoModel, SeedHalf, SeedModel};
use halfnet_core::party::session::{Input, Parts, Session};
use halfnet_core::plan::{LinearPlan, Mode, Plan, Role};
use halfnet_core::prg::Key;
use halfnet_core::wire::frame::{HEADER, Header};
use halfnet_core::wire::message::Agreement;

use crate::{Mismatch, Replay, Scratch, compare, equal};

/// A picture of signed bytes.
struct Picture<'a>(&'a [u8]);

impl Input for Picture<'_> {
    fn read(&mut self, first: usize, out: &mut [i32]) {
        for (slot, &byte) in out.iter_mut().zip(self.0.get(first..).unwrap_or(&[])) {
            *slot = i32::from(byte as i8);
        }
    }
}

pub(crate) fn check(replay: &Replay<'_>, scratch: Scratch<'_>) -> Result<(), Mismatch> {
    let plan = Plan::decode(replay.plan).map_err(|_| Mismatch::Operands)?;
    if replay.picture.len() != plan.header.input.elements as usize {
        return Err(Mismatch::Operands);
    }
    let Scratch { arena, channel, frame } = scratch;
    let needed = plan.arena_words(Role::Seed);
    let arena = arena.get_mut(..needed).ok_or(Mismatch::Scratch { what: "the arena", needed })?;
    let needed = plan.header.longest_frame[Role::Seed.index()] as usize;
    let frame = frame.get_mut(..needed).ok_or(Mismatch::Scratch { what: "a frame", needed })?;
    if plan.header.options.mode == Mode::Held {
        return run(replay, plan, NoModel, arena, frame);
    }
    let terms = plan.layers().flat_map(|layer| layer.terms.into_iter());
    let needed = terms.map(|term| fan_in(&term.linear)).max().unwrap_or(0);
    let channel =
        channel.get_mut(..needed).ok_or(Mismatch::Scratch { what: "the weights of a channel", needed })?;
    let agreement = agreement(replay, &plan);
    let model = SeedModel::new(seed::model_key(&Key::new(replay.seed), &agreement), channel);
    run(replay, plan, model, arena, frame)
}

fn fan_in(linear: &LinearPlan) -> usize {
    match linear {
        LinearPlan::Convolution(geometry) => geometry.fan_in(),
        _ => 1,
    }
}

fn agreement(replay: &Replay<'_>, plan: &Plan<'_>) -> Agreement {
    Agreement { pairing: replay.pairing, plan: *plan.hash(), provisioning: replay.provisioning }
}

fn run(
    replay: &Replay<'_>,
    plan: Plan<'_>,
    model: impl ModelHalf,
    arena: &mut [u64],
    frame: &mut [u8],
) -> Result<(), Mismatch> {
    let agreement = agreement(replay, &plan);
    let inference = seed::inference_key(&Key::new(replay.seed), &agreement, &replay.deal, replay.counter);
    let parts = Parts { plan, half: SeedHalf::new(inference), model, arena };
    let mut session = Session::new(parts).map_err(Mismatch::Session)?;
    let mut picture = Picture(replay.picture);
    let mut received = replay.received;
    let (mut hasher, mut sent) = (blake3::Hasher::new(), 0_u32);
    loop {
        let length = match session.transmit_input(&mut picture, frame).map_err(Mismatch::Session)? {
            Some(length) => Some(length),
            None => session.poll_transmit(frame).map_err(Mismatch::Session)?,
        };
        if let Some(length) = length {
            hasher.update(frame.get(..length).unwrap_or(&[]));
            sent += length as u32;
            continue;
        }
        if session.is_finished() || !session.can_receive() {
            break;
        }
        let Some(head) = received.first_chunk::<HEADER>() else { break };
        let length = HEADER + Header::decode(head).length as usize;
        let (next, rest) = received.split_at_checked(length).ok_or(Mismatch::Operands)?;
        session.handle_frame(next).map_err(Mismatch::Session)?;
        received = rest;
    }
    equal("the end of the session", (session.is_finished(), received.len()), (true, 0))?;
    equal("the number of bytes sent", sent, replay.sent)?;
    equal("the hash of the frames sent", *hasher.finalize().as_bytes(), replay.sent_hash)?;
    equal("the number of released values", session.answer().count(), replay.answer.len())?;
    compare("a released value", session.answer().map(|value| value as u64), replay.answer.iter())
}
