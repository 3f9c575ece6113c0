//! The typed check of a decoded model: every shape, length, width and range, before anything else touches it.
//!
//! What it cannot check is that real pictures keep a layer's sum inside its ring: that is calibrated by the
//! importer and counted by the reference. It refuses sums that *no* input could bring into the ring's range,
//! and any that could overflow 64 bits.

use heapless::Vec;

use super::interval::Interval;
use super::{
    Activation, Bitmap, Header, Integers, Layer, Linear, MAX_LAYERS, MAX_TERMS, Model, Polynomial, Step,
};
use crate::error::ModelError;
use crate::shape::Shape;

/// Wires of one model, at most.
pub const MAX_WIRES: usize = MAX_LAYERS + 1;
/// Narrowest and widest ring of an activation or a release.
const RING_BITS: core::ops::RangeInclusive<u8> = 4..=32;
/// Bits that an activation may open.
const OPENED_BITS: core::ops::RangeInclusive<u8> = 2..=16;
/// Bytes of a name in the header, at most.
const MAX_NAME: usize = 64;

/// What is wrong with a model, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct InvalidModel {
    /// The layer, counted from 0; none for the header or the whole.
    pub layer: Option<u16>,
    /// What is wrong.
    pub reason: ModelError,
}

impl core::fmt::Display for InvalidModel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.layer {
            Some(layer) => write!(f, "layer {layer} of the model: {}", self.reason),
            None => write!(f, "the model: {}", self.reason),
        }
    }
}

impl core::error::Error for InvalidModel {}

/// Which ring a layer's sum is computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SumRing {
    /// Z_b of an activation or the release.
    Bits(u8),
    /// Z_(W + shift), W of the wire that a rescaling writes.
    AboveWire(u8),
}

/// A wire that a layer reads, and the public shift it applies (0 where there is none).
pub type Read = (u16, u8);

impl Layer<'_> {
    /// The ring of the layer's sum.
    #[must_use]
    pub fn sum_ring(&self) -> SumRing {
        match self.step {
            Step::Activate(Activation { ring_bits, .. }) | Step::Release { ring_bits } => {
                SumRing::Bits(ring_bits)
            }
            Step::Rescale { shift, .. } => SumRing::AboveWire(shift),
        }
    }

    /// Every wire the layer reads.
    #[must_use]
    pub fn reads(&self) -> Vec<Read, MAX_TERMS> {
        let shift =
            |linear: &Linear<'_>| if let Linear::JoinShift { shift, .. } = linear { *shift } else { 0 };
        self.terms.iter().map(|t| (t.source, shift(&t.linear))).collect()
    }
}

/// W of every wire, from the public part of each layer, first to last: the most bits that any reader needs,
/// which are the reader's ring bits less its public shift.
///
/// # Errors
/// Named with the layer: there are too many, one reads a wire that does not exist yet, no layer reads a wire
/// ([`ModelError::Wiring`]), a ring is wider than 64 bits or a shift as wide as its ring
/// ([`ModelError::Widths`]).
pub fn wire_bits_of<I>(layers: I) -> Result<Vec<u8, MAX_WIRES>, InvalidModel>
where
    I: DoubleEndedIterator<Item = (SumRing, Vec<Read, MAX_TERMS>)> + ExactSizeIterator,
{
    let count = layers.len();
    let mut bits = Vec::<u8, MAX_WIRES>::new();
    bits.resize(count, 0).map_err(|_| InvalidModel { layer: None, reason: ModelError::TooLarge })?;
    for (index, (ring, reads)) in layers.enumerate().rev() {
        let fault = |reason| InvalidModel { layer: Some(index as u16), reason };
        let ring = match ring {
            SumRing::Bits(b) => b,
            SumRing::AboveWire(shift) => bits
                .get(index + 1)
                .copied()
                .filter(|&w| w > 0)
                .ok_or(fault(ModelError::Wiring))?
                .saturating_add(shift),
        };
        if ring > 64 {
            return Err(fault(ModelError::Widths));
        }
        for (source, shift) in reads {
            let wire = bits
                .get_mut(..=index)
                .and_then(|b| b.get_mut(usize::from(source)))
                .ok_or(fault(ModelError::Wiring))?;
            let needed = ring.checked_sub(shift).filter(|&n| n > 0).ok_or(fault(ModelError::Widths))?;
            *wire = needed.max(*wire);
        }
    }
    match bits.iter().position(|&b| b == 0) {
        // Wire i is written by layer i − 1; an input that nobody reads belongs to no layer.
        Some(wire) => {
            Err(InvalidModel { layer: wire.checked_sub(1).map(|l| l as u16), reason: ModelError::Wiring })
        }
        None => Ok(bits),
    }
}

