//! DeepReDuce, and filter pruning: methods that choose among coarse forms of a network before it is trained.
//!
//! DeepReDuce culls whole stages, the least critical first, thins the rest to the last activation of each block, and reshapes: half
//! the channels, half the resolution. Of all forms within the budget the one nearest to it is taken; among equals the one that is
//! least reshaped. DeepReDuce measures a stage's criticality by training a network with ReLUs in that stage alone: its accuracy above
//! the worst stage's, divided by its number of ReLUs to the power 0.07. Here the other stages' ReLUs are replaced by fitted
//! polynomials without training, and the logits' squared distance from the trained network's takes the place of accuracy; and weights
//! start from the trained network instead of anew.

use halfnet_host::data::DataSet;

use super::options::{MethodOptions, SearchOptions};
use super::slice::{Slice, slice};
use super::{Search, teacher};
use crate::error::TrainError;
use crate::network::Network;
use crate::weights::Weights;

/// Exponent of the number of ReLUs in a stage's criticality.
const EXPONENT: f64 = 0.07;

/// A form that DeepReDuce may give a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Form {
    /// Layers whose ReLUs stay.
    pub layers: Vec<usize>,
    /// What is left of channels and resolution.
    pub slice: Slice,
    /// ReLUs that stay.
    pub relus: usize,
}

/// Layers with activations, by the size of their planes: the largest first.
#[must_use]
pub fn stages(network: &Network) -> Vec<Vec<usize>> {
    let mut found: Vec<(usize, Vec<usize>)> = Vec::new();
    for (index, (layer, sum)) in network.layers.iter().zip(network.sums()).enumerate() {
        if !layer.is_activation() {
            continue;
        }
        match found.iter_mut().find(|(plane, _)| *plane == sum.plane()) {
            Some((_, layers)) => layers.push(index),
            None => found.push((sum.plane(), vec![index])),
        }
    }
    found.into_iter().map(|(_, layers)| layers).collect()
}

/// Every form, given the stages in order of criticality, the most critical first.
#[must_use]
pub fn forms(network: &Network, stages: &[Vec<usize>]) -> Vec<Form> {
    let sums = network.sums();
    // The last activation of a block is that of a sum of several terms.
    let blocks = network.layers.iter().any(|l| l.is_activation() && l.terms.len() > 1);
    let half = Slice { channels: 1, of: 2, halved: false };
    let mut found = Vec::new();
    for kept in 1..=stages.len() {
        for slice in [Slice::WHOLE, half, Slice { halved: true, ..Slice::WHOLE }, Slice { halved: true, ..half }] {
            for thin in [false, true] {
                let of_stage = |stage: &Vec<usize>| -> Vec<usize> {
                    let stays = |&(place, &index): &(usize, &usize)| {
                        let last = if blocks { network.layers[index].terms.len() > 1 } else { place % 2 == 1 };
                        !thin || last
                    };
                    stage.iter().enumerate().filter(stays).map(|(_, &index)| index).collect()
                };
                let layers: Vec<usize> = stages[..kept].iter().flat_map(of_stage).collect();
                let whole: usize = layers.iter().map(|&index| sums[index].elements()).sum();
                let relus = whole * usize::from(slice.channels) / usize::from(slice.of) / if slice.halved { 4 } else { 1 };
                found.push(Form { layers, slice, relus });
            }
        }
    }
    found
}

/// The form nearest to the budget but not above it, of equal ones the least reshaped.
#[must_use]
pub fn nearest(forms: &[Form], budget: usize) -> Option<&Form> {
    let reshaped = |form: &Form| u8::from(form.slice.of > 1) + u8::from(form.slice.halved);
    forms.iter().filter(|f| f.relus <= budget).min_by_key(|f| (budget - f.relus, reshaped(f)))
}

