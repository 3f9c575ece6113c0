//! What is opened is uniform, whatever the input: 1,000 inferences of one picture, every frame of every step
//! in every mode, and what either party knows only by adding its own share to it.
//!
//! Two statistics a place: the ones of every bit over the runs against half of them (a stuck or biased bit),
//! and, where there are enough bytes, the values of all its bytes against equal shares (bits that hang
//! together). Both are chi-square distributed if the bytes are uniform and independent.
//!
//! The threshold. At most [`MOST_TESTS`] = 2,000 statistics are computed in this file. All of them together
//! are to fail by chance with a probability of at most 10^−6, so each may with 5·10^−10 (Bonferroni), of
//! which the normal quantile is 6.11; the chi-square quantile follows from it. The seeds are fixed: a failure
//! is no accident that goes away when it is run again.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use halfnet_core::dealer;
use halfnet_core::model::Model;
use halfnet_core::opening::Mask;
use halfnet_core::packing::{Packer, Unpacker, packed_len};
use halfnet_core::plan::{Client, GroupPlan, LayerPlan, Mode, Options, Plan, Release, Step, compile, cost};
use halfnet_core::ring::low_mask;
use halfnet_core::wire::frame::{HEADER, Header, NO_LAYER};
use halfnet_tests::network::{every_step, picture};
use halfnet_tests::pair::{self, Deal, Run};
use halfnet_tests::statistics::{Histogram, chi_square_quantile, normal_tail};

/// Inferences a setting.
const RUNS: u64 = 1000;
/// Statistics in this file, at most.
const MOST_TESTS: usize = 2000;
/// The normal quantile of 10^−6 / [`MOST_TESTS`].
const QUANTILE: f64 = 6.11;
/// Bytes of a place over all runs from which on their values are tested: 50 of each expected.
const FEWEST_BYTES: usize = 256 * 50;

#[test]
fn the_threshold_is_what_it_is_said_to_be() {
    assert!(normal_tail(QUANTILE) * MOST_TESTS as f64 <= 1e-6);
    assert!(normal_tail(QUANTILE - 0.02) * MOST_TESTS as f64 > 1e-6);
}

/// Everything of one run that somebody sees, by name.
fn places(plan: &Plan<'_>, run: &Run) -> Vec<(String, Vec<u8>)> {
    let options = plan.header.options;
    let layers: Vec<LayerPlan<'_>> = plan.layers().collect();
    let mut places = Vec::new();
    let mut first: BTreeMap<(u16, u8, u16), &[u8]> = BTreeMap::new();
    for (role, frame) in &run.frames {
        let (head, payload) = frame.split_first_chunk::<HEADER>().expect("a whole frame");
        let header = Header::decode(head);
        let name = (header.layer, header.step, header.tile);
        places.push((format!("{role:?} sends {name:?}"), payload.to_vec()));
        // The first stays: by turns it is P0's share, which P1 answers.
        let peer = match first.entry(name) {
            Entry::Vacant(place) => {
                place.insert(payload);
                continue;
            }
            Entry::Occupied(place) => *place.get(),
        };
        // Both parties sent: what they opened together.
        let Some(layer) = layers.get(usize::from(header.layer)).filter(|_| header.layer != NO_LAYER) else {
            continue;
        };
        if let Some(opened) = opened(layer, &options, header.step, peer, payload) {
            places.push((format!("both open {name:?}"), opened));
        }
    }
    // E of every wire, which in H P1 alone has.
    let mut seen = Vec::new();
    for (id, words) in &run.linear.inputs {
        let source = layers[usize::from(id.layer)].terms[usize::from(id.term)].source;
        if !seen.contains(&(source.offset, words)) {
            places.push((
                format!("E that layer {} reads in term {}", id.layer, id.term),
                packed(words, source.bits),
            ));
            seen.push((source.offset, words));
        }
    }
    // c of the layers whose sum is opened by turns, which P1 alone has, whole.
    if options.mode != Mode::TwoServers {
        for (id, start, words) in &run.linear.sums {
            let layer = &layers[usize::from(id.layer)];
            if layer.terms.len() > 1 || layer.pool().is_some() {
                continue;
            }
            let work = layer.work(&options);
            let label = options.release == Release::Label && usize::from(id.layer) + 1 == layers.len();
            let mut words = words.clone();
            if options.mode == Mode::Shared && !label {
                let step = GroupPlan::new(layer, &options, &work, 0).steps()[0];
                let theirs = first.get(&(id.layer, step.code(), (start / layer.tile as usize) as u16));
                add(&mut words, theirs.expect("P0's share"), work.ring_bits);
            }
            places.push((
                format!("c of layer {} from element {start}", id.layer),
                packed(&words, work.ring_bits),
            ));
        }
    }
    places
}