fn check_integers(integers: &Integers<'_>, count: usize) -> Result<(), ModelError> {
    let bytes = match integers.bits {
        8 | 16 | 32 | 64 => count.checked_mul(usize::from(integers.bits / 8)),
        _ => None,
    };
    if bytes == Some(integers.bytes.len()) { Ok(()) } else { Err(ModelError::TensorLength) }
}

fn check_bitmap(bitmap: &Bitmap<'_>, elements: usize) -> Result<(), ModelError> {
    let Bitmap::Bits(bytes) = bitmap else { return Ok(()) };
    let unused = (8 - elements % 8) % 8;
    if bytes.len() != elements.div_ceil(8) || bytes.last().is_some_and(|b| b.leading_zeros() < unused as u32)
    {
        return Err(ModelError::Bitmap);
    }
    Ok(())
}

impl Header<'_> {
    /// # Errors
    /// Names, shape, normalisation and classes do not fit each other.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        self.input.validate()?;
        let named =
            |name: &str| !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control);
        let classes =
            self.class_names.is_empty() || self.class_names.lines().count() == usize::from(self.classes);
        let channels = self.normalisation.len() == usize::from(self.input.channels);
        if !named(self.name) || !named(self.data_set) || !classes || !channels || self.classes == 0 {
            return Err(ModelError::Header);
        }
        Ok(())
    }
}

