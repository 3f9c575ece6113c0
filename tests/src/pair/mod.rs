//! Both parties in one process, in lock step: every phase drains what either can send, then delivers it, so
//! that the number of phases is the longest chain of dependent messages.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use halfnet_core::dealer::{self, FullWeights, Secrets, Sink};
use halfnet_core::model::{Integers, Model};
use halfnet_core::party::SessionError;
use halfnet_core::party::bundle::{BundleHalf, PortableModel, Tensors};
use halfnet_core::party::half::{Half, MaterialError, ModelHalf, TermId};
use halfnet_core::party::seed::{self, NoModel, SeedHalf, SeedModel};
use halfnet_core::party::session::{Parts, Session, combine_outputs};
use halfnet_core::plan::{Client, Mode, Options, Plan, Role, compile, cost};
use halfnet_core::prg::Key;
use halfnet_core::ring::{WordKind, Words, WordsMut};
use halfnet_core::shape::Convolution;
use halfnet_core::wire::frame::HEADER;
use halfnet_core::wire::message::{self, Agreement};

/// Everything that dealing makes.
#[derive(Clone)]
pub struct Deal {
    /// The plan's bytes.
    pub plan: Vec<u8>,
    /// P0's seed.
    pub seed: Key,
    /// The dealer's seed.
    pub dealer: Key,
    /// P1's tensors.
    pub tensors: Split,
}

/// P1's weight shares.
#[derive(Clone, Debug, Default)]
pub struct Split(HashMap<(u16, u8), (u8, Vec<u8>)>);

impl Tensors for &Split {
    fn tensor(&self, id: TermId) -> Option<Integers<'_>> {
        self.0.get(&(id.layer, id.term)).map(|(bits, bytes)| Integers { bits: *bits, bytes })
    }
}

struct Bytes<'b>(&'b mut Vec<u8>);

impl Sink for Bytes<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), MaterialError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Identifiers of the tests.
pub const DEAL: [u8; 16] = [3; 16];

impl Deal {
    /// Compiles and splits a model.
    pub fn new(model: &Model<'_>, options: &Options) -> Self {
        Self::try_new(model, options).expect("a plan")
    }

    /// As [`Deal::new`], with the plan's refusal.
    pub fn try_new(model: &Model<'_>, options: &Options) -> Result<Self, halfnet_core::error::ModelError> {
        let mut bytes = vec![0; 1 << 20];
        let len = compile::compile(model, options, &mut bytes)?;
        bytes.truncate(len);
        let plan = Plan::decode(&bytes)?;
        let seed = Key::new([7; 32]);
        let words: Vec<WordKind> = plan.layers().map(|l| l.work(options).word).collect();
        let key = seed::model_key(&seed, &agreement(&plan));
        let mut tensors = HashMap::new();
        for (id, tensor) in dealer::tensors(model) {
            let word = if id.term == seed::QUADRATIC { WordKind::U64 } else { words[usize::from(id.layer)] };
            let mut out = Vec::new();
            let kind = seed::tensor_kind(id.layer, id.term);
            dealer::split_tensor(options.mode, word, &key, kind, &tensor, &mut Bytes(&mut out))
                .expect("no sink fails");
            let bits = if options.mode == Mode::Held { tensor.bits } else { 8 * word.bytes() as u8 };
            tensors.insert((id.layer, id.term), (bits, out));
        }
        Ok(Self { plan: bytes, seed, dealer: Key::new([9; 32]), tensors: Split(tensors) })
    }

    /// The plan.
    pub fn plan(&self) -> Plan<'_> {
        Plan::decode(&self.plan).expect("the plan was made by compile")
    }

    /// The dealer's secrets of inference `counter`.
    pub fn secrets(&self, counter: u64) -> Secrets {
        Secrets::new(&self.dealer, &self.seed, &agreement(&self.plan()), &DEAL, counter)
    }

    /// P1's bundle of inference `counter`.
    pub fn bundle(&self, model: &Model<'_>, counter: u64) -> Vec<u8> {
        let plan = self.plan();
        let mut out = Vec::new();
        let mut arena = vec![0; dealer::arena_words(&plan)];
        let mut weights = PortableModel(FullWeights(model));
        dealer::deal(&plan, model, &self.secrets(counter), &mut weights, &mut arena, &mut Bytes(&mut out))
            .expect("dealing");
        assert_eq!(out.len() as u64, dealer::bundle_bytes(&plan), "the plan predicts the bundle's bytes");
        out
    }

    /// P0's model half.
    pub fn seed_model(&self) -> OwnedSeedModel {
        let plan = self.plan();
        let longest = plan
            .layers()
            .flat_map(|l| l.terms.iter().map(|t| fan_in(&t.linear)).collect::<Vec<_>>())
            .max()
            .unwrap_or(1);
        let key = seed::model_key(&self.seed, &agreement(&plan));
        OwnedSeedModel { held: plan.header.options.mode == Mode::Held, key, channel: vec![0; longest] }
    }
}

