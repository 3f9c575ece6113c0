//! The ends of an inference that take turns: each sends whatever it can, then takes whatever it can.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;

use halfnet_core::endpoint::{
    Acceptor, Endpoint, EndpointError, Event, Lent, NoPicture, Nonces, Phase, Proposer, ThirdClient, Who,
    client, longest_between_parties, longest_from_client, longest_to_client,
};
use halfnet_core::party::bundle::BundleHalf;
use halfnet_core::party::half::{LinearTerm, MaterialError, ModelHalf};
use halfnet_core::party::input::Input;
use halfnet_core::party::seed::{SeedHalf, inference_key};
use halfnet_core::plan::cost::input_section_bytes;
use halfnet_core::plan::{Client, Plan, Role};
use halfnet_core::ring::WordsMut;
use halfnet_core::wire::message::Identifier;

use super::{Frame, Rehearsal, Run, Sender, Wire};
use crate::network::simulate::IntegerLayer;
use crate::party::link::DriveError;
use crate::party::model::HostModel;
use crate::party::process::{ProcessError, integers};
use crate::party::store::{BundleHeader, Windows};

/// The name of a third client's request.
const REQUEST: Identifier = [1; 16];

/// P1's half of the model, which keeps every input that it is given.
struct Watched<'w> {
    model: HostModel,
    layers: &'w [IntegerLayer],
    masked: &'w RefCell<Vec<Option<Vec<u64>>>>,
}

impl ModelHalf for Watched<'_> {
    fn prepare(&mut self, term: LinearTerm<'_>) -> Result<(), MaterialError> {
        let LinearTerm { id, input, .. } = term;
        let reads =
            self.layers.get(usize::from(id.layer)).and_then(|layer| layer.terms.get(usize::from(id.term)));
        if let Some(reads) = reads
            && let Some(slot) = self.masked.borrow_mut().get_mut(reads.source)
        {
            slot.get_or_insert_with(|| (0..input.len()).filter_map(|i| input.get(i)).collect());
        }
        self.model.prepare(term)
    }

    fn convolve(
        &mut self,
        term: LinearTerm<'_>,
        tile: Range<usize>,
        out: WordsMut<'_>,
    ) -> Result<(), MaterialError> {
        self.model.convolve(term, tile, out)
    }

    fn quadratic(&mut self, layer: u16, channel: u16) -> Result<u64, MaterialError> {
        self.model.quadratic(layer, channel)
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
    let masked = RefCell::new(vec![None; usize::from(plan.header.layers)]);
    let mut arenas = [Role::Seed, Role::Bundle].map(|role| vec![0_u64; plan.arena_words(role)]);
    let [arena_0, arena_1] = &mut arenas;
    let [weights_0, weights_1] = &rehearsal.weights;
    let seed = &rehearsal.zero.seed;
    let [mut nonces_0, mut nonces_1] = [0_u8, 1].map(|role| {
        let key = seed.derive("halfnet 1 nonces of a rehearsal", &[&bundle.counter.to_le_bytes(), &[role]]);
        Nonces::new(key, "halfnet 1 nonce")
    });
    let agreement = rehearsal.agreement;
    let zero = Lent { plan: plan.clone(), model: HostModel::new(weights_0.clone()), arena: arena_0 };
    let watched = Watched {
        model: HostModel::new(weights_1.clone()),
        layers: rehearsal.predictor.reference().layers(),
        masked: &masked,
    };
    let one = Lent { plan: plan.clone(), model: watched, arena: arena_1 };
    let material = Material {
        deal: bundle.deal,
        counter: bundle.counter,
        zero: Some(SeedHalf::new(inference_key(seed, &agreement, &bundle.deal, bundle.counter))),
        one: Some(BundleHalf::new(windows, input_section_bytes(&plan.header))),
    };
    let mut wires = Wires { wire, waiting: Default::default(), masked: None };
    let answer = if plan.header.options.client == Client::Third {
        let mut memory = vec![0; client::memory_bytes(&plan)];
        let mut client = ThirdClient::new(&plan, REQUEST, picture.as_slice(), &mut memory)?;
        let mut zero = Acceptor::new(zero, agreement, bundle.counter, &mut nonces_0, NoPicture)?;
        let mut one = Proposer::new(one, agreement, REQUEST, &mut nonces_1)?;
        rehearse(&plan, &mut zero, &mut one, Some(&mut client), material, &mut wires)?;
        client.answer().collect()
    } else {
        let mut zero = Acceptor::new(zero, agreement, bundle.counter, &mut nonces_0, picture.as_slice())?;
        let mut one = Proposer::new(one, agreement, Identifier::default(), &mut nonces_1)?;
        rehearse::<_, _, _, &[i32]>(&plan, &mut zero, &mut one, None, material, &mut wires)?;
        zero.answer().collect()
    };
    Ok(Run { counter: bundle.counter, answer, masked: masked.into_inner() })
}

/// What is burned for the inference: both halves, until they are asked for.
struct Material {
    deal: Identifier,
    counter: u64,
    zero: Option<SeedHalf>,
    one: Option<BundleHalf<Windows>>,
}

/// Frames on their way.
struct Wires<'w> {
    /// Carries those that a transcript has.
    wire: &'w mut dyn Wire,
    /// By sender and receiver.
    waiting: [[VecDeque<Vec<u8>>; 3]; 3],
    /// E as it is delivered, the same to each party that needs it.
    masked: Option<Vec<u8>>,
}

/// All ends, each in the place of its queues.
const ALL: [Who; 3] = [Who::Seed, Who::Bundle, Who::Client];

