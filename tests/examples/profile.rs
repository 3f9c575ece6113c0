//! Where a party's time goes outside the convolutions: a ResNet-18-shaped network whose linear half is left
//! out.
//!
//! `cargo run --release -p halfnet-tests --example profile -- [t|s|h] [all|none|N] [runs]` prints the
//! processor time of each party's calls by kind. The arithmetic is that of a real run; the values are not.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use halfnet_core::dealer::{self, Secrets, Sink};
use halfnet_core::endpoint::{Acceptor, Event, Lent, NoPicture, Proposer, ThirdClient, Who, client};
use halfnet_core::model::{
    Activation, Bitmap, Header, Integers, Layer, Linear, Model, Polynomial, Step, Term,
};
use halfnet_core::party::bundle::BundleHalf;
use halfnet_core::party::half::{LinearTerm, MaterialError, ModelHalf};
use halfnet_core::party::input::Input;
use halfnet_core::party::seed::{self, SeedHalf};
use halfnet_core::plan::{Client, Mode, Options, Plan, Release, Role, compile, cost};
use halfnet_core::prg::Key;
use halfnet_core::ring::WordsMut;
use halfnet_core::shape::{Convolution, Join, Pool, Shape};
use halfnet_tests::network::{Random, integers};
use halfnet_tests::pair::{self, DEAL, Parties, REQUEST, agreement};

/// Multiplies by nothing.
struct Nothing;

impl ModelHalf for Nothing {
    fn prepare(&mut self, _term: LinearTerm<'_>) -> Result<(), MaterialError> {
        Ok(())
    }
    fn convolve(&mut self, _: LinearTerm<'_>, _: Range<usize>, _: WordsMut<'_>) -> Result<(), MaterialError> {
        Ok(())
    }
    fn quadratic(&mut self, _: u16, _: u16) -> Result<u64, MaterialError> {
        Ok(5)
    }
}

struct Bytes(Vec<u8>);
impl Sink for Bytes {
    fn write(&mut self, bytes: &[u8]) -> Result<(), MaterialError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

const RING_BITS: u8 = 20;
const OPENED_BITS: u8 = 10;

fn activation(shape: Shape, relus: usize, seed: u64, pool: Option<Pool>) -> Step<'static> {
    let elements = shape.elements();
    let relu = if relus == elements {
        Bitmap::All
    } else if relus == 0 {
        Bitmap::None
    } else {
        let (mut bytes, mut random, mut left) = (vec![0_u8; elements.div_ceil(8)], Random(seed), relus);
        while left > 0 {
            let i = random.below(elements as u64) as usize;
            if bytes[i / 8] >> (i % 8) & 1 == 0 {
                bytes[i / 8] |= 1 << (i % 8);
                left -= 1;
            }
        }
        Bitmap::Bits(Box::leak(bytes.into_boxed_slice()))
    };
    let channels = usize::from(shape.channels);
    let all = |v: i64| integers(&vec![v; channels], 32);
    let polynomial = (relus < elements).then(|| Polynomial {
        degree: 2,
        frac_bits: 16,
        c2: all(100),
        c1: all(1 << 15),
        c0: all(1000),
    });
    Step::Activate(Activation {
        ring_bits: RING_BITS,
        shift: RING_BITS - OPENED_BITS,
        relu,
        polynomial,
        pool,
    })
}

fn resnet18(relus: usize) -> Model<'static> {
    let total = 491_520;
    let mut layers = heapless::Vec::new();
    let empty = Integers { bits: 8, bytes: &[] };
    let conv = |source: u16, input: Shape, out: u16, kernel: u16, stride: u16| {
        let geometry = Convolution {
            input,
            out_channels: out,
            kernel_height: kernel,
            kernel_width: kernel,
            stride,
            padding: kernel / 2,
            groups: 1,
        };
        let weights = Integers { bits: 8, bytes: Box::leak(vec![1; geometry.weights()].into_boxed_slice()) };
        Term { source, linear: Linear::Convolution { geometry, weights } }
    };
    let mut push = |terms: &[Term<'static>], step: Step<'static>| {
        let channels = usize::from(terms[0].linear.output().channels);
        let bias = integers(&vec![0; channels], 32);
        layers
            .push(Layer { terms: heapless::Vec::from_slice(terms).unwrap(), bias, step, output_scale: &[] })
            .unwrap();
    };
    let _ = empty;
    let input = Shape::new(3, 32, 32);
    push(&[conv(0, input, 64, 3, 1)], Step::Rescale { shift: 8, pool: None });
    let (mut wire, mut shape) = (1, Shape::new(64, 32, 32));
    for stage in 0..4_u16 {
        for block in 0..2 {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let out = Shape::new(64 << stage, 32 >> stage, 32 >> stage);
            let share = |s: Shape| if relus >= total { s.elements() } else { relus * s.elements() / total };
            push(
                &[conv(wire, shape, out.channels, 3, stride)],
                activation(out, share(out), u64::from(wire), None),
            );
            let join = if stride == 2 {
                conv(wire, shape, out.channels, 1, 2)
            } else {
                Term {
                    source: wire,
                    linear: Linear::JoinShift {
                        geometry: Join { input: shape, output: out, stride: 1, channel_offset: 0 },
                        shift: 3,
                    },
                }
            };
            let pool = (stage == 3 && block == 1).then_some(Pool { kernel: 4, stride: 1, padding: 0 });
            push(
                &[conv(wire + 1, out, out.channels, 3, 1), join],
                activation(out, share(out), u64::from(wire) + 9, pool),
            );
            (wire, shape) = (wire + 2, out);
        }
    }
    push(&[conv(wire, Shape::new(512, 1, 1), 10, 1, 1)], Step::Release { ring_bits: RING_BITS });
    let header = Header {
        name: "resnet18",
        data_set: "none",
        input,
        normalisation: heapless::Vec::from_slice(&[halfnet_core::model::Normalisation::IDENTITY; 3]).unwrap(),
        classes: 10,
        class_names: "",
    };
    Model { header, layers }
}

