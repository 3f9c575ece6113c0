//! Two processes over TCP: every mode, client and release against the reference, bit for bit, and bytes and
//! rounds against the plan.

use std::time::Duration;

use halfnet_core::plan::{Client, Mode, Options, Release, compile};
use halfnet_host::check::pair::{PairReport, PairRun};
use halfnet_host::cli::launch::Halfnet;
use halfnet_tests::command::binary;
use halfnet_tests::dealt::{Dealt, TEST_SEED, pixels};
use halfnet_tests::network::random_network;

fn run(dealt: &Dealt, pictures: Vec<Vec<u8>>) -> PairReport {
    let pair = PairRun {
        launcher: &Halfnet::at(binary().to_owned()),
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
