//! The coin experiment: what a client that repeats one question learns of the last layer's weights.
//!
//! Rounding is a coin. A hidden value z is truncated to floor(z / 2^f) or one more, and the next layer
//! multiplies that one by its weight: over many queries of one input the logits are a fixed sum plus the
//! weights of those features that were rounded up. Who knows the coins regresses the logits on them and reads
//! the weights off.
//!
//! * In T, P0's coin is 2^f − 1 − (its share mod 2^f): with the exact logits in hand, which T never gives it,
//!   the attack below recovers the weights. This is why P0 is no client in T, and it shows that the test can
//!   fail.
//! * In S and H the coin is r mod 2^f, the dealer's; P0 sees C = (z⁺ + r) >> f, which does not depend on it.
//!   The same attack on everything that P0 has, under the released label or logits of 4 bits, recovers
//!   nothing.
//!
//! A network of 16 pixels, 64 hidden ReLUs and two classes, made so that the attack is as good as it can be:
//! for this input every hidden value is positive and lies between two multiples of 2^f, and both logits lie
//! about zero, where labels and cut logits vary.
//!
//! Thresholds, fixed beforehand. *Recovered* is a weight that equals the estimate rounded, after the
//! estimates were scaled as a whole to fit the true weights best. Estimates of no worth get a scale near
//! zero: by chance few weights, small ones, equal theirs. Working means at least 7/8 of the 64, nothing means
//! at most 1/8. Single correlations are normal with deviation 1/√N: about 10^5 of them are computed in this
//! file, and |z| ≤ 6.5 keeps the chance that any fails below 10^−5; the correlation with the sum of all
//! coins, each by its true weight, is one a run, and |z| ≤ 5 keeps it below 10^−5.

use halfnet_core::gate::truncation::{self, Coins, Opening};
use halfnet_core::model::{Activation, Bitmap, Header, Layer, Linear, Model, Normalisation, Step, Term};
use halfnet_core::opening::Mask;
use halfnet_core::packing::Unpacker;
use halfnet_core::party::half::{Half, LinearTerm, ModelHalf, Position, TermId};
use halfnet_core::party::seed::{SeedHalf, inference_key};
use halfnet_core::plan::{
    Client, LinearPlan, Mode, Options, Plan, Release, Role, Section, Step as Frame, compile,
};
use halfnet_core::ring::{Words, WordsMut};
use halfnet_core::shape::{Convolution, Shape};
use halfnet_core::wire::frame::{HEADER, Header as FrameHeader};
use halfnet_host::check::coins::DealtCoins;
use halfnet_tests::network::{Random, integers, picture};
use halfnet_tests::pair::{self, Deal, Run, agreement};
use halfnet_tests::reference;
use halfnet_tests::statistics::solve;

/// Queries of the one input.
const QUERIES: u64 = 6000;
/// Hidden features, and so weights of a class.
const FEATURES: usize = 64;
/// f1 of the hidden layer.
const SHIFT: u8 = 4;
/// Values of a coin.
const VALUES: usize = 1 << SHIFT;
/// Ring bits of hidden layer and release.
const RING_BITS: [u8; 2] = [9, 11];
/// Weights recovered, at least, where the attack works.
const WORKS: usize = FEATURES * 7 / 8;
/// Weights recovered, at most, where it does not.
const NOTHING: usize = FEATURES / 8;
/// |z| of one of 10^5 correlations, at most.
const SINGLE: f64 = 6.5;
/// |z| of the correlation with all coins, each by its true weight, at most.
const DIRECTED: f64 = 5.0;

/// The network, its one picture and the two classes' weights.
struct Victim {
    model: Model<'static>,
    pixels: Vec<i64>,
    weights: [Vec<i64>; 2],
}

