//! The data sets of a data folder, whole, so that each is compared with the published one; skipped where
//! `HALFNET_DATA` names none.
#![cfg(feature = "import")]

use halfnet_host::network::data::{DataFolder, DataSet, DataSetKind, Split};

/// A split that must be there, with as many pictures of each class.
fn whole(set: DataSetKind, split: Split, count: usize) -> Option<DataSet> {
    let folder = DataFolder::from_flag(None).ok()?;
    let data = folder.load(set, split, None).unwrap();
    assert_eq!(
        (data.len(), data.shape, data.pixels.len()),
        (count, set.shape(), count * set.shape().elements())
    );
    for class in 0..set.classes() {
        assert_eq!(
            data.labels.iter().filter(|&&l| usize::from(l) == class).count(),
            count / set.classes(),
            "{set} {class}"
        );
    }
    assert_eq!(folder.class_names(set).unwrap().len(), set.classes());
    Some(data)
}

#[test]
fn spoken_digits() {
    whole(DataSetKind::Fsdd, Split::Train, 2700);
    let Some(test) = whole(DataSetKind::Fsdd, Split::Test, 300) else { return };
    // The first sixty hold every digit of every speaker.
    assert!((0..10).all(|digit| test.labels[..60].iter().filter(|&&l| l == digit).count() == 6));
    // Speech fills the middle and leaves the edges quiet.
    let mean = |columns: std::ops::Range<usize>| {
        let values = test
            .pixels
            .iter()
            .enumerate()
            .filter(|(i, _)| columns.contains(&(i % 32)))
            .map(|(_, &v)| f64::from(v));
        values.sum::<f64>() / (test.len() * 32 * columns.len()) as f64
    };
    assert!(mean(12..20) > 100.0 && mean(0..4) < 30.0, "{} {}", mean(12..20), mean(0..4));
}

#[test]
fn cifar_100_and_tiny_imagenet() {
    whole(DataSetKind::Cifar100, Split::Test, 10_000);
    whole(DataSetKind::TinyImagenet20, Split::Test, 1000);
}

#[test]
#[ignore = "120,000 pictures take minutes"]
fn the_other_splits() {
    for (set, test, train) in [
        (DataSetKind::Mnist, 10_000, 60_000),
        (DataSetKind::Cifar10, 10_000, 50_000),
        (DataSetKind::Cifar100, 10_000, 50_000),
    ] {
        // MNIST's classes are not of one size.
        if set == DataSetKind::Mnist {
            let Ok(folder) = DataFolder::from_flag(None) else { return };
            assert_eq!(
                [Split::Test, Split::Train].map(|split| folder.load(set, split, None).unwrap().len()),
                [test, train]
            );
            continue;
        }
        whole(set, Split::Test, test);
        whole(set, Split::Train, train);
    }
    whole(DataSetKind::TinyImagenet20, Split::Train, 10_000);
}
