//! What dealing makes for both parties, and their ends made of it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;

use halfnet_core::dealer::{self, FullWeights, Secrets, Sink};
use halfnet_core::endpoint::{Acceptor, EndpointError, Lent, Nonces, Proposer};
use halfnet_core::model::{Integers, Model};
use halfnet_core::party::bundle::{BundleHalf, PortableModel, Tensors};
use halfnet_core::party::half::{LinearTerm, MaterialError, ModelHalf, TermId};
use halfnet_core::party::input::Input;
use halfnet_core::party::seed::{self, NoModel, SeedHalf, SeedModel};
use halfnet_core::plan::{Client, Mode, Options, Plan, compile, cost};
use halfnet_core::prg::Key;
use halfnet_core::ring::{WordKind, WordsMut};
use halfnet_core::wire::message::{Agreement, Identifier};

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
    fn prepare(&mut self, _term: LinearTerm<'_>) -> Result<(), MaterialError> {
        Ok(())
    }

    fn convolve(
        &mut self,
        term: LinearTerm<'_>,
        tile: Range<usize>,
        out: WordsMut<'_>,
    ) -> Result<(), MaterialError> {
        if self.held {
            return NoModel.convolve(term, tile, out);
        }
        SeedModel::new(self.key.clone(), &mut self.channel).convolve(term, tile, out)
    }

    fn quadratic(&mut self, layer: u16, channel: u16) -> Result<u64, MaterialError> {
        if self.held {
            return NoModel.quadratic(layer, channel);
        }
        SeedModel::new(self.key.clone(), &mut self.channel).quadratic(layer, channel)
    }
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
    fn prepare(&mut self, term: LinearTerm<'_>) -> Result<(), MaterialError> {
        if let Some(log) = self.log {
            let words = (0..term.input.len()).filter_map(|i| term.input.get(i));
            log.borrow_mut().inputs.push((term.id, words.collect()));
        }
        self.model.prepare(term)
    }

    fn convolve(
        &mut self,
        term: LinearTerm<'_>,
        tile: Range<usize>,
        mut out: WordsMut<'_>,
    ) -> Result<(), MaterialError> {
        self.model.convolve(term, tile.clone(), out.reborrow())?;
        if let Some(log) = self.log {
            let words = out.as_words();
            log.borrow_mut().sums.push((
                term.id,
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

/// P0's end.
pub type Zero<'p, 'm, I> = Acceptor<'p, 'm, SeedHalf, OwnedSeedModel, I>;
/// P1's end.
pub type One<'p, 'm> = Proposer<'p, 'm, BundleHalf<&'m [u8]>, Watched<'m>>;

/// A third client's name for its request.
pub const REQUEST: Identifier = [5; 16];

impl Deal {
    /// P0's end of an inference, which accepts any counter from `next` on.
    ///
    /// # Errors
    /// The arena is shorter than the plan states, or the plan is for another client.
    pub fn zero<'m, I: Input>(
        &'m self,
        next: u64,
        arena: &'m mut [u64],
        nonces: &'m mut Nonces,
        picture: I,
    ) -> Result<Zero<'m, 'm, I>, EndpointError> {
        let plan = self.plan();
        let agreement = agreement(&plan);
        Acceptor::new(Lent { plan, model: self.seed_model(), arena }, agreement, next, nonces, picture)
    }

    /// P1's end of an inference.
    ///
    /// # Errors
    /// The arena is shorter than the plan states.
    pub fn one<'m>(
        &'m self,
        arena: &'m mut [u64],
        nonces: &'m mut Nonces,
        log: Option<&'m RefCell<Linear>>,
    ) -> Result<One<'m, 'm>, EndpointError> {
        let plan = self.plan();
        let agreement = agreement(&plan);
        let third = plan.header.options.client == Client::Third;
        let model = self.watched(log);
        let request = if third { REQUEST } else { [0; 16] };
        Proposer::new(Lent { plan, model, arena }, agreement, request, nonces)
    }

    /// P1's model half, which keeps in `log` what passes through it.
    pub fn watched<'m>(&'m self, log: Option<&'m RefCell<Linear>>) -> Watched<'m> {
        Watched { model: PortableModel(&self.tensors), log }
    }

    /// P0's half of inference `counter`.
    pub fn seed_half(&self, counter: u64) -> SeedHalf {
        SeedHalf::new(seed::inference_key(&self.seed, &agreement(&self.plan()), &DEAL, counter))
    }

    /// P1's half of the inference that `bundle` was dealt for.
    pub fn bundle_half<'b>(&self, bundle: &'b [u8]) -> BundleHalf<&'b [u8]> {
        BundleHalf::new(bundle, cost::input_section_bytes(&self.plan().header))
    }
}
