//! P0's half: everything from 32 bytes.

use core::ops::Range;

use zeroize::Zeroize;

use super::half::{Half, LinearTerm, MaterialError, ModelHalf, Position};
use crate::gate::linear;
use crate::plan::{Role, Section};
use crate::prg::{Key, Keystream, Stream};
use crate::ring::{Word, Words, WordsMut};
use crate::wire::message::{Agreement, Identifier};
use crate::{wire::frame::NO_LAYER, with_words};

/// The key of one inference: every share of P0's in it follows from it.
#[must_use]
pub fn inference_key(seed: &Key, agreement: &Agreement, deal: &Identifier, counter: u64) -> Key {
    let parts: [&[u8]; 5] =
        [&agreement.pairing, &agreement.plan, &agreement.provisioning, deal, &counter.to_le_bytes()];
    seed.derive("halfnet 1 inference of the seed party", &parts)
}

/// The key of P0's weight shares: one for all inferences of a provisioning. The plan's hash is in it because
/// widths are in the plan: one stream read as words of two widths would give P1 differences of weights.
#[must_use]
pub fn model_key(seed: &Key, agreement: &Agreement) -> Key {
    seed.derive(
        "halfnet 1 model of the seed party",
        &[&agreement.pairing, &agreement.provisioning, &agreement.plan],
    )
}

/// The key of one layer under the key of an inference.
#[must_use]
pub fn layer_key(inference: &Key, layer: u16) -> Key {
    inference.derive("halfnet 1 layer", &[&layer.to_le_bytes()])
}

/// The number of a tensor's stream under the model key: a term's weights, or (`term` = 255) a layer's c2.
#[must_use]
pub const fn tensor_kind(layer: u16, term: u8) -> u64 {
    (layer as u64) << 8 | term as u64
}

/// The term number of a layer's c2.
pub const QUADRATIC: u8 = u8::MAX;

/// P0's correlations: streams of the inference's key.
#[derive(Debug)]
pub struct SeedHalf<S = Stream> {
    inference: Key,
    layer: Key,
    stream: Option<(Section, S)>,
}

impl SeedHalf {
    /// The half of one inference.
    #[must_use]
    pub fn new(inference: Key) -> Self {
        Self::with_keystream(inference)
    }
}

impl<S: Keystream> SeedHalf<S> {
    /// The half of one inference, from a generator of the caller's.
    #[must_use]
    pub fn with_keystream(inference: Key) -> Self {
        let layer = layer_key(&inference, NO_LAYER);
        Self { inference, layer, stream: None }
    }

    fn stream(&mut self, section: Section) -> &mut S {
        if self.stream.as_ref().is_none_or(|(kept, _)| *kept != section) {
            self.stream = None;
        }
        let key = &self.layer;
        &mut self.stream.get_or_insert_with(|| (section, S::open(key, section.kind()))).1
    }
}

impl<S: Keystream> Half for SeedHalf<S> {
    const ROLE: Role = Role::Seed;

    fn begin_layer(&mut self, layer: u16, _sections: &mut dyn Iterator<Item = (Section, u64)>) {
        self.layer = layer_key(&self.inference, layer);
        self.stream = None;
    }

    fn words<W: Word>(
        &mut self,
        section: Section,
        position: Position,
        _bits: u8,
        out: &mut [W],
    ) -> Result<(), MaterialError> {
        Ok(self.stream(section).fill_words(position.words, out)?)
    }

    fn mixed_words(
        &mut self,
        section: Section,
        position: Position,
        _bits: &[u8],
        out: &mut [u64],
    ) -> Result<(), MaterialError> {
        Ok(self.stream(section).fill_words(position.words, out)?)
    }
}

/// P0's share of the c2 of a layer's channel.
///
/// # Errors
/// The stream ends before.
pub fn quadratic_share<S: Keystream>(model: &Key, layer: u16, channel: u16) -> Result<u64, MaterialError> {
    let mut word = [0_u64];
    S::open(model, tensor_kind(layer, QUADRATIC)).fill_words(u64::from(channel), &mut word)?;
    Ok(word[0])
}

/// P0's weight shares, regenerated channel by channel into memory that the caller lends.
pub struct SeedModel<'m> {
    key: Key,
    channel: &'m mut [u64],
}

impl core::fmt::Debug for SeedModel<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SeedModel(..)")
    }
}

impl Drop for SeedModel<'_> {
    fn drop(&mut self) {
        self.channel.zeroize();
    }
}

impl<'m> SeedModel<'m> {
    /// `channel` holds the weights of one output channel: at least fan-in · word bytes / 8 words.
    #[must_use]
    pub fn new(key: Key, channel: &'m mut [u64]) -> Self {
        Self { key, channel }
    }
}

/// The memory lent, in words of the kind of `_like`.
fn words_like<'c, W: Word>(_like: &[W], channel: &'c mut [u64]) -> &'c mut [W] {
    bytemuck::cast_slice_mut(channel)
}

impl ModelHalf for SeedModel<'_> {
    fn prepare(&mut self, _term: LinearTerm<'_>) -> Result<(), MaterialError> {
        Ok(())
    }

    fn convolve(
        &mut self,
        term: LinearTerm<'_>,
        tile: Range<usize>,
        out: WordsMut<'_>,
    ) -> Result<(), MaterialError> {
        let LinearTerm { id, geometry, input } = term;
        let mut stream = Stream::new(&self.key, tensor_kind(id.layer, id.term));
        let (plane, fan_in) = (geometry.output().plane().max(1), geometry.fan_in());
        with_words!(WordsMut, out, out => {
            let mut rest = out;
            for channel in tile.start / plane..tile.end.div_ceil(plane) {
                let weights = words_like(rest, self.channel).get_mut(..fan_in).ok_or(MaterialError::Weights)?;
                stream.fill_words((channel * fan_in) as u64, weights)?;
                let positions = linear::positions(&tile, channel, plane);
                let (part, after) = core::mem::take(&mut rest).split_at_mut_checked(positions.len()).ok_or(MaterialError::Weights)?;
                rest = after;
                linear::convolve_words(geometry, input, Words::new(weights), channel, positions, WordsMut::new(part))?;
            }
        });
        Ok(())
    }

    fn quadratic(&mut self, layer: u16, channel: u16) -> Result<u64, MaterialError> {
        quadratic_share::<Stream>(&self.key, layer, channel)
    }
}

/// P0's model in H: none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoModel;

impl ModelHalf for NoModel {
    fn prepare(&mut self, _term: LinearTerm<'_>) -> Result<(), MaterialError> {
        Ok(())
    }

    fn convolve(&mut self, _: LinearTerm<'_>, _: Range<usize>, _: WordsMut<'_>) -> Result<(), MaterialError> {
        Ok(())
    }

    fn quadratic(&mut self, _layer: u16, _channel: u16) -> Result<u64, MaterialError> {
        Ok(0)
    }
}
