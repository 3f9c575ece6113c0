//! The dealer's own randomness: every mask of an inference, from its seed.

use crate::bits::LANES;
use crate::opening::{self, Exchange};
use crate::party::half::{Half, MaterialError, Position};
use crate::party::memory::part_mut;
use crate::party::seed::{self, SeedHalf};
use crate::plan::{Client, LayerPlan, Plan, Section, Work};
use crate::prg::{Key, Stream};
use crate::wire::frame::NO_LAYER;
use crate::wire::message::{Agreement, Identifier};

/// What the dealer's randomness of one inference follows from; a simulator that is given it can predict every
/// coin.
#[derive(Clone, Debug)]
pub struct Secrets {
    inference: Key,
    own: Key,
}

/// Kinds of the dealer's own streams.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Own {
    /// A of the input, for a third client.
    Input,
    /// The mask of opening 1, by element.
    Open,
    /// The mask of opening 2, by element of the output wire.
    Next,
    /// ρ, a word for 64 comparisons.
    Flip,
    /// a, b, c of a level's nodes.
    Tree(u8),
    /// The mask of a round's differences.
    TournamentMask(u8),
    /// ρ of a round.
    TournamentFlip(u8),
    /// a of a round's index choices.
    TournamentChoice(u8),
    /// As of a layer's ReLUs.
    TournamentTree(u8, u8),
}

impl Own {
    pub(crate) const fn kind(self) -> u64 {
        match self {
            Self::Input => 1,
            Self::Open => 2,
            Self::Next => 3,
            Self::Flip => 4,
            Self::Tree(level) => 16 + level as u64,
            Self::TournamentMask(round) => 256 + 16 * round as u64,
            Self::TournamentFlip(round) => 257 + 16 * round as u64,
            Self::TournamentChoice(round) => 258 + 16 * round as u64,
            Self::TournamentTree(round, level) => 260 + 16 * round as u64 + level as u64,
        }
    }
}

impl Secrets {
    /// The secrets of inference `counter`.
    #[must_use]
    pub fn new(
        dealer_seed: &Key,
        party_seed: &Key,
        agreement: &Agreement,
        deal: &Identifier,
        counter: u64,
    ) -> Self {
        let parts: [&[u8]; 5] =
            [&agreement.pairing, &agreement.plan, &agreement.provisioning, deal, &counter.to_le_bytes()];
        Self {
            inference: seed::inference_key(party_seed, agreement, deal, counter),
            own: dealer_seed.derive("halfnet 1 inference of the dealer", &parts),
        }
    }

    pub(crate) fn stream(&self, layer: u16, own: Own) -> Stream {
        Stream::new(&seed::layer_key(&self.own, layer), own.kind())
    }

    /// P0's half of this inference.
    #[must_use]
    pub fn seed_half(&self) -> SeedHalf {
        SeedHalf::new(self.inference.clone())
    }

    /// A of the input wire for elements `first ..`, modulo 2^64.
    ///
    /// # Errors
    /// The stream ended.
    pub fn input_mask(&self, plan: &Plan<'_>, first: usize, out: &mut [u64]) -> Result<(), MaterialError> {
        match plan.header.options.client {
            Client::SeedParty => {
                self.seed_half().words(Section::Sum, Position { words: first as u64, bytes: 0 }, 64, out)
            }
            Client::Third => Ok(self.stream(NO_LAYER, Own::Input).fill_words(first as u64, out)?),
        }
    }

    /// ρ of a layer's comparisons, word `word` of 64 and the one after it.
    ///
    /// # Errors
    /// The stream ended.
    pub fn flips(&self, layer: u16, word: usize) -> Result<[u64; 2], MaterialError> {
        let mut flips = [0; 2];
        self.stream(layer, Own::Flip).fill_words(word as u64, &mut flips)?;
        Ok(flips)
    }

    /// The masks of a layer's opening 1 for elements `first ..`.
    ///
    /// # Errors
    /// The stream ended.
    pub fn open_masks(
        &self,
        layer: &LayerPlan<'_>,
        work: &Work,
        exchange: Exchange,
        first: usize,
        out: &mut [opening::Mask],
    ) -> Result<(), MaterialError> {
        masks(&mut self.stream(layer.index, Own::Open), work.opened_bits, work.shift, exchange, first, out)
    }

    /// The masks of a layer's opening 2 for elements (or windows) `first ..` of its output, each cutting
    /// `shift` bits.
    ///
    /// # Errors
    /// The stream ended.
    pub fn next_masks(
        &self,
        layer: &LayerPlan<'_>,
        shift: u8,
        exchange: Exchange,
        first: usize,
        out: &mut [opening::Mask],
    ) -> Result<(), MaterialError> {
        masks(&mut self.stream(layer.index, Own::Next), layer.output.bits, shift, exchange, first, out)
    }
}

pub(super) fn masks(
    stream: &mut Stream,
    bits: u8,
    shift: u8,
    exchange: Exchange,
    first: usize,
    out: &mut [opening::Mask],
) -> Result<(), MaterialError> {
    let mut words = [0_u64; LANES];
    let mut at = first as u64;
    for part in out.chunks_mut(LANES) {
        let words = part_mut(&mut words, ..part.len())?;
        stream.fill_words(at, words)?;
        for (slot, word) in part.iter_mut().zip(words.iter()) {
            *slot = opening::mask(exchange, *word, bits, shift);
        }
        at += part.len() as u64;
    }
    Ok(())
}
