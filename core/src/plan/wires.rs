//! Where every wire lies in the arena.
//!
//! Regions are given out first-fit over the wires that are still to be read. A residual sum of the same shape
//! is written over its skip wire: element i of the join is read before element i of the sum is written, so a
//! residual block needs two buffers, not three.

use heapless::Vec;

use super::{LayerPlan, LinearPlan, Mode, Options, Region, StepPlan, TermPlan};
use crate::error::ModelError;
use crate::model::{Activation, Layer, Linear, MAX_LAYERS, Model, Step};
use crate::ring::WordKind;

/// Where every wire lies.
pub(super) struct Wires {
    regions: Vec<Region, { MAX_LAYERS + 1 }>,
    opened: Vec<Region, MAX_LAYERS>,
    pooled: Vec<[Region; 2], MAX_LAYERS>,
    pub(super) words: [u32; 2],
}

impl Wires {
    pub(super) fn wire(&self, index: usize) -> Result<Region, ModelError> {
        self.regions.get(index).copied().ok_or(ModelError::Wiring)
    }

    pub(super) fn allocate(model: &Model<'_>, bits: &[u8], options: &Options) -> Result<Self, ModelError> {
        let held = options.mode == Mode::Held;
        let mut wires = Self { regions: Vec::new(), opened: Vec::new(), pooled: Vec::new(), words: [0; 2] };
        let last_use = |wire: usize| {
            let reads = |layer: &Layer<'_>| layer.terms.iter().any(|t| usize::from(t.source) == wire);
            model.layers.iter().rposition(reads).unwrap_or(0)
        };
        let width = |wire: usize| bits.get(wire).copied().ok_or(ModelError::Wiring);
        let place = |live: &[Region], elements: usize, bits: u8| -> Result<Region, ModelError> {
            let mut region = Region {
                offset: 0,
                elements: u32::try_from(elements).map_err(|_| ModelError::TooLarge)?,
                bits,
            };
            // First fit: try the start and the end of every live region.
            let mut best = u32::MAX;
            for start in core::iter::once(0).chain(live.iter().map(|r| r.range().end as u32)) {
                region.offset = start;
                let range = region.range();
                if start < best
                    && live.iter().all(|r| r.range().end <= range.start || range.end <= r.range().start)
                {
                    best = start;
                }
            }
            region.offset = best;
            Ok(region)
        };
        let first = place(&[], model.header.input.elements(), width(0)?)?;
        wires.regions.push(first).map_err(|_| ModelError::TooLarge)?;
        let mut high = [0_u32; 2];
        let mut note = |region: &Region, seed: bool| {
            let end = region.range().end as u32;
            high[1] = high[1].max(end);
            if seed {
                high[0] = high[0].max(end);
            }
        };
        note(&first, !held);
        for (index, layer) in model.layers.iter().enumerate() {
            let mut live: Vec<Region, { MAX_LAYERS + 4 }> = Vec::new();
            for (wire, region) in wires.regions.iter().enumerate() {
                if last_use(wire) >= index {
                    live.push(*region).map_err(|_| ModelError::TooLarge)?;
                }
            }
            let sum = layer.sum_shape();
            let release = matches!(layer.step, Step::Release { .. });
            let pool = match layer.step {
                Step::Activate(Activation { pool, .. }) | Step::Rescale { pool, .. } => pool,
                Step::Release { .. } => None,
            };
            let out_bits = if release { 1 } else { width(index + 1)? };
            let out_elements = if release { 0 } else { layer.output_shape().elements() };
            let output = match in_place(layer, index, &wires, &last_use, out_bits) {
                Some(source) if !release && pool.is_none() => Region { bits: out_bits, ..source },
                _ => place(&live, out_elements, out_bits)?,
            };
            live.push(output).map_err(|_| ModelError::TooLarge)?;
            note(&output, !held);
            // Before a pool, C waits in a region of its own and the windows' shares add up in another.
            let (mut opened, mut pooled) = (output, [Region { offset: 0, elements: 0, bits: 1 }; 2]);
            if pool.is_some() {
                if let Step::Activate(activation) = &layer.step {
                    let bits = activation.ring_bits.saturating_sub(activation.shift);
                    opened = place(&live, sum.elements(), bits)?;
                    live.push(opened).map_err(|_| ModelError::TooLarge)?;
                    note(&opened, !held);
                }
                let bits = match &layer.step {
                    Step::Activate(activation) => {
                        out_bits + activation.polynomial.as_ref().map_or(0, |p| p.frac_bits)
                    }
                    Step::Rescale { shift, .. } => out_bits + shift,
                    Step::Release { .. } => out_bits,
                };
                let kept = place(&live, out_elements, bits)?;
                note(&kept, !held);
                // P0 in H has nothing else in its arena.
                pooled = [if held { Region { offset: 0, ..kept } } else { kept }, kept];
                if held {
                    high_seed(&mut wires.words, &pooled[0]);
                }
            }
            wires.regions.push(output).map_err(|_| ModelError::TooLarge)?;
            wires.opened.push(opened).map_err(|_| ModelError::TooLarge)?;
            wires.pooled.push(pooled).map_err(|_| ModelError::TooLarge)?;
        }
        wires.words = [wires.words[0].max(high[0]), high[1]];
        Ok(wires)
    }

