//! A small network, and everything that dealing it makes.
#![allow(dead_code, reason = "every test takes what it needs")]

use halfnet_core::dealer::{self, FullWeights, Secrets, Sink};
use halfnet_core::endpoint::{Lent, Nonces};
use halfnet_core::model::{Bitmap, Header, Integers, Layer, Linear, Model, Normalisation, Step, Term};
use halfnet_core::party::bundle::{BundleHalf, PortableModel, Tensors};
use halfnet_core::party::half::{MaterialError, TermId};
use halfnet_core::party::seed::{self, SeedHalf, SeedModel};
use halfnet_core::plan::{Options, Plan, Role, compile, cost};
use halfnet_core::prg::Key;
use halfnet_core::shape::{Convolution, Shape};
use halfnet_core::wire::message::{Agreement, Identifier};
use heapless::Vec as List;

/// Of the deal.
pub(crate) const DEAL: Identifier = [3; 16];

fn dense(input: Shape, outputs: u16, weights: &'static [u8]) -> Linear<'static> {
    let geometry = Convolution::dense(input, outputs);
    Linear::Convolution { geometry, weights: Integers { bits: 8, bytes: weights } }
}

/// One fully connected layer, 4 inputs, 3 classes.
pub(crate) fn model() -> Model<'static> {
    let input = Shape::new(1, 2, 2);
    let layer = Layer {
        terms: List::from_iter([Term {
            source: 0,
            linear: dense(input, 3, &[1, 2, 3, 4, 9, 9, 9, 9, 0, 0, 0, 1]),
        }]),
        bias: Integers { bits: 8, bytes: &[0; 3] },
        step: Step::Release { ring_bits: 16 },
        output_scale: &[],
    };
    named(input, [layer])
}

/// Two fully connected layers with ReLUs between.
pub(crate) fn with_relus() -> Model<'static> {
    let input = Shape::new(1, 2, 2);
    let hidden = Layer {
        terms: List::from_iter([Term {
            source: 0,
            linear: dense(input, 2, &[1, 255, 1, 255, 255, 2, 255, 2]),
        }]),
        bias: Integers { bits: 8, bytes: &[0; 2] },
        step: Step::Activate(halfnet_core::model::Activation {
            ring_bits: 16,
            shift: 4,
            relu: Bitmap::All,
            polynomial: None,
            pool: None,
        }),
        output_scale: &[],
    };
    let last = Layer {
        terms: List::from_iter([Term {
            source: 1,
            linear: dense(Shape::new(2, 1, 1), 3, &[10, 0, 0, 10, 5, 5]),
        }]),
        bias: Integers { bits: 8, bytes: &[0; 3] },
        step: Step::Release { ring_bits: 16 },
        output_scale: &[],
    };
    named(input, [hidden, last])
}

fn named(input: Shape, layers: impl IntoIterator<Item = Layer<'static>>) -> Model<'static> {
    let normalisation = List::from_iter([Normalisation::IDENTITY]);
    let header =
        Header { name: "small", data_set: "synthetic", input, normalisation, classes: 3, class_names: "" };
    Model { header, layers: layers.into_iter().collect() }
}

/// What a dealer's run makes, for any number of inferences.
pub(crate) struct Dealt {
    model: Model<'static>,
    plan: Vec<u8>,
    pub(crate) seed: Key,
    dealer: Key,
    tensors: Vec<(TermId, u8, Vec<u8>)>,
}

struct Bytes<'b>(&'b mut Vec<u8>);

impl Sink for Bytes<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), MaterialError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

impl Tensors for &Dealt {
    fn tensor(&self, id: TermId) -> Option<Integers<'_>> {
        let (_, bits, bytes) = self.tensors.iter().find(|(found, ..)| *found == id)?;
        Some(Integers { bits: *bits, bytes })
    }
}

impl Dealt {
    pub(crate) fn new(model: Model<'static>, options: &Options) -> Self {
        model.validate().unwrap();
        let mut plan = vec![0; 4096];
        let length = compile::compile(&model, options, &mut plan).unwrap();
        plan.truncate(length);
        let (seed, dealer) = (Key::new([7; 32]), Key::new([9; 32]));
        let mut dealt = Self { model, plan, seed, dealer, tensors: Vec::new() };
        let (plan, mut split) = (dealt.plan(), Vec::new());
        let words: Vec<_> = plan.layers().map(|layer| layer.work(options).word).collect();
        let key = seed::model_key(&dealt.seed, &dealt.agreement());
        for (id, tensor) in dealer::tensors(&dealt.model) {
            let (word, mut bytes) = (words[usize::from(id.layer)], Vec::new());
            let kind = seed::tensor_kind(id.layer, id.term);
            dealer::split_tensor(options.mode, word, &key, kind, &tensor, &mut Bytes(&mut bytes)).unwrap();
            split.push((id, (8 * bytes.len() / tensor.len()) as u8, bytes));
        }
        dealt.tensors = split;
        dealt
    }

    pub(crate) fn plan(&self) -> Plan<'_> {
        Plan::decode(&self.plan).unwrap()
    }

    pub(crate) fn agreement(&self) -> Agreement {
        Agreement { pairing: [1; 16], plan: *self.plan().hash(), provisioning: [2; 16] }
    }

    pub(crate) fn secrets(&self, counter: u64) -> Secrets {
        Secrets::new(&self.dealer, &self.seed, &self.agreement(), &DEAL, counter)
    }

    /// P1's bundle of an inference.
    pub(crate) fn bundle(&self, counter: u64) -> Vec<u8> {
        let (plan, mut out) = (self.plan(), Vec::new());
        let mut arena = vec![0; dealer::arena_words(&plan)];
        let mut weights = PortableModel(FullWeights(&self.model));
        let secrets = self.secrets(counter);
        dealer::deal(&plan, &self.model, &secrets, &mut weights, &mut arena, &mut Bytes(&mut out)).unwrap();
        out
    }

    /// P0's half of an inference.
    pub(crate) fn seed_half(&self, counter: u64) -> SeedHalf {
        SeedHalf::new(seed::inference_key(&self.seed, &self.agreement(), &DEAL, counter))
    }

    /// P1's.
    pub(crate) fn bundle_half<'b>(&self, bundle: &'b [u8]) -> BundleHalf<&'b [u8]> {
        BundleHalf::new(bundle, cost::input_section_bytes(&self.plan().header))
    }

    /// What P0 is lent.
    pub(crate) fn seed_lent<'d>(&'d self, memory: &'d mut Memory) -> Lent<'d, 'd, SeedModel<'d>> {
        let model = SeedModel::new(seed::model_key(&self.seed, &self.agreement()), &mut memory.channel);
        Lent { plan: self.plan(), model, arena: &mut memory.arena }
    }

    /// What P1 is lent.
    pub(crate) fn bundle_lent<'d>(&'d self, memory: &'d mut Memory) -> Lent<'d, 'd, PortableModel<&'d Self>> {
        Lent { plan: self.plan(), model: PortableModel(self), arena: &mut memory.arena }
    }

    pub(crate) fn memory(&self, role: Role) -> Memory {
        Memory { arena: vec![0; self.plan().arena_words(role)], channel: vec![0; 64] }
    }
}

/// A party's memory.
pub(crate) struct Memory {
    pub(crate) arena: Vec<u64>,
    channel: Vec<u64>,
}

/// Nonces that differ by `seed`.
pub(crate) fn nonces(seed: u8) -> Nonces {
    Nonces::new(Key::new([seed; 32]), "halfnet 1 nonce")
}
