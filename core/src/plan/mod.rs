//! The plan: a model seen from outside. All public.
//!
//! The dealer makes it once from a model's public part and the choices of [`Options`]; the dealer and both
//! parties walk the same bytes, and its hash is bound into every key and handshake. A plan is a header
//! followed by one record a layer, each decoded when the walk reaches it, so that a microcontroller never
//! holds more than one.
//!
//! * [`layer`] — what a layer's tiles, groups and steps are; what a step moves, [`crate::exchange`] says.
//! * [`compile`] — from a model to a plan: wires, widths, regions, tiles.
//! * [`cost`] — exact bytes, rounds, flights and bundle sizes.

pub mod compile;
pub mod cost;
mod flights;
pub mod group;
pub mod layer;
mod options;
pub mod step;
mod validate;
mod wires;

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::model::{Bitmap, Header, MAX_TERMS};
use crate::ring::{WIDEST, WordKind};
use crate::shape::{Convolution, Join, Pool, Shape};

pub use group::GroupPlan;
pub use layer::Work;
pub(crate) use options::check_options;
pub use options::{Client, Mode, Options, Release, Role};
pub use step::{Section, Step};

/// Elements of one wire or accumulator inside a party's arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Region {
    /// First 64-bit word of the arena's wire part.
    pub offset: u32,
    /// Number of elements.
    pub elements: u32,
    /// Their bits: the ring they live in.
    pub bits: u8,
}

impl Region {
    /// The word that keeps an element.
    #[must_use]
    pub const fn word(&self) -> WordKind {
        WordKind::for_bits(self.bits)
    }

    /// 64-bit words of the region.
    #[must_use]
    pub const fn words(&self) -> usize {
        (self.elements as usize).saturating_mul(self.word().bytes()).div_ceil(8)
    }

    /// The words of the arena that it takes.
    #[must_use]
    pub const fn range(&self) -> core::ops::Range<usize> {
        self.offset as usize..(self.offset as usize).saturating_add(self.words())
    }
}

/// One linear term without its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TermPlan {
    /// Where its input wire lies, for a party that keeps wires.
    pub source: Region,
    /// What it does.
    pub linear: LinearPlan,
}

/// A linear map without its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinearPlan {
    /// A convolution with secret weights.
    Convolution(Convolution),
    /// A residual input times 2^shift.
    JoinShift {
        /// Where it lies.
        geometry: Join,
        /// κ = 2^shift.
        shift: u8,
    },
    /// A residual input times a secret integer a channel.
    JoinScaled {
        /// Where it lies.
        geometry: Join,
    },
}

impl LinearPlan {
    /// Secret factors of the term.
    #[must_use]
    pub const fn weights(&self) -> usize {
        match self {
            Self::Convolution(geometry) => geometry.weights(),
            Self::JoinShift { .. } => 0,
            Self::JoinScaled { geometry } => geometry.input.channels as usize,
        }
    }
}

/// A layer's step without its coefficients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepPlan<'a> {
    /// See [`crate::model::Activation`].
    Activate {
        /// b.
        ring_bits: u8,
        /// f1.
        shift: u8,
        /// Which elements are ReLU.
        #[serde(borrow)]
        relu: Bitmap<'a>,
        /// f_c of the polynomial elements; 0 where there are none.
        frac_bits: u8,
        /// Sum over windows.
        pool: Option<Pool>,
    },
    /// See [`crate::model::Step::Rescale`].
    Rescale {
        /// f.
        shift: u8,
        /// Sum over windows.
        pool: Option<Pool>,
    },
    /// The last layer.
    Release {
        /// b.
        ring_bits: u8,
    },
}

/// One layer's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerPlan<'a> {
    /// Its place in the network.
    pub index: u16,
    /// Linear terms.
    pub terms: Vec<TermPlan, MAX_TERMS>,
    /// Shape of the sum.
    pub sum: Shape,
    /// What happens to the sum.
    #[serde(borrow)]
    pub step: StepPlan<'a>,
    /// The wire that it writes (unused by a release).
    pub output: Region,
    /// Where C waits before it becomes E: the output itself, or a region of its own before a pool.
    pub opened: Region,
    /// Accumulators of a pool's windows, by role (P0 keeps them in every mode).
    pub pooled: [Region; 2],
    /// Elements of a tile.
    pub tile: u32,
    /// Tiles of a group: the comparisons of one group are carried out together.
    pub group: u16,
}

