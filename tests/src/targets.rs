//! What a fuzzer feeds: each function takes any bytes and panics only where something is wrong.
//! `tests/tests/targets.rs` runs them on bounded random input, `fuzz/` under cargo-fuzz for as long as one
//! likes.

use std::collections::{HashSet, VecDeque};
use std::sync::LazyLock;

use halfnet_core::board::Board;
use halfnet_core::model::Model;
use halfnet_core::model::blob::{self, ENVELOPE_BYTES, Kind};
use halfnet_core::plan::{Client, LinearPlan, Mode, Options, Plan, Release, Role, compile, cost};
use halfnet_core::wire::frame::{HEADER, Header};
use halfnet_core::wire::message::{Acknowledge, Hello, MaskHeader, Reply};
use halfnet_host::party::material::{DealerState, PartyOne, PartyZero, Public};
use halfnet_host::party::model::HostWeights;

use crate::hostile;
use crate::network::{every_step, picture};
use crate::pair::{self, Deal};
use crate::sessions;

/// A target's name and function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const ALL: [Target; 6] = [
    ("plan", plan),
    ("model", model),
    ("frame", frame),
    ("messages", messages),
    ("operations", operations),
    ("party_files", party_files),
];

/// Well-formed inputs to begin from.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let bodies = || every_step().encode_body(&mut vec![0; 1 << 18]).expect("a small model").to_vec();
    match target {
        "plan" => CASES.iter().map(|case| case.deal.plan.clone()).collect(),
        "model" => vec![bodies()],
        "frame" => CASES
            .iter()
            .enumerate()
            .map(|(i, case)| [&[i as u8], case.first_frame.as_slice()].concat())
            .collect(),
        "messages" => [HEADER, 24, 56, 107, 122]
            .map(|length| vec![1, 0].into_iter().chain(vec![0; length - 2]).collect())
            .into(),
        "operations" => {
            (0..CASES.len()).map(|i| [&[i as u8][..], &[0, 1, 2, 3].repeat(150)].concat()).collect()
        }
        _ => FILES.clone(),
    }
}

struct Case {
    deal: Deal,
    bundle: Vec<u8>,
    pixels: Vec<i32>,
    /// The first frame that P1 gets.
    first_frame: Vec<u8>,
}

/// A deal in each mode, with little memory.
static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let model = every_step();
    let settings = [
        (Mode::TwoServers, Client::Third),
        (Mode::Shared, Client::SeedParty),
        (Mode::Held, Client::SeedParty),
    ];
    let case = |(mode, client)| {
        let options =
            Options { mode, client, release: Release::Label, chunk_bits: 3, memory: [3 << 10, 3 << 10] };
        let deal = Deal::new(&model, &options);
        let bundle = deal.bundle(&model, 0);
        let pixels: Vec<i32> = picture(model.header.input, 0).iter().map(|&p| p as i32).collect();
        let run = pair::run(&deal, &bundle, 0, &pixels);
        let first_frame = run.frames.into_iter().find(|(role, _)| *role == Role::Seed).expect("P0 sends").1;
        Case { deal, bundle, pixels, first_frame }
    };
    settings.map(case).into()
});

/// Bodies of party files as dealing writes them.
static FILES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let options = Options {
        mode: Mode::Shared,
        client: Client::SeedParty,
        release: Release::Label,
        chunk_bits: 4,
        memory: compile::ample(),
    };
    let dealt = crate::dealt::Dealt::new(every_step(), options, 1);
    use halfnet_host::party::material::names;
    [names::PARTY_ZERO, names::PARTY_ONE, names::DEALER, names::PLAN]
        .map(|name| std::fs::read(dealt.file(name)).expect("a dealt file")[ENVELOPE_BYTES..].to_vec())
        .into()
});

/// A plan is refused, or can be walked to its end.
pub fn plan(data: &[u8]) {
    let Ok(plan) = Plan::decode(data) else { return };
    let _ = cost::plan_cost(&plan);
    for layer in plan.layers() {
        let (options, work) = (&plan.header.options, layer.work(&plan.header.options));
        for (group, _) in layer.group_plans(options, &work) {
            for step in group.steps() {
                let _ = group.payload(step, 0, Role::Seed);
            }
        }
    }
    assert!(Role::Seed.index() == 0 && plan.layers().count() == usize::from(plan.header.layers));
}

/// A model under a right hash is refused, or can be compiled in every mode; what compile makes is a plan.
pub fn model(data: &[u8]) {
    let mut sealed = vec![0; data.len() + ENVELOPE_BYTES];
    let sealed = blob::seal(Kind::Model, data, &mut sealed).expect("room for the envelope");
    let Ok(model) = Model::decode(sealed) else { return };
    let mut out = vec![0; 1 << 16];
    for (mode, client) in [
        (Mode::TwoServers, Client::Third),
        (Mode::Shared, Client::SeedParty),
        (Mode::Held, Client::SeedParty),
    ] {
        let options =
            Options { mode, client, release: Release::Label, chunk_bits: 4, memory: compile::ample() };
        if let Ok(length) = compile::compile(&model, &options, &mut out) {
            Plan::decode(&out[..length]).expect("what compile makes is a plan");
        }
    }
}

