//! Whole layers, as DELPHI replaces them: each layer's worth is how far the logits move when it alone is
//! replaced, and those layers stay that are worth most together within the budget.

use super::{Method, NONE, Press, View};
use crate::data::{Augmentation, batch};
use crate::error::TrainError;
use crate::evaluate::Evaluator;
use crate::trainer::Trainer;

/// Pictures that are run together.
const CHUNK: usize = 256;

#[derive(Debug)]
pub(super) struct Layerwise {
    pub(super) pictures: usize,
}

impl Method for Layerwise {
    fn steps(&self, _: u64) -> u64 {
        0
    }

    fn press(&mut self, _: u64, _: &mut Trainer<'_>) -> Press {
        NONE
    }

    fn settle(&mut self, trainer: &mut Trainer<'_>, view: View<'_>) -> Result<(), TrainError> {
        let layers: Vec<usize> = trainer.state.replacements.keys().copied().collect();
        let groups: Vec<Vec<usize>> = layers.iter().map(|&layer| vec![layer]).collect();
        let mut worth = moved(trainer, view, &groups, self.pictures)?;
        // A layer without which logits overflow is worth more than all that only bend them.
        let finite: f64 = worth.iter().filter(|w| w.is_finite()).sum();
        worth.iter_mut().filter(|w| w.is_infinite()).for_each(|w| *w = 1.0 + 2.0 * finite);
        let counts: Vec<usize> =
            layers.iter().map(|index| trainer.state.replacements[index].relu.len()).collect();
        let kept = most_worth(&counts, &worth, view.options.budget);
        trainer
            .state
            .keep_layers(|index| layers.iter().zip(&kept).any(|(&layer, &kept)| kept && layer == index));
        Ok(())
    }
}

/// Sum of the squared differences of logits, on the first `pictures`, when each group of layers alone is
/// replaced; infinite where they overflow.
pub(in crate::search) fn moved(
    trainer: &mut Trainer<'_>,
    view: View<'_>,
    groups: &[Vec<usize>],
    pictures: usize,
) -> Result<Vec<f64>, TrainError> {
    let degree = view.options.polynomials.degree;
    let pictures = &view.training[..pictures.min(view.training.len())];
    trainer.state.keep_layers(|_| true);
    let whole = logits(&trainer.evaluator(degree)?, view, pictures);
    let mut found = Vec::new();
    for group in groups {
        trainer.state.keep_layers(|index| !group.contains(&index));
        let moved = logits(&trainer.evaluator(degree)?, view, pictures);
        let square: f64 = whole.iter().zip(&moved).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        found.push(if square.is_nan() { f64::INFINITY } else { square });
    }
    trainer.state.keep_layers(|_| true);
    Ok(found)
}

fn logits(evaluator: &Evaluator, view: View<'_>, pictures: &[usize]) -> Vec<f32> {
    let normalisation = &evaluator.network().normalisation;
    let of = |chunk: &[usize]| {
        evaluator.logits(batch(view.set, normalisation, chunk, Augmentation::NONE, (0, 0)).pixels)
    };
    pictures.chunks(CHUNK).flat_map(of).collect()
}

/// Which of some things, with counts and worths, to keep for the largest worth with counts of at most
/// `budget`: exact, over budgets in steps of the counts' common divisor.
fn most_worth(counts: &[usize], worth: &[f64], budget: usize) -> Vec<bool> {
    const fn divisor(a: usize, b: usize) -> usize {
        if b == 0 { a } else { divisor(b, a % b) }
    }
    let unit = counts.iter().fold(0, |a, &b| divisor(a, b)).max(1);
    let slots = budget / unit;
    let mut best = vec![(0.0, vec![false; counts.len()]); slots + 1];
    for (index, (&count, &worth)) in counts.iter().zip(worth).enumerate() {
        let size = count / unit;
        for slot in (size..=slots).rev() {
            let with = best[slot - size].0 + worth;
            if with > best[slot].0 {
                let mut kept = best[slot - size].1.clone();
                kept[index] = true;
                best[slot] = (with, kept);
            }
        }
    }
    best.pop().map_or_else(Vec::new, |(_, kept)| kept)
}

#[cfg(test)]
mod tests {
    use super::most_worth;

    #[test]
    fn the_best_set_of_layers_is_found() {
        let (counts, worth) = ([40, 30, 20, 10], [50.0, 45.0, 31.0, 5.0]);
        for budget in 0..110 {
            let value = |set: &dyn Fn(usize) -> bool| -> (usize, f64) {
                (0..4).filter(|&i| set(i)).fold((0, 0.0), |(c, w), i| (c + counts[i], w + worth[i]))
            };
            let best = (0..16)
                .map(|bits| value(&|i| bits >> i & 1 == 1))
                .filter(|v| v.0 <= budget)
                .map(|v| v.1)
                .fold(0.0, f64::max);
            let kept = most_worth(&counts, &worth, budget);
            let found = value(&|i| kept[i]);
            assert!(found.0 <= budget && (found.1 - best).abs() < 1e-9, "{budget}: {kept:?}");
        }
    }
}