fn packed(words: &[u64], bits: u8) -> Vec<u8> {
    let mut out = vec![0; packed_len(words.len(), bits)];
    let mut packer = Packer::new(&mut out);
    packer.extend(words, bits);
    assert_eq!(packer.finish(), words.len() * usize::from(bits) / 8, "whole bytes");
    out
}

fn add(words: &mut [u64], payload: &[u8], bits: u8) {
    let mut theirs = vec![0_u64; words.len()];
    Unpacker::new(payload).take(bits, &mut theirs).unwrap();
    for (word, theirs) in words.iter_mut().zip(theirs) {
        *word = word.wrapping_add(theirs) & low_mask(bits);
    }
}

/// What two frames of one position open, where both are shares.
fn opened(layer: &LayerPlan<'_>, options: &Options, step: u8, one: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let work = layer.work(options);
    let step = GroupPlan::new(layer, options, &work, 0).steps().into_iter().find(|s| s.code() == step)?;
    let mutual = options.mode == Mode::TwoServers;
    let bits = match step {
        Step::Open if mutual => work.opened_bits,
        Step::OpenPolynomial | Step::OpenRelu | Step::OpenPool | Step::OpenLinear if mutual => work.wire_bits,
        Step::TournamentOpen(_) => work.ring_bits,
        Step::Tree(_) | Step::Sign | Step::TournamentTree(..) | Step::TournamentSign(_) => {
            return Some(one.iter().zip(other).map(|(a, b)| a ^ b).collect());
        }
        _ => return None,
    };
    let mut words = vec![0_u64; one.len() * 8 / usize::from(bits)];
    Unpacker::new(one).take(bits, &mut words).unwrap();
    add(&mut words, other, bits);
    Some(packed(&words, bits))
}

/// Histograms of every place over `runs` inferences of one picture; `bundle` may change what the dealer made.
fn collect(
    model: &Model<'_>,
    deal: &Deal,
    runs: u64,
    counter: impl Fn(u64) -> u64,
    bundle: impl Fn(u64, &mut Vec<u8>),
) -> BTreeMap<String, Histogram> {
    let plan = deal.plan();
    let pixels: Vec<i32> = picture(model.header.input, 0).iter().map(|&p| p as i32).collect();
    let mut histograms: BTreeMap<String, Histogram> = BTreeMap::new();
    let mut before: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for number in 0..runs {
        let counter = counter(number);
        let mut corrections = deal.bundle(model, counter);
        bundle(counter, &mut corrections);
        let run = pair::run(deal, &corrections, counter, &pixels);
        for (name, bytes) in places(&plan, &run) {
            histograms.entry(name.clone()).or_default().add(&bytes);
            if let Some(last) = before.get(&name)
                && bytes.len() >= 8
                && counter > 0
            {
                assert_ne!(last, &bytes, "{name}: two runs differ");
            }
            before.insert(name, bytes);
        }
    }
    histograms
}

/// The places that fail, and how many statistics were computed.
fn failures(histograms: &BTreeMap<String, Histogram>) -> (Vec<String>, usize) {
    let (mut failed, mut tests) = (Vec::new(), 0);
    for (name, histogram) in histograms {
        let mut statistics = vec![("bits", histogram.bits())];
        if histogram.total() >= FEWEST_BYTES {
            statistics.push(("bytes", histogram.values()));
        }
        for (what, (value, freedom)) in statistics {
            tests += 1;
            let most = chi_square_quantile(freedom, QUANTILE);
            if value > most {
                failed.push(format!("{name}, {what}: chi-square {value:.0} of {freedom} exceeds {most:.0}"));
            }
        }
    }
    (failed, tests)
}

fn options(mode: Mode, client: Client, release: Release) -> Options {
    // Chunks of 3 bits: trees of one and of two levels.
    Options { mode, client, release, chunk_bits: 3, memory: compile::ample() }
}

fn check(mode: Mode, client: Client) {
    let model = every_step();
    for release in [Release::Label, Release::Logits { bits: 8 }] {
        let deal = Deal::new(&model, &options(mode, client, release));
        let histograms = collect(&model, &deal, RUNS, |number| number, |_, _| {});
        let (failed, tests) = failures(&histograms);
        assert!(failed.is_empty(), "{mode:?}, {client:?}, {release:?}: {failed:#?}");
        // Ten settings share the budget of tests.
        assert!((30..=MOST_TESTS / 10).contains(&tests), "{tests} statistics");
    }
}

#[test]
fn two_servers() {
    check(Mode::TwoServers, Client::Third);
}

#[test]
fn shared_with_p0_as_client() {
    check(Mode::Shared, Client::SeedParty);
}

#[test]
fn shared_with_a_third_client() {
    check(Mode::Shared, Client::Third);
}

