//! DeepReDuce, and filter pruning: methods that choose among coarse forms of a network before it is trained.
//!
//! DeepReDuce culls whole stages, the least critical first, thins the rest to the last activation of each
//! block, and reshapes: half the channels, half the resolution. Of all forms within the budget the one
//! nearest to it is taken; among equals the one that is least reshaped. DeepReDuce measures a stage's
//! criticality by training a network with ReLUs in that stage alone: its accuracy above the worst stage's,
//! divided by its number of ReLUs to the power 0.07. Here the other stages' ReLUs are replaced by fitted
//! polynomials without training, and the logits' squared distance from the trained network's takes the place
//! of accuracy; and weights start from the trained network instead of anew. A network without blocks is
//! thinned to every second activation.

use halfnet_host::network::data::DataSet;
use serde::Serialize;

use super::Search;
use super::options::{MethodOptions, SearchOptions};
use super::slice::{Slice, slice};
use crate::error::TrainError;
use crate::evaluate::Teacher;
use crate::network::Network;
use crate::weights::Weights;

/// Exponent of the number of ReLUs in a stage's criticality.
const EXPONENT: f64 = 0.07;

/// A form that DeepReDuce may give a network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Form {
    /// Layers whose ReLUs stay, by their places in the network.
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

/// What a search starts from.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The network, in its new form for methods that reshape.
    pub network: Network,
    /// Its weights.
    pub weights: Weights,
    /// The options, for a method of this network.
    pub options: SearchOptions,
    /// The form, if the method chooses one.
    pub form: Option<Form>,
}

/// Every form, given the stages in order of criticality, the most critical first.
#[must_use]
pub fn forms(network: &Network, stages: &[Vec<usize>]) -> Vec<Form> {
    let sums = network.sums();
    // The last activation of a block is that of a sum of several terms.
    let blocks = network.layers.iter().any(|l| l.is_activation() && l.terms.len() > 1);
    let mut places = stages.concat();
    places.sort_unstable();
    let half = Slice { channels: 1, of: 2, halved: false };
    let mut found = Vec::new();
    for kept in 1..=stages.len() {
        for slice in
            [Slice::WHOLE, half, Slice { halved: true, ..Slice::WHOLE }, Slice { halved: true, ..half }]
        {
            for thin in [false, true] {
                let of_stage = |stage: &Vec<usize>| -> Vec<usize> {
                    let stays = |index: &usize| {
                        let second = || places.binary_search(index).is_ok_and(|place| place % 2 == 1);
                        !thin || if blocks { network.layers[*index].terms.len() > 1 } else { second() }
                    };
                    stage.iter().copied().filter(stays).collect()
                };
                let layers: Vec<usize> = stages[..kept].iter().flat_map(of_stage).collect();
                let whole: usize = layers.iter().map(|&index| sums[index].elements()).sum();
                let relus = whole * usize::from(slice.channels)
                    / usize::from(slice.of)
                    / if slice.halved { 4 } else { 1 };
                if relus > 0 {
                    found.push(Form { layers, slice, relus });
                }
            }
        }
    }
    found
}

/// The forms that are not above the budget, the nearest first, of equal ones the least reshaped.
#[must_use]
pub fn within(mut forms: Vec<Form>, budget: usize) -> Vec<Form> {
    let reshaped = |form: &Form| u8::from(form.slice.of > 1) + u8::from(form.slice.halved);
    forms.retain(|form| form.relus <= budget);
    forms.sort_by_key(|form| (budget - form.relus, reshaped(form)));
    forms
}

