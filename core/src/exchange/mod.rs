//! The exchanges: a file each, with all that one is.
//!
//! An exchange says which steps and frames it has and how long they are, which sections of the bundle it uses
//! up, what its messages wait for, how they are written and read, what the dealer makes for it, and which part
//! of the arena it works in. Plan and cost ask it for sizes, the dealer for correlations, the session walks
//! its frames; none of them knows more of a step than its name.
//!
//! | file | steps | sections |
//! |---|---|---|
//! | `opening` | opening 1, and opening 2 directly after a linear layer | U |
//! | `activation` | opening 2 of polynomials and of ReLUs | β and γ; ρ, R and their products |
//! | `comparison` | tree levels and t of ReLUs; the same for a tournament's rounds | leaves, levels |
//! | `pool` | opening 2 of pooled windows | the windows' masks |
//! | `tournament` | the rounds of argmax | masks, leaves, levels and selections of each |
//! | `output` | the release, the output's words | R of the released logits |
//! | `input` | what comes before the first layer | A |
//!
//! `linear` is the one sum over a layer's terms, `planes` what every comparison is made of, `party` what all of
//! them work on. Which exchange owns a step or a section is said in this file alone: in `exchange_of`, `steps`,
//! `sections` and `section_bytes`.

pub(crate) mod activation;
pub(crate) mod comparison;
pub(crate) mod input;
pub mod linear;
pub mod opening;
pub(crate) mod output;
pub(crate) mod party;
pub(crate) mod planes;
pub(crate) mod pool;
pub(crate) mod tournament;

use crate::bits::LANES;
use crate::dealer::{Dealing, Sink};
use crate::model::{Layer, Step as Secret};
use crate::packing::packed_len;
use crate::party::ErrorKind;
use crate::party::half::{Half, MaterialError, ModelHalf};
use crate::plan::step::MAX_STEPS;
use crate::plan::{Client, GroupPlan, LayerPlan, Options, Release, Role, Section, Step, StepPlan, Work};
use opening::Turn;
use party::{Group, Party};

/// What a message waits for, and what it makes known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// What the group before left.
    Before,
    /// C of the frame's tile.
    Opened,
    /// What the step before in a chain of steps gives: operands of a level, t, differences, the output.
    Link,
    /// Every activated value of the group: all of its C, and t where there are ReLUs.
    Activated,
}

/// How the two directions of a step hang together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// An opening: as the parties' [`Turn`]s say.
    Opening,
    /// Both send at once in every mode; what is sent is kept until the peer's part comes.
    Both,
    /// One party sends.
    OneWay,
}

/// Where a frame is: a tile of a group of a layer.
#[derive(Clone, Copy)]
pub(crate) struct Place<'l, 'p> {
    pub(crate) group: &'l GroupPlan<'l, 'p>,
    pub(crate) tile: usize,
}

/// What an exchange is, for one of its steps.
pub(crate) trait Exchange: Copy {
    /// See [`Order`].
    const ORDER: Order;
    /// Has every group its frames? Then they are counted through the layer.
    const IN_EVERY_GROUP: bool;

    /// What a frame of the step waits for.
    fn after(self, layer: &LayerPlan<'_>) -> Known;

    /// What its last frame makes known to who receives it, for the chain of flights.
    fn gives(self) -> &'static [Known] {
        &[]
    }

    /// Does it travel beside the comparisons of its group, where there are any, and so costs no round?
    fn is_beside_comparisons(self) -> bool {
        false
    }

    /// Frames of a group, before empty ones are left out.
    fn frames(self, group: &GroupPlan<'_, '_>) -> usize;

    /// Payload bytes of a frame of the party whose turn this is; 0 where it sends none.
    fn payload(self, at: &Place<'_, '_>, role: Role, turn: Turn) -> usize;

    /// Writes a frame's payload.
    fn write<H: Half, M: ModelHalf>(
        self,
        party: &mut Party<'_, H, M>,
        group: &mut Group<'_>,
        tile: usize,
        payload: &mut [u8],
    ) -> Result<(), ErrorKind>;

    /// Takes a frame's payload, whose length was checked.
    fn read<H: Half, M: ModelHalf>(
        self,
        party: &mut Party<'_, H, M>,
        group: &mut Group<'_>,
        tile: usize,
        payload: &[u8],
    ) -> Result<(), ErrorKind>;

    /// After the last frame of the step has come: what it makes possible.
    fn finish<H: Half, M: ModelHalf>(
        self,
        _party: &mut Party<'_, H, M>,
        _group: &mut Group<'_>,
    ) -> Result<(), ErrorKind> {
        Ok(())
    }
}

