//! The coins of a dealt inference: what stochastic rounding does in it, predicted from the dealer's secrets.
//!
//! By turns a coin is the low part of the dealer's mask. In mode T it is the carry of the shares' low parts,
//! so P0's share of every opened value is computed here from P0's seed, the masked wires E = X − A and P0's
//! weight shares; see [`halfnet_core::gate::truncation`].

use halfnet_core::bits::bits_from;
use halfnet_core::dealer::Secrets;
use halfnet_core::exchange::linear;
use halfnet_core::gate::truncation::{Coins, Opening};
use halfnet_core::gate::{polynomial, relu};
use halfnet_core::opening::{self, Exchange, Mask};
use halfnet_core::party::half::{Half, MaterialError, ModelHalf, Position};
use halfnet_core::party::memory::{Selected, region_mut};
use halfnet_core::party::seed::SeedHalf;
use halfnet_core::plan::{LayerPlan, Plan, Section, StepPlan, Work};
use halfnet_core::ring::{Word, WordKind, low_mask};
use halfnet_core::with_kind;

/// Coins of one inference. `M` multiplies by P0's weight shares; it is asked only in mode T.
pub struct DealtCoins<'p, M> {
    plan: Plan<'p>,
    layers: Vec<LayerPlan<'p>>,
    secrets: Secrets,
    half: SeedHalf,
    half_layer: Option<u16>,
    model: M,
    prepared: Option<u16>,
    /// E of every live wire, where the parties have it.
    wires: Vec<u64>,
    /// Coins of the second opening of the layer in progress, by element of its output.
    second: Vec<u64>,
    failed: Option<MaterialError>,
}

impl<M> std::fmt::Debug for DealtCoins<'_, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DealtCoins(..)")
    }
}

/// A of every wire that an inference has, modulo 2^W: that of the input, then those that the layers write.
///
/// # Errors
/// A stream ended.
pub fn wire_masks(plan: &Plan<'_>, secrets: &Secrets) -> Result<Vec<Vec<u64>>, MaterialError> {
    let exchange = plan.header.options.mode.exchange();
    let input = plan.header.input;
    let mut first = vec![0; input.elements as usize];
    secrets.input_mask(plan, 0, &mut first)?;
    first.iter_mut().for_each(|a| *a &= low_mask(input.bits));
    let mut masks = vec![first];
    for layer in plan.layers() {
        // What opening 2 cuts of each element; a ReLU's wire has y's own scale.
        let cut = |element: usize| match layer.step {
            StepPlan::Activate { frac_bits, relu, pool: None, .. } => {
                if relu.get(element) {
                    0
                } else {
                    frac_bits
                }
            }
            StepPlan::Activate { frac_bits, .. } => {
                if layer.window_is_cut(element) {
                    frac_bits
                } else {
                    0
                }
            }
            StepPlan::Rescale { shift, .. } => shift,
            StepPlan::Release { .. } => 0,
        };
        let mut wire = Vec::new();
        if !matches!(layer.step, StepPlan::Release { .. }) {
            let drawn = |shift: u8| {
                let mut drawn = vec![NO_MASK; layer.windows()];
                secrets.next_masks(&layer, shift, exchange, 0, &mut drawn).map(|()| drawn)
            };
            let mut by_cut: Vec<(u8, Vec<Mask>)> = Vec::new();
            for element in 0..layer.windows() {
                let cut = cut(element);
                if by_cut.iter().all(|(known, _)| *known != cut) {
                    by_cut.push((cut, drawn(cut)?));
                }
                let mask = by_cut
                    .iter()
                    .find(|(known, _)| *known == cut)
                    .map_or(NO_MASK, |(_, drawn)| drawn[element]);
                wire.push(mask.high.wrapping_neg() & low_mask(layer.output.bits));
            }
        }
        masks.push(wire);
    }
    Ok(masks)
}

const NO_MASK: Mask = Mask { added: 0, high: 0, coin: 0 };

impl<'p, M: ModelHalf> DealtCoins<'p, M> {
    /// The coins of the inference that `secrets` are of.
    pub fn new(plan: Plan<'p>, secrets: Secrets, model: M) -> Self {
        let wires = vec![0; plan.header.wire_words[1] as usize];
        let layers = plan.layers().collect();
        Self {
            half: secrets.seed_half(),
            half_layer: None,
            plan,
            layers,
            secrets,
            model,
            prepared: None,
            wires,
            second: Vec::new(),
            failed: None,
        }
    }

    /// # Errors
    /// The material failed while coins were asked for, which cannot be said then.
    pub fn finish(&self) -> Result<(), MaterialError> {
        self.failed.map_or(Ok(()), Err)
    }

    fn exchange(&self) -> Exchange {
        self.plan.header.options.mode.exchange()
    }

