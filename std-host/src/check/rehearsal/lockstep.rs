//! Two sessions that take turns: each sends whatever it can, then takes whatever it can.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;

use halfnet_core::packing::packed_len;
use halfnet_core::party::bundle::BundleHalf;
use halfnet_core::party::half::{Half, MaterialError, ModelHalf, TermId};
use halfnet_core::party::seed::{SeedHalf, inference_key};
use halfnet_core::party::session::{Parts, Session, combine_outputs, output_shape};
use halfnet_core::party::{ErrorKind, SessionError};
use halfnet_core::plan::cost::input_section_bytes;
use halfnet_core::plan::{Client, Mode, Plan, Role};
use halfnet_core::ring::{Words, WordsMut};
use halfnet_core::shape::Convolution;
use halfnet_core::wire::frame::HEADER;
use halfnet_core::wire::message::{self, Code};

use super::{Frame, Rehearsal, Run, Sender, Wire};
use crate::network::simulate::IntegerLayer;
use crate::party::model::HostModel;
use crate::party::process::integers;
use crate::party::process::{ProcessError, mask};
use crate::party::store::{BundleHeader, Windows};

/// P1's half of the model, which keeps every input that it is given.
struct Watched<'w> {
    model: HostModel,
    layers: &'w [IntegerLayer],
    masked: &'w RefCell<Vec<Option<Vec<u64>>>>,
}

impl ModelHalf for Watched<'_> {
    fn prepare(&mut self, id: TermId, geometry: &Convolution, input: Words<'_>) -> Result<(), MaterialError> {
        let term =
            self.layers.get(usize::from(id.layer)).and_then(|layer| layer.terms.get(usize::from(id.term)));
        if let Some(term) = term
            && let Some(slot) = self.masked.borrow_mut().get_mut(term.source)
        {
            slot.get_or_insert_with(|| (0..input.len()).filter_map(|i| input.get(i)).collect());
        }
        self.model.prepare(id, geometry, input)
    }

    fn convolve(
        &mut self,
        id: TermId,
        geometry: &Convolution,
        input: Words<'_>,
        tile: Range<usize>,
        out: WordsMut<'_>,
    ) -> Result<(), MaterialError> {
        self.model.convolve(id, geometry, input, tile, out)
    }

    fn quadratic(&mut self, layer: u16, channel: u16) -> Result<u64, MaterialError> {
        self.model.quadratic(layer, channel)
    }
}

/// What both roles have in common here.
trait Party {
    fn send(&mut self, out: &mut [u8]) -> Result<Option<usize>, SessionError>;
    fn is_ready(&self) -> bool;
    fn take(&mut self, frame: &[u8]) -> Result<(), SessionError>;
}

/// A session, and the picture where it is the client's.
struct Side<'p, 'm, 'x, H, M> {
    session: Session<'p, 'm, H, M>,
    input: Option<&'x [i32]>,
}

impl<H: Half, M: ModelHalf> Party for Side<'_, '_, '_, H, M> {
    fn send(&mut self, out: &mut [u8]) -> Result<Option<usize>, SessionError> {
        if let Some(input) = &mut self.input
            && let Some(length) = self.session.transmit_input(input, out)?
        {
            return Ok(Some(length));
        }
        self.session.poll_transmit(out)
    }

    fn is_ready(&self) -> bool {
        self.session.can_receive() && !self.session.is_finished()
    }

    fn take(&mut self, frame: &[u8]) -> Result<(), SessionError> {
        self.session.handle_frame(frame)
    }
}

