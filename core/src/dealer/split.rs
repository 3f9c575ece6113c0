//! Splitting a model: P1's share of every tensor.

use super::Sink;
use crate::bits::LANES;
use crate::model::{Integers, Linear, Model, Step};
use crate::party::half::{MaterialError, TermId};
use crate::party::memory::{part, part_mut};
use crate::party::seed;
use crate::plan::Mode;
use crate::prg::{Key, Stream};
use crate::ring::{Word, WordKind};
use crate::with_kind;

/// P1's share of one tensor of the model, or in H the tensor itself, as it stands in P1's material.
///
/// Shared tensors are words of the layer's sum (64-bit words for c2), little-endian; held ones are as wide as
/// in the model.
///
/// # Errors
/// A sink or stream failed.
pub fn split_tensor(
    mode: Mode,
    word: WordKind,
    model_key: &Key,
    kind: u64,
    tensor: &Integers<'_>,
    sink: &mut impl Sink,
) -> Result<(), MaterialError> {
    if mode == Mode::Held {
        return sink.write(tensor.bytes);
    }
    let mut stream = Stream::new(model_key, kind);
    for first in (0..tensor.len()).step_by(LANES) {
        let count = (tensor.len() - first).min(LANES);
        with_kind!(word, W => {
            let mut words = [W::default(); LANES];
            let words = part_mut(&mut words, ..count)?;
            stream.fill_words(first as u64, words)?;
            for (i, word) in words.iter_mut().enumerate() {
                *word = W::from_i64(tensor.get(first + i)).sub(*word);
                sink.write(part(&word.to_u64().to_le_bytes(), ..W::BYTES)?)?;
            }
        });
    }
    Ok(())
}

/// The tensors of a model in the order of P1's material: every layer's terms with weights, then its c2.
pub fn tensors<'m>(model: &'m Model<'_>) -> impl Iterator<Item = (TermId, Integers<'m>)> + 'm {
    model.layers.iter().enumerate().flat_map(|(layer, secret)| {
        let layer = layer as u16;
        let terms = secret.terms.iter().enumerate().filter_map(move |(term, t)| {
            let id = TermId { layer, term: term as u8 };
            match t.linear {
                Linear::Convolution { weights, .. } => Some((id, weights)),
                Linear::JoinScaled { factors, .. } => Some((id, factors)),
                Linear::JoinShift { .. } => None,
            }
        });
        // First-order polynomials have a c2 of zeros: what P0 and P1 hold does not tell the degree.
        let quadratic = match &secret.step {
            Step::Activate(a) => a.polynomial.map(|p| {
                if p.c2.is_empty() { zeros(usize::from(secret.sum_shape().channels)) } else { p.c2 }
            }),
            _ => None,
        };
        terms.chain(quadratic.map(|c2| (TermId { layer, term: seed::QUADRATIC }, c2)))
    })
}

/// A model's own tensors, as [`crate::party::bundle::Tensors`]: the dealer's and the reference's weights.
#[derive(Clone, Copy, Debug)]
pub struct FullWeights<'m, 'a>(pub &'m Model<'a>);

impl crate::party::bundle::Tensors for FullWeights<'_, '_> {
    fn tensor(&self, id: TermId) -> Option<Integers<'_>> {
        tensors(self.0).find(|(found, _)| *found == id).map(|(_, tensor)| tensor)
    }
}

/// `count` zeros.
fn zeros(count: usize) -> Integers<'static> {
    static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
    Integers { bits: 8, bytes: ZEROS.get(..count).unwrap_or(&[]) }
}
