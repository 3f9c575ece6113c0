//! Packing quantised layers into a model blob.

use halfnet_core::model::blob::{self, Kind};
use halfnet_core::model::{
    Activation, Bitmap, Header, Integers, InvalidModel, Layer, Linear, MAX_INPUT_CHANNELS, MAX_LAYERS,
    MAX_TERMS, Model, Polynomial, Step, Term,
};

use super::ImportError;
use super::quantise::Quantised;
use crate::network::float::{FloatNetwork, Mask};
use crate::network::simulate::{IntegerLayer, IntegerLinear, IntegerStep};

/// Integers in the narrowest width that holds them all.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct PackedIntegers {
    bits: u8,
    bytes: Vec<u8>,
}

/// Without the integers: they are weights.
impl core::fmt::Debug for PackedIntegers {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "PackedIntegers({} bytes of {} bits each)", self.bytes.len(), self.bits)
    }
}

impl PackedIntegers {
    /// Packs `values` little-endian.
    #[must_use]
    pub(crate) fn new(values: &[i64]) -> Self {
        let fits = |bits: u8| values.iter().all(|&v| v >> (bits - 1) == 0 || v >> (bits - 1) == -1);
        let bits = [8, 16, 32].into_iter().find(|&b| fits(b)).unwrap_or(64);
        let bytes =
            values.iter().flat_map(|v| v.to_le_bytes().into_iter().take(usize::from(bits / 8))).collect();
        Self { bits, bytes }
    }

    /// As the model borrows them.
    #[must_use]
    pub(crate) fn borrow(&self) -> Integers<'_> {
        if self.bytes.is_empty() { Integers::EMPTY } else { Integers { bits: self.bits, bytes: &self.bytes } }
    }
}

/// A mask as bits, lowest first.
#[must_use]
pub(crate) fn pack_mask(elements: &[bool]) -> Vec<u8> {
    elements.chunks(8).map(|bits| bits.iter().enumerate().map(|(i, &b)| u8::from(b) << i).sum()).collect()
}

/// A layer's bytes, for the model to borrow.
struct PackedLayer {
    terms: Vec<PackedIntegers>,
    bias: PackedIntegers,
    mask: Vec<u8>,
    polynomial: [PackedIntegers; 3],
    output_scale: Vec<u8>,
}

impl PackedLayer {
    fn new(layer: &IntegerLayer) -> Self {
        let of_term = |linear: &IntegerLinear| match linear {
            IntegerLinear::Convolution(products) => PackedIntegers::new(products.weights()),
            IntegerLinear::JoinScaled { factors, .. } => PackedIntegers::new(factors),
            IntegerLinear::JoinShift { .. } => PackedIntegers::default(),
        };
        let (mut mask, mut polynomial) = (Vec::new(), [const { &[] as &[i64] }; 3]);
        if let IntegerStep::Activate(activation) = &layer.step {
            if let Mask::Elements(elements) = &activation.relu {
                mask = pack_mask(elements);
            }
            if let Some(p) = &activation.polynomial {
                polynomial = [&p.c2, &p.c1, &p.c0];
            }
        }
        // One scale for all channels is stated once.
        let scales = match layer.output_scale.first() {
            Some(first) if layer.output_scale.iter().all(|s| s == first) => &layer.output_scale[..1],
            _ => &layer.output_scale,
        };
        Self {
            terms: layer.terms.iter().map(|t| of_term(&t.linear)).collect(),
            bias: PackedIntegers::new(&layer.bias),
            mask,
            polynomial: polynomial.map(PackedIntegers::new),
            output_scale: scales.iter().flat_map(|s| s.to_le_bytes()).collect(),
        }
    }