fn victim() -> Victim {
    let mut random = Random(64);
    let input = Shape::new(1, 4, 4);
    let pixels = picture(input, 7);
    let layer = |source, geometry, weights: &[i64], bias: &[i64], step| Layer {
        terms: heapless::Vec::from_slice(&[Term {
            source,
            linear: Linear::Convolution { geometry, weights: integers(weights, 8) },
        }])
        .expect("one term"),
        bias: integers(bias, 32),
        step,
        output_scale: &[],
    };
    // Hidden sums between 16 and 112, the edge of their ring, none a multiple of 2^f.
    let first: Vec<i64> = (0..FEATURES * 16).map(|_| random.about(15)).collect();
    let sums: Vec<i64> =
        (0..FEATURES).map(|_| 16 * (1 + random.below(6) as i64) + 1 + random.below(15) as i64).collect();
    let dot = |row: &[i64]| row.iter().zip(&pixels).map(|(w, x)| w * x).sum::<i64>();
    let bias: Vec<i64> = first.chunks(16).zip(&sums).map(|(row, z)| z - dot(row)).collect();
    // Logits of mean zero.
    let weights = [(); 2].map(|()| {
        (0..FEATURES)
            .map(|_| (1 + random.below(15) as i64) * if random.one_in(2) { 1 } else { -1 })
            .collect::<Vec<_>>()
    });
    let centre = weights
        .each_ref()
        .map(|row| -(row.iter().zip(&sums).map(|(w, z)| w * z).sum::<i64>() + 8) / VALUES as i64);
    let hidden =
        Activation { ring_bits: RING_BITS[0], shift: SHIFT, relu: Bitmap::All, polynomial: None, pool: None };
    let layers = [
        layer(0, Convolution::dense(input, FEATURES as u16), &first, &bias, Step::Activate(hidden)),
        layer(
            1,
            Convolution::dense(Shape::new(FEATURES as u16, 1, 1), 2),
            &weights.concat(),
            &centre,
            Step::Release { ring_bits: RING_BITS[1] },
        ),
    ];
    let header = Header {
        name: "victim",
        data_set: "none",
        input,
        normalisation: heapless::Vec::from_slice(&[Normalisation::IDENTITY]).expect("one channel"),
        classes: 2,
        class_names: "",
    };
    let model = Model { header, layers: layers.into_iter().collect() };
    model.validate().expect("a well-formed model");
    Victim { model, pixels, weights }
}

/// What an attacker has of one query.
#[derive(Default)]
struct View {
    /// Of each feature, words whose low bits might tell its coin: one list a source.
    suspects: Vec<Vec<u64>>,
    /// Every bit that is not in a suspect: the frames of both directions.
    bits: Vec<u8>,
}

/// The answers of all queries, one list a released value, and the weights that each depends on.
struct Answers {
    values: Vec<Vec<f64>>,
    targets: Vec<Vec<i64>>,
}

/// Bits cut, and the words of a frame of the hidden layer.
fn words(run: &Run, from: Role, step: Frame, bits: u8) -> Vec<u64> {
    let frame = run.frames.iter().find(|(role, frame)| {
        let header = FrameHeader::decode(frame.first_chunk().expect("a whole frame"));
        *role == from && header.layer == 0 && header.step == step.code()
    });
    let mut out = vec![0; FEATURES];
    Unpacker::new(&frame.expect("the plan has this frame").1[HEADER..]).take(bits, &mut out).unwrap();
    out
}

/// What P0 has of one query in S or H: every frame; of the hidden layer its own share, C, E and their
/// differences.
fn view_of_p0(plan: &Plan<'_>, run: &Run) -> View {
    let work = plan.layers().next().expect("a layer").work(&plan.header.options);
    let opened = words(run, Role::Bundle, Frame::Open, work.opened_bits);
    let mut suspects = vec![opened.clone()];
    if plan.header.options.mode == Mode::Shared {
        let share = words(run, Role::Seed, Frame::Open, work.ring_bits);
        let rest = opened.iter().zip(&share).map(|(c, s)| c.wrapping_sub(s >> SHIFT)).collect();
        let masked = words(run, Role::Bundle, Frame::OpenRelu, work.wire_bits);
        suspects.extend([share, rest, masked]);
    } else {
        suspects.push(words(run, Role::Seed, Frame::OpenRelu, work.wire_bits));
    }
    View { suspects, bits: run.frames.iter().flat_map(|(_, frame)| frame[HEADER..].to_vec()).collect() }
}

