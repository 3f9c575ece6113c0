//! Whole networks: both parties against the slow reference, bit for bit, in every mode, with every client and
//! release.

use halfnet_core::gate::argmax;
use halfnet_core::gate::truncation::{self, Coins, Opening};
use halfnet_core::model::{Model, Step};
use halfnet_core::plan::{Client, Mode, Options, Release, compile, cost};
use halfnet_host::check::coins::DealtCoins;
use halfnet_host::network::simulate::Reference;
use halfnet_tests::network::{self, picture, random_network};
use halfnet_tests::pair::{self, Deal};
use halfnet_tests::reference;
use proptest::prelude::*;

/// What the reference says that the parties will release, with the coins of this inference.
fn expected(model: &Model<'_>, deal: &Deal, counter: u64, pixels: &[i64]) -> (Vec<i64>, usize) {
    let plan = deal.plan();
    let mut coins = DealtCoins::new(deal.plan(), deal.secrets(counter), deal.seed_model());
    let trace = reference::run(model, pixels, &mut coins);
    let last = model.layers.len() - 1;
    let answer = match (plan.header.options.release, &model.layers[last].step) {
        (Release::Label, _) => vec![argmax::reference(trace.logits.iter().copied()) as i64],
        (Release::Logits { bits }, Step::Release { ring_bits }) => {
            let shift = ring_bits - bits;
            let mut drawn = vec![0; trace.logits.len()];
            coins.fill(last, Opening::First, shift, 0, &mut drawn);
            trace.logits.iter().zip(drawn).map(|(&z, coin)| truncation::reference(z, shift, coin)).collect()
        }
        _ => unreachable!("the last layer releases"),
    };
    coins.finish().expect("coins");
    // The host's fast reference asks the same coins and gets the same logits.
    let mut coins = DealtCoins::new(deal.plan(), deal.secrets(counter), deal.seed_model());
    assert_eq!(Reference::new(model).run(pixels, &mut coins, None).logits, trace.logits);
    (answer, trace.violations)
}

fn check(
    seed: u64,
    mode: Mode,
    client: Client,
    release: Release,
    chunk_bits: u8,
    memory: [u64; 2],
) -> Result<(), TestCaseError> {
    check_model(&random_network(seed), Options { mode, client, release, chunk_bits, memory })
}

fn check_model(model: &Model<'_>, options: Options) -> Result<(), TestCaseError> {
    model.validate().map_err(|e| TestCaseError::fail(format!("{e}")))?;
    let deal = match Deal::try_new(model, &options) {
        Ok(deal) => deal,
        // Rejected, and so counted: a plan that refuses every budget fails the test.
        Err(halfnet_core::error::ModelError::Memory) if options.memory != compile::ample() => {
            return Err(TestCaseError::reject("memory"));
        }
        Err(error) => return Err(TestCaseError::fail(format!("{error}"))),
    };
    let plan = deal.plan();
    let predicted = cost::plan_cost(&plan);
    for counter in 0..2 {
        let pixels = picture(model.header.input, counter);
        let (answer, violations) = expected(model, &deal, counter, &pixels);
        prop_assume!(violations == 0);
        let bundle = deal.bundle(model, counter);
        let narrow: Vec<i32> = pixels.iter().map(|&p| p as i32).collect();
        let run = pair::run(&deal, &bundle, counter, &narrow);
        prop_assert_eq!(&run.answer, &answer, "counter {}", counter);
        prop_assert_eq!(run.bytes, predicted.bytes_sent);
        prop_assert_eq!(run.rounds, [predicted.rounds; 2]);
        prop_assert_eq!(run.flights, predicted.flights);
    }
    Ok(())
}

const SETTINGS: [(Mode, Client); 5] = [
    (Mode::TwoServers, Client::Third),
    (Mode::Shared, Client::SeedParty),
    (Mode::Shared, Client::Third),
    (Mode::Held, Client::SeedParty),
    (Mode::Held, Client::Third),
];

fn settings() -> impl Strategy<Value = (Mode, Client)> {
    prop::sample::select(&SETTINGS[..])
}

fn releases() -> impl Strategy<Value = Release> {
    prop_oneof![Just(Release::Label), (2_u8..=10).prop_map(|bits| Release::Logits { bits })]
}

/// Random networks a test: a few hundred in every run, more with `PROPTEST_CASES`.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(300)
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 40, failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn parties_equal_the_reference((mode, client) in settings(), release in releases(), chunk_bits in 1_u8..=8, seed in 0_u64..100_000) {
        check(seed, mode, client, release, chunk_bits, compile::ample())?;
    }

    #[test]
    fn parties_equal_the_reference_in_little_memory((mode, client) in settings(), release in releases(), seed in 0_u64..100_000, p0 in 1_u64..12, p1 in 1_u64..12) {
        check(seed, mode, client, release, 4, [p0 * 512, p1 * 512])?;
    }
}

/// Linear layers in a row, the wire between two of them beyond 32 bits.
#[test]
fn a_wire_between_linear_layers_may_be_wider_than_32_bits() {
    let wide =
        |seed: &u64| random_network(*seed).wire_bits().is_ok_and(|bits| bits.iter().any(|bits| *bits > 32));
    let seeds: Vec<u64> = (0..100_000).filter(wide).take(3).collect();
    assert_eq!(seeds.len(), 3, "too few of the random networks have a wide wire");
    for (seed, mode) in seeds.iter().zip([Mode::TwoServers, Mode::Shared, Mode::Held]) {
        check(*seed, mode, Client::Third, Release::Label, 4, compile::ample()).unwrap();
    }
}

/// Layers cut into several groups, each with comparisons of its own, as a small board has them.
#[test]
fn several_groups() {
    let model = network::several_groups(20);
    for (mode, client) in SETTINGS {
        let options = |bytes| Options {
            mode,
            client,
            release: Release::Label,
            chunk_bits: 4,
            memory: [bytes, bytes + (16 << 10)],
        };
        let groups = |bytes: &u64| {
            let deal = Deal::try_new(&model, &options(*bytes)).ok()?;
            deal.plan().layers().map(|layer| layer.groups()).max()
        };
        let budgets: Vec<u64> = (1..256)
            .map(|n| 64 * n)
            .filter(|bytes| groups(bytes).is_some_and(|groups| groups > 1))
            .take(3)
            .collect();
        assert_eq!(budgets.len(), 3, "{mode:?}: few budgets make several groups");
        for bytes in budgets {
            check_model(&model, options(bytes)).unwrap();
        }
    }
}