/// What a search starts from: for methods that reshape, the network in its new form, and which layers stay; otherwise what was given.
///
/// # Errors
/// No form is within the budget, or the network cannot be sliced.
pub fn prepare(
    network: &Network,
    weights: &Weights,
    set: &DataSet,
    options: &SearchOptions,
) -> Result<(Network, Weights, SearchOptions), TrainError> {
    let (form, all) = match &options.method {
        MethodOptions::Deepreduce { pictures, order } => {
            let stages = match given(network, order)? {
                Some(stages) => stages,
                None => by_criticality(network, weights, set, options, *pictures)?,
            };
            let forms = forms(network, &stages);
            let form = nearest(&forms, options.budget).cloned();
            (form, forms.iter().map(|f| f.relus).min())
        }
        MethodOptions::Filters => {
            let layers: Vec<usize> = stages(network).concat();
            let narrowest = network.sums().iter().filter(|s| s.plane() > 1).map(|s| s.channels).min().unwrap_or(1);
            let part = |channels| {
                let slice = Slice { channels, of: narrowest, halved: false };
                Form { layers: layers.clone(), slice, relus: network.relus() * usize::from(channels) / usize::from(narrowest) }
            };
            let forms: Vec<Form> = (1..=narrowest).map(part).collect();
            (nearest(&forms, options.budget).cloned(), forms.iter().map(|f| f.relus).min())
        }
        _ => return Ok((network.clone(), weights.clone(), options.clone())),
    };
    let least = all.unwrap_or(0);
    let form = form.ok_or_else(|| {
        TrainError::Usage(format!("a budget of {}: the smallest form of {} has {least} ReLUs", options.budget, network.name))
    })?;
    let (small, sliced) = slice(network, weights, form.slice)?;
    let names = form.layers.iter().map(|&index| network.layers[index].name.clone()).collect();
    Ok((small, sliced, SearchOptions { budget: form.relus, method: MethodOptions::Layers { names }, ..options.clone() }))
}

/// The stages in an order that was given, if one was.
fn given(network: &Network, order: &[usize]) -> Result<Option<Vec<Vec<usize>>>, TrainError> {
    let stages = stages(network);
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    match order {
        [] => Ok(None),
        _ if sorted.iter().copied().eq(1..=stages.len()) => Ok(Some(order.iter().map(|&stage| stages[stage - 1].clone()).collect())),
        _ => Err(TrainError::Usage(format!("an order of stages {order:?}: {} has the stages 1 to {}", network.name, stages.len()))),
    }
}

fn by_criticality(
    network: &Network,
    weights: &Weights,
    set: &DataSet,
    options: &SearchOptions,
    pictures: usize,
) -> Result<Vec<Vec<usize>>, TrainError> {
    let teacher = teacher(network, weights)?;
    // Fitted polynomials of a search that takes no step.
    let mut fitted = SearchOptions::default();
    (fitted.seed, fitted.batch, fitted.validation) = (options.seed, options.batch, options.validation);
    fitted.polynomials.fit_batches = options.polynomials.fit_batches;
    let mut search = Search::new(network, weights, &teacher, set, fitted)?;
    let stages = stages(network);
    let sums = network.sums();
    // All layers but the stage's are replaced.
    let others = |stage: &Vec<usize>| stages.concat().into_iter().filter(|index| !stage.contains(index)).collect();
    let moved = search.moved(&stages.iter().map(others).collect::<Vec<_>>(), pictures)?;
    let most = moved.iter().copied().fold(0.0, f64::max);
    let relus = |stage: &[usize]| stage.iter().map(|&index| sums[index].elements()).sum::<usize>() as f64;
    let criticality = |(moved, stage): (f64, Vec<usize>)| ((most - moved) / relus(&stage).powf(EXPONENT), stage);
    let mut ranked: Vec<(f64, Vec<usize>)> = moved.into_iter().zip(stages).map(criticality).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(ranked.into_iter().map(|(_, stage)| stage).collect())
}

#[cfg(test)]
mod tests {
    use halfnet_host::data::DataSetKind;

    use super::*;
    use crate::network::families::by_name;

    #[test]
    fn forms_have_the_published_counts() {
        let network = by_name("resnet18", DataSetKind::Cifar100).unwrap();
        let stages = stages(&network);
        // The published order: the third stage, the second, the fourth, the first.
        let order: Vec<Vec<usize>> = [2, 1, 3, 0].map(|stage| stages[stage].clone()).to_vec();
        let found: Vec<usize> = forms(&network, &order).iter().map(|f| f.relus).collect();
        for published in [229_376, 196_608, 114_688, 98_304, 57_344, 49_152, 28_672, 24_576, 14_336, 12_288] {
            assert!(found.contains(&published), "{published} in {found:?}");
        }
        let form = |budget| nearest(&forms(&network, &order), budget).unwrap().clone();
        assert_eq!(form(229_376).layers, [order[0].clone(), order[1].clone(), order[2].clone()].concat());
        assert_eq!(form(229_376).slice, Slice::WHOLE);
        assert!(form(50_000).relus == 49_152 && form(13_000).relus <= 13_000);
        assert!(nearest(&forms(&network, &order), 100).is_none());
        assert_eq!(given(&network, &[3, 2, 4, 1]).unwrap(), Some(order));
        assert!(given(&network, &[]).unwrap().is_none() && given(&network, &[3, 3, 4, 1]).is_err());
    }
}