/// P1 refuses a first frame, or takes it.
pub fn frame(data: &[u8]) {
    let Some((&which, frame)) = data.split_first() else { return };
    let case = &CASES[usize::from(which) % CASES.len()];
    let plan = case.deal.plan();
    let mut arenas = pair::arenas(&plan);
    let [arena_0, arena_1] = &mut arenas;
    let mut pair = sessions::sessions(&case.deal, &case.bundle, 0, [arena_0, arena_1], None)
        .expect("arenas as the plan states");
    if pair.1.handle_frame(frame).is_ok() {
        let header = Header::decode(frame.first_chunk().expect("a frame that was taken has a header"));
        assert_eq!(frame.len(), HEADER + header.length as usize);
    }
}

/// A message is refused, or is its own encoding.
pub fn messages(data: &[u8]) {
    if let Ok(hello) = Hello::decode(data) {
        assert_eq!(hello.encode(), data);
    }
    if let Ok(reply) = Reply::decode(data) {
        assert_eq!(reply.encode(), data);
    }
    if let Ok(acknowledge) = Acknowledge::decode(data) {
        assert_eq!(acknowledge.encode(), data);
    }
    if let Ok((mask, words)) = MaskHeader::decode(data) {
        assert_eq!([&mask.encode()[..], words].concat(), data);
    }
    if let Some(head) = data.first_chunk::<HEADER>() {
        assert_eq!(Header::decode(head).encode(), *head);
    }
}

/// Calls of both sessions in the order that the bytes say: refused or right, and no position leaves twice.
pub fn operations(data: &[u8]) {
    let mut bytes = data.iter().copied();
    let Some(which) = bytes.next() else { return };
    let case = &CASES[usize::from(which) % CASES.len()];
    let plan = case.deal.plan();
    let mut arenas = pair::arenas(&plan);
    let [arena_0, arena_1] = &mut arenas;
    let mut pair = sessions::sessions(&case.deal, &case.bundle, 0, [arena_0, arena_1], None)
        .expect("arenas as the plan states");
    let third = plan.header.options.client == Client::Third;
    let mut queues: [VecDeque<Vec<u8>>; 2] = Default::default();
    let mut sent: [HashSet<_>; 2] = Default::default();
    let mut buffer = pair::frame_buffer(&plan);
    let mut masked = Vec::new();
    while let Some(operation) = bytes.next() {
        let role = if operation & 1 == 0 { Role::Seed } else { Role::Bundle };
        match operation >> 1 & 7 {
            0 | 1 if third && masked.is_empty() => {
                if let Ok(found) = sessions::mask_input(&mut pair, &plan, &case.pixels) {
                    masked = found;
                    let _ = sessions::provide(&mut pair, &plan, &masked);
                }
            }
            0 => {
                if let Ok(Some(length)) =
                    sessions::transmit(&mut pair, role, &mut &case.pixels[..], &mut buffer, third)
                {
                    assert!(
                        sent[role.index()].insert(hostile::name(&buffer[..length])),
                        "{role:?} sent a position twice"
                    );
                    queues[role.peer().index()].push_back(buffer[..length].to_vec());
                }
            }
            1 => {
                if sessions::ready(&pair, role)
                    && let Some(frame) = queues[role.index()].pop_front()
                {
                    let _ = sessions::handle(&mut pair, role, &frame);
                }
            }
            2 => {
                // The next frame with one byte changed, the true one behind it.
                let (at, with) = (bytes.next().unwrap_or(0), bytes.next().unwrap_or(1));
                if let Some(mut frame) = queues[role.index()].front().cloned() {
                    let at = usize::from(at) % frame.len();
                    frame[at] ^= with;
                    let _ = sessions::handle(&mut pair, role, &frame);
                }
            }
            3 => {
                let length = usize::from(bytes.next().unwrap_or(0));
                let frame: Vec<u8> = bytes.by_ref().take(length).collect();
                let _ = sessions::handle(&mut pair, role, &frame);
            }
            4 => drop(queues[role.index()].pop_front()),
            5 => {
                let mut out = vec![0; usize::from(bytes.next().unwrap_or(0))];
                let _ = (pair.0.mask_share(&mut out), pair.1.output_share(&mut out));
            }
            6 => {
                let packed: Vec<u8> = bytes.by_ref().take(16).collect();
                let _ = if role == Role::Seed {
                    pair.0.provide_masked(&packed)
                } else {
                    pair.1.provide_masked(&packed)
                };
            }
            _ => {
                let _ = (pair.0.begin_without_input(), pair.1.begin_without_input(), pair.0.answer().count());
            }
        }
    }
}

/// Party files of any body under a right hash are refused, or hold a plan that is one.
pub fn party_files(data: &[u8]) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    for kind in [Kind::PartyZero, Kind::PartyOne, Kind::State, Kind::Plan, Kind::Board] {
        let mut sealed = vec![0; data.len() + ENVELOPE_BYTES];
        let sealed = blob::seal(kind, data, &mut sealed).expect("room for the envelope");
        std::fs::write(file.path(), sealed).expect("a temporary file");
        match kind {
            Kind::Board => drop(Board::decode(sealed)),
            Kind::PartyZero => drop(PartyZero::read(file.path())),
            Kind::State => drop(DealerState::read(file.path())),
            Kind::Plan => drop(Public::read(file.path())),
            _ => {
                let Ok(party) = PartyOne::open(file.path()) else { continue };
                let plan = party.public.plan(file.path()).expect("checked when it was opened");
                // Huge geometries are left out: a fuzzer has little memory.
                let small = |linear: &LinearPlan| !matches!(linear, LinearPlan::Convolution(geometry) if geometry.weights() > 1 << 16);
                if plan.layers().all(|layer| layer.terms.iter().all(|term| small(&term.linear))) {
                    drop(HostWeights::of_bundle_party(&plan, &party));
                }
            }
        }
    }
}