    /// A layer's record, in one tile of one element: how many it takes, who divides the budgets says.
    pub(super) fn record<'a>(&self, index: usize, layer: &Layer<'a>) -> Result<LayerPlan<'a>, ModelError> {
        let mut terms = Vec::new();
        for term in &layer.terms {
            let linear = match term.linear {
                Linear::Convolution { geometry, .. } => LinearPlan::Convolution(geometry),
                Linear::JoinShift { geometry, shift } => LinearPlan::JoinShift { geometry, shift },
                Linear::JoinScaled { geometry, .. } => LinearPlan::JoinScaled { geometry },
            };
            let source = self.wire(usize::from(term.source))?;
            terms.push(TermPlan { source, linear }).map_err(|_| ModelError::TooLarge)?;
        }
        let step = match &layer.step {
            Step::Activate(a) => StepPlan::Activate {
                ring_bits: a.ring_bits,
                shift: a.shift,
                relu: a.relu,
                frac_bits: a.polynomial.as_ref().map_or(0, |p| p.frac_bits),
                pool: a.pool,
            },
            Step::Rescale { shift, pool } => StepPlan::Rescale { shift: *shift, pool: *pool },
            Step::Release { ring_bits } => StepPlan::Release { ring_bits: *ring_bits },
        };
        Ok(LayerPlan {
            index: index as u16,
            terms,
            sum: layer.sum_shape(),
            step,
            output: self.wire(index + 1)?,
            opened: self.opened.get(index).copied().ok_or(ModelError::Wiring)?,
            pooled: self.pooled.get(index).copied().ok_or(ModelError::Wiring)?,
            tile: 1,
            group: 1,
        })
    }
}

fn high_seed(words: &mut [u32; 2], region: &Region) {
    words[0] = words[0].max(region.range().end as u32);
}

/// The skip wire over which a layer's sum may be written.
fn in_place(
    layer: &Layer<'_>,
    index: usize,
    wires: &Wires,
    last_use: &impl Fn(usize) -> usize,
    bits: u8,
) -> Option<Region> {
    let reads = |wire: u16| layer.terms.iter().filter(|t| t.source == wire).count();
    layer.terms.iter().find_map(|term| {
        let geometry = match term.linear {
            Linear::JoinShift { geometry, .. } | Linear::JoinScaled { geometry, .. } => geometry,
            Linear::Convolution { .. } => return None,
        };
        let source = wires.regions.get(usize::from(term.source))?;
        let same_word = source.word() == WordKind::for_bits(bits);
        (geometry.is_in_place()
            && same_word
            && reads(term.source) == 1
            && last_use(usize::from(term.source)) == index)
            .then_some(*source)
    })
}