/// The header of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanHeader<'a> {
    /// What was chosen.
    pub options: Options,
    /// The model's public header.
    #[serde(borrow)]
    pub model: Header<'a>,
    /// Number of layers.
    pub layers: u16,
    /// The input wire.
    pub input: Region,
    /// Elements of a tile of the input.
    pub input_tile: u32,
    /// 64-bit words of each party's wires and accumulators.
    pub wire_words: [u32; 2],
    /// 64-bit words of each party's tile window.
    pub window_words: [u32; 2],
    /// 64-bit words of each party's comparison state.
    pub state_words: [u32; 2],
    /// Longest frame, header included, that each party sends.
    pub longest_frame: [u32; 2],
}

/// A decoded plan, borrowed from its bytes.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// The header.
    pub header: PlanHeader<'a>,
    records: &'a [u8],
    hash: [u8; 32],
}

impl<'a> Plan<'a> {
    /// Decodes and checks a plan: every record, every region, every shape.
    ///
    /// # Errors
    /// The bytes are not a well-formed plan.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, ModelError> {
        let (header, records) =
            postcard::take_from_bytes::<PlanHeader<'a>>(bytes).map_err(|_| ModelError::Header)?;
        let plan = Self { header, records, hash: *blake3::hash(bytes).as_bytes() };
        plan.validate()?;
        Ok(plan)
    }

    /// BLAKE3 of the plan's bytes: mode, client, release, tiles and every width are bound by it.
    #[must_use]
    pub const fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// The records, in order.
    #[must_use]
    pub const fn layers(&self) -> Layers<'a> {
        Layers { rest: self.records, left: self.header.layers }
    }

    /// Bits of the widest ring that the parties compute in.
    #[must_use]
    pub fn widest(&self) -> u8 {
        let options = &self.header.options;
        self.layers().map(|layer| layer.widest(&layer.work(options))).fold(self.header.input.bits, u8::max)
    }

    /// 64-bit words of a party's arena: wires, tile window, comparison state.
    #[must_use]
    pub fn arena_words(&self, role: Role) -> usize {
        let r = role.index();
        [self.header.wire_words[r], self.header.window_words[r], self.header.state_words[r]]
            .iter()
            .map(|&w| w as usize)
            .sum()
    }

    /// Does this party keep wires and do linear work?
    #[must_use]
    pub fn keeps_wires(&self, role: Role) -> bool {
        !(role == Role::Seed && self.header.options.mode == Mode::Held)
    }

    fn validate(&self) -> Result<(), ModelError> {
        let options = &self.header.options;
        check_options(options)?;
        self.header.model.check()?;
        let input = &self.header.input;
        let tiles = input.elements.div_ceil(self.header.input_tile.max(1));
        if input.elements as usize != self.header.model.input.elements()
            || self.header.input_tile == 0
            || tiles > u32::from(u16::MAX)
        {
            return Err(ModelError::Shape);
        }
        if !(1..=64).contains(&input.bits) {
            return Err(ModelError::Widths);
        }
        if input.bits > WIDEST {
            return Err(ModelError::TooWide);
        }
        if usize::from(self.header.layers) > crate::model::MAX_LAYERS {
            return Err(ModelError::TooLarge);
        }
        let mut count = 0;
        let mut rest = self.records;
        while count < self.header.layers {
            let (layer, after) =
                postcard::take_from_bytes::<LayerPlan<'a>>(rest).map_err(|_| ModelError::Wiring)?;
            if layer.index != count {
                return Err(ModelError::Wiring);
            }
            layer.validate(self)?;
            let release = matches!(layer.step, StepPlan::Release { .. });
            if release != (count + 1 == self.header.layers)
                || (release && layer.elements() != usize::from(self.header.model.classes))
            {
                return Err(ModelError::Release);
            }
            rest = after;
            count += 1;
        }
        if !rest.is_empty() || count == 0 {
            return Err(ModelError::TooLarge);
        }
        compile::check_sizes(self)
    }
}

/// Iterates over the records of a plan that [`Plan::decode`] accepted.
#[derive(Clone, Debug)]
pub struct Layers<'a> {
    rest: &'a [u8],
    left: u16,
}

impl Layers<'_> {
    /// Every record that the header states has been given.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.left == 0
    }
}

impl<'a> Iterator for Layers<'a> {
    type Item = LayerPlan<'a>;

    fn next(&mut self) -> Option<LayerPlan<'a>> {
        let left = self.left.checked_sub(1)?;
        let (layer, rest) = postcard::take_from_bytes(self.rest).ok()?;
        (self.rest, self.left) = (rest, left);
        Some(layer)
    }
}
