//! A whole search on pictures that are quickly learned: the budget is met exactly, and the model says the
//! same as the network.

use halfnet_core::model::Model;
use halfnet_host::network::data::{DataFolder, DataSet, DataSetKind};
use halfnet_host::network::float::FloatNetwork;
use halfnet_host::network::import::ImportOptions;
use halfnet_host::network::progress::Progress;
use halfnet_training::dapa::Degree;
use halfnet_training::evaluate::{Evaluator, Teacher};
use halfnet_training::export;
use halfnet_training::network::families::by_name;
use halfnet_training::random::Random;
use halfnet_training::search::{
    self, MethodOptions, Pressure, Search, SearchOptions, configuration, presets, reduce,
};
use halfnet_training::state::{State, values};
use halfnet_training::weights::Weights;

/// A bright bar whose place says the class, further apart than pictures are shifted, on noise.
fn bars(count: usize) -> DataSet {
    let mut random = Random::new(&[5]);
    let labels: Vec<u16> = (0..count).map(|i| (i % 10) as u16).collect();
    let mut pixels = Vec::new();
    for &label in &labels {
        let (row, first) = (4 + 5 * usize::from(label % 5), if label < 5 { 3 } else { 16 });
        let bright = |p: usize| p / 28 == row && (first..first + 9).contains(&(p % 28));
        pixels.extend((0..28 * 28).map(|p| if bright(p) { 220 } else { random.below(60) as u8 }));
    }
    DataSet { shape: DataSetKind::Mnist.shape(), pixels, labels }
}

fn options(budget: usize) -> SearchOptions {
    let mut options =
        SearchOptions { budget, epochs: 6, batch: 32, validation: 64, ..SearchOptions::default() };
    options.polynomials.fit_batches = 4;
    options.normalisation.pictures = 256;
    options.rates.weights = 3e-3;
    options
}

#[test]
fn a_budget_is_met_exactly_and_exported() {
    let network = by_name("mnist_cnn", DataSetKind::Mnist).unwrap();
    let set = bars(640);
    // Weights that know the pictures: all ReLU, without a teacher.
    let mut plain = SearchOptions { distil: false, ..options(network.relus()) };
    plain.normalisation.frozen_part = 0.0;
    let trained = search::run(&network, &Weights::initial(&network, 1), &set, &plain, |_| ()).unwrap();
    assert_eq!(trained.relus, 10_976);
    let weights = trained.state.weights(&network);
    let first = trained.epochs.last().unwrap().validation;
    assert!(first > 90.0, "{:?}", trained.epochs);

    for (budget, degree) in [(300, Degree::Two), (0, Degree::Two), (300, Degree::One)] {
        let mut options = options(budget);
        options.polynomials.degree = degree;
        let found = search::run(&network, &weights, &set, &options, |_| ()).unwrap();
        assert_eq!(found.relus, budget);
        // What is exported is what was trained.
        let squares = found.state.trained.iter().filter(|(name, _)| name.ends_with(".c2"));
        let squares: Vec<bool> = squares.map(|(_, c2)| values(c2).iter().any(|&c| c != 0.0)).collect();
        assert_eq!(squares, [degree == Degree::Two; 3]);
        let last = found.epochs.last().unwrap();
        assert!(last.validation > 85.0 && last.relus == budget, "{budget} {degree:?} {:?}", found.epochs);

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        found
            .state
            .weights(&network)
            .write_replaced(&network, &export::replaced(&network, &found.state), degree, &path)
            .unwrap();
        assert_eq!(&FloatNetwork::read(&path).unwrap(), found.evaluator.as_ref().unwrap().network());
        let path = folder.path().join("model.postcard");
        let import = ImportOptions {
            progress: Progress::Hidden,
            range_pictures: 200,
            judging_pictures: 200,
            ..ImportOptions::default()
        };
        let data = DataFolder::new(folder.path());
        let imported = export::write_model(
            found.evaluator.as_ref().unwrap().network(),
            &data,
            &set,
            budget,
            &import,
            &path,
        )
        .unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(export::relus(&Model::decode(&bytes).unwrap()), budget);
        assert!(imported.report.accuracy > imported.report.float_accuracy - 3.0, "{:?}", imported.report);
    }
}

