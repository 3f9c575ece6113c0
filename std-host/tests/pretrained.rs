//! The pretrained networks of a data folder, in floating point; skipped where `HALFNET_DATA` names none.
#![cfg(feature = "import")]

use halfnet_host::network::data::{DataFolder, Split};
use halfnet_host::network::float::{FloatNetwork, forward};

fn accuracy(file: &str, limit: Option<usize>) -> Option<f64> {
    let folder = DataFolder::from_flag(None).ok()?;
    let network = FloatNetwork::read(&folder.root().join("weights").join(file)).unwrap();
    let data = folder.load(network.data_set, Split::Test, limit).unwrap();
    let logits = network.logits(&data, || ());
    let right = logits
        .iter()
        .zip(&data.labels)
        .filter(|(l, label)| forward::label(l) == usize::from(**label))
        .count();
    Some(100.0 * right as f64 / data.len() as f64)
}

#[test]
fn mnist_cnn_has_its_accuracy() {
    if let Some(accuracy) = accuracy("mnist_cnn.safetensors", None) {
        assert!((accuracy - 99.09).abs() < 0.015, "{accuracy}");
    }
}

#[test]
fn resnet20_has_its_accuracy() {
    // All 10,000 pictures give 91.73 %; the first thousand are enough to see a wrong weight.
    if let Some(accuracy) = accuracy("cifar10_resnet20.safetensors", Some(1000)) {
        assert!(accuracy > 90.5, "{accuracy}");
    }
}

#[test]
#[ignore = "10,000 pictures take about a minute"]
fn resnet20_has_its_accuracy_on_all_pictures() {
    if let Some(accuracy) = accuracy("cifar10_resnet20.safetensors", None) {
        assert!((accuracy - 91.73).abs() < 0.015, "{accuracy}");
    }
}
