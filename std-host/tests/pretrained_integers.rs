//! The pretrained networks in integers, on pictures of a data folder; skipped where `HALFNET_DATA` names
//! none.
#![cfg(feature = "import")]

use halfnet_core::model::Model;
use halfnet_host::network::data::{DataFolder, DataSetKind, Split};
use halfnet_host::network::import::{ImportOptions, Imported, import_file};
use halfnet_host::network::progress::Progress;
use halfnet_host::network::simulate::{Reference, SeededCoins, test_set};

fn import(file: &str, options: ImportOptions) -> Option<(DataFolder, Imported)> {
    let folder = DataFolder::from_flag(None).ok()?;
    let options = ImportOptions { progress: Progress::Hidden, ..options };
    let imported = import_file(&folder.root().join("weights").join(file), &folder, &options).unwrap();
    Some((folder, imported))
}

#[test]
fn mnist_cnn_keeps_its_accuracy_on_all_pictures() {
    let Some((folder, imported)) = import("mnist_cnn.safetensors", ImportOptions::default()) else { return };
    assert!(imported.bytes.len() <= 64 << 10, "{} bytes", imported.bytes.len());
    let reference = Reference::new(&Model::decode(&imported.bytes).unwrap());
    let data = folder.load(DataSetKind::Mnist, Split::Test, None).unwrap();
    let run =
        test_set::run(&reference, &data, |i| Box::new(SeededCoins::new(7, i as u64)), &Progress::Hidden);
    assert_eq!(run.range_violations, 0);
    assert!((run.accuracy - 99.09).abs() <= 0.1, "{}", run.accuracy);
}

#[test]
fn resnet20_follows_its_float_original() {
    let options = ImportOptions {
        range_pictures: 500,
        rounding_pictures: 200,
        judging_pictures: 500,
        ..ImportOptions::default()
    };
    let Some((_, imported)) = import("cifar10_resnet20.safetensors", options) else { return };
    let report = imported.report;
    assert_eq!(report.range_violations, 0);
    assert!(report.agreement > 98.0, "{}", report.agreement);
    assert!(report.logit_error < 0.12, "{}", report.logit_error);
    assert!(report.bytes_each_way <= 750_000.0, "{}", report.bytes_each_way);
}