fn fan_in(linear: &halfnet_core::plan::LinearPlan) -> usize {
    match linear {
        halfnet_core::plan::LinearPlan::Convolution(g) => g.fan_in(),
        _ => 1,
    }
}

/// What both parties of the tests agree on.
pub fn agreement(plan: &Plan<'_>) -> Agreement {
    Agreement { pairing: [1; 16], plan: *plan.hash(), provisioning: [2; 16] }
}

/// [`SeedModel`] with memory of its own, or P0's nothing in H.
#[derive(Debug)]
pub struct OwnedSeedModel {
    held: bool,
    key: Key,
    channel: Vec<u64>,
}

impl ModelHalf for OwnedSeedModel {
    fn prepare(&mut self, _: TermId, _: &Convolution, _: Words<'_>) -> Result<(), MaterialError> {
        Ok(())
    }

    fn convolve(
        &mut self,
        id: TermId,
        geometry: &Convolution,
        input: Words<'_>,
        tile: Range<usize>,
        out: WordsMut<'_>,
    ) -> Result<(), MaterialError> {
        if self.held {
            return NoModel.convolve(id, geometry, input, tile, out);
        }
        SeedModel::new(self.key.clone(), &mut self.channel).convolve(id, geometry, input, tile, out)
    }

    fn quadratic(&mut self, layer: u16, channel: u16) -> Result<u64, MaterialError> {
        if self.held {
            return NoModel.quadratic(layer, channel);
        }
        SeedModel::new(self.key.clone(), &mut self.channel).quadratic(layer, channel)
    }
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// The label, or the released logits.
    pub answer: Vec<i64>,
    /// Phases with any delivery, the acknowledgements' and the client's included.
    pub flights: u32,
    /// What each session counted.
    pub rounds: [u32; 2],
    /// Bytes sent, acknowledgements and words to a client included.
    pub bytes: [u64; 2],
    /// Every frame, in the order of sending.
    pub frames: Vec<(Role, Vec<u8>)>,
    /// E as a third client sent it, packed; empty where P0 is the client.
    pub masked: Vec<u8>,
    /// What P1's linear layers saw and made.
    pub linear: Linear,
}

/// What passed through a party's linear layers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Linear {
    /// E of the wire that a term reads.
    pub inputs: Vec<(TermId, Vec<u64>)>,
    /// The party's share of a tile's sum, U and this term included: the first element, the share modulo the
    /// word.
    pub sums: Vec<(TermId, usize, Vec<u64>)>,
}

/// P1's model half, which may keep what passes through it.
#[derive(Debug)]
pub struct Watched<'m> {
    model: PortableModel<&'m Split>,
    log: Option<&'m RefCell<Linear>>,
}

impl ModelHalf for Watched<'_> {
    fn prepare(&mut self, id: TermId, geometry: &Convolution, input: Words<'_>) -> Result<(), MaterialError> {
        if let Some(log) = self.log {
            log.borrow_mut().inputs.push((id, (0..input.len()).filter_map(|i| input.get(i)).collect()));
        }
        self.model.prepare(id, geometry, input)
    }

    fn convolve(
        &mut self,
        id: TermId,
        geometry: &Convolution,
        input: Words<'_>,
        tile: Range<usize>,
        mut out: WordsMut<'_>,
    ) -> Result<(), MaterialError> {
        let borrowed = match &mut out {
            WordsMut::U16(words) => WordsMut::U16(words),
            WordsMut::U32(words) => WordsMut::U32(words),
            WordsMut::U64(words) => WordsMut::U64(words),
        };
        self.model.convolve(id, geometry, input, tile.clone(), borrowed)?;
        if let Some(log) = self.log {
            let words = out.as_words();
            log.borrow_mut().sums.push((
                id,
                tile.start,
                (0..words.len()).filter_map(|i| words.get(i)).collect(),
            ));
        }
        Ok(())
    }

    fn quadratic(&mut self, layer: u16, channel: u16) -> Result<u64, MaterialError> {
        self.model.quadratic(layer, channel)
    }
}