pub(super) fn run(
    rehearsal: &Rehearsal,
    bundle: &BundleHeader,
    windows: Windows,
    pixels: &[u8],
    wire: &mut dyn Wire,
) -> Result<Run, ProcessError> {
    let plan = rehearsal.plan()?;
    let shape = plan.header.model.input;
    if pixels.len() != shape.elements() {
        return Err(ProcessError::Picture { expected: shape.elements(), found: pixels.len() });
    }
    let picture = integers(&plan.header.model, pixels)?;
    let third = plan.header.options.client == Client::Third;
    let masked = RefCell::new(vec![None; usize::from(plan.header.layers)]);
    let mut arenas = [Role::Seed, Role::Bundle].map(|role| vec![0_u64; plan.arena_words(role)]);
    let [arena_0, arena_1] = &mut arenas;
    let [weights_0, weights_1] = &rehearsal.weights;
    let key = inference_key(&rehearsal.zero.seed, &rehearsal.agreement, &bundle.deal, bundle.counter);
    let zero = Parts {
        plan: plan.clone(),
        half: SeedHalf::new(key),
        model: HostModel::new(weights_0.clone()),
        arena: arena_0,
    };
    let one = Parts {
        plan: plan.clone(),

        half: BundleHalf::new(windows, input_section_bytes(&plan.header)),
        model: Watched {
            model: HostModel::new(weights_1.clone()),
            layers: rehearsal.predictor.reference().layers(),
            masked: &masked,
        },
        arena: arena_1,
    };
    let mut zero = Side { session: Session::new(zero)?, input: (!third).then_some(picture.as_slice()) };
    let mut one = Side { session: Session::new(one)?, input: None };

    if third {
        let masked = message_of(Code::Masked, &offer(&mut zero.session, &mut one.session, &plan, &picture)?);
        let masked = wire.carry(Frame { from: Sender::Client, bytes: masked });
        let payload = masked.get(HEADER..).unwrap_or(&[]);
        one.session.provide_masked(payload)?;
        if plan.header.options.mode == Mode::Held {
            zero.session.begin_without_input()?;
        } else {
            zero.session.provide_masked(payload)?;
        }
    }
    exchange([&mut zero, &mut one], &plan, wire)?;
    let answer = if third {
        let (words, bits) = output_shape(&plan);
        let mut outputs = [vec![0; packed_len(words, bits)], vec![0; packed_len(words, bits)]];
        zero.session.output_share(&mut outputs[0])?;
        one.session.output_share(&mut outputs[1])?;
        for (role, output) in [Role::Seed, Role::Bundle].into_iter().zip(&mut outputs) {
            let bytes =
                wire.carry(Frame { from: Sender::Party(role), bytes: message_of(Code::Output, output) });
            let (expected, found) = (output.len() as u32, bytes.len().saturating_sub(HEADER) as u32);
            let delivered = bytes.get(HEADER..).filter(|delivered| delivered.len() == output.len());
            let wrong = SessionError { at: None, kind: ErrorKind::Length { expected, found } };
            output.copy_from_slice(delivered.ok_or(wrong)?);
        }
        combine_outputs(&plan, [&outputs[0], &outputs[1]])?.collect()
    } else {
        zero.session.answer().collect()
    };
    drop((zero, one));
    Ok(Run { counter: bundle.counter, answer, masked: masked.into_inner() })
}

/// E, packed, as a third client makes it of both shares of A.
fn offer<H: Half, M: ModelHalf, I: Half, N: ModelHalf>(
    zero: &mut Session<'_, '_, H, M>,
    one: &mut Session<'_, '_, I, N>,
    plan: &Plan<'_>,
    picture: &[i32],
) -> Result<Vec<u8>, SessionError> {
    let length = packed_len(picture.len(), plan.header.input.bits);
    let mut shares = [vec![0; length], vec![0; length]];
    zero.mask_share(&mut shares[0])?;
    one.mask_share(&mut shares[1])?;
    Ok(mask(plan, picture, [&shares[0], &shares[1]]))
}

fn message_of(code: Code, payload: &[u8]) -> Vec<u8> {
    [&message::header(code, 0, payload.len() as u32).encode(), payload].concat()
}

/// Moves frames until neither party has any.
fn exchange(
    mut parties: [&mut dyn Party; 2],
    plan: &Plan<'_>,
    wire: &mut dyn Wire,
) -> Result<(), SessionError> {
    let mut queues: [VecDeque<Vec<u8>>; 2] = Default::default();
    let mut buffer = vec![0; plan.header.longest_frame.into_iter().max().unwrap_or(0) as usize];
    loop {
        let mut moved = false;
        for role in [Role::Seed, Role::Bundle] {
            let party = &mut parties[role.index()];
            loop {
                if let Some(length) = party.send(&mut buffer)? {
                    let bytes = buffer[..length].to_vec();
                    let frame = wire.carry(Frame { from: Sender::Party(role), bytes });
                    queues[role.peer().index()].push_back(frame);
                } else if let Some(frame) =
                    party.is_ready().then(|| queues[role.index()].pop_front()).flatten()
                {
                    party.take(&frame)?;
                } else {
                    break;
                }
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    // A frame that nobody takes, or a party that waits for one: a fault of ours.
    let all_taken = queues.iter().all(VecDeque::is_empty);
    if all_taken { Ok(()) } else { Err(SessionError { at: None, kind: ErrorKind::Misuse }) }
}
