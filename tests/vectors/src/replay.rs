//! P0's side of a whole inference, fed with what P1 sent.

use halfnet_core::endpoint::{
    Acceptor, Endpoint, EndpointError, Event, Lent, Nonces, Who, longest_between_parties, write_message,
};
use halfnet_core::party::half::ModelHalf;
use halfnet_core::party::input::Input;
use halfnet_core::party::seed::{self, NoModel, SeedHalf, SeedModel};
use halfnet_core::plan::{LinearPlan, Mode, Plan, Role};
use halfnet_core::prg::Key;
use halfnet_core::wire::frame::{HEADER, Header};
use halfnet_core::wire::message::{Acknowledge, Agreement, Code, Hello, Reply};

use crate::{Mismatch, Replay, Scratch, compare, equal};

/// A picture of signed bytes.
struct Picture<'a>(&'a [u8]);

impl Input for Picture<'_> {
    fn elements(&self) -> usize {
        self.0.len()
    }

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
    let needed = longest_between_parties(&plan, Role::Seed);
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

/// P0's end, with which P1 has shaken hands.
type Zero<'r, 's, M> = Acceptor<'r, 's, SeedHalf, M, Picture<'r>>;

/// Proposes the inference and acknowledges it: what a file holds begins behind that, since the handshake's
/// nonces are new every time.
fn shake_hands(
    replay: &Replay<'_>,
    agreement: &Agreement,
    zero: &mut Zero<'_, '_, impl ModelHalf>,
    frame: &mut [u8],
) -> Result<(), Mismatch> {
    let Replay { deal, counter, .. } = *replay;
    let hello = Hello { agreement: *agreement, deal, nonce: [1; 16], request: [0; 16], counter };
    let length = write_message(Code::Hello, &hello.encode(), frame)?;
    zero.handle_frame(Who::Bundle, frame.get(..length).ok_or(EndpointError::Memory)?)?;
    equal("what follows the proposal", zero.event(), Some(Event::Burn { deal, counter }))?;
    let inference = seed::inference_key(&Key::new(replay.seed), agreement, &deal, counter);
    zero.burned(counter + 1, SeedHalf::new(inference))?;
    let length = zero.poll_transmit(Who::Bundle, frame)?.ok_or(EndpointError::Misuse)?;
    let reply = Reply::decode(frame.get(HEADER..length).ok_or(EndpointError::Memory)?)
        .map_err(|source| EndpointError::Malformed { from: Who::Seed, source })?;
    let acknowledge = Acknowledge { counter, session: reply.session(&hello) }.encode();
    let length = zero.poll_transmit(Who::Bundle, frame)?.ok_or(EndpointError::Misuse)?;
    let said = frame.get(HEADER..length).unwrap_or_default();
    equal("the acknowledgement", said, &acknowledge)?;
    let length = write_message(Code::Acknowledge, &acknowledge, frame)?;
    Ok(zero.handle_frame(Who::Bundle, frame.get(..length).ok_or(EndpointError::Memory)?)?)
}

fn run(
    replay: &Replay<'_>,
    plan: Plan<'_>,
    model: impl ModelHalf,
    arena: &mut [u64],
    frame: &mut [u8],
) -> Result<(), Mismatch> {
    let agreement = agreement(replay, &plan);
    let mut nonces = Nonces::new(Key::new([0; 32]), "halfnet 1 nonce");
    let (lent, picture) = (Lent { plan, model, arena }, Picture(replay.picture));
    let mut zero = Acceptor::new(lent, agreement, replay.counter, &mut nonces, picture)?;
    shake_hands(replay, &agreement, &mut zero, frame)?;
    let mut received = replay.received;
    let (mut hasher, mut sent) = (blake3::Hasher::new(), 0_u32);
    loop {
        if let Some(length) = zero.poll_transmit(Who::Bundle, frame)? {
            hasher.update(frame.get(..length).unwrap_or(&[]));
            sent += length as u32;
            continue;
        }
        if !zero.can_receive(Who::Bundle) {
            break;
        }
        let Some(head) = received.first_chunk::<HEADER>() else { break };
        let length = HEADER + Header::decode(head).length as usize;
        let (next, rest) = received.split_at_checked(length).ok_or(Mismatch::Operands)?;
        zero.handle_frame(Who::Bundle, next)?;
        received = rest;
    }
    equal("the end of the inference", (zero.event(), received.len()), (Some(Event::Done), 0))?;
    equal("the number of bytes sent", sent, replay.sent)?;
    equal("the hash of the frames sent", *hasher.finalize().as_bytes(), replay.sent_hash)?;
    equal("the number of released values", zero.answer().count(), replay.answer.len())?;
    compare("a released value", zero.answer().map(|value| value as u64), replay.answer.iter())
}