/// Ordinary least squares of `answers` on what the low bits of each feature's word are, with an indicator for
/// every value but 0: a feature's weight is the coefficient of the largest, with which every value is rounded
/// up. If the words tell the coins, the exact logits are exactly such a sum.
///
/// # Shapes
/// `suspect`: one list of 64 words a query. Returns 64 estimates for each list of answers.
fn regress(suspect: &[&[u64]], answers: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let columns = FEATURES * (VALUES - 1) + 1;
    let mut matrix = vec![0.0; columns * columns];
    let mut right = vec![vec![0.0; columns]; answers.len()];
    for (query, words) in suspect.iter().enumerate() {
        let value = |w: u64| (w as usize) % VALUES;
        let ones = words
            .iter()
            .enumerate()
            .filter(|(_, w)| value(**w) > 0)
            .map(|(i, w)| i * (VALUES - 1) + value(*w) - 1);
        let ones: Vec<usize> = ones.chain([columns - 1]).collect();
        for &row in &ones {
            for &column in ones.iter().take_while(|&&c| c <= row) {
                matrix[row * columns + column] += 1.0;
            }
            for (right, answers) in right.iter_mut().zip(answers) {
                right[row] += answers[query];
            }
        }
    }
    let last = |solution: &Vec<f64>| (0..FEATURES).map(|i| solution[(i + 1) * (VALUES - 1) - 1]).collect();
    right
        .iter_mut()
        .map(|right| {
            solve(&mut matrix.clone(), right);
            last(right)
        })
        .collect()
}

/// Weights that equal their estimates, scaled as a whole to fit best and rounded.
fn recovered(estimates: &[f64], weights: &[i64]) -> usize {
    let product: f64 = estimates.iter().zip(weights).map(|(e, &w)| e * w as f64).sum();
    let scale = product / estimates.iter().map(|e| e * e).sum::<f64>().max(1e-12);
    estimates.iter().zip(weights).filter(|(e, w)| **w != 0 && (scale * **e).round() as i64 == **w).count()
}

fn centred(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let values: Vec<f64> = values.collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.into_iter().map(|v| v - mean).collect()
}

/// The correlation of two centred series in units of its deviation by chance.
fn z_score(one: &[f64], other: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(one, other) / (dot(one, one) * dot(other, other)).sqrt().max(1e-12) * (one.len() as f64).sqrt()
}

/// z of the answers with the sum of all suspected coins, each by the weight that it would move the answer by.
fn directed(suspect: &[&[u64]], answers: &[f64], weights: &[i64]) -> f64 {
    let sum =
        |words: &&[u64]| words.iter().zip(weights).map(|(c, &w)| (c % VALUES as u64) as f64 * w as f64).sum();
    z_score(&centred(suspect.iter().map(sum)), &centred(answers.iter().copied()))
}

/// Asks the one question over and over; `look` says what the attacker has of a query.
fn query(
    victim: &Victim,
    mode: Mode,
    client: Client,
    release: Release,
    mut look: impl FnMut(&Deal, u64, &Run) -> (View, Vec<f64>),
) -> (Vec<View>, Answers) {
    let options = Options { mode, client, release, chunk_bits: 2, memory: compile::ample() };
    let deal = Deal::new(&victim.model, &options);
    let pixels: Vec<i32> = victim.pixels.iter().map(|&p| p as i32).collect();
    let [zero, one] = &victim.weights;
    let targets = match release {
        Release::Label => vec![one.iter().zip(zero).map(|(a, b)| a - b).collect()],
        Release::Logits { .. } => vec![zero.clone(), one.clone()],
    };
    let mut answers = Answers { values: vec![Vec::new(); targets.len()], targets };
    let mut views = Vec::new();
    for counter in 0..QUERIES {
        let bundle = deal.bundle(&victim.model, counter);
        let run = pair::run(&deal, &bundle, counter, &pixels);
        let (view, values) = look(&deal, counter, &run);
        for (list, value) in answers.values.iter_mut().zip(values) {
            list.push(value);
        }
        views.push(view);
    }
    (views, answers)
}

