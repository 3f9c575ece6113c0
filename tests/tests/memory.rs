//! What a party's memory is: exactly what its plan states, within the budget that it was dealt with, and
//! bounded by two tensors for P0 where it keeps any, by its budget alone where it keeps none.

use std::collections::HashSet;

use halfnet_core::error::ModelError;
use halfnet_core::model::Model;
use halfnet_core::party::half::{Half, Position};
use halfnet_core::party::seed::{self, QUADRATIC, SeedHalf};
use halfnet_core::party::{ErrorKind, SessionError};
use halfnet_core::plan::{
    Client, LinearPlan, Mode, Options, Plan, Release, Role, Section, StepPlan, compile, cost,
};
use halfnet_core::prg::Key;
use halfnet_tests::network::{Random, every_step, picture, random_network, several_groups};
use halfnet_tests::pair::{self, Deal};
use halfnet_tests::residual::Residual;

const SETTINGS: [(Mode, Client); 5] = [
    (Mode::TwoServers, Client::Third),
    (Mode::Shared, Client::SeedParty),
    (Mode::Shared, Client::Third),
    (Mode::Held, Client::SeedParty),
    (Mode::Held, Client::Third),
];

fn options(mode: Mode, memory: [u64; 2]) -> Options {
    let client = compile::default_client(mode);
    Options { mode, client, release: Release::Label, chunk_bits: 4, memory }
}