const fn index(who: Who) -> usize {
    match who {
        Who::Seed => 0,
        Who::Bundle => 1,
        Who::Client => 2,
    }
}

impl Wires<'_> {
    /// Sends a frame that left in `phase`. What depends on data goes over the wire: the walk, E, and the words of the output.
    fn send(&mut self, from: Who, to: Who, phase: Phase, bytes: Vec<u8>) {
        let delivered = match (from, phase) {
            // A party reads requests itself, for it has many clients.
            (Who::Client, Phase::Handshake) => return,
            (Who::Client, _) => match self.masked.take() {
                Some(masked) => masked,
                None => self.keep(Sender::Client, bytes),
            },
            (Who::Seed, Phase::Layers | Phase::Output) => self.keep(Sender::Party(Role::Seed), bytes),
            (Who::Bundle, Phase::Layers | Phase::Output) => self.keep(Sender::Party(Role::Bundle), bytes),
            _ => bytes,
        };
        if from == Who::Client {
            self.masked = Some(delivered.clone());
        }
        self.waiting[index(from)][index(to)].push_back(delivered);
    }

    fn keep(&mut self, from: Sender, bytes: Vec<u8>) -> Vec<u8> {
        self.wire.carry(Frame { from, bytes })
    }

    /// Lets an end send and take what it can, up to a stage of the conversation; has anything moved?
    fn turn(
        &mut self,
        own: Who,
        end: &mut dyn Endpoint,
        buffer: &mut [u8],
        stage: u8,
    ) -> Result<bool, DriveError> {
        let mut moved = false;
        'again: while stage_of(end.phase()) <= stage {
            let phase = end.phase();
            let failed = |source| DriveError::Endpoint { phase, source };
            for other in ALL.into_iter().filter(|&other| other != own) {
                if let Some(length) = end.poll_transmit(other, buffer).map_err(failed)? {
                    self.send(own, other, phase, buffer[..length].to_vec());
                    moved = true;
                    continue 'again;
                }
            }
            for other in ALL.into_iter().filter(|&other| other != own) {
                let queue = &mut self.waiting[index(other)][index(own)];
                if let Some(frame) = end.can_receive(other).then(|| queue.pop_front()).flatten() {
                    end.handle_frame(other, &frame).map_err(failed)?;
                    moved = true;
                    continue 'again;
                }
            }
            break;
        }
        Ok(moved)
    }
}

/// Parties begin the walk and the output together, P0 first: so the order of frames is the same in every run.
const fn stage_of(phase: Phase) -> u8 {
    match phase {
        Phase::Layers => 1,
        Phase::Output => 2,
        Phase::Finished => 3,
        _ => 0,
    }
}

/// Moves frames and answers events until nothing moves any more.
fn rehearse<M: ModelHalf, W: ModelHalf, I: Input, C: Input>(
    plan: &Plan<'_>,
    zero: &mut Acceptor<'_, '_, SeedHalf, M, I>,
    one: &mut Proposer<'_, '_, BundleHalf<Windows>, W>,
    mut client: Option<&mut ThirdClient<'_, '_, C>>,
    mut material: Material,
    wires: &mut Wires<'_>,
) -> Result<(), ProcessError> {
    let between = [Role::Seed, Role::Bundle].map(|role| longest_between_parties(plan, role));
    let longest = between.into_iter().chain([longest_to_client(plan), longest_from_client(plan)]).max();
    let mut buffer = vec![0; longest.unwrap_or_default()];
    loop {
        let stage = stage_of(zero.phase()).min(stage_of(one.phase()));
        let mut moved = wires.turn(Who::Seed, zero, &mut buffer, stage)?;
        moved |= wires.turn(Who::Bundle, one, &mut buffer, stage)?;
        if let Some(client) = &mut client {
            moved |= wires.turn(Who::Client, *client, &mut buffer, u8::MAX)?;
            if let Some(Event::Masked { .. }) = client.event() {
                client.send_masked()?;
                moved = true;
            }
        }
        moved |= answer_zero(zero, &mut material)? | answer_one(one, &mut material)?;
        if !moved {
            break;
        }
    }
    // A frame that nobody takes, or an end that waits for one: a fault of ours.
    let done = [zero.event(), one.event()].into_iter().chain(client.map(|client| client.event()));
    let all_taken = wires.waiting.iter().flatten().all(VecDeque::is_empty);
    if all_taken && done.into_iter().all(|event| event == Some(Event::Done)) {
        Ok(())
    } else {
        Err(EndpointError::Misuse.into())
    }
}

/// Answers what P0 asks of its caller, if it asks anything.
fn answer_zero<M: ModelHalf, I: Input>(
    zero: &mut Acceptor<'_, '_, SeedHalf, M, I>,
    material: &mut Material,
) -> Result<bool, ProcessError> {
    match zero.event() {
        Some(Event::Request(request)) => zero.answer_request(request == REQUEST)?,
        Some(Event::Burn { .. }) => {
            zero.burned(material.counter + 1, material.zero.take().ok_or(EndpointError::Misuse)?)?;
        }
        Some(Event::Refused(error)) => return Err(error.into()),
        _ => return Ok(false),
    }
    Ok(true)
}

/// Answers what P1 asks of its caller, if it asks anything.
fn answer_one<M: ModelHalf>(
    one: &mut Proposer<'_, '_, BundleHalf<Windows>, M>,
    material: &mut Material,
) -> Result<bool, ProcessError> {
    match one.event() {
        Some(Event::Propose { .. }) => one.propose(material.deal, material.counter)?,
        Some(Event::Burn { .. }) => one.burned(material.one.take().ok_or(EndpointError::Misuse)?)?,
        _ => return Ok(false),
    }
    Ok(true)
}