#[test]
fn a_residual_networks_replacements_are_read_back() {
    let network = by_name("resnet20", DataSetKind::Cifar10).unwrap();
    let (weights, device) = (Weights::initial(&network, 3), halfnet_training::device::current());
    let mut state = State::new(&network, &weights, &device);
    state.replace_all(&network, 1, &device);
    state.project(&network, 5000);
    // All of a layer's ReLUs, none of another's.
    let layers: Vec<usize> = state.replacements.keys().copied().collect();
    for (layer, relu) in [(layers[0], true), (layers[18], false)] {
        let replacement = state.replacements.get_mut(&layer).unwrap();
        replacement.relu = vec![relu; replacement.relu.len()].into();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    for degree in [Degree::One, Degree::Two] {
        let replaced = export::replaced(&network, &state);
        weights.write_replaced(&network, &replaced, degree, &path).unwrap();
        assert_eq!(
            FloatNetwork::read(&path).unwrap(),
            export::fold(&network, &weights, &replaced, degree).unwrap()
        );
    }
    let error = Weights::read(&network, &path).unwrap_err().to_string();
    assert!(error.contains("name those of the network with all its ReLUs"), "{error}");
}

#[test]
fn the_same_seed_gives_the_same_network() {
    let network = by_name("mnist_cnn", DataSetKind::Mnist).unwrap();
    let (set, weights) = (bars(160), Weights::initial(&network, 2));
    let method = MethodOptions::Autorep {
        search_part: 0.4,
        rate: 5e-3,
        threshold: 0.003,
        pressure: Pressure::Constant(10.0),
    };
    let options = SearchOptions { epochs: 2, method, ..options(2000) };
    let run = || search::run(&network, &weights, &set, &options, |_| ()).unwrap();
    let (a, b) = (run(), run());
    assert_eq!(a.evaluator.as_ref().map(Evaluator::network), b.evaluator.as_ref().map(Evaluator::network));
    assert_eq!(a.state.replacements, b.state.replacements);
}

#[test]
fn a_run_that_was_cut_off_goes_on_to_the_same_result() {
    for method in ["autorep", "snl"] {
        let named = presets::method(method).unwrap();
        let mut options = SearchOptions {
            epochs: 3,
            method: named.method,
            polynomials: named.polynomials,
            ..options(2000)
        };
        // Six of the nine steps.
        if let MethodOptions::Autorep { search_part, .. } | MethodOptions::Snl { search_part, .. } =
            &mut options.method
        {
            *search_part = 0.7;
        }
        options.polynomials.bound = 2.0;
        options.polynomials.refit_steps = 11;
        resumes(&options);
    }
}

fn resumes(options: &SearchOptions) {
    let network = by_name("mnist_cnn", DataSetKind::Mnist).unwrap();
    let (set, weights) = (bars(160), Weights::initial(&network, 2));
    let teacher = Teacher::new(&network, &weights, &halfnet_training::device::current());
    let start = || Search::new(&network, &weights, &teacher, &set, options.clone()).unwrap();
    let mut whole = start();
    let folder = tempfile::tempdir().unwrap();
    // Cut off before the pressure on the count is known and after, when masks are settled, and with
    // normalisations frozen.
    assert_eq!(whole.total(), 9);
    let cuts = [1, 3, 6, 8];
    for step in 0..whole.total() {
        if cuts.contains(&step) {
            whole.save(&folder.path().join(format!("{step}"))).unwrap();
        }
        whole.advance().unwrap();
    }
    let whole = whole.finish();
    for cut in cuts {
        let mut resumed = start();
        resumed.load(&folder.path().join(format!("{cut}"))).unwrap();
        assert_eq!(resumed.taken(), cut);
        while resumed.taken() < resumed.total() {
            resumed.advance().unwrap();
        }
        let resumed = resumed.finish();
        assert_eq!(
            resumed.evaluator.as_ref().map(Evaluator::network),
            whole.evaluator.as_ref().map(Evaluator::network),
            "cut at {cut}"
        );
        assert_eq!(resumed.epochs.last().unwrap().loss, whole.epochs.last().unwrap().loss);
    }
    let refused = |weights: &Weights, set: &DataSet, options: SearchOptions| {
        let mut other = Search::new(&network, weights, &teacher, set, options).unwrap();
        other.load(&folder.path().join("1")).unwrap_err().to_string()
    };
    assert!(
        refused(&weights, &set, SearchOptions { seed: 9, ..options.clone() }).contains("with other options")
    );
    assert!(refused(&weights, &bars(192), options.clone()).contains("with other pictures"));
    assert!(refused(&Weights::initial(&network, 3), &set, options.clone()).contains("with other weights"));
}

/// ReLUs of one layer bend what it is given; the others' arguments are far above zero, where a ReLU is the
/// identity.
#[test]
fn autorep_keeps_the_relus_that_matter() {
    let network = by_name("mnist_cnn", DataSetKind::Mnist).unwrap();
    let set = bars(640);
    let mut weights = Weights::initial(&network, 1);
    for name in ["bn1.bias", "bn3.bias"] {
        let count = weights.get(name).len();
        weights.set(name.to_owned(), vec![20.0; count]);
    }
    let mut plain = SearchOptions { distil: false, ..options(network.relus()) };
    plain.normalisation.frozen_part = 0.0;
    let weights = search::run(&network, &weights, &set, &plain, |_| ()).unwrap().state.weights(&network);

    let mut options = SearchOptions { epochs: 8, ..presets::method("identity").unwrap() };
    options = SearchOptions { batch: 32, validation: 64, budget: 1568, ..options };
    options.polynomials.fit_batches = 4;
    options.normalisation.pictures = 256;
    options.method =
        MethodOptions::Autorep { search_part: 0.5, rate: 2e-2, threshold: 0.003, pressure: Pressure::Paced };
    let found = search::run(&network, &weights, &set, &options, |_| ()).unwrap();
    // The count falls by itself, before it is projected.
    let counts: Vec<usize> = found.epochs.iter().map(|e| e.relus).collect();
    assert!(
        counts[..4].is_sorted_by(|a, b| a > b) && counts[2] < 8000 && counts[4..].iter().all(|&c| c == 1568),
        "{counts:?}"
    );
    let of_layers: Vec<usize> = found.state.replacements.values().map(|r| r.relus()).collect();
    assert!(of_layers[1] > 1568 * 4 / 5, "{of_layers:?}");
}

#[test]
fn every_method_ends_within_the_budget() {
    let network = by_name("mnist_cnn", DataSetKind::Mnist).unwrap();
    let (set, weights) = (bars(320), Weights::initial(&network, 2));
    for name in presets::METHODS {
        let named = presets::method(name).unwrap();
        // Layers have 6,272, 3,136 and 1,568 ReLUs.
        let mut options = SearchOptions {
            epochs: 2,
            method: named.method,
            polynomials: named.polynomials,
            ..options(5000)
        };
        options.polynomials.fit_batches = 2;
        let reduce::Prepared { network, weights, options, .. } =
            reduce::prepare(&network, &weights, &set, &options).unwrap();
        let found = search::run(&network, &weights, &set, &options, |_| ()).unwrap();
        let expected = match *name {
            "layerwise" => 3136 + 1568,
            // Half the channels of all layers but the first of each pair, or of all.
            "deepreduce" => 1568 + 3136,
            "filters" => 4116,
            _ => 5000,
        };
        assert_eq!(found.relus, expected, "{name}");
    }
    for name in presets::PRESETS {
        let options = SearchOptions { budget: 5000, epochs: 1, batch: 32, ..presets::preset(name).unwrap() };
        let found = search::run(&network, &weights, &set, &options, |_| ()).unwrap();
        assert_eq!(found.relus, 5000, "{name}");
    }
}

#[test]
fn snl_lets_parts_fall_at_the_pace_of_the_budget() {
    let network = by_name("mnist_cnn", DataSetKind::Mnist).unwrap();
    let (set, weights) = (bars(320), Weights::initial(&network, 2));
    let named = presets::method("snl").unwrap();
    let method =
        MethodOptions::Snl { search_part: 0.5, rate: 5e-2, threshold: 0.01, pressure: Pressure::Paced };
    let mut options = SearchOptions { epochs: 12, method, polynomials: named.polynomials, ..options(2000) };
    options.polynomials.fit_batches = 2;
    let found = search::run(&network, &weights, &set, &options, |_| ()).unwrap();
    // Masks are those of parts beyond the threshold while they are trained: many have gone before the
    // projection.
    let counts: Vec<usize> = found.epochs.iter().map(|e| e.relus).collect();
    assert!(counts[0] == 10_976 && counts[5] < 8000 && counts[6..].iter().all(|&c| c == 2000), "{counts:?}");
}

#[test]
fn committed_configurations_are_complete() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("configurations");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let found = configuration::read(&path).unwrap();
        // The name says the network and the budget.
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(
            name.starts_with(&found.model) && name.ends_with(&format!("-{}", found.options.budget)),
            "{name}"
        );
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn an_epoch_says_how_far_arguments_go() {
    let network = by_name("mnist_cnn", DataSetKind::Mnist).unwrap();
    let (set, weights) = (bars(160), Weights::initial(&network, 2));
    let run = |limit: f32, tangents: bool| {
        let mut options = SearchOptions { epochs: 1, ..options(0) };
        options.polynomials.fit_batches = 2;
        options.range.limit = limit;
        options.range.tangents = tangents;
        options.range.weight = 0.0;
        search::run(&network, &weights, &set, &options, |_| ()).unwrap()
    };
    let (near, far) = (run(0.01, false), run(1000.0, false));
    let (near, far) = (near.epochs.last().unwrap().clone(), far.epochs.last().unwrap().clone());
    assert!(
        (near.beyond, near.far, far.beyond, far.far) == (Some(1.0), Some(1.0), Some(0.0), Some(0.0)),
        "{near:?} {far:?}"
    );
    assert_eq!((near.validation, near.loss), (far.validation, far.loss));
    for (layer, [median, percentile, worst]) in &near.reach {
        assert!(1.0 < *median && median <= percentile && percentile <= worst, "{layer}");
        // The same arguments in parts of another limit.
        assert!((worst / far.reach[layer][2] / 1e5 - 1.0).abs() < 1e-3, "{layer}");
    }
    // Tangents from so early on are straight lines: another network is trained.
    assert_ne!(run(0.01, true).epochs.last().unwrap().loss, near.loss);
}

#[test]
fn what_does_not_go_together_is_refused() {
    let network = by_name("mnist_cnn", DataSetKind::Mnist).unwrap();
    let (set, weights) = (bars(160), Weights::initial(&network, 2));
    let refused = |options: &SearchOptions| {
        search::run(&network, &weights, &set, options, |_| ()).unwrap_err().to_string()
    };
    assert!(refused(&options(20_000)).contains("has only 10976"));
    assert!(refused(&SearchOptions { batch: 30, ..options(10) }).contains("multiple of 16"));
    assert!(refused(&SearchOptions { batch: 1600, ..options(10) }).contains("fill no batch"));
}
