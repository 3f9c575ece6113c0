//! Training from the start: it learns, it keeps the epoch that was best on pictures held back, and it goes on
//! where it was cut off.

use halfnet_host::network::data::{DataFolder, DataSet, DataSetKind, Split};
use halfnet_training::network::families::by_name;
use halfnet_training::pretrain::{PretrainOptions, Pretraining};
use halfnet_training::random::Random;
use halfnet_training::weights::Weights;

/// A loud band whose height says the class, on noise.
fn tones(count: usize) -> DataSet {
    let mut random = Random::new(&[6]);
    let labels: Vec<u16> = (0..count).map(|i| (i % 10) as u16).collect();
    let mut pixels = Vec::new();
    for &label in &labels {
        let loud = |p: usize| p / 32 / 3 == usize::from(label) && (8..24).contains(&(p % 32));
        pixels.extend((0..32 * 32).map(|p| if loud(p) { 220 } else { random.below(60) as u8 }));
    }
    DataSet { shape: DataSetKind::Fsdd.shape(), pixels, labels }
}

fn options() -> PretrainOptions {
    PretrainOptions { epochs: 4, batch: 32, validation: 64, rate: 0.05, ..PretrainOptions::default() }
}

#[test]
fn the_best_epoch_is_kept_and_read_back() {
    let network = by_name("fsdd_cnn", DataSetKind::Fsdd).unwrap();
    let set = tones(480);
    let mut run = Pretraining::new(&network, &set, options()).unwrap();
    while run.taken() < run.total() {
        run.advance().unwrap();
    }
    let best = run.best();
    assert!(best.validation > 90.0, "{:?}", run.epochs());
    let most = run.epochs().iter().map(|e| e.validation).fold(0.0, f64::max);
    assert_eq!(best.validation, most);
    assert_eq!(run.epochs()[best.epoch as usize - 1].validation, most);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    best.weights.write(&network, &path).unwrap();
    let read = Weights::read(&network, &path).unwrap();
    assert_eq!(read, best.weights);
    // Folded, it says the same.
    let evaluator = halfnet_training::evaluate::Evaluator::of(&network, &read).unwrap();
    let all: Vec<usize> = (0..set.len()).collect();
    assert!(evaluator.accuracy(&set, &all) > 90.0);
}

#[test]
fn a_run_that_was_cut_off_goes_on_to_the_same_result() {
    let network = by_name("fsdd_cnn", DataSetKind::Fsdd).unwrap();
    let set = tones(160);
    let start = || Pretraining::new(&network, &set, options()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut whole = start();
    let cuts = [1, whole.total() / 2, whole.total() - 1];
    for step in 0..whole.total() {
        if cuts.contains(&step) {
            whole.save(&folder.path().join(format!("{step}"))).unwrap();
        }
        whole.advance().unwrap();
    }
    for cut in cuts {
        let mut resumed = start();
        resumed.load(&folder.path().join(format!("{cut}"))).unwrap();
        assert_eq!(resumed.taken(), cut);
        while resumed.taken() < resumed.total() {
            resumed.advance().unwrap();
        }
        assert_eq!(resumed.best(), whole.best(), "cut at {cut}");
        assert_eq!(resumed.epochs().last().unwrap().loss, whole.epochs().last().unwrap().loss);
    }
    let mut other = Pretraining::new(&network, &set, PretrainOptions { seed: 9, ..options() }).unwrap();
    assert!(other.load(&folder.path().join("1")).unwrap_err().to_string().contains("other options"));
}

#[test]
fn what_does_not_go_together_is_refused() {
    let network = by_name("fsdd_cnn", DataSetKind::Fsdd).unwrap();
    let set = tones(160);
    let refused =
        |options: PretrainOptions| Pretraining::new(&network, &set, options).unwrap_err().to_string();
    assert!(refused(PretrainOptions { batch: 30, ..options() }).contains("multiple of 16"));
    assert!(refused(PretrainOptions { batch: 1600, ..options() }).contains("fill no batch"));
    assert!(refused(PretrainOptions { validation: 0, ..options() }).contains("--validation"));
    let other = by_name("mnist_cnn", DataSetKind::Mnist).unwrap();
    assert!(Pretraining::new(&other, &set, options()).unwrap_err().to_string().contains("mnist_cnn takes"));
}

#[test]
fn spoken_digits_are_learned() {
    let Ok(folder) = DataFolder::from_flag(None) else { return };
    let network = by_name("fsdd_cnn", DataSetKind::Fsdd).unwrap();
    let set = folder.load(DataSetKind::Fsdd, Split::Train, Some(1200)).unwrap();
    let mut run = Pretraining::new(
        &network,
        &set,
        PretrainOptions { epochs: 6, validation: 240, batch: 32, ..options() },
    )
    .unwrap();
    while run.taken() < run.total() {
        run.advance().unwrap();
    }
    assert!(run.best().validation > 70.0, "{:?}", run.epochs());
}