    fn half(&mut self, layer: u16) -> &mut SeedHalf {
        if self.half_layer != Some(layer) {
            self.half.begin_layer(layer, &mut std::iter::empty());
            self.half_layer = Some(layer);
        }
        &mut self.half
    }

    /// P0's share of the sum of elements `first ..`, with its share of U if `masked`.
    fn sum(
        &mut self,
        layer: &LayerPlan<'p>,
        work: &Work,
        first: usize,
        count: usize,
        masked: bool,
    ) -> Result<Vec<u64>, MaterialError> {
        with_kind!(work.word, W => {
            let mut sums = vec![W::default(); count];
            if masked {
                let position = Position { words: first as u64, bytes: 0 };
                self.half(layer.index).words(Section::Sum, position, work.ring_bits, &mut sums)?;
            }
            if self.prepared != Some(layer.index) {
                linear::prepare(layer, &mut self.model, &self.wires)?;
                self.prepared = Some(layer.index);
            }
            // P1 adds what is public.
            linear::add_terms(layer, &mut self.model, &self.wires, false, first..first + count, &mut sums)?;
            Ok(sums.into_iter().map(|v| v.to_u64()).collect())
        })
    }

    fn first(
        &mut self,
        layer: &LayerPlan<'p>,
        shift: u8,
        first: usize,
        out: &mut [u64],
    ) -> Result<(), MaterialError> {
        let work = layer.work(&self.plan.header.options);
        if self.exchange() == Exchange::Mutual {
            let shares = self.sum(layer, &work, first, out.len(), true)?;
            for (slot, share) in out.iter_mut().zip(shares) {
                *slot = low_mask(shift) - (share & low_mask(shift));
            }
            return Ok(());
        }
        let mut masks = vec![NO_MASK; out.len()];
        self.secrets.open_masks(layer, &work, self.exchange(), first, &mut masks)?;
        for (slot, mask) in out.iter_mut().zip(masks) {
            *slot = mask.coin;
        }
        Ok(())
    }

    fn next(
        &mut self,
        layer: &LayerPlan<'p>,
        shift: u8,
        first: usize,
        out: &mut [u64],
    ) -> Result<(), MaterialError> {
        if self.exchange() == Exchange::ByTurns {
            let mut masks = vec![NO_MASK; out.len()];
            self.secrets.next_masks(layer, shift, self.exchange(), first, &mut masks)?;
            for (slot, mask) in out.iter_mut().zip(masks) {
                *slot = mask.coin;
            }
            return Ok(());
        }
        if matches!(layer.step, StepPlan::Rescale { .. }) && self.second.is_empty() {
            self.rescaled(layer)?;
        }
        for (slot, index) in out.iter_mut().zip(first..) {
            let coin = self.second.get(index).copied().unwrap_or(0);
            *slot = low_mask(shift) - (coin & low_mask(shift));
        }
        Ok(())
    }

    /// P0's shares of a rescaled layer's openings, into `second`.
    fn rescaled(&mut self, layer: &LayerPlan<'p>) -> Result<(), MaterialError> {
        let work = layer.work(&self.plan.header.options);
        let Some(pool) = layer.pool() else {
            self.second = self.sum(layer, &work, 0, layer.elements(), true)?;
            return Ok(());
        };
        self.second = self.window_masks(layer)?;
        for (index, sum) in self.sum(layer, &work, 0, layer.elements(), false)?.into_iter().enumerate() {
            pool.windows_of(layer.sum, index, |w| self.second[w] = self.second[w].wrapping_add(sum));
        }
        Ok(())
    }

    fn window_masks(&mut self, layer: &LayerPlan<'p>) -> Result<Vec<u64>, MaterialError> {
        let mut masks = vec![0; layer.windows()];
        self.half(layer.index).mixed_words(Section::Window, Position::default(), &[], &mut masks)?;
        Ok(masks)
    }

