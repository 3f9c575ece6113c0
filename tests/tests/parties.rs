//! Two processes over TCP: every mode, client and release against the reference, bit for bit, and bytes and
//! rounds against the plan.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Parser;
use halfnet_core::plan::{Client, Mode, Options, Release, compile};
use halfnet_host::check::pair::{Launcher, PairRun};
use halfnet_host::cli::args::{InferArgs, PartyArgs};
use halfnet_tests::dealt::{Dealt, TEST_SEED, pixels};
use halfnet_tests::network::random_network;

/// Names the command that a child process of these tests runs.
const COMMAND: &str = "HALFNET_TEST_COMMAND";

#[derive(Parser)]
enum Cli {
    Party(PartyArgs),
    Infer(InferArgs),
}

/// The tests' own executable is what they start as a party. Without the variable this does nothing.
#[test]
fn child() {
    static SHUTDOWN: AtomicBool = AtomicBool::new(false);
    let Ok(command) = std::env::var(COMMAND) else { return };
    let done = match Cli::parse_from(std::iter::once("halfnet").chain(command.lines())) {
        Cli::Party(party) => party.run(&SHUTDOWN).map(drop),
        Cli::Infer(infer) => infer.run(&SHUTDOWN).map(drop),
    };
    if let Err(e) = done {
        eprintln!("{e}");
        std::process::exit(1);
    }
}

fn launcher() -> Launcher {
    Launcher {
        program: std::env::current_exe().unwrap(),
        arguments: ["child", "--exact", "--nocapture", "--test-threads=1"].map(Into::into).to_vec(),
        environment: Vec::new(),
        command_variable: Some(COMMAND.into()),
    }
}

fn run(dealt: &Dealt, pictures: Vec<Vec<u8>>) -> halfnet_host::check::pair::PairReport {
    let pair = PairRun {
        launcher: launcher(),
        dealt: dealt.folder(),
        pictures,
        test_seed: Some(TEST_SEED.into()),
        timeout: Duration::from_secs(60),
    };
    pair.run(&mut |_| {}).unwrap_or_else(|e| panic!("{e}"))
}

fn check(seed: u64, mode: Mode, client: Client, release: Release) {
    let options = Options { mode, client, release, chunk_bits: 4, memory: compile::ample() };
    let dealt = Dealt::new(random_network(seed), options, 3);
    let pictures: Vec<Vec<u8>> = (0..3).map(|seed| pixels(&dealt.model, seed)).collect();
    let report = run(&dealt, pictures.clone());
    let mut compared = 0;
    for (inference, picture) in report.inferences.iter().zip(&pictures) {
        if let Some(expected) = dealt.expected(inference.counter, picture) {
            assert_eq!(
                inference.values, expected,
                "network {seed}, {mode:?}, {client:?}, {release:?}, counter {}",
                inference.counter
            );
            compared += 1;
        }
        // Bytes and rounds were compared with the plan's by the run itself.
        assert_eq!(inference.flights, dealt.report.flights);
    }
    assert!(compared > 0, "every picture broke a range of network {seed}");
    assert_eq!(report.arena_bytes, dealt.report.arena_bytes);
    assert_eq!(report.bundle_bytes, dealt.report.bundle_bytes);
    let left = std::fs::read_dir(dealt.file("bundles")).unwrap().map(|entry| entry.unwrap());
    assert_eq!(left.filter(|entry| entry.path().extension().is_some_and(|kind| kind == "bundle")).count(), 0);
}

const LOGITS: Release = Release::Logits { bits: 8 };

#[test]
fn shared_weights_seed_party_asks() {
    check(1, Mode::Shared, Client::SeedParty, Release::Label);
    check(2, Mode::Shared, Client::SeedParty, LOGITS);
}

#[test]
fn shared_weights_third_client() {
    check(3, Mode::Shared, Client::Third, Release::Label);
    check(4, Mode::Shared, Client::Third, LOGITS);
}

#[test]
fn held_weights_seed_party_asks() {
    check(5, Mode::Held, Client::SeedParty, Release::Label);
    check(6, Mode::Held, Client::SeedParty, LOGITS);
}

#[test]
fn held_weights_third_client() {
    check(7, Mode::Held, Client::Third, Release::Label);
    check(8, Mode::Held, Client::Third, LOGITS);
}

#[test]
fn two_servers() {
    check(9, Mode::TwoServers, Client::Third, Release::Label);
    check(10, Mode::TwoServers, Client::Third, LOGITS);
}