impl Model<'_> {
    /// W of every wire, the input's first: see [`wire_bits_of`].
    ///
    /// # Errors
    /// As [`wire_bits_of`]; never on a validated model.
    pub fn wire_bits(&self) -> Result<Vec<u8, MAX_WIRES>, InvalidModel> {
        wire_bits_of(self.layers.iter().map(|l| (l.sum_ring(), l.reads())))
    }

    /// Checks everything that the rest of the crate relies on.
    ///
    /// # Errors
    /// The first thing that is wrong, with its layer.
    pub fn validate(&self) -> Result<(), InvalidModel> {
        let whole = |reason| InvalidModel { layer: None, reason };
        self.header.check().map_err(whole)?;
        let count = self.layers.len();
        if count == 0 {
            return Err(whole(ModelError::Release));
        }
        for (index, layer) in self.layers.iter().enumerate() {
            let fault = |reason| InvalidModel { layer: Some(index as u16), reason };
            if matches!(layer.step, Step::Release { .. }) != (index + 1 == count) {
                return Err(fault(ModelError::Release));
            }
            self.check_shapes(index, layer).map_err(fault)?;
            check_step(layer).map_err(fault)?;
        }
        let bits = self.wire_bits()?;
        let mut wires = Vec::<Interval, MAX_WIRES>::new();
        let _ = wires.push(self.input_interval());
        for (index, layer) in self.layers.iter().enumerate() {
            let fault = |reason| InvalidModel { layer: Some(index as u16), reason };
            if let Step::Activate(Activation { polynomial: Some(p), .. }) = &layer.step
                && bits.get(index + 1).is_some_and(|&w| w.saturating_add(p.frac_bits) > 64)
            {
                return Err(fault(ModelError::Widths));
            }
            let sums = check_sums(layer, &wires).map_err(fault)?;
            let _ = wires.push(output_interval(layer, sums).map_err(fault)?);
        }
        let last = self.layers.last().map_or(0, |l| l.output_shape().elements());
        if last != usize::from(self.header.classes) { Err(whole(ModelError::Header)) } else { Ok(()) }
    }

    fn input_interval(&self) -> Interval {
        let ends = self.header.normalisation.iter().flat_map(|n| {
            [0, 255].map(|p| i128::from(n.gain.to_bits()) * p + i128::from(n.offset.to_bits()))
        });
        let fold = |acc: Interval, v: i128| Interval {
            low: acc.low.min(v >> 16),
            high: acc.high.max((v >> 16) + 1),
        };
        ends.fold(Interval::ZERO, fold)
    }

    fn check_shapes(&self, index: usize, layer: &Layer<'_>) -> Result<(), ModelError> {
        let Some(first) = layer.terms.first() else { return Err(ModelError::TooLarge) };
        if !matches!(first.linear, Linear::Convolution { .. }) {
            return Err(ModelError::Shape);
        }
        let sum = layer.sum_shape();
        for term in &layer.terms {
            match &term.linear {
                Linear::Convolution { geometry, weights } => {
                    geometry.validate()?;
                    check_integers(weights, geometry.weights())?;
                }
                Linear::JoinShift { geometry, .. } => geometry.validate()?,
                Linear::JoinScaled { geometry, factors } => {
                    geometry.validate()?;
                    check_integers(factors, usize::from(geometry.input.channels))?;
                }
            }
            if term.linear.output() != sum {
                return Err(ModelError::Shape);
            }
            if term.linear.input() != self.wire_shape(index, term.source)? {
                return Err(ModelError::Shape);
            }
        }
        check_integers(&layer.bias, usize::from(sum.channels))?;
        let scales = layer.output_scale.len();
        if scales != 0 && scales != 4 && scales != 4 * usize::from(sum.channels) {
            return Err(ModelError::TensorLength);
        }
        match layer.step {
            Step::Activate(Activation { pool: Some(pool), .. }) | Step::Rescale { pool: Some(pool), .. } => {
                pool.validate(sum)
            }
            _ => Ok(()),
        }
    }

    /// Shape of a wire that layer `reader` may read.
    fn wire_shape(&self, reader: usize, wire: u16) -> Result<Shape, ModelError> {
        match usize::from(wire) {
            0 => Ok(self.header.input),
            w if w <= reader => self.layers.get(w - 1).map(Layer::output_shape).ok_or(ModelError::Wiring),
            _ => Err(ModelError::Wiring),
        }
    }
}

fn check_step(layer: &Layer<'_>) -> Result<(), ModelError> {
    let sum = layer.sum_shape();
    let (channels, elements) = (usize::from(sum.channels), sum.elements());
    match &layer.step {
        Step::Release { ring_bits } if RING_BITS.contains(ring_bits) => Ok(()),
        Step::Rescale { shift, .. } if *shift < 64 => Ok(()),
        Step::Release { .. } | Step::Rescale { .. } => Err(ModelError::Widths),
        Step::Activate(Activation { ring_bits, shift, relu, polynomial, .. }) => {
            let opened = ring_bits.checked_sub(*shift).ok_or(ModelError::Widths)?;
            if !RING_BITS.contains(ring_bits) || !OPENED_BITS.contains(&opened) {
                return Err(ModelError::Widths);
            }
            check_bitmap(relu, elements)?;
            match polynomial {
                None if relu.count(0..elements) == elements => Ok(()),
                // Coefficients that no element uses would be secrets dealt for nothing.
                Some(_) if matches!(relu, Bitmap::All) => Err(ModelError::Polynomial),
                Some(Polynomial { degree, frac_bits, c2, c1, c0 }) => {
                    if *frac_bits >= 64 {
                        return Err(ModelError::Widths);
                    }
                    match degree {
                        1 if c2.is_empty() => Ok(()),
                        2 => check_integers(c2, channels),
                        _ => Err(ModelError::Polynomial),
                    }?;
                    check_integers(c1, channels)?;
                    check_integers(c0, channels)
                }
                None => Err(ModelError::Polynomial),
            }
        }
    }
}

