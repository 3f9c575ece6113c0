//! The output of an inference: each party's words, and the answer that they add up to.

use super::half::{Half, ModelHalf};
use super::session::Session;
use super::{ErrorKind, SessionError};
use crate::packing::{Packer, Unpacker, packed_len};
use crate::plan::{Client, Plan, Release};
use crate::ring::{low_mask, signed};

impl<H: Half, M: ModelHalf> Session<'_, '_, H, M> {
    /// This party's words of the output for a third client, packed; call when the session is finished.
    ///
    /// # Errors
    /// Not finished, or `out` is too short.
    pub fn output_share(&self, out: &mut [u8]) -> Result<usize, SessionError> {
        let (words, bits) = output_shape(&self.plan);
        if !self.is_finished()
            || self.plan.header.options.client != Client::Third
            || out.len() < packed_len(words, bits)
        {
            return Err(self.error(ErrorKind::Misuse));
        }
        let mut packer = Packer::new(out);
        packer.extend(self.state.get(..words).unwrap_or(&[]), bits);
        Ok(packer.finish())
    }

    /// The answer, for P0 as the client: the label as one number, or the released logits, one after another.
    pub fn answer(&self) -> impl Iterator<Item = i64> + '_ {
        let (words, bits) = output_shape(&self.plan);
        let mine =
            self.is_finished() && self.is_seed() && self.plan.header.options.client == Client::SeedParty;
        let label = self.plan.header.options.release == Release::Label;
        self.state
            .iter()
            .take(if mine { words } else { 0 })
            .map(move |&word| if label { word as i64 } else { signed(word, bits) })
    }
}

/// Words that each party gives to the client, and their bits.
#[must_use]
pub fn output_shape(plan: &Plan<'_>) -> (usize, u8) {
    let options = &plan.header.options;
    plan.layers()
        .last()
        .map_or((0, 1), |layer| (layer.output_words(options), layer.work(options).opened_bits))
}

/// The answer from both parties' output words, for a third client: the label, or the released logits in
/// order.
pub fn combine_outputs<'a>(plan: &Plan<'_>, shares: [&'a [u8]; 2]) -> impl Iterator<Item = i64> + use<'a> {
    let (words, bits) = output_shape(plan);
    let label = plan.header.options.release == Release::Label;
    let mut unpackers = shares.map(Unpacker::new);
    (0..words).map(move |_| {
        let mut sum = 0_u64;
        for unpacker in &mut unpackers {
            let mut word = [0_u64];
            unpacker.take(bits, &mut word);
            sum = sum.wrapping_add(word[0]);
        }
        if label { (sum & low_mask(bits)) as i64 } else { signed(sum, bits) }
    })
}
