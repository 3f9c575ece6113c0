//! A peer, or a line, that misbehaves: every frame of a run damaged in every way, in every mode; calls in any
//! order; bytes of any kind.

use std::collections::{HashSet, VecDeque};
use std::sync::LazyLock;

use halfnet_core::model::Model;
use halfnet_core::model::blob::{self, Kind};
use halfnet_core::plan::{Client, Mode, Options, Plan, Release, Role, compile, cost};
use halfnet_core::wire::frame::NO_LAYER;
use halfnet_tests::hostile::{self, Damage, Outcome, Report};
use halfnet_tests::network::{Random, every_step, picture, random_network};
use halfnet_tests::pair::{self, Deal};
use halfnet_tests::sessions;
use proptest::prelude::*;

/// A deal with one inference that went well.
struct Case {
    deal: Deal,
    bundle: Vec<u8>,
    pixels: Vec<i32>,
    honest: Report,
    answer: Vec<i64>,
}

impl Case {
    fn new(model: &Model<'_>, options: &Options, counter: u64) -> Option<Self> {
        let deal = Deal::try_new(model, options).ok()?;
        let bundle = deal.bundle(model, counter);
        let pixels: Vec<i32> = picture(model.header.input, counter).iter().map(|&p| p as i32).collect();
        let honest = hostile::run(&deal, &bundle, counter, &pixels, usize::MAX, Damage::Drop);
        let Outcome::Finished(answer) = honest.outcome.clone() else { panic!("{honest:?}") };
        assert_eq!(answer, pair::run(&deal, &bundle, counter, &pixels).answer);
        Some(Self { deal, bundle, pixels, honest, answer })
    }

    /// Frames of all ends.
    fn frames(&self) -> usize {
        self.honest.sent.iter().map(Vec::len).sum()
    }
}

const SETTINGS: [(Mode, Client); 5] = [
    (Mode::TwoServers, Client::Third),
    (Mode::Shared, Client::SeedParty),
    (Mode::Shared, Client::Third),
    (Mode::Held, Client::SeedParty),
    (Mode::Held, Client::Third),
];
const RELEASES: [Release; 2] = [Release::Label, Release::Logits { bits: 8 }];

/// Every setting on the network with every step; memory is short, so that layers have several tiles and
/// groups.
static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let model = every_step();
    let mut cases = Vec::new();
    for (mode, client) in SETTINGS {
        for release in RELEASES {
            for memory in [compile::ample(), [3 << 10, 3 << 10]] {
                let options = Options { mode, client, release, chunk_bits: 3, memory };
                cases.extend(Case::new(&model, &options, 0));
            }
        }
    }
    assert!(cases.len() >= 15, "most cases fit their memory: {}", cases.len());
    cases
});

/// One run with one damaged frame: what must hold of it.
fn check(case: &Case, counter: u64, index: usize, damage: Damage) -> Result<(), TestCaseError> {
    let report = hostile::run(&case.deal, &case.bundle, counter, &case.pixels, index, damage);
    for (who, (sent, honest)) in report.sent.iter().zip(&case.honest.sent).enumerate() {
        let distinct: HashSet<_> = sent.iter().map(|(to, name)| (*to as usize, name)).collect();
        prop_assert_eq!(distinct.len(), sent.len(), "end {} sent a position twice", who);
        prop_assert!(honest.starts_with(sent), "end {} left the order of the plan", who);
    }
    // A conversation burns a counter at most; that nothing secret leaves before, the run sees to.
    prop_assert!(report.burned.iter().all(|burned| burned.len() <= 1), "{:?}", report.burned);
    match (&report.outcome, damage) {
        (Outcome::Finished(answer), _) if !report.damaged => prop_assert_eq!(answer, &case.answer),
        // Nothing authenticates yet: a flipped bit is a wrong share. In the handshake there is none.
        (Outcome::Finished(answer), Damage::FlipPayload(_)) => {
            prop_assert!(!report.in_handshake, "a damaged handshake passes");
            prop_assert_eq!(answer.len(), case.answer.len())
        }
        (Outcome::Waiting, Damage::Drop | Damage::Swap) => {}
        (Outcome::Surplus(_), _) if report.damaged => {}
        (Outcome::Refused(_, error), _) if report.damaged => {
            prop_assert!(hostile::blames_the_peer(error), "{}", error);
            let text = error.to_string();
            let blamed = ["the peer", "P0", "P1", "the client", "the parties"];
            prop_assert!(
                blamed.iter().any(|who| text.contains(who)) || hostile::input_differs(error),
                "{}",
                text
            );
        }
        (outcome, _) => {
            prop_assert!(
                false,
                "{:?} at frame {} of {:?} ends as {:?}",
                damage,
                index,
                case.deal.plan().header.options,
                outcome
            )
        }
    }
    Ok(())
}