fn released(run: &Run) -> Vec<f64> {
    run.answer.iter().map(|&v| v as f64).collect()
}

/// The attack on everything that P0 has as the client finds nothing.
fn finds_nothing(mode: Mode, release: Release) {
    let victim = victim();
    let (views, answers) = query(&victim, mode, Client::SeedParty, release, |deal, _, run| {
        (view_of_p0(&deal.plan(), run), released(run))
    });
    let moves = answers.values.iter().all(|values| values.iter().any(|v| *v != values[0]));
    assert!(moves, "the answers vary, or there would be nothing to regress");
    for source in 0..views[0].suspects.len() {
        let suspect: Vec<&[u64]> = views.iter().map(|v| &v.suspects[source][..]).collect();
        for ((estimates, target), values) in
            regress(&suspect, &answers.values).iter().zip(&answers.targets).zip(&answers.values)
        {
            let (count, z) = (recovered(estimates, target), directed(&suspect, values, target));
            println!("{mode:?}, {release:?}, source {source}: {count} of {FEATURES} weights, z = {z:.2}");
            assert!(count <= NOTHING, "{mode:?}, {release:?}, source {source}: {count} weights recovered");
            assert!(z.abs() <= DIRECTED, "{mode:?}, {release:?}, source {source}: z = {z}");
        }
    }
    // Whichever bit of whichever frame: the answer does not hang on it.
    for values in &answers.values {
        let values = centred(values.iter().copied());
        let mut sums = vec![0.0; 8 * views[0].bits.len()];
        for (view, value) in views.iter().zip(&values) {
            for (byte, sums) in view.bits.iter().zip(sums.chunks_exact_mut(8)) {
                for (bit, sum) in sums.iter_mut().enumerate() {
                    *sum += value * (f64::from(byte >> bit & 1) - 0.5);
                }
            }
        }
        let deviation = (values.iter().map(|v| v * v).sum::<f64>() / 4.0).sqrt();
        let largest = sums.iter().map(|sum| (sum / deviation).abs()).fold(0.0, f64::max);
        println!("{mode:?}, {release:?}: the largest of {} correlations has |z| = {largest:.2}", sums.len());
        assert!(
            sums.len() <= 12_000 && largest <= SINGLE,
            "{mode:?}, {release:?}: |z| = {largest} of {}",
            sums.len()
        );
    }
}

#[test]
fn p0_finds_nothing_in_shared_mode_under_labels() {
    finds_nothing(Mode::Shared, Release::Label);
}

#[test]
fn p0_finds_nothing_in_shared_mode_under_short_logits() {
    finds_nothing(Mode::Shared, Release::Logits { bits: 4 });
}

#[test]
fn p0_finds_nothing_in_held_mode_under_labels() {
    finds_nothing(Mode::Held, Release::Label);
}

#[test]
fn p0_finds_nothing_in_held_mode_under_short_logits() {
    finds_nothing(Mode::Held, Release::Logits { bits: 4 });
}