    /// P0's shares of what a layer's second opening opens, in mode T, from the truncated values.
    fn activated(&mut self, layer: &LayerPlan<'p>, values: &[i64]) -> Result<(), MaterialError> {
        let work = layer.work(&self.plan.header.options);
        let pool = layer.pool();
        let n = work.opened_bits;
        self.second = if pool.is_some() { self.window_masks(layer)? } else { vec![0; layer.windows()] };
        let mut masks = vec![NO_MASK; values.len()];
        self.secrets.open_masks(layer, &work, self.exchange(), 0, &mut masks)?;
        let opened: Vec<u16> =
            values.iter().zip(&masks).map(|(y, mask)| opening::reference_open(*y, mask.high, n)).collect();
        let plane = layer.sum.plane();
        for relus in [false, true] {
            let kinds = match (relus, pool) {
                (false, _) => polynomial::WORDS,
                (true, None) => relu::WORDS,
                (true, Some(_)) => relu::WORDS_POOLED,
            };
            let section = if relus { Section::Relu } else { Section::Polynomial };
            let bits = work.wire_bits + if relus { 0 } else { work.frac_bits };
            let (mut position, mut base) = (Position::default(), 0);
            for group in 0..layer.groups() {
                let mut rank = 0;
                for tile in 0..layer.group_tiles(group) {
                    for chunk in Selected::new(layer.relu(), relus, layer.tile_range(group, tile)) {
                        let count = chunk.indices().len();
                        let c: Vec<u16> = chunk.indices().iter().map(|&i| opened[i as usize]).collect();
                        let mut shares = vec![0_u64; count];
                        with_kind!(WordKind::for_bits(bits), W => {
                            let mut words = vec![W::default(); kinds * count];
                            self.half(layer.index).words(section, position, bits, &mut words)?;
                            let mut typed = vec![W::default(); count];
                            if relus {
                                let flips = bits_from(&self.secrets.flips(layer.index, base + rank / 64)?, rank % 64);
                                let mut signs = 0;
                                for (i, &index) in chunk.indices().iter().enumerate() {
                                    signs |= (u64::from(values[index as usize] >= 0) ^ (flips >> i & 1)) << i;
                                }
                                relu::evaluate(n, false, &c, signs, &words, &mut typed)?;
                            } else {
                                let mut quadratic = Vec::with_capacity(count);
                                for &index in chunk.indices() {
                                    quadratic.push(W::from_u64(self.model.quadratic(layer.index, (index as usize / plane) as u16)?));
                                }
                                polynomial::evaluate(n, &c, &quadratic, &words, &mut typed)?;
                            }
                            for (slot, share) in shares.iter_mut().zip(typed) {
                                *slot = share.to_u64();
                            }
                        });
                        position.words += (kinds * count) as u64;
                        rank += count;
                        for (&index, share) in chunk.indices().iter().zip(shares) {
                            match pool {
                                None => self.second[index as usize] = share,
                                Some(pool) => pool.windows_of(layer.sum, index as usize, |w| {
                                    let shift =
                                        if relus && layer.window_is_cut(w) { work.frac_bits } else { 0 };
                                    self.second[w] = self.second[w].wrapping_add(share << shift);
                                }),
                            }
                        }
                    }
                }
                base += layer.group_relus(group).div_ceil(64);
            }
        }
        Ok(())
    }

    /// E = X − A of a wire.
    fn mask_wire(&mut self, wire: usize, values: &[i64]) -> Result<(), MaterialError> {
        let mut highs = vec![0_u64; values.len()];
        let target = if wire == 0 {
            let target = self.plan.header.input;
            self.secrets.input_mask(&self.plan, 0, &mut highs)?;
            target
        } else {
            let Some(layer) = self.layers.get(wire - 1) else { return Ok(()) };
            if matches!(layer.step, StepPlan::Release { .. }) {
                return Ok(());
            }
            let mut masks = vec![NO_MASK; values.len()];
            // The cut does not matter to the high part where the exchange is mutual.
            self.secrets.next_masks(layer, 0, Exchange::Mutual, 0, &mut masks)?;
            for (slot, mask) in highs.iter_mut().zip(masks) {
                *slot = mask.high.wrapping_neg();
            }
            layer.output
        };
        let mut masked = region_mut(&mut self.wires, &target)?;
        for (index, (value, mask)) in values.iter().zip(highs).enumerate() {
            masked.set(index, (*value as u64).wrapping_sub(mask) & low_mask(target.bits))?;
        }
        Ok(())
    }

    fn note(&mut self, result: Result<(), MaterialError>) {
        if let Err(error) = result {
            self.failed.get_or_insert(error);
        }
    }
}

impl<M: ModelHalf> Coins for DealtCoins<'_, M> {
    fn fill(&mut self, layer: usize, opening: Opening, shift: u8, first: usize, out: &mut [u64]) {
        let Some(layer) = self.layers.get(layer).cloned() else { return };
        let result = match opening {
            Opening::First => self.first(&layer, shift, first, out),
            Opening::Second => self.next(&layer, shift, first, out),
        };
        self.note(result);
    }

    fn wire(&mut self, wire: usize, values: &[i64]) {
        if self.exchange() == Exchange::Mutual {
            let result = self.mask_wire(wire, values);
            self.note(result);
        }
        self.second.clear();
    }

    fn truncated(&mut self, layer: usize, values: &[i64]) {
        if self.exchange() == Exchange::Mutual
            && let Some(layer) = self.layers.get(layer).cloned()
        {
            let result = self.activated(&layer, values);
            self.note(result);
        }
    }
}