#[test]
fn every_frame_damaged_in_every_way() {
    let mut random = Random(5);
    let mut runs = 0;
    for case in CASES.iter() {
        for index in 0..case.frames() {
            for damage in Damage::all(&mut random) {
                check(case, 0, index, damage).unwrap();
                runs += 1;
            }
        }
    }
    assert!(runs > 5000, "{runs} runs");
}

/// Everything that the ends say to each other is damaged: the handshake and what passes with a client too.
#[test]
fn every_message_is_among_the_frames() {
    use halfnet_core::wire::message::Code;
    for case in CASES.iter() {
        let third = case.deal.plan().header.options.client == Client::Third;
        let said: HashSet<u8> = case.honest.sent.iter().flatten().map(|(_, (_, step, _))| *step).collect();
        let handshake = [Code::Hello, Code::Reply, Code::Acknowledge];
        let with_client = [Code::Mask, Code::Masked, Code::Output];
        let expected = handshake.iter().chain(with_client.iter().filter(|_| third));
        for &code in expected {
            let count =
                case.honest.sent.iter().flatten().filter(|(_, name)| *name == (NO_LAYER, code as u8, 0));
            assert!(count.count() > 0, "{code:?} is not among {said:?}");
        }
    }
}

/// Whatever became of a conversation, the counter that P0 burned in it is refused in the next.
#[test]
fn a_counter_burned_in_a_damaged_conversation_is_refused() {
    let mut random = Random(6);
    for case in CASES.iter().step_by(3) {
        for index in 0..4 {
            for damage in Damage::all(&mut random) {
                let report = hostile::run(&case.deal, &case.bundle, 0, &case.pixels, index, damage);
                if let [burned] = report.burned[0][..] {
                    assert!(hostile::refuses(&case.deal, burned), "{damage:?} at frame {index}");
                }
            }
        }
    }
}

/// A damaged header, whichever of its bits it is, never passes.
#[test]
fn no_bit_of_a_header_can_be_flipped() {
    for case in CASES.iter().step_by(2) {
        for index in (0..case.frames()).step_by(3) {
            for bit in 0..64 {
                check(case, 0, index, Damage::FlipHeader(bit)).unwrap();
            }
        }
    }
}

