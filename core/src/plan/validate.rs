//! What makes a layer's record well-formed: nothing of it reaches beyond an arena, a ring or a frame's number.

use super::layer::label_fits;
use super::{LayerPlan, LinearPlan, Plan, Release, Role, StepPlan};
use crate::error::ModelError;
use crate::model::Bitmap;
use crate::ring::WIDEST;

impl LayerPlan<'_> {
    /// # Errors
    /// Regions, shapes or widths do not fit each other or the plan's header.
    pub(crate) fn validate(&self, plan: &Plan<'_>) -> Result<(), ModelError> {
        self.sum.validate()?;
        if self.terms.is_empty() || self.tile == 0 || self.group == 0 {
            return Err(ModelError::Shape);
        }
        for term in &self.terms {
            let (input, output) = match &term.linear {
                LinearPlan::Convolution(geometry) => {
                    geometry.validate()?;
                    (geometry.input, geometry.output())
                }
                LinearPlan::JoinShift { geometry, .. } | LinearPlan::JoinScaled { geometry } => {
                    geometry.validate()?;
                    (geometry.input, geometry.output)
                }
            };
            if input.elements() != term.source.elements as usize || output != self.sum {
                return Err(ModelError::Shape);
            }
            self.inside(plan, &term.source)?;
        }
        // A tile is large enough to make progress; a release is one tile.
        let release = matches!(self.step, StepPlan::Release { .. });
        let smallest =
            if release { self.elements() } else { super::compile::SMALLEST_TILE.min(self.elements()) };
        let too_many = |count: usize| count.div_ceil(self.tile as usize) > usize::from(u16::MAX);
        if (self.tile as usize) < smallest || too_many(self.elements()) || too_many(self.windows()) {
            return Err(ModelError::Shape);
        }
        let work = self.work(&plan.header.options);
        let widths = match self.step {
            StepPlan::Activate { ring_bits, shift, frac_bits, .. } => {
                ring_bits <= 32
                    && shift < ring_bits
                    && (2..=16).contains(&work.opened_bits)
                    && self.output.bits.saturating_add(frac_bits) <= 64
            }
            StepPlan::Rescale { .. } => work.ring_bits <= 64,
            StepPlan::Release { ring_bits } => {
                (4..=32).contains(&ring_bits)
                    && match plan.header.options.release {
                        Release::Logits { bits } => bits >= 2 && bits <= 16.min(ring_bits - 2),
                        Release::Label => label_fits(self.elements(), ring_bits),
                    }
            }
        };
        let needs_output = !matches!(self.step, StepPlan::Release { .. });
        if !widths || (needs_output && !(1..=64).contains(&self.output.bits)) {
            return Err(ModelError::Widths);
        }
        if self.widest(&work) > WIDEST {
            return Err(ModelError::TooWide);
        }
        if let Bitmap::Bits(bytes) = self.relu() {
            let spare = bytes.len() * 8;
            if bytes.len() != self.elements().div_ceil(8)
                || (self.elements()..spare).any(|i| self.relu().get(i))
            {
                return Err(ModelError::Bitmap);
            }
        }
        if !needs_output {
            return Ok(());
        }
        if let Some(pool) = self.pool() {
            pool.validate(self.sum)?;
            if pool.output(self.sum).elements() != self.windows() {
                return Err(ModelError::Shape);
            }
            // Alike windows are as wide as the first.
            let windows = if self.is_uniform() { self.windows().min(1) } else { self.windows() };
            let widest = (0..windows).map(|window| self.window_bits(&work, window)).fold(0, u8::max);
            let wire_words = plan.header.wire_words;
            for (region, limit) in self.pooled.iter().zip(wire_words) {
                if region.elements as usize != self.windows()
                    || region.range().end > limit as usize
                    || region.bits > 64
                    || region.bits < widest
                {
                    return Err(ModelError::Shape);
                }
            }
        } else if self.elements() != self.windows() {
            return Err(ModelError::Shape);
        }
        if matches!(self.step, StepPlan::Activate { .. })
            && (self.opened.elements as usize != self.elements()
                || 8 * self.opened.word().bytes() < usize::from(work.opened_bits))
        {
            return Err(ModelError::Shape);
        }
        self.inside(plan, &self.output)?;
        self.inside(plan, &self.opened)
    }

    /// Regions of wires lie in P1's arena and, where P0 keeps wires, in P0's.
    fn inside(&self, plan: &Plan<'_>, region: &super::Region) -> Result<(), ModelError> {
        let mut limit = plan.header.wire_words[1] as usize;
        if plan.keeps_wires(Role::Seed) {
            limit = limit.min(plan.header.wire_words[0] as usize);
        }
        if !(1..=64).contains(&region.bits) || region.range().end > limit {
            Err(ModelError::Shape)
        } else {
            Ok(())
        }
    }
}