fn plan_bytes(model: &Model<'_>, options: &Options) -> Result<Vec<u8>, ModelError> {
    let mut bytes = vec![0; 1 << 20];
    let length = compile::compile(model, options, &mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}

fn arena_bytes(model: &Model<'_>, options: &Options, role: Role) -> Result<u64, ModelError> {
    let bytes = plan_bytes(model, options)?;
    Ok(8 * Plan::decode(&bytes)?.arena_words(role) as u64)
}

/// The least memory of P0 that a plan can be made for, to 64 bytes.
fn least_p0_memory(model: &Model<'_>, mode: Mode) -> u64 {
    let (mut too_little, mut enough) = (0, 1 << 22);
    while enough - too_little > 64 {
        let middle = (too_little + enough) / 2;
        match arena_bytes(model, &options(mode, [middle, compile::ample()[1]]), Role::Seed) {
            Ok(arena) => {
                assert!(arena <= middle, "an arena of {arena} bytes in a budget of {middle}");
                enough = middle;
            }
            Err(error) => {
                assert_eq!(error, ModelError::Memory);
                too_little = middle;
            }
        }
    }
    enough
}

/// A session works in exactly the words that its plan states, leaves those behind them alone and wipes its
/// own; one word less is refused.
#[test]
fn a_session_keeps_to_its_arena() {
    const GUARD: u64 = 0x0123_4567_89ab_cdef;
    let model = every_step();
    for (mode, client) in SETTINGS {
        for memory in [compile::ample(), [3 << 10, 3 << 10]] {
            let options = Options { mode, client, release: Release::Label, chunk_bits: 4, memory };
            let Ok(deal) = Deal::try_new(&model, &options) else { continue };
            let plan = deal.plan();
            let bundle = deal.bundle(&model, 0);
            let stated = [Role::Seed, Role::Bundle].map(|role| plan.arena_words(role));
            let pixels: Vec<i32> = picture(model.header.input, 0).iter().map(|&p| p as i32).collect();
            for party in 0..2 {
                let mut arenas = stated.map(|words| vec![0; words]);
                arenas[party].pop();
                let [arena_0, arena_1] = &mut arenas;
                let refused = pair::run_in(&deal, &bundle, 0, &pixels, [arena_0, arena_1]).unwrap_err();
                assert_eq!(refused, SessionError { at: None, kind: ErrorKind::Memory }.into());
            }
            // With what the plan states, the words behind it filled; the run itself takes exactly as much.
            let mut arenas = stated.map(|words| vec![GUARD; words + 64]);
            let [arena_0, arena_1] = &mut arenas;
            let expected = pair::run(&deal, &bundle, 0, &pixels);
            let run = pair::run_in(&deal, &bundle, 0, &pixels, [arena_0, arena_1]).unwrap();
            assert_eq!(run, expected, "memory that is not zero at first changes the run");
            for (arena, words) in arenas.iter().zip(stated) {
                assert!(
                    arena[words..].iter().all(|&word| word == GUARD),
                    "{mode:?}: a word behind the arena was touched"
                );
                assert!(
                    arena[..words].iter().all(|&word| word == 0),
                    "{mode:?}: a word of the arena was not wiped"
                );
            }
            // Bounds that are met: no frame buffer or tile is larger than needed.
            for role in [Role::Seed, Role::Bundle] {
                let longest =
                    run.frames.iter().filter(|(r, _)| *r == role).map(|(_, frame)| frame.len()).max();
                assert_eq!(
                    longest,
                    Some(plan.header.longest_frame[role.index()] as usize),
                    "{mode:?} {role:?}"
                );
            }
        }
    }
}

/// P0 with shared weights: two of the largest wires, the input and a window of 8 KiB, whatever the network.
#[test]
fn two_wires_bound_a_party_that_keeps_tensors() {
    // 16-bit rings keep a wire in two bytes an element, wider ones in four.
    for (ring_bits, bytes) in [(16, 2), (20, 4)] {
        for (model, largest) in [
            (Residual { ring_bits, relus: None }.resnet20(), 16 * 32 * 32),
            (Residual { ring_bits, relus: Some(|elements| elements / 40) }.resnet18(), 64 * 32 * 32),
        ] {
            for mode in [Mode::TwoServers, Mode::Shared] {
                // The input lies below the first wire, and its place is too small for the next one.
                let wires = (2 * largest + model.header.input.elements() as u64) * bytes;
                let least = least_p0_memory(&model, mode);
                println!("{mode:?}, {ring_bits} bits: {least} bytes at least, {wires} of them wires");
                assert!(least <= wires + (8 << 10), "{mode:?}: {least} bytes for wires of {wires}");
            }
        }
    }
}

/// P0 with held weights keeps no tensor: its budget decides, and what little memory costs is rounds.
#[test]
fn a_party_without_tensors_lives_in_its_budget() {
    // As many ReLUs as the benchmark has: 12,900 of 491,520.
    let spread = |elements: usize| elements * 12_900 / 491_520;
    let model = Residual { ring_bits: 20, relus: Some(spread) }.resnet18();
    let mut rounds = Vec::new();
    for budget in [compile::ample()[0], 65_536, 16_384, 8_192, 4_096] {
        let bytes = plan_bytes(&model, &options(Mode::Held, [budget, compile::ample()[1]])).unwrap();
        let plan = Plan::decode(&bytes).unwrap();
        let arena = 8 * plan.arena_words(Role::Seed) as u64;
        assert!(arena <= budget, "{arena} bytes in {budget}");
        rounds.push(cost::plan_cost(&plan).rounds);
    }
    assert!(rounds.is_sorted(), "less memory, never fewer rounds: {rounds:?}");
    assert!(rounds[0] == rounds[1] && rounds[1] < rounds[4], "{rounds:?}");

    // Independent of the tensors' sizes but for the sums of the last pool, 64 and 512 words: the largest
    // tensors are 4 times apart.
    let small = least_p0_memory(&Residual { ring_bits: 20, relus: None }.resnet20(), Mode::Held);
    let large = least_p0_memory(&Residual { ring_bits: 20, relus: None }.resnet18(), Mode::Held);
    println!("at least {small} and {large} bytes");
    assert!(large <= 4 << 10 && large <= small + 4 * (512 - 64) + 64, "{small} and {large} bytes");
}

/// P1's budget binds it too, in every mode.
#[test]
fn budgets_bind_both_parties() {
    let model = Residual { ring_bits: 20, relus: None }.resnet20();
    for (mode, client) in SETTINGS {
        for budget in [150_000, 200_000, 400_000, 1 << 20] {
            let options =
                Options { mode, client, release: Release::Label, chunk_bits: 4, memory: [budget, budget] };
            let Ok(bytes) = plan_bytes(&model, &options) else {
                assert!(budget < 200_000, "{mode:?}: no plan in {budget} bytes");
                continue;
            };
            let plan = Plan::decode(&bytes).unwrap();
            for role in [Role::Seed, Role::Bundle] {
                assert!(8 * plan.arena_words(role) as u64 <= budget, "{mode:?}, {role:?}");
            }
        }
    }
}

/// Any piece of any section of P0's half, in any order, is the piece of the whole.
#[test]
fn shares_of_the_seed_party_come_in_any_order() {
    let mut random = Random(77);
    let key = Key::new([5; 32]);
    let sections = [
        Section::Sum,
        Section::Polynomial,
        Section::Leaf,
        Section::Tree(1),
        Section::Relu,
        Section::TournamentSelect(3),
    ];
    let whole = |layer: u16, section: Section| {
        let mut half = SeedHalf::new(key.clone());
        half.begin_layer(layer, &mut std::iter::empty());
        let mut words = vec![0_u32; 3000];
        half.words(section, Position::default(), 20, &mut words).unwrap();
        words
    };
    let whole: Vec<Vec<Vec<u32>>> =
        (0..3).map(|layer| sections.iter().map(|&section| whole(layer, section)).collect()).collect();
    let mut half = SeedHalf::new(key);
    for _ in 0..2000 {
        let layer = random.below(3) as u16;
        half.begin_layer(layer, &mut std::iter::empty());
        for _ in 0..4 {
            let section = random.below(sections.len() as u64) as usize;
            let first = random.below(2900) as usize;
            let mut piece = vec![0_u32; 1 + random.below(100) as usize];
            half.words(sections[section], Position { words: first as u64, bytes: 0 }, 20, &mut piece)
                .unwrap();
            assert_eq!(piece, whole[usize::from(layer)][section][first..first + piece.len()]);
        }
    }
}

/// No two tensors or sections of a plan share a stream, and no two layers or inferences a key.
#[test]
fn every_stream_has_a_label_of_its_own() {
    let models =
        (0..60).map(random_network).chain([every_step(), Residual { ring_bits: 20, relus: None }.resnet20()]);
    for (model, (mode, client)) in models.zip(SETTINGS.into_iter().cycle()) {
        let options =
            Options { mode, client, release: Release::Label, chunk_bits: 1, memory: compile::ample() };
        let bytes = plan_bytes(&model, &options).unwrap();
        let plan = Plan::decode(&bytes).unwrap();
        let mut tensors = HashSet::new();
        let mut sections = 0;
        for layer in plan.layers() {
            let kinds: Vec<u64> =
                cost::sections(&layer, &options).map(|(section, _)| section.kind()).collect();
            assert_eq!(
                kinds.iter().collect::<HashSet<_>>().len(),
                kinds.len(),
                "two sections of a layer share a stream: {kinds:?}"
            );
            sections += kinds.len();
            for (term, plan) in layer.terms.iter().enumerate() {
                if !matches!(plan.linear, LinearPlan::JoinShift { .. }) {
                    assert!(tensors.insert(seed::tensor_kind(layer.index, term as u8)));
                }
            }
            if matches!(layer.step, StepPlan::Activate { .. }) {
                assert!(tensors.insert(seed::tensor_kind(layer.index, QUADRATIC)));
            }
        }
        assert!(sections > 2);
    }
    let root = Key::new([1; 32]);
    let mut keys = HashSet::new();
    let deal = Deal::new(&random_network(0), &options(Mode::Shared, compile::ample()));
    let agreement = pair::agreement(&deal.plan());
    assert!(keys.insert(*seed::model_key(&root, &agreement).expose()));
    for counter in 0..20 {
        for deal in [[3; 16], [4; 16]] {
            let inference = seed::inference_key(&root, &agreement, &deal, counter);
            assert!(keys.insert(*inference.expose()));
            assert!(
                (0..50)
                    .chain([u16::MAX])
                    .all(|layer| keys.insert(*seed::layer_key(&inference, layer).expose()))
            );
        }
    }
    for change in 0..3 {
        let mut other = agreement;
        [&mut other.pairing[..], &mut other.plan[..], &mut other.provisioning[..]][change][0] ^= 1;
        assert!(keys.insert(*seed::inference_key(&root, &other, &[3; 16], 0).expose()));
        assert!(keys.insert(*seed::model_key(&root, &other).expose()));
    }
}

/// Whatever budget a plan is made for, it is one that both parties accept; and who has more memory can do no
/// less.
#[test]
fn every_plan_made_is_a_plan_accepted() {
    for side in [16, 20, 28, 48] {
        let model = several_groups(side);
        for mode in [Mode::TwoServers, Mode::Shared, Mode::Held] {
            for chunk_bits in [1, 4, 8] {
                let mut least = None;
                for bytes in (256..32 << 10).step_by(116) {
                    let options = Options { chunk_bits, ..options(mode, [bytes, 1 << 18]) };
                    match plan_bytes(&model, &options) {
                        Ok(plan) => {
                            assert!(Plan::decode(&plan).is_ok(), "{side} {mode:?} {chunk_bits} {bytes}");
                            least.get_or_insert(bytes);
                        }
                        Err(error) => {
                            assert_eq!(error, ModelError::Memory);
                            assert_eq!(
                                least, None,
                                "{side} {mode:?} {chunk_bits}: {bytes} bytes are refused, fewer are not"
                            );
                        }
                    }
                }
            }
        }
    }
}