/// Calls of both sessions in an order that has little to do with the protocol's, on frames that are partly
/// the peer's.
fn calls_in_any_order(case: &Case, counter: u64, seed: u64) -> Result<(), TestCaseError> {
    let mut random = Random(seed);
    // Some runs go far before anything odd happens.
    let odd = [3, 10, 40, 200][random.below(4) as usize];
    let plan = case.deal.plan();
    let mut arenas = pair::arenas(&plan);
    let [arena_0, arena_1] = &mut arenas;
    let mut pair = sessions::sessions(&case.deal, &case.bundle, counter, [arena_0, arena_1], None)
        .expect("arenas as the plan states");
    let third = plan.header.options.client == Client::Third;
    let mut queues: [VecDeque<Vec<u8>>; 2] = Default::default();
    let mut sent: [HashSet<(u16, u8, u16)>; 2] = Default::default();
    let mut buffer = pair::frame_buffer(&plan);
    let mut out = vec![0; 4096];
    let mut masked = Vec::new();
    for _ in 0..600 {
        let role = if random.one_in(2) { Role::Seed } else { Role::Bundle };
        let r = role.index();
        if !random.one_in(odd) {
            // An honest call.
            if third && masked.is_empty() {
                if let Ok(bytes) = sessions::mask_input(&mut pair, &plan, &case.pixels) {
                    masked = bytes;
                    let _ = sessions::provide(&mut pair, &plan, &masked);
                }
            } else if random.one_in(2) {
                if let Ok(Some(length)) =
                    sessions::transmit(&mut pair, role, &mut &case.pixels[..], &mut buffer, third)
                {
                    prop_assert!(
                        sent[r].insert(hostile::name(&buffer[..length])),
                        "{:?} sent a position twice",
                        role
                    );
                    queues[role.peer().index()].push_back(buffer[..length].to_vec());
                }
            } else if sessions::ready(&pair, role)
                && let Some(frame) = queues[r].pop_front()
            {
                let _ = sessions::handle(&mut pair, role, &frame);
            }
            continue;
        }
        match random.below(9) {
            // Against can_receive's advice.
            0 => {
                if let Some(frame) = queues[r].pop_front() {
                    let _ = sessions::handle(&mut pair, role, &frame);
                }
            }
            1 => drop(sessions::handle(&mut pair, role, &hostile::invented(random.word()))),
            // The peer's frame, damaged; the true one still comes.
            2 => {
                if let Some(frame) = queues[r].front() {
                    let mut frame = frame.clone();
                    let at = random.below(frame.len() as u64) as usize;
                    frame[at] ^= random.word() as u8;
                    let _ = sessions::handle(&mut pair, role, &frame);
                }
            }
            // A buffer of the wrong length: refused, or enough.
            3 => {
                let room = random.below(buffer.len() as u64 + 1) as usize;
                if let Ok(Some(length)) =
                    sessions::transmit(&mut pair, role, &mut &case.pixels[..], &mut buffer[..room], third)
                {
                    prop_assert!(
                        sent[r].insert(hostile::name(&buffer[..length])),
                        "{:?} sent a position twice",
                        role
                    );
                    queues[role.peer().index()].push_back(buffer[..length].to_vec());
                }
            }
            4 => {
                let room = random.below(out.len() as u64) as usize;
                let _ = (pair.0.mask_share(&mut out[..room]), pair.1.mask_share(&mut out[..room]));
            }
            5 => {
                let length = if random.one_in(2) { masked.len() } else { random.below(70) as usize };
                out[..length].fill_with(|| random.word() as u8);
                let _ = if role == Role::Seed {
                    pair.0.provide_masked(&out[..length])
                } else {
                    pair.1.provide_masked(&out[..length])
                };
            }
            6 => drop((pair.0.begin_without_input(), pair.1.begin_without_input())),
            7 => {
                let room = random.below(64) as usize;
                let _ = (pair.0.output_share(&mut out[..room]), pair.1.output_share(&mut out[..room]));
                let _ = (pair.0.answer().count(), pair.1.answer().count(), format!("{pair:?}"));
            }
            _ => drop(queues[r].pop_front()),
        }
    }
    Ok(())
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(3) {
        let at = random.below(bytes.len().max(1) as u64) as usize;
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), random.word() as u8),
            2 => drop((at < bytes.len()).then(|| bytes.remove(at))),
            3 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = [0, 1, 0x7f, 0x80, 0xff][random.below(5) as usize];
                }
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
}

/// A plan of changed bytes is refused, or can be walked: by the costs, and by both parties on material that
/// is not its own.
fn changed_plan(case: &Case, seed: u64) {
    let mut random = Random(seed);
    let mut bytes = case.deal.plan.clone();
    mutate(&mut bytes, &mut random);
    let Ok(plan) = Plan::decode(&bytes) else { return };
    let _ = cost::plan_cost(&plan);
    if !(1..=64).contains(&plan.header.input.bits) {
        return;
    }
    if [Role::Seed, Role::Bundle].iter().any(|&role| plan.arena_words(role) > 1 << 16) {
        return;
    }
    let deal = Deal { plan: bytes.clone(), ..case.deal.clone() };
    let _ = hostile_calls(&deal, case, &mut random);
}