#[test]
fn held_with_p0_as_client() {
    check(Mode::Held, Client::SeedParty);
}

#[test]
fn held_with_a_third_client() {
    check(Mode::Held, Client::Third);
}

/// The test of the test: a counter that never moves.
#[test]
fn a_counter_used_again_is_caught() {
    let model = every_step();
    let deal = Deal::new(&model, &options(Mode::Shared, Client::SeedParty, Release::Label));
    let histograms = collect(&model, &deal, 100, |_| 0, |_, _| {});
    let (failed, _) = failures(&histograms);
    assert!(
        failed.iter().filter(|f| f.contains("bits")).count() == histograms.len(),
        "every place is caught"
    );
}

/// The test of the test: the dealer's mask of the first layer's opening lacks its highest bit, or its third.
/// Nothing else is off, and nothing else is caught.
#[test]
fn a_mask_without_one_bit_is_caught() {
    let model = every_step();
    for mode in [Mode::TwoServers, Mode::Shared, Mode::Held] {
        for lost in [1, 3] {
            let deal = Deal::new(&model, &options(mode, Client::Third, Release::Logits { bits: 8 }));
            let plan = deal.plan();
            let layer = plan.layers().next().expect("a layer");
            let work = layer.work(&plan.header.options);
            let lose = |counter: u64, bundle: &mut Vec<u8>| {
                let mut masks = vec![Mask { added: 0, high: 0, coin: 0 }; layer.elements()];
                deal.secrets(counter)
                    .open_masks(&layer, &work, mode.exchange(), 0, &mut masks)
                    .expect("masks");
                let first = cost::input_section_bytes(&plan.header) as usize;
                let section = &mut bundle[first..first + packed_len(layer.elements(), work.ring_bits)];
                let mut words = vec![0_u64; layer.elements()];
                Unpacker::new(section).take(work.ring_bits, &mut words).unwrap();
                for (word, mask) in words.iter_mut().zip(&masks) {
                    *word = word.wrapping_sub(
                        mask.high >> (work.opened_bits - lost) << (work.ring_bits - lost)
                            & 1 << (work.ring_bits - lost),
                    );
                }
                section.copy_from_slice(&packed(&words, work.ring_bits));
            };
            let (failed, _) = failures(&collect(&model, &deal, RUNS, |number| number, lose));
            let open =
                if mode == Mode::TwoServers { "both open (0, 1, 0)" } else { "Bundle sends (0, 1, 0)" };
            assert!(failed.iter().any(|f| f.starts_with(open)), "{mode:?}: C is caught: {failed:#?}");
            assert!(
                failed.iter().all(|f| f.starts_with(open) || f.starts_with("c of layer 0 ")),
                "{mode:?}: nothing else is: {failed:#?}"
            );
        }
    }
}

/// Bundles are as long as the plan states and differ from one another in every 64 bytes.
#[test]
fn bundles_differ() {
    let model = every_step();
    for mode in [Mode::TwoServers, Mode::Shared, Mode::Held] {
        let deal = Deal::new(&model, &options(mode, Client::Third, Release::Label));
        let [one, other] = [deal.bundle(&model, 0), deal.bundle(&model, 1)];
        assert_eq!(one.len() as u64, dealer::bundle_bytes(&deal.plan()));
        assert!(one.chunks(64).zip(other.chunks(64)).all(|(a, b)| a.len() < 8 || a != b));
    }
}

/// The kinds of frame that were tested are all there are.
#[test]
fn every_kind_of_step_is_there() {
    let model = every_step();
    let mut codes = std::collections::BTreeSet::new();
    for release in [Release::Label, Release::Logits { bits: 8 }] {
        for (mode, client) in [(Mode::TwoServers, Client::Third), (Mode::Shared, Client::SeedParty)] {
            let deal = Deal::new(&model, &options(mode, client, release));
            let run = pair::run(&deal, &deal.bundle(&model, 0), 0, &[3; 16]);
            let headers = run.frames.iter().filter_map(|(_, f)| f.first_chunk()).map(Header::decode);
            codes.extend(headers.filter(|h| h.layer != NO_LAYER).map(|h| h.step));
        }
    }
    let all = [
        Step::Open,
        Step::OpenPolynomial,
        Step::Tree(0),
        Step::Tree(1),
        Step::Sign,
        Step::OpenRelu,
        Step::OpenPool,
    ]
    .into_iter()
    .chain([
        Step::OpenLinear,
        Step::Release,
        Step::Output,
        Step::TournamentOpen(0),
        Step::TournamentTree(1, 1),
        Step::TournamentSign(2),
    ]);
    for step in all {
        assert!(codes.contains(&step.code()), "{step:?} occurs");
    }
}