/// Runs code with the exchange that owns a step.
macro_rules! exchange_of {
    ($step:expr, $exchange:ident => $body:expr) => {
        exchange_of!($step, $exchange => $body,
            Step::Open => opening::Sums::Opened,
            Step::OpenLinear => opening::Sums::Rescaled,
            Step::OpenPolynomial => activation::Values::Polynomials,
            Step::OpenRelu => activation::Values::Relus,
            Step::OpenPool => pool::Windows,
            Step::Tree(level) => comparison::Relus { level: Some(level) },
            Step::Sign => comparison::Relus { level: None },
            Step::TournamentOpen(round) => tournament::Round { round, part: tournament::Part::Open },
            Step::TournamentTree(round, level) => tournament::Round { round, part: tournament::Part::Tree(level) },
            Step::TournamentSign(round) => tournament::Round { round, part: tournament::Part::Sign },
            Step::Release => output::Logits,
            Step::Output => output::Words,
        )
    };
    ($step:expr, $exchange:ident => $body:expr, $($name:pat => $owner:expr,)+) => {
        match $step {
            $($name => {
                let $exchange = $owner;
                $body
            })+
        }
    };
}

impl Step {
    /// What a frame of the step waits for.
    pub(crate) fn after(self, layer: &LayerPlan<'_>) -> Known {
        exchange_of!(self, exchange => exchange.after(layer))
    }

    /// What its last frame makes known.
    pub(crate) fn gives(self) -> &'static [Known] {
        exchange_of!(self, exchange => exchange.gives())
    }

    /// How its two directions hang together.
    pub(crate) fn order(self) -> Order {
        const fn order<E: Exchange>(_: E) -> Order {
            E::ORDER
        }
        exchange_of!(self, exchange => order(exchange))
    }

    /// Are its frames counted through the layer?
    pub(crate) fn is_in_every_group(self) -> bool {
        const fn is<E: Exchange>(_: E) -> bool {
            E::IN_EVERY_GROUP
        }
        exchange_of!(self, exchange => is(exchange))
    }

    /// Does it travel beside the comparisons of its group?
    pub(crate) fn is_beside_comparisons(self) -> bool {
        exchange_of!(self, exchange => exchange.is_beside_comparisons())
    }

    pub(crate) fn frames(self, group: &GroupPlan<'_, '_>) -> usize {
        exchange_of!(self, exchange => exchange.frames(group))
    }

    pub(crate) fn payload(self, at: &Place<'_, '_>, role: Role) -> usize {
        let turn = Turn::of(at.group.options.mode, role);
        exchange_of!(self, exchange => exchange.payload(at, role, turn))
    }

    pub(crate) fn write<H: Half, M: ModelHalf>(
        self,
        party: &mut Party<'_, H, M>,
        group: &mut Group<'_>,
        tile: usize,
        payload: &mut [u8],
    ) -> Result<(), ErrorKind> {
        exchange_of!(self, exchange => exchange.write(party, group, tile, payload))
    }

    pub(crate) fn read<H: Half, M: ModelHalf>(
        self,
        party: &mut Party<'_, H, M>,
        group: &mut Group<'_>,
        tile: usize,
        payload: &[u8],
    ) -> Result<(), ErrorKind> {
        exchange_of!(self, exchange => exchange.read(party, group, tile, payload))
    }

    pub(crate) fn finish<H: Half, M: ModelHalf>(
        self,
        party: &mut Party<'_, H, M>,
        group: &mut Group<'_>,
    ) -> Result<(), ErrorKind> {
        exchange_of!(self, exchange => exchange.finish(party, group))
    }
}

/// The steps of a group, in the order of every direction.
pub(crate) fn steps(group: &GroupPlan<'_, '_>) -> heapless::Vec<Step, MAX_STEPS> {
    let GroupPlan { layer, options, work, index, relus } = *group;
    let mut steps = heapless::Vec::new();
    let mut push = |step| {
        // There is room for the longest list that a validated plan has: `plan/step.rs` asserts it.
        let _ = steps.push(step);
    };
    let last = index + 1 == layer.groups();
    match layer.step {
        StepPlan::Activate { pool, .. } => {
            push(Step::Open);
            if pool.is_none() {
                push(Step::OpenPolynomial);
            }
            if relus > 0 {
                planes::Of::Relus.steps(work.layout).for_each(&mut push);
                if pool.is_none() {
                    push(Step::OpenRelu);
                }
            }
            if pool.is_some() && last {
                push(Step::OpenPool);
            }
        }
        StepPlan::Rescale { pool: None, .. } => push(Step::OpenLinear),
        StepPlan::Rescale { pool: Some(_), .. } => {
            if last {
                push(Step::OpenPool);
            }
        }
        StepPlan::Release { .. } => {
            match options.release {
                Release::Logits { .. } => push(Step::Release),
                Release::Label => tournament::steps(layer, options).for_each(&mut push),
            }
            if options.client == Client::SeedParty {
                push(Step::Output);
            }
        }
    }
    steps
}