/// Some honest calls on a plan that need not fit the material; errors are fine, a panic is not.
fn hostile_calls(deal: &Deal, case: &Case, random: &mut Random) -> Option<()> {
    let plan = deal.plan();
    let mut arenas = pair::arenas(&plan);
    let [arena_0, arena_1] = &mut arenas;
    let mut pair = sessions::sessions(deal, &case.bundle, 0, [arena_0, arena_1], None).ok()?;
    let third = plan.header.options.client == Client::Third;
    let mut buffer = pair::frame_buffer(&plan);
    if third {
        let pixels = vec![3; plan.header.input.elements as usize];
        let masked = sessions::mask_input(&mut pair, &plan, &pixels).ok()?;
        sessions::provide(&mut pair, &plan, &masked).ok()?;
    }
    let mut queues: [VecDeque<Vec<u8>>; 2] = Default::default();
    for _ in 0..300 {
        for role in [Role::Seed, Role::Bundle] {
            if let Some(length) =
                sessions::transmit(&mut pair, role, &mut &case.pixels[..], &mut buffer, third).ok()?
            {
                queues[role.peer().index()].push_back(buffer[..length].to_vec());
            }
            if sessions::ready(&pair, role)
                && let Some(mut frame) = queues[role.index()].pop_front()
            {
                if random.one_in(50) {
                    mutate(&mut frame, random);
                }
                sessions::handle(&mut pair, role, &frame).ok()?;
            }
        }
    }
    Some(())
}

/// A model of changed bytes, under a hash that is right again, is refused or can be compiled.
fn changed_model(bytes: &[u8], seed: u64) {
    let mut random = Random(seed);
    let mut body = bytes.to_vec();
    mutate(&mut body, &mut random);
    let mut sealed = vec![0; body.len() + blob::ENVELOPE_BYTES];
    blob::seal(Kind::Model, &body, &mut sealed).expect("room for the envelope");
    if let Ok(model) = Model::decode(&sealed) {
        let mut plan = vec![0; 1 << 16];
        for (mode, client) in SETTINGS {
            let options =
                Options { mode, client, release: Release::Label, chunk_bits: 4, memory: compile::ample() };
            if let Ok(length) = compile::compile(&model, &options, &mut plan) {
                Plan::decode(&plan[..length]).expect("what compile makes is a plan");
            }
        }
    }
    // And with the envelope itself changed.
    mutate(&mut sealed, &mut random);
    let _ = Model::decode(&sealed);
}

static BODIES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let body = |model: &Model<'_>| model.encode_body(&mut vec![0; 1 << 18]).expect("a small model").to_vec();
    [every_step()].iter().chain(&(0..4).map(random_network).collect::<Vec<_>>()).map(body).collect()
});

fn cases(default: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    ProptestConfig { max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

proptest! {
    #![proptest_config(cases(400))]

    /// As above on random networks, each with a plan of its own.
    #[test]
    fn random_networks_damaged(
        setting in 0_usize..5, release in 0_usize..2, seed in 0_u64..100_000, memory in 1_u64..12, frame in any::<prop::sample::Index>(), kind in 0_usize..11,
    ) {
        let (mode, client) = SETTINGS[setting];
        let memory = if memory > 8 { compile::ample() } else { [memory << 10; 2] };
        let options = Options { mode, client, release: RELEASES[release], chunk_bits: 3, memory };
        let case = Case::new(&random_network(seed), &options, 1);
        prop_assume!(case.is_some());
        if let Some(case) = case {
            check(&case, 1, frame.index(case.frames()), Damage::all(&mut Random(seed))[kind])?;
        }
    }
}

proptest! {
    #![proptest_config(cases(6000))]

    #[test]
    fn calls_in_any_order_are_refused_or_right(case in any::<prop::sample::Index>(), seed in any::<u64>()) {
        calls_in_any_order(&CASES[case.index(CASES.len())], 0, seed)?;
    }

    #[test]
    fn changed_plans_are_refused_or_walkable(case in any::<prop::sample::Index>(), seed in any::<u64>()) {
        changed_plan(&CASES[case.index(CASES.len())], seed);
    }

    #[test]
    fn changed_models_are_refused_or_compile(body in any::<prop::sample::Index>(), seed in any::<u64>()) {
        changed_model(&BODIES[body.index(BODIES.len())], seed);
    }
}
