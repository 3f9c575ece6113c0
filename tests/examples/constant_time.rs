//! Does a party branch on a secret, or use one as an index?
//!
//! `cargo run -p halfnet-tests --example constant_time` runs whole inferences of the bundled network under
//! valgrind, with the host's kernels, in every mode. P0's seed, P1's bundle, the picture and with them
//! everything that follows are marked as undefined memory: memcheck then names every branch and every address
//! that depends on one. A last run branches on the seed on purpose, and has to be found.

#[cfg(target_arch = "x86_64")]
use std::arch::asm;
use std::collections::VecDeque;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use halfnet_core::endpoint::{
    self, Acceptor, Endpoint, Event, Lent, NoPicture, Nonces, Proposer, ThirdClient, Who, client,
};
use halfnet_core::model::Model;
use halfnet_core::party::bundle::BundleHalf;
use halfnet_core::party::input::Input;
use halfnet_core::party::seed::{SeedHalf, inference_key};
use halfnet_core::plan::{Client, Mode, Options, Plan, Release, Role, compile, cost};
use halfnet_core::prg::Key;
use halfnet_core::wire::frame::NO_LAYER;
use halfnet_core::wire::message::Code;
use halfnet_host::network::bundled;
use halfnet_host::party::material::{PartyOne, PartyZero, names};
use halfnet_host::party::model::{HostModel, HostWeights};
use halfnet_tests::dealt::Dealt;

/// What valgrind exits with where it found something.
const FOUND: i32 = 9;
/// A client's name for its request.
const REQUEST: [u8; 16] = [5; 16];
/// Bytes of a bundle before its correlations: the envelope, pairing, plan, provisioning, deal and counter. The
/// deal begins 24 bytes before the end.
const BUNDLE_HEADER: usize = halfnet_core::model::blob::ENVELOPE_BYTES + 88;

const RUNS: [(&str, Mode, Client); 4] = [
    ("t-third", Mode::TwoServers, Client::Third),
    ("s-p0", Mode::Shared, Client::SeedParty),
    ("h-p0", Mode::Held, Client::SeedParty),
    ("h-third", Mode::Held, Client::Third),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if let Some(name) = arguments.next() {
        let branches = arguments.next().is_some();
        let (_, mode, client) = RUNS.into_iter().find(|run| run.0 == name).expect("one of the runs");
        inference(mode, client, branches);
        return ExitCode::SUCCESS;
    }
    let program = std::env::current_exe().expect("this program's path");
    let check = |arguments: &[&str]| {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--quiet", &format!("--error-exitcode={FOUND}")]).arg(&program).args(arguments);
        valgrind.status().expect("valgrind starts: install Debian's package valgrind").code()
    };
    for (name, ..) in RUNS {
        let code = check(&[name]);
        println!("{name}: {}", if code == Some(0) { "nothing depends on a secret" } else { "see above" });
        if code != Some(0) {
            return ExitCode::FAILURE;
        }
    }
    println!("one branch on the seed, on purpose:");
    if check(&[RUNS[1].0, "branch"]) == Some(FOUND) {
        println!("found");
        ExitCode::SUCCESS
    } else {
        eprintln!("it was not found: this check cannot fail, or valgrind did not run");
        ExitCode::FAILURE
    }
}

/// A request to valgrind about memory: 1 undefined, 2 defined. Nothing happens outside of it.
fn tell_memcheck(code: u64, memory: &[u8]) {
    const MEMCHECK: u64 = (b'M' as u64) << 24 | (b'C' as u64) << 16;
    let arguments = [MEMCHECK + code, memory.as_ptr() as u64, memory.len() as u64, 0, 0, 0];
    let mut _answer = 0_u64;
    // SAFETY: the rotations cancel out and `xchg` changes nothing: valgrind's way of being spoken to.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "rol rdi, 3", "rol rdi, 13", "rol rdi, 61", "rol rdi, 51", "xchg rbx, rbx",
            inout("rdx") _answer, in("rax") arguments.as_ptr(), options(nostack)
        );
    }
}

fn undefined(memory: &[u8]) {
    tell_memcheck(1, memory);
}