/// The interval of a layer's sums over all channels, each channel's own checked against the ring.
fn check_sums(layer: &Layer<'_>, wires: &[Interval]) -> Result<Interval, ModelError> {
    let range = match layer.step {
        Step::Activate(Activation { ring_bits, shift, .. }) => {
            let quarter = 1_i128 << (ring_bits - 2);
            Some((-quarter, quarter - (1 << shift)))
        }
        Step::Release { ring_bits } => Some((-(1_i128 << (ring_bits - 3)), (1_i128 << (ring_bits - 3)) - 1)),
        Step::Rescale { .. } => None,
    };
    let widest = match layer.sum_ring() {
        SumRing::Bits(b) => 1_i128 << (b - 1),
        SumRing::AboveWire(_) => i128::from(i64::MAX),
    };
    let mut all = Interval::ZERO;
    for channel in 0..usize::from(layer.sum_shape().channels) {
        let bias = i128::from(layer.bias.get(channel));
        let mut sum = Interval { low: bias, high: bias };
        for term in &layer.terms {
            let source = wires.get(usize::from(term.source)).copied().ok_or(ModelError::Wiring)?.with_zero();
            let mut add = |factor: i128| {
                sum = sum.plus(source.times(factor));
                if factor.abs() <= widest { Ok(()) } else { Err(ModelError::Range) }
            };
            match &term.linear {
                Linear::Convolution { geometry, weights } => {
                    let fan_in = geometry.fan_in();
                    (channel * fan_in..(channel + 1) * fan_in)
                        .try_for_each(|i| add(i128::from(weights.get(i))))?;
                }
                Linear::JoinShift { shift, .. } => add(1_i128 << shift.min(&63))?,
                Linear::JoinScaled { geometry, factors } => {
                    if let Some(c) = channel.checked_sub(usize::from(geometry.channel_offset)) {
                        add(i128::from(factors.get(c)))?;
                    }
                }
            }
        }
        if !sum.fits_i64() || range.is_some_and(|(low, high)| !sum.meets(low, high)) {
            return Err(ModelError::Range);
        }
        all = Interval { low: all.low.min(sum.low), high: all.high.max(sum.high) };
    }
    Ok(all)
}

/// The interval of the wire that a layer writes, given its sums' and that they keep the ring's range.
fn output_interval(layer: &Layer<'_>, sums: Interval) -> Result<Interval, ModelError> {
    let output = match &layer.step {
        Step::Release { .. } => sums,
        Step::Rescale { shift, pool } => sums.pooled(*pool).cut(*shift),
        Step::Activate(Activation { ring_bits, shift, polynomial, pool, .. }) => {
            let bound = 1_i128 << (ring_bits - shift - 2);
            let mut output = Interval { low: 0, high: bound };
            if let Some(Polynomial { frac_bits, c2, c1, c0, .. }) = polynomial {
                for channel in 0..usize::from(layer.sum_shape().channels) {
                    let [c2, c1, c0] = [c2, c1, c0].map(|c| i128::from(c.get(channel)).abs());
                    let most = c2
                        .saturating_mul(bound * bound)
                        .saturating_add(c1.saturating_mul(bound))
                        .saturating_add(c0);
                    let most = Interval { low: most.saturating_neg(), high: most };
                    if !most.pooled(*pool).fits_i64() {
                        return Err(ModelError::Range);
                    }
                    let cut = most.cut(*frac_bits);
                    output = Interval { low: output.low.min(cut.low), high: output.high.max(cut.high) };
                }
                let shifted = Interval { low: 0, high: bound << frac_bits };
                if !shifted.pooled(*pool).fits_i64() {
                    return Err(ModelError::Range);
                }
            }
            output.pooled(*pool)
        }
    };
    if output.fits_i64() { Ok(output) } else { Err(ModelError::Range) }
}