/// P0's share of the hidden layer's sums in T, from what P0 has: its seed and the client's E.
fn share_of_p0(deal: &Deal, counter: u64, run: &Run) -> Vec<u64> {
    let plan = deal.plan();
    let mut half = SeedHalf::new(inference_key(&deal.seed, &agreement(&plan), &pair::DEAL, counter));
    half.begin_layer(0, &mut std::iter::empty());
    let mut shares = vec![0_u16; FEATURES];
    half.words(Section::Sum, Position::default(), RING_BITS[0], &mut shares).expect("a stream");
    let mut masked = vec![0_u16; plan.header.input.elements as usize];
    Unpacker::new(&run.masked).take(plan.header.input.bits, &mut masked).unwrap();
    let layer = plan.layers().next().expect("a layer");
    let LinearPlan::Convolution(geometry) = layer.terms[0].linear else {
        panic!("the layer is a convolution")
    };
    let id = TermId { layer: 0, term: 0 };
    let term = LinearTerm { id, geometry: &geometry, input: Words::U16(&masked) };
    deal.seed_model().convolve(term, 0..FEATURES, WordsMut::U16(&mut shares)).expect("weight shares");
    shares.into_iter().map(u64::from).collect()
}

/// The attack that T would be open to if P0 were given the exact logits. They come from the reference, which
/// is held against what the parties release.
#[test]
fn exact_logits_in_the_hand_of_p0_in_t_give_the_weights_away() {
    let victim = victim();
    let bits = 4;
    let (views, answers) =
        query(&victim, Mode::TwoServers, Client::Third, Release::Logits { bits }, |deal, counter, run| {
            let mut coins = DealtCoins::new(deal.plan(), deal.secrets(counter), deal.seed_model());
            let trace = reference::run(&victim.model, &victim.pixels, &mut coins);
            assert_eq!(trace.violations, 0);
            let mut last = [0; 2];
            let shift = RING_BITS[1] - bits;
            coins.fill(1, Opening::First, shift, 0, &mut last);
            let cut: Vec<i64> = trace
                .logits
                .iter()
                .zip(last)
                .map(|(&z, coin)| truncation::reference(z, shift, coin))
                .collect();
            assert_eq!(cut, run.answer, "the reference has the parties' logits");
            let view = View {
                suspects: vec![share_of_p0(deal, counter, run).iter().map(|s| !s).collect()],
                bits: Vec::new(),
            };
            (view, trace.logits.iter().map(|&z| z as f64).collect())
        });
    let suspect: Vec<&[u64]> = views.iter().map(|v| &v.suspects[0][..]).collect();
    for (estimates, target) in regress(&suspect, &answers.values).iter().zip(&answers.targets) {
        let count = recovered(estimates, target);
        println!("T, exact logits: {count} of {FEATURES} weights");
        assert!(count >= WORKS, "the attack works where it must: {count} of {FEATURES}");
    }
    for (values, target) in answers.values.iter().zip(&answers.targets) {
        assert!(directed(&suspect, values, target) > 10.0 * DIRECTED, "and the directed statistic sees it");
    }
}

/// If P0 in S had the dealer's coins, even a label or logits of four bits would tell: what saves the weights
/// there is the coin alone.
#[test]
fn coins_in_the_hand_of_p0_in_s_would_be_seen() {
    let victim = victim();
    for release in [Release::Label, Release::Logits { bits: 4 }] {
        let (views, answers) =
            query(&victim, Mode::Shared, Client::SeedParty, release, |deal, counter, run| {
                let plan = deal.plan();
                let layer = plan.layers().next().expect("a layer");
                let mut masks = vec![Mask { added: 0, high: 0, coin: 0 }; FEATURES];
                let work = layer.work(&plan.header.options);
                deal.secrets(counter)
                    .open_masks(&layer, &work, Mode::Shared.exchange(), 0, &mut masks)
                    .expect("masks");
                (
                    View { suspects: vec![masks.iter().map(|m| m.coin).collect()], bits: Vec::new() },
                    released(run),
                )
            });
        let suspect: Vec<&[u64]> = views.iter().map(|v| &v.suspects[0][..]).collect();
        for (values, target) in answers.values.iter().zip(&answers.targets) {
            let z = directed(&suspect, values, target);
            println!("S, coins known, {release:?}: z = {z:.1}");
            assert!(z > 2.0 * DIRECTED, "the directed statistic sees a coin: z = {z}");
        }
    }
}
