#![allow(missing_docs, reason = "the crate's page includes this file as it is")]
// Which side of a picture is brighter? P0 has the picture, P1 has the network, and neither sees the other's.
// The whole way in one thread, from a network to its answer: cargo run -p halfnet-core --example two_parties

use std::collections::VecDeque;

use halfnet_core::dealer::{self, FullWeights, Secrets};
use halfnet_core::model::{Activation, Bitmap, Header, Integers, Layer, Linear, Normalisation, Step, Term};
use halfnet_core::party::bundle::{BundleHalf, PortableModel};
use halfnet_core::party::seed::{NoModel, SeedHalf, inference_key};
use halfnet_core::plan::{compile, cost};
use halfnet_core::shape::{Convolution, Shape};
use halfnet_core::{Acceptor, Agreement, Client, Endpoint, Event, Key, Mode, Model, Options, Plan, Proposer};
use halfnet_core::{Lent, Nonces, Release, Role, Who};

/// Signed 8-bit weights: two ReLUs, left - right and right - left, of 2 x 2 pixels; then classes of the ReLUs.
const HIDDEN: [u8; 8] = [8, 248, 8, 248, 248, 8, 248, 8];
const OUTPUT: [u8; 6] = [8, 0, 0, 8, 0, 0];
const BIAS: [u8; 3] = [0, 0, 20];
const CLASSES: [&str; 3] = ["left", "right", "neither"];

type Frames = VecDeque<Vec<u8>>;
type Done = Result<(), Box<dyn std::error::Error>>;

fn main() -> Done {
    // The network, in integers: P1 and the dealer have it.
    let relus = Activation { ring_bits: 16, shift: 4, relu: Bitmap::All, polynomial: None, pool: None };
    let input = Shape::new(1, 2, 2);
    let hidden = dense(0, input, &HIDDEN, &[0; 2], Step::Activate(relus));
    let output = dense(1, Shape::new(2, 1, 1), &OUTPUT, &BIAS, Step::Release { ring_bits: 16 });
    let normalisation = [Normalisation::IDENTITY].into_iter().collect();
    let (name, data_set) = ("sides", "none");
    let header = Header { name, data_set, input, normalisation, classes: 3, class_names: "" };
    let model = Model { header, layers: [hidden, output].into_iter().collect() };
    model.validate()?;

    // The plan: the network as everybody may see it, without a weight. Both parties have its bytes.
    let (mode, client, release) = (Mode::Held, Client::SeedParty, Release::Label);
    let options = Options { mode, client, release, chunk_bits: 4, memory: compile::ample() };
    let mut bytes = [0; 1024];
    let length = compile::compile(&model, &options, &mut bytes)?;
    let plan = Plan::decode(&bytes[..length])?;

    // The dealer gives P0 a seed, once, and P1 a bundle an inference. Every key and identifier has to be drawn
    // from the operating system's randomness; only an example may make them up.
    let (seed, dealers_own, deal) = (Key::new([1; 32]), Key::new([2; 32]), [3; 16]);
    let agreement = Agreement { pairing: [4; 16], plan: *plan.hash(), provisioning: [5; 16] };
    let weights = || PortableModel(FullWeights(&model));
    let picture = [10, 20, 30, 40];
    let [mut nonces_0, mut nonces_1] = [6, 7].map(|key| Nonces::new(Key::new([key; 32]), "example nonce"));

    // The same picture twice: what the parties see is noise, another noise each time.
    for counter in 0..2 {
        let secrets = Secrets::new(&dealers_own, &seed, &agreement, &deal, counter);
        let (mut arena, mut bundle) = (vec![0; dealer::arena_words(&plan)], Vec::new());
        dealer::deal(&plan, &model, &secrets, &mut weights(), &mut arena, &mut |part: &[u8]| {
            bundle.extend_from_slice(part);
            Ok(())
        })?;
        let [mut arena_0, mut arena_1] = [Role::Seed, Role::Bundle].map(|r| vec![0; plan.arena_words(r)]);
        let lent = Lent { plan: plan.clone(), model: NoModel, arena: &mut arena_0 };
        let mut p0 = Acceptor::new(lent, agreement, counter, &mut nonces_0, &picture[..])?;
        let lent = Lent { plan: plan.clone(), model: weights(), arena: &mut arena_1 };
        let mut p1 = Proposer::new(lent, agreement, [0; 16], &mut nonces_1)?;
        let (mut to_p0, mut to_p1) = (Frames::new(), Frames::new());
        while (p0.event(), p1.event()) != (Some(Event::Done), Some(Event::Done)) {
            if let Some(Event::Propose { .. }) = p1.event() {
                p1.propose(deal, counter)?;
            }
            // At a burn a party writes down that the counter is used, durably; only then it goes on.
            if let Some(Event::Burn { deal, counter }) = p0.event() {
                p0.burned(counter + 1, SeedHalf::new(inference_key(&seed, &agreement, &deal, counter)))?;
            }
            if let Some(Event::Burn { .. }) = p1.event() {
                p1.burned(BundleHalf::new(&bundle[..], cost::input_section_bytes(&plan.header)))?;
            }
            carry(Role::Bundle, &mut p1, &mut p0, &mut to_p0)?;
            carry(Role::Seed, &mut p0, &mut p1, &mut to_p1)?;
        }
        let label = p0.answer().next().ok_or("no answer")? as usize;
        println!("P0 gets the answer {}", CLASSES[label]);
        assert_eq!(label, in_the_clear(&picture));
    }
    Ok(())
}

/// A fully connected layer of signed 8-bit weights and biases, which reads the wire `source`.
fn dense<'a>(source: u16, input: Shape, weights: &'a [u8], bias: &'a [u8], step: Step<'a>) -> Layer<'a> {
    let [weights, bias] = [weights, bias].map(|bytes| Integers { bits: 8, bytes });
    let linear = Linear::Convolution { geometry: Convolution::dense(input, bias.len() as u16), weights };
    Layer { terms: [Term { source, linear }].into_iter().collect(), bias, step, output_scale: &[] }
}

/// In the place of a network: frames in order, each handed over once its receiver is ready for it.
fn carry(sender: Role, from: &mut impl Endpoint, to: &mut impl Endpoint, waiting: &mut Frames) -> Done {
    let mut room = [0; 1024];
    while let Some(length) = from.poll_transmit(Who::party(sender.peer()), &mut room)? {
        waiting.push_back(room[..length].to_vec());
    }
    while to.can_receive(Who::party(sender)) {
        let Some(frame) = waiting.pop_front() else { break };
        // A frame begins with layer and step: these are the input, and the opening of the first layer's sums.
        if let [0xff, 0xff, 4] | [0, 0, 1] = frame[..3] {
            println!("P{} sees of the picture {:02x?}", sender.peer().index(), &frame[8..]);
        }
        to.handle_frame(Who::party(sender), &frame)?;
    }
    Ok(())
}

/// The same integers, by who knows both. Nothing is rounded here, since 16 divides the sums.
fn in_the_clear(picture: &[i32]) -> usize {
    let sum = |weights: &[u8], of: &[i32]| -> i32 {
        weights.iter().zip(of).map(|(&weight, value)| i32::from(weight as i8) * value).sum()
    };
    let relus: Vec<_> = HIDDEN.chunks(4).map(|weights| (sum(weights, picture) >> 4).max(0)).collect();
    let logits = OUTPUT.chunks(2).zip(BIAS).map(|(weights, bias)| sum(weights, &relus) + i32::from(bias));
    logits.enumerate().rev().max_by_key(|(_, logit)| *logit).map_or(0, |(class, _)| class)
}