/// P0's session and P1's.
pub type Pair<'p, 'm> =
    (Session<'p, 'm, SeedHalf, OwnedSeedModel>, Session<'p, 'm, BundleHalf<&'m [u8]>, Watched<'m>>);

/// Both sessions of inference `counter`, each in its arena.
///
/// # Errors
/// An arena is shorter than the plan states.
pub fn sessions<'m>(
    deal: &'m Deal,
    bundle: &'m [u8],
    counter: u64,
    arenas: [&'m mut [u64]; 2],
    log: Option<&'m RefCell<Linear>>,
) -> Result<Pair<'m, 'm>, SessionError> {
    let plan = deal.plan();
    let inference = seed::inference_key(&deal.seed, &agreement(&plan), &DEAL, counter);
    let [arena_0, arena_1] = arenas;
    let half = BundleHalf::new(bundle, cost::input_section_bytes(&plan.header));
    Ok((
        Session::new(Parts {
            plan: deal.plan(),
            half: SeedHalf::new(inference),
            model: deal.seed_model(),
            arena: arena_0,
        })?,
        Session::new(Parts {
            plan,
            half,
            model: Watched { model: PortableModel(&deal.tensors), log },
            arena: arena_1,
        })?,
    ))
}

/// An arena for each party, as long as the plan states.
pub fn arenas(plan: &Plan<'_>) -> [Vec<u64>; 2] {
    [Role::Seed, Role::Bundle].map(|role| vec![0; plan.arena_words(role)])
}

/// Bytes that hold any frame of either party.
pub fn frame_buffer(plan: &Plan<'_>) -> Vec<u8> {
    vec![0; plan.header.longest_frame.into_iter().max().unwrap_or(0) as usize]
}

/// Runs one inference.
pub fn run(deal: &Deal, bundle: &[u8], counter: u64, pixels: &[i32]) -> Run {
    try_run(deal, bundle, counter, pixels, |_, _| {}).expect("an inference")
}

/// Runs one inference whose frames `tamper` may change; gives the first error of either party.
pub fn try_run(
    deal: &Deal,
    bundle: &[u8],
    counter: u64,
    pixels: &[i32],
    tamper: impl FnMut(Role, &mut Vec<u8>),
) -> Result<Run, SessionError> {
    let mut arenas = arenas(&deal.plan());
    let [arena_0, arena_1] = &mut arenas;
    run_with(deal, bundle, counter, pixels, [arena_0, arena_1], tamper)
}

/// Runs one inference in memory of the caller's.
///
/// # Errors
/// An arena is shorter than the plan states.
pub fn run_in(
    deal: &Deal,
    bundle: &[u8],
    counter: u64,
    pixels: &[i32],
    arenas: [&mut [u64]; 2],
) -> Result<Run, SessionError> {
    run_with(deal, bundle, counter, pixels, arenas, |_, _| {})
}