fn inference(mode: Mode, client: Client, branches: bool) {
    let model: Model<'static> = Model::decode(bundled::MODEL).expect("the bundled model");
    let (release, chunk_bits, memory) = (Release::Label, 4, compile::ample());
    let dealt = Dealt::new(model, Options { mode, client, release, chunk_bits, memory }, 1);
    let zero = PartyZero::read(&dealt.file(names::PARTY_ZERO)).expect("P0's file");
    let one = PartyOne::open(&dealt.file(names::PARTY_ONE)).expect("P1's file");
    let plan = zero.public.plan(&dealt.folder()).expect("the plan");
    let bundle = std::fs::read(dealt.folder().join("bundles/00000000000000000000.bundle")).expect("a bundle");
    let (header, bundle) = bundle.split_at(BUNDLE_HEADER);
    let deal = header[BUNDLE_HEADER - 24..BUNDLE_HEADER - 8].try_into().expect("a deal's bytes");
    let agreement = zero.public.agreement(&plan);
    let picture: Vec<i32> = (0..plan.header.input.elements as i32).map(|i| i % 200 - 100).collect();
    undefined(zero.seed.expose());
    undefined(bundle);
    undefined(bytemuck(&picture));
    let weights = [
        HostWeights::of_seed_party(&plan, &zero).expect("P0's weights"),
        HostWeights::of_bundle_party(&plan, &one).expect("P1's weights"),
    ];
    let [model_0, model_1] = weights.map(|weights| HostModel::new(Arc::new(weights)));
    let [mut arena_0, mut arena_1] = [Role::Seed, Role::Bundle].map(|r| vec![0; plan.arena_words(r)]);
    let [mut nonces_0, mut nonces_1] = [1, 2].map(|key| Nonces::new(Key::new([key; 32]), "halfnet 1 nonce"));
    let lent = Lent { plan: plan.clone(), model: model_1, arena: &mut arena_1 };
    let request = if client == Client::Third { REQUEST } else { [0; 16] };
    let mut p1 = Proposer::new(lent, agreement, request, &mut nonces_1).expect("what the plan states");
    p1.propose(deal, 0).expect("a proposal is due");
    let half = BundleHalf::new(bundle, cost::input_section_bytes(&plan.header));
    let lent = Lent { plan: plan.clone(), model: model_0, arena: &mut arena_0 };
    let seed_half = SeedHalf::new(inference_key(&zero.seed, &agreement, &deal, 0));
    if client == Client::Third {
        let mut memory = vec![0; client::memory_bytes(&plan)];
        let mut asking = ThirdClient::new(&plan, REQUEST, &picture[..], &mut memory).expect("a client");
        let p0 = Acceptor::new(lent, agreement, 0, &mut nonces_0, NoPicture).expect("as stated");
        converse(&plan, p0, &mut p1, Some(&mut asking), seed_half, half);
        assert_eq!(asking.answer().count(), 1);
    } else {
        let p0 = Acceptor::new(lent, agreement, 0, &mut nonces_0, &picture[..]).expect("as stated");
        converse(&plan, p0, &mut p1, None, seed_half, half);
    }
    if branches && zero.seed.expose()[0] & 1 == 1 {
        println!("an odd seed");
    }
}

fn bytemuck(values: &[i32]) -> &[u8] {
    // SAFETY: integers have no padding, and any alignment will do for bytes.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// Moves every frame until all ends are done.
fn converse<'p, 'b, I: Input>(
    plan: &Plan<'p>,
    mut p0: Acceptor<'p, '_, SeedHalf, HostModel, I>,
    p1: &mut Proposer<'p, '_, BundleHalf<&'b [u8]>, HostModel>,
    mut asking: Option<&mut ThirdClient<'_, '_, &[i32]>>,
    seed_half: SeedHalf,
    bundle_half: BundleHalf<&'b [u8]>,
) {
    let (mut seed_half, mut bundle_half) = (Some(seed_half), Some(bundle_half));
    let longest = [Role::Seed, Role::Bundle].map(|role| endpoint::longest_between_parties(plan, role));
    let longest = longest[0].max(longest[1]).max(endpoint::longest_to_client(plan));
    let mut buffer = vec![0; longest.max(endpoint::longest_from_client(plan))];
    let mut waiting: Vec<(Who, Who, VecDeque<Vec<u8>>)> = Vec::new();
    let mut moved = true;
    while moved {
        let asked = [p0.event(), p1.event(), asking.as_ref().and_then(|asking| asking.event())];
        moved = asked.into_iter().flatten().any(|event| event != Event::Done);
        match p0.event() {
            Some(Event::Request(_)) => p0.answer_request(true).expect("it was asked"),
            Some(Event::Burn { .. }) => p0.burned(1, seed_half.take().expect("once")).expect("it was asked"),
            _ => {}
        }
        if let Some(Event::Burn { .. }) = p1.event() {
            p1.burned(bundle_half.take().expect("once")).expect("it was asked");
        }
        if let Some(asking) = &mut asking
            && let Some(Event::Masked { .. }) = asking.event()
        {
            asking.send_masked().expect("it was asked");
        }
        let mut ends: Vec<(Who, &mut dyn Endpoint)> = vec![(Who::Seed, &mut p0), (Who::Bundle, p1)];
        if let Some(asking) = &mut asking {
            ends.push((Who::Client, *asking));
        }
        for (own, end) in ends {
            for other in [Who::Seed, Who::Bundle, Who::Client].into_iter().filter(|&other| other != own) {
                while let Some(length) = end.poll_transmit(other, &mut buffer).expect("honest ends") {
                    let frame = buffer[..length].to_vec();
                    // A third client's E is known to both parties, and its hash compared. Requests are the parties'
                    // own to read.
                    let public = [Code::Masked, Code::InputHash].map(|code| code as u8);
                    if frame[..2] == NO_LAYER.to_le_bytes() && public.contains(&frame[2]) {
                        tell_memcheck(2, &frame);
                    }
                    if frame[..2] != NO_LAYER.to_le_bytes() || frame[2] != Code::Request as u8 {
                        queue(&mut waiting, own, other).push_back(frame);
                    }
                    moved = true;
                }
                let ready = end.can_receive(other);
                if let Some(frame) = ready.then(|| queue(&mut waiting, other, own).pop_front()).flatten() {
                    end.handle_frame(other, &frame).expect("honest frames");
                    moved = true;
                }
            }
        }
    }
    assert_eq!((p0.event(), p1.event()), (Some(Event::Done), Some(Event::Done)));
}

fn queue(waiting: &mut Vec<(Who, Who, VecDeque<Vec<u8>>)>, from: Who, to: Who) -> &mut VecDeque<Vec<u8>> {
    let known = waiting.iter().position(|(a, b, _)| (*a, *b) == (from, to));
    let at = known.unwrap_or_else(|| {
        waiting.push((from, to, VecDeque::new()));
        waiting.len() - 1
    });
    &mut waiting[at].2
}