#[derive(Default)]
struct Times {
    transmit: Duration,
    handle: Duration,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mode = match arguments.first().map(String::as_str) {
        Some("s") => Mode::Shared,
        Some("h") => Mode::Held,
        _ => Mode::TwoServers,
    };
    let relus = match arguments.get(1).map(String::as_str) {
        Some("none") => 0,
        Some("all") | None => 491_520,
        Some(text) => text.parse().expect("a number of ReLUs"),
    };
    let runs: u32 = arguments.get(2).map_or(5, |text| text.parse().expect("a number of runs"));
    let chunk_bits = arguments.get(3).map_or(4, |text| text.parse().expect("bits of a chunk"));
    let model = resnet18(relus);
    let client = compile::default_client(mode);
    let options =
        Options { mode, client, release: Release::Logits { bits: 10 }, chunk_bits, memory: compile::ample() };
    let mut plan_bytes = vec![0; 1 << 20];
    let length = compile::compile(&model, &options, &mut plan_bytes).expect("a plan");
    let plan = || Plan::decode(&plan_bytes[..length]).expect("a plan");
    println!("{:?}", cost::plan_cost(&plan()));
    println!("arena bytes: {:?}", [Role::Seed, Role::Bundle].map(|r| 8 * plan().arena_words(r)));
    let (dealer_seed, seed) = (Key::new([9; 32]), Key::new([7; 32]));
    let secrets = Secrets::new(&dealer_seed, &seed, &agreement(&plan()), &DEAL, 0);
    let mut bundle = Bytes(Vec::new());
    let mut arena = vec![0; dealer::arena_words(&plan())];
    let start = Instant::now();
    dealer::deal(&plan(), &model, &secrets, &mut Nothing, &mut arena, &mut bundle).expect("dealing");
    println!("dealing (without convolutions): {:?}", start.elapsed());
    let mut times = [Times::default(), Times::default()];
    let pixels = vec![1_i32; 3072];
    for _ in 0..runs {
        let mut arenas = [Role::Seed, Role::Bundle].map(|role| vec![0_u64; plan().arena_words(role)]);
        let [arena_0, arena_1] = &mut arenas;
        let inference = seed::inference_key(&seed, &agreement(&plan()), &DEAL, 0);
        let half = BundleHalf::new(&bundle.0[..], cost::input_section_bytes(&plan().header));
        let halves = (SeedHalf::new(inference), half);
        let lent = [arena_0, arena_1].map(|arena| Lent { plan: plan(), model: Nothing, arena });
        if client == Client::Third {
            infer(lent, halves, NoPicture, Some(&pixels[..]), &mut times);
        } else {
            infer(lent, halves, &pixels[..], None, &mut times);
        }
    }
    for (role, times) in [Role::Seed, Role::Bundle].into_iter().zip(&times) {
        println!("{role:?}: transmit {:?}, handle {:?}", times.transmit / runs, times.handle / runs);
    }
}

/// One inference, from the handshake on; what passes between the parties behind it is timed. `asks`: a third
/// client's picture.
fn infer(
    [zero, one]: [Lent<'_, '_, Nothing>; 2],
    halves: (SeedHalf, BundleHalf<&[u8]>),
    picture: impl Input,
    asks: Option<&[i32]>,
    times: &mut [Times; 2],
) {
    let ([mut nonces_0, mut nonces_1], plan) = (pair::nonces(), zero.plan.clone());
    let agreement = agreement(&plan);
    let mut zero = Acceptor::new(zero, agreement, 0, &mut nonces_0, picture).expect("an arena");
    let mut one = Proposer::new(one, agreement, REQUEST, &mut nonces_1).expect("an arena");
    pair::shake_hands(&mut zero, &mut one, 0, halves).expect("a handshake");
    let mut parties: Parties<'_> = [(Role::Seed, &mut zero), (Role::Bundle, &mut one)];
    if let Some(pixels) = asks {
        let mut memory = vec![0; client::memory_bytes(&plan)];
        let mut client = ThirdClient::new(&plan, REQUEST, pixels, &mut memory).expect("memory");
        pair::ask(&mut parties, &mut client, &plan).expect("E");
    }
    drive(&mut parties, times);
    let mut buffer = vec![0; 1 << 12];
    for (_, party) in &mut parties {
        // The words of the output, to a third client.
        let _ = party.poll_transmit(Who::Client, &mut buffer).expect("the output");
        assert_eq!(party.event(), Some(Event::Done));
    }
}

fn drive(parties: &mut Parties<'_>, times: &mut [Times; 2]) {
    let mut buffer = vec![0; 1 << 20];
    let mut inboxes: [VecDeque<Vec<u8>>; 2] = Default::default();
    loop {
        let mut progress = false;
        for (role, party) in &mut *parties {
            let (peer, times) = (role.peer(), &mut times[role.index()]);
            loop {
                let start = Instant::now();
                let sent = party.poll_transmit(Who::party(peer), &mut buffer).expect("a frame");
                times.transmit += start.elapsed();
                if let Some(length) = sent {
                    inboxes[peer.index()].push_back(buffer[..length].to_vec());
                    progress = true;
                    continue;
                }
                let ready = party.can_receive(Who::party(peer));
                let Some(frame) = ready.then(|| inboxes[role.index()].pop_front()).flatten() else { break };
                let start = Instant::now();
                party.handle_frame(Who::party(peer), &frame).expect("a frame");
                times.handle += start.elapsed();
                progress = true;
            }
        }
        if !progress {
            break;
        }
    }
}