fn run_with(
    deal: &Deal,
    bundle: &[u8],
    counter: u64,
    pixels: &[i32],
    arenas: [&mut [u64]; 2],
    mut tamper: impl FnMut(Role, &mut Vec<u8>),
) -> Result<Run, SessionError> {
    let plan = deal.plan();
    let log = RefCell::default();
    let mut pair = sessions(deal, bundle, counter, arenas, Some(&log))?;
    let mut run = Run { flights: 1, bytes: [(HEADER + message::ACKNOWLEDGE) as u64; 2], ..Run::default() };
    let third = plan.header.options.client == Client::Third;
    if third {
        run.masked = mask_input(&mut pair, &plan, pixels)?;
        provide(&mut pair, &plan, &run.masked)?;
        run.flights += 2;
        for bytes in &mut run.bytes {
            *bytes += (HEADER + message::MASK + run.masked.len()) as u64;
        }
    }
    let mut input = pixels;
    let mut queues: [VecDeque<Vec<u8>>; 2] = Default::default();
    let mut buffer = frame_buffer(&plan);
    loop {
        let mut next: [VecDeque<Vec<u8>>; 2] = Default::default();
        let mut progress = false;
        let mut push = |role: Role, frame: &[u8], run: &mut Run, next: &mut [VecDeque<Vec<u8>>; 2]| {
            run.bytes[role.index()] += frame.len() as u64;
            let mut frame = frame.to_vec();
            tamper(role, &mut frame);
            run.frames.push((role, frame.clone()));
            next[role.peer().index()].push_back(frame);
        };
        // Deliver what the last phase sent; what a delivery makes possible goes into the next phase.
        for role in [Role::Seed, Role::Bundle] {
            loop {
                let sent = match role {
                    Role::Seed if !third => match pair.0.transmit_input(&mut input, &mut buffer)? {
                        Some(length) => Some(length),
                        None => pair.0.poll_transmit(&mut buffer)?,
                    },
                    Role::Seed => pair.0.poll_transmit(&mut buffer)?,
                    Role::Bundle => pair.1.poll_transmit(&mut buffer)?,
                };
                if let Some(length) = sent {
                    assert!(
                        length <= plan.header.longest_frame[role.index()] as usize,
                        "the plan bounds every frame"
                    );
                    push(role, &buffer[..length], &mut run, &mut next);
                    progress = true;
                    continue;
                }
                let ready = if role == Role::Seed { pair.0.can_receive() } else { pair.1.can_receive() };
                let Some(frame) = ready.then(|| queues[role.index()].pop_front()).flatten() else { break };
                progress = true;
                if role == Role::Seed { pair.0.handle_frame(&frame)? } else { pair.1.handle_frame(&frame)? }
            }
            assert!(queues[role.index()].is_empty(), "{role:?} leaves frames unread at {:?}", pair);
        }
        if next.iter().any(|q| !q.is_empty()) {
            run.flights += 1;
        }
        queues = next;
        if !progress {
            break;
        }
    }
    assert!(pair.0.is_finished() && pair.1.is_finished(), "deadlock: {:?} {:?}", pair.0, pair.1);
    run.rounds = [pair.0.rounds(), pair.1.rounds()];
    if third {
        let mut shares = [vec![0; 4096], vec![0; 4096]];
        let lengths = [pair.0.output_share(&mut shares[0])?, pair.1.output_share(&mut shares[1])?];
        run.flights += 1;
        for (bytes, length) in run.bytes.iter_mut().zip(lengths) {
            *bytes += (HEADER + length) as u64;
        }
        run.answer = combine_outputs(&plan, [&shares[0][..lengths[0]], &shares[1][..lengths[1]]])?.collect();
    } else {
        run.answer = pair.0.answer().collect();
    }
    drop(pair);
    run.linear = log.into_inner();
    Ok(run)
}

/// A third client: E, packed, from both shares of A.
///
/// # Errors
/// A session gives no share of A.
pub fn mask_input(pair: &mut Pair<'_, '_>, plan: &Plan<'_>, pixels: &[i32]) -> Result<Vec<u8>, SessionError> {
    use halfnet_core::packing::{Packer, Unpacker, packed_len};
    let wire = plan.header.input;
    let length = packed_len(pixels.len(), wire.bits);
    let mut shares = [vec![0; length], vec![0; length]];
    pair.0.mask_share(&mut shares[0])?;
    pair.1.mask_share(&mut shares[1])?;
    let words = shares.map(|bytes| {
        let mut words = vec![0_u64; pixels.len()];
        Unpacker::new(&bytes).take(wire.bits, &mut words).expect("a whole share");
        words
    });
    let masked: Vec<u64> = pixels
        .iter()
        .zip(words[0].iter().zip(&words[1]))
        .map(|(&x, (&a, &b))| (i64::from(x) as u64).wrapping_sub(a).wrapping_sub(b))
        .collect();
    let mut packed = vec![0; length];
    let mut packer = Packer::new(&mut packed);
    packer.extend(&masked, wire.bits);
    assert_eq!(packer.finish(), length);
    Ok(packed)
}

/// A third client: E to each party that needs it.
///
/// # Errors
/// A session does not take it.
pub fn provide(pair: &mut Pair<'_, '_>, plan: &Plan<'_>, masked: &[u8]) -> Result<(), SessionError> {
    if plan.header.options.mode == Mode::Held {
        pair.0.begin_without_input()?;
    } else {
        pair.0.provide_masked(masked)?;
    }
    pair.1.provide_masked(masked)
}

/// The type of a half, so that tests can name it.
pub fn is_half<H: Half>(_: &H) {}