/// What a search starts from: for methods that reshape, the network in its new form, and which layers stay;
/// otherwise what was given. A form that the network cannot be sliced into gives way to the next.
///
/// # Errors
/// No form is within the budget, or the network cannot be sliced into any that is.
pub fn prepare(
    network: &Network,
    weights: &Weights,
    set: &DataSet,
    options: &SearchOptions,
) -> Result<Prepared, TrainError> {
    let forms = match &options.method {
        MethodOptions::Deepreduce { pictures, order } => {
            let stages = match given(network, order)? {
                Some(stages) => stages,
                None => by_criticality(network, weights, set, options, *pictures)?,
            };
            forms(network, &stages)
        }
        MethodOptions::Filters => {
            let layers: Vec<usize> = stages(network).concat();
            let narrowest =
                network.sums().iter().filter(|s| s.plane() > 1).map(|s| s.channels).min().unwrap_or(1);
            let part = |channels| {
                let slice = Slice { channels, of: narrowest, halved: false };
                Form {
                    layers: layers.clone(),
                    slice,
                    relus: network.relus() * usize::from(channels) / usize::from(narrowest),
                }
            };
            (1..=narrowest).map(part).collect()
        }
        _ => {
            let (network, weights, options) = (network.clone(), weights.clone(), options.clone());
            return Ok(Prepared { network, weights, options, form: None });
        }
    };
    let least = forms.iter().map(|form| form.relus).min().unwrap_or(0);
    let none =
        format!("a budget of {}: the smallest form of {} has {least} ReLUs", options.budget, network.name);
    let mut refused = TrainError::Usage(none);
    for form in within(forms, options.budget) {
        match slice(network, weights, form.slice) {
            Ok((small, weights)) => {
                // A plane of an odd side has more than a quarter left.
                let relus = form.layers.iter().map(|&index| small.sums()[index].elements()).sum();
                if relus > options.budget {
                    continue;
                }
                let form = Form { relus, ..form };
                let names = form.layers.iter().map(|&index| network.layers[index].name.clone()).collect();
                let options = SearchOptions {
                    budget: form.relus,
                    method: MethodOptions::Layers { names },
                    ..options.clone()
                };
                return Ok(Prepared { network: small, weights, options, form: Some(form) });
            }
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// The stages in an order that was given, if one was.
fn given(network: &Network, order: &[usize]) -> Result<Option<Vec<Vec<usize>>>, TrainError> {
    let stages = stages(network);
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    match order {
        [] => Ok(None),
        _ if sorted.iter().copied().eq(1..=stages.len()) => {
            Ok(Some(order.iter().map(|&stage| stages[stage - 1].clone()).collect()))
        }
        _ => Err(TrainError::Usage(format!(
            "an order of stages {order:?}: {} has the stages 1 to {}",
            network.name,
            stages.len()
        ))),
    }
}

fn by_criticality(
    network: &Network,
    weights: &Weights,
    set: &DataSet,
    options: &SearchOptions,
    pictures: usize,
) -> Result<Vec<Vec<usize>>, TrainError> {
    let teacher = Teacher::new(network, weights, &crate::device::current());
    // Fitted polynomials of a search that takes no step.
    let mut fitted = SearchOptions::default();
    (fitted.seed, fitted.batch, fitted.validation) = (options.seed, options.batch, options.validation);
    fitted.polynomials.fit_batches = options.polynomials.fit_batches;
    let mut search = Search::new(network, weights, &teacher, set, fitted)?;
    let stages = stages(network);
    let sums = network.sums();
    // All layers but the stage's are replaced.
    let others =
        |stage: &Vec<usize>| stages.concat().into_iter().filter(|index| !stage.contains(index)).collect();
    let moved = search.moved(&stages.iter().map(others).collect::<Vec<_>>(), pictures)?;
    // Logits that overflow without a stage's help say that it is of none.
    let most = moved.iter().copied().filter(|m| m.is_finite()).fold(0.0, f64::max);
    let relus = |stage: &[usize]| stage.iter().map(|&index| sums[index].elements()).sum::<usize>() as f64;
    let criticality =
        |(moved, stage): (f64, Vec<usize>)| ((most - moved) / relus(&stage).powf(EXPONENT), stage);
    let mut ranked: Vec<(f64, Vec<usize>)> = moved.into_iter().zip(stages).map(criticality).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(ranked.into_iter().map(|(_, stage)| stage).collect())
}

#[cfg(test)]
mod tests {
    use halfnet_host::network::data::DataSetKind;

    use super::*;
    use crate::network::families::by_name;
    use crate::network::{Linear, Offset};

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
        let form = |budget| within(forms(&network, &order), budget)[0].clone();
        assert_eq!(form(229_376).layers, [order[0].clone(), order[1].clone(), order[2].clone()].concat());
        assert_eq!(form(229_376).slice, Slice::WHOLE);
        assert!(form(50_000).relus == 49_152 && form(13_000).relus <= 13_000);
        assert!(within(forms(&network, &order), 100).is_empty());
        assert_eq!(given(&network, &[3, 2, 4, 1]).unwrap(), Some(order));
        assert!(given(&network, &[]).unwrap().is_none() && given(&network, &[3, 3, 4, 1]).is_err());
    }

    /// A network of which one stage alone is more than linear: elsewhere arguments are far above zero.
    fn bent_in(stage: usize) -> (Network, Weights) {
        let network = by_name("mnist_cnn", DataSetKind::Mnist).unwrap();
        let mut weights = Weights::initial(&network, 3);
        for (index, layer) in network.layers.iter().filter(|l| l.is_activation()).enumerate() {
            let Linear::Convolution { name: convolution, offset: Offset::Normalisation(norm), .. } =
                &layer.terms[0].linear
            else {
                panic!("{layer:?}")
            };
            let name = format!("{norm}.bias");
            let bias = if index == stage { 0.0 } else { 20.0 };
            let count = weights.get(&name).len();
            weights.set(name, vec![bias; count]);
            // What it reads is as far from zero.
            if index > 0 && index - 1 != stage {
                let smaller =
                    weights.get(&format!("{convolution}.weight")).iter().map(|w| w / 20.0).collect();
                weights.set(format!("{convolution}.weight"), smaller);
            }
        }
        (network, weights)
    }

    fn noise(count: usize) -> DataSet {
        let mut random = crate::random::Random::new(&[9]);
        let pixels = (0..count * 28 * 28).map(|_| random.below(256) as u8).collect();
        DataSet {
            shape: DataSetKind::Mnist.shape(),
            pixels,
            labels: (0..count).map(|i| (i % 10) as u16).collect(),
        }
    }

    #[test]
    fn the_stage_that_is_not_linear_is_the_most_critical() {
        for stage in 0..3 {
            let (network, weights) = bent_in(stage);
            let mut options = SearchOptions { batch: 16, validation: 16, ..SearchOptions::default() };
            options.polynomials.fit_batches = 2;
            let ranked = by_criticality(&network, &weights, &noise(128), &options, 64).unwrap();
            assert_eq!(ranked[0], stages(&network)[stage], "{ranked:?}");
        }
    }

    #[test]
    fn a_network_without_blocks_is_thinned_to_every_second_activation() {
        let (network, weights) = bent_in(1);
        let stages = stages(&network);
        let found = forms(&network, &stages);
        let thinned: Vec<&Form> =
            found.iter().filter(|f| f.slice == Slice::WHOLE && f.layers.len() < 3).collect();
        assert!(thinned.iter().any(|form| form.layers == stages[1] && form.relus == 3136), "{thinned:?}");
        assert!(found.iter().all(|form| form.relus > 0));
        // The nearest form has half the resolution, and then the last layer's kernel is larger than its
        // plane: the next is taken.
        let method = MethodOptions::Deepreduce { pictures: 16, order: vec![3, 2, 1] };
        let options = SearchOptions { budget: 1500, method, ..SearchOptions::default() };
        let nearest = within(found, 1500)[0].clone();
        assert_eq!(nearest.relus, 1372);
        assert!(slice(&network, &weights, nearest.slice).is_err(), "{nearest:?}");
        let prepared = prepare(&network, &weights, &noise(32), &options).unwrap();
        assert!(prepared.form.is_some_and(|form| form.relus == 784) && prepared.options.budget == 784);
    }
}