    fn borrow<'a>(&'a self, layer: &IntegerLayer) -> Result<Layer<'a>, ImportError> {
        let mut terms = heapless::Vec::<Term<'a>, MAX_TERMS>::new();
        for (term, packed) in layer.terms.iter().zip(&self.terms) {
            let linear = match &term.linear {
                IntegerLinear::Convolution(products) => {
                    Linear::Convolution { geometry: *products.geometry(), weights: packed.borrow() }
                }
                IntegerLinear::JoinShift { geometry, shift } => {
                    Linear::JoinShift { geometry: *geometry, shift: *shift }
                }
                IntegerLinear::JoinScaled { geometry, .. } => {
                    Linear::JoinScaled { geometry: *geometry, factors: packed.borrow() }
                }
            };
            terms.push(Term { source: term.source as u16, linear }).map_err(|_| too_large())?;
        }
        let step = match &layer.step {
            IntegerStep::Release { ring_bits } => Step::Release { ring_bits: *ring_bits },
            IntegerStep::Rescale { shift, pool } => Step::Rescale { shift: *shift, pool: *pool },
            IntegerStep::Activate(activation) => {
                let [c2, c1, c0] = [0, 1, 2].map(|i: usize| self.polynomial[i].borrow());
                let polynomial = |p: &crate::network::simulate::IntegerPolynomial| Polynomial {
                    degree: if c2.is_empty() { 1 } else { 2 },
                    frac_bits: p.frac_bits,
                    c2,
                    c1,
                    c0,
                };
                Step::Activate(Activation {
                    ring_bits: activation.ring_bits,
                    shift: activation.shift,
                    relu: match activation.relu {
                        Mask::All => Bitmap::All,
                        Mask::None => Bitmap::None,
                        Mask::Elements(_) => Bitmap::Bits(&self.mask),
                    },
                    polynomial: activation.polynomial.as_ref().map(polynomial),
                    pool: activation.pool,
                })
            }
        };
        Ok(Layer { terms, bias: self.bias.borrow(), step, output_scale: &self.output_scale })
    }
}

fn too_large() -> ImportError {
    ImportError::Invalid(InvalidModel { layer: None, reason: halfnet_core::error::ModelError::TooLarge })
}

/// The whole blob of a quantised network, checked by reading it back.
///
/// # Errors
/// The network has more layers, terms or channels than the format, or is not well-formed.
pub(crate) fn model(
    network: &FloatNetwork,
    class_names: &[String],
    quantised: &Quantised,
) -> Result<Vec<u8>, ImportError> {
    let packed: Vec<PackedLayer> = quantised.layers.iter().map(PackedLayer::new).collect();
    let mut layers = heapless::Vec::<Layer<'_>, MAX_LAYERS>::new();
    for (layer, packed) in quantised.layers.iter().zip(&packed) {
        layers.push(packed.borrow(layer)?).map_err(|_| too_large())?;
    }
    let class_names =
        if class_names.len() == network.classes() { class_names.join("\n") } else { String::new() };
    let mut normalisation = heapless::Vec::<_, MAX_INPUT_CHANNELS>::new();
    normalisation.extend_from_slice(&quantised.normalisation).map_err(|_| too_large())?;
    let header = Header {
        name: &network.name,
        data_set: network.data_set.name(),
        input: network.input,
        normalisation,
        classes: network.classes() as u16,
        class_names: &class_names,
    };
    seal(&Model { header, layers })
}

/// The whole blob of any model, checked by reading it back.
///
/// # Errors
/// The model is not well-formed.
pub(crate) fn seal(model: &Model<'_>) -> Result<Vec<u8>, ImportError> {
    let layer = |l: &Layer<'_>| {
        let weights = |linear: &Linear<'_>| match linear {
            Linear::Convolution { weights, .. } | Linear::JoinScaled { factors: weights, .. } => {
                weights.bytes.len()
            }
            Linear::JoinShift { .. } => 0,
        };
        // All other tensors are one a channel, or one bit an element.
        l.terms.iter().map(|t| weights(&t.linear)).sum::<usize>()
            + 64 * usize::from(l.sum_shape().channels)
            + l.sum_shape().elements() / 8
    };
    let room: usize = model.layers.iter().map(layer).sum::<usize>()
        + 512 * (model.layers.len() + 1)
        + model.header.class_names.len();
    let mut body = vec![0; room];
    let body = model.encode_body(&mut body).map_err(|_| too_large())?;
    let bytes = [&blob::envelope(Kind::Model, body), body].concat();
    Model::decode(&bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_take_the_narrowest_width_that_holds_them() {
        for (values, bits) in [
            (vec![127, -128], 8),
            (vec![128], 16),
            (vec![-129, 5], 16),
            (vec![1 << 15], 32),
            (vec![-(1 << 31), 1], 32),
            (vec![1 << 31], 64),
        ] {
            let packed = PackedIntegers::new(&values);
            assert_eq!(packed.borrow().bits, bits, "{values:?}");
            assert_eq!(packed.borrow().iter().collect::<Vec<_>>(), values);
        }
    }

    #[test]
    fn masks_are_packed_lowest_bit_first() {
        let elements: Vec<bool> = (0..19).map(|i| i % 3 == 0).collect();
        let bytes = pack_mask(&elements);
        assert_eq!(bytes.len(), 3);
        assert!((0..19).all(|i| Bitmap::Bits(&bytes).get(i) == elements[i]));
    }
}