/// The sections of a layer, in the bundle's order.
pub(crate) fn sections<'l>(
    layer: &'l LayerPlan<'_>,
    options: &Options,
) -> impl Iterator<Item = Section> + use<'l> {
    let layout = layer.work(options).layout;
    let activates = matches!(layer.step, StepPlan::Activate { .. });
    let label = matches!((layer.step, options.release), (StepPlan::Release { .. }, Release::Label));
    let comparisons = activates.then(|| planes::Of::Relus.sections(layout));
    let rounds = label.then(|| tournament::sections(layer, layout));
    [Section::Sum, Section::Polynomial]
        .into_iter()
        .chain(comparisons.into_iter().flatten())
        .chain([Section::Relu, Section::Window, Section::Output])
        .chain(rounds.into_iter().flatten())
}

/// Bytes of a section of a layer's part of the bundle.
pub(crate) fn section_bytes(layer: &LayerPlan<'_>, options: &Options, section: Section) -> u64 {
    let work = layer.work(options);
    match section {
        Section::Sum => opening::section_bytes(layer, &work),
        Section::Polynomial => activation::Values::Polynomials.section_bytes(layer, &work),
        Section::Relu => activation::Values::Relus.section_bytes(layer, &work),
        Section::Leaf => comparison::section_bytes(layer, work.layout.leaf_planes()),
        Section::Tree(level) => comparison::section_bytes(layer, work.layout.tree_planes(usize::from(level))),
        Section::Window => pool::section_bytes(layer, &work),
        Section::Output => output::section_bytes(layer, options, &work),
        Section::TournamentMask(_)
        | Section::TournamentSelect(_)
        | Section::TournamentLeaf(_)
        | Section::TournamentTree(..) => tournament::section_bytes(layer, &work, section),
    }
}

/// Bytes of `count` elements' words in chunks of 64 elements, each chunk packed by itself.
pub(crate) const fn chunked_bytes(count: usize, words: usize, bits: u8) -> u64 {
    (count / LANES * packed_len(LANES * words, bits) + packed_len(count % LANES * words, bits)) as u64
}

/// 64-bit words of the tile window: a tile of sums; P0 in H holds a tile of C instead.
pub(crate) fn window_words(layer: &LayerPlan<'_>, work: &Work, turn: Turn) -> usize {
    let bytes = if turn == Turn::Blind { 2 } else { work.word.bytes() };
    (layer.tile as usize * bytes).div_ceil(8)
}

/// 64-bit words of the comparison state of a group with so many ReLUs.
pub(crate) fn state_words(
    layer: &LayerPlan<'_>,
    options: &Options,
    work: &Work,
    relus: usize,
    turn: Turn,
) -> usize {
    match (layer.step, options.release) {
        (StepPlan::Release { .. }, Release::Label) => {
            tournament::state_words(layer.elements(), work.layout.state_words())
        }
        (StepPlan::Release { .. }, Release::Logits { .. }) => layer.elements(),
        _ => comparison::state_words(work.layout, relus) + activation::kept_words(relus, turn),
    }
}

/// What a group needs of no message: linear sums that flow into a pool or stay with P1, and the last layer's.
pub(crate) fn begin<H: Half, M: ModelHalf>(
    party: &mut Party<'_, H, M>,
    group: &mut Group<'_>,
) -> Result<(), ErrorKind> {
    match (group.layer.step, party.options.release) {
        (StepPlan::Activate { .. }, _) => Ok(()),
        (StepPlan::Rescale { pool: Some(pool), .. }, _) => pool::begin(party, group, &pool),
        (StepPlan::Rescale { pool: None, .. }, _) => opening::begin(party, group),
        (StepPlan::Release { .. }, Release::Label) => tournament::begin(party, group),
        (StepPlan::Release { .. }, Release::Logits { .. }) => output::begin(party, group),
    }
}

/// Deals a layer's sections, in the order of [`sections`].
pub(crate) fn deal<M: ModelHalf, S: Sink>(
    dealing: &mut Dealing<'_, '_, M, S>,
    layer: &LayerPlan<'_>,
    work: &Work,
    secret: &Layer<'_>,
) -> Result<(), MaterialError> {
    opening::deal(dealing, layer, work, secret)?;
    match (layer.step, secret.step) {
        (StepPlan::Activate { pool, .. }, Secret::Activate(activation)) => {
            if let Some(coefficients) = activation.polynomial {
                activation::deal_polynomials(dealing, layer, work, &coefficients)?;
            }
            if (0..layer.groups()).any(|group| layer.group_relus(group) > 0) {
                comparison::deal(dealing, layer, work)?;
                activation::deal_relus(dealing, layer, work)?;
            }
            if pool.is_some() { pool::deal(dealing, layer, work) } else { Ok(()) }
        }
        (StepPlan::Rescale { pool, .. }, Secret::Rescale { .. }) => {
            if pool.is_some() {
                pool::deal(dealing, layer, work)
            } else {
                Ok(())
            }
        }
        (StepPlan::Release { .. }, Secret::Release { .. }) => match dealing.options().release {
            Release::Logits { .. } => output::deal(dealing, layer, work),
            Release::Label => tournament::deal(dealing, layer, work),
        },
        _ => Err(MaterialError::Weights),
    }
}
