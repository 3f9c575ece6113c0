//! CIFAR-10 and CIFAR-100, from lossless atlases or from the original binary records.
//!
//! An atlas is a JPEG XL picture of 800×1280 with 1,000 tiles of 32×32, 25 a row; picture `1000·f + 25·row +
//! column` of a split is tile (row, column) of atlas f. A record of the originals is one label byte
//! (CIFAR-100: coarse, then fine) and 3,072 pixels.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{DataError, DataSet, DataSetKind, Split, malformed, read};

const SIDE: usize = 32;
const PIXELS: usize = 3 * SIDE * SIDE;
const ATLAS: usize = 1000;
const COLUMNS: usize = 25;

pub(super) fn load(root: &Path, set: DataSetKind, split: Split, limit: usize) -> Result<DataSet, DataError> {
    let folder = root.join(set.name());
    let archive = match set {
        DataSetKind::Cifar100 => "cifar-100-binary",
        _ => "cifar-10-batches-bin",
    };
    if folder.join(format!("{split}_labels.bin")).is_file() {
        return from_atlases(&folder, set, split, limit);
    }
    for place in [folder.clone(), folder.join(archive), root.join(archive)] {
        if place.join(record_files(set, split)[0]).is_file() {
            return from_records(&place, set, split, limit);
        }
    }
    let files = format!(
        "{split}_labels.bin with {split}_00.jxl …, or {} (also in {archive}/)",
        record_files(set, split).join(", ")
    );
    Err(DataError::Missing { set, what: "pictures and labels", folder, files })
}

fn label_bytes(set: DataSetKind) -> usize {
    if set == DataSetKind::Cifar100 { 2 } else { 1 }
}

fn record_files(set: DataSetKind, split: Split) -> &'static [&'static str] {
    match (set, split) {
        (DataSetKind::Cifar100, Split::Train) => &["train.bin"],
        (DataSetKind::Cifar100, Split::Test) => &["test.bin"],
        (_, Split::Train) => &[
            "data_batch_1.bin",
            "data_batch_2.bin",
            "data_batch_3.bin",
            "data_batch_4.bin",
            "data_batch_5.bin",
        ],
        (_, Split::Test) => &["test_batch.bin"],
    }
}

/// The class is the last of a picture's label bytes: for CIFAR-100 the fine one.
fn labels(set: DataSetKind, bytes: &[u8], path: &Path) -> Result<Vec<u16>, DataError> {
    let each = label_bytes(set);
    if !bytes.len().is_multiple_of(each) {
        return Err(malformed(
            path,
            format!("{} bytes are no whole number of labels of {each}", bytes.len()),
        ));
    }
    let labels: Vec<u16> = bytes.chunks_exact(each).map(|l| u16::from(l[each - 1])).collect();
    match labels.iter().find(|&&l| usize::from(l) >= set.classes()) {
        Some(label) => {
            Err(malformed(path, format!("a label is {label}, but {set} has {} classes", set.classes())))
        }
        None => Ok(labels),
    }
}

fn from_atlases(folder: &Path, set: DataSetKind, split: Split, limit: usize) -> Result<DataSet, DataError> {
    let path = folder.join(format!("{split}_labels.bin"));
    let mut labels = labels(set, &read(&path)?, &path)?;
    labels.truncate(limit);
    let count = labels.len();
    let atlases: Vec<Vec<u8>> = (0..count.div_ceil(ATLAS))
        .into_par_iter()
        .map(|number| {
            let path = folder.join(format!("{split}_{number:02}.jxl"));
            if !path.is_file() {
                let files = format!("{split}_{number:02}.jxl");
                return Err(DataError::Missing { set, what: "an atlas", folder: folder.to_owned(), files });
            }
            atlas(&path, (count - number * ATLAS).min(ATLAS))
        })
        .collect::<Result<_, _>>()?;
    Ok(DataSet { shape: set.shape(), pixels: atlases.concat(), labels })
}

/// The first `count` tiles of an atlas.
fn atlas(path: &Path, count: usize) -> Result<Vec<u8>, DataError> {
    let broken = |e: Box<dyn std::error::Error + Send + Sync>| {
        malformed(path, format!("no readable JPEG XL picture: {e}"))
    };
    let image = jxl_oxide::JxlImage::builder().open(path).map_err(broken)?;
    let frame = image.render_frame(0).map_err(broken)?.image_all_channels();
    let (width, height) = (COLUMNS * SIDE, ATLAS / COLUMNS * SIDE);
    if (frame.width(), frame.height(), frame.channels()) != (width, height, 3) {
        let found = format!("{}×{} with {} channels", frame.width(), frame.height(), frame.channels());
        return Err(malformed(
            path,
            format!("an atlas is {width}×{height} with 3 channels, this is {found}"),
        ));
    }
    let mut pixels = Vec::with_capacity(count * PIXELS);
    for tile in 0..count {
        let (top, left) = (tile / COLUMNS * SIDE, tile % COLUMNS * SIDE);
        for channel in 0..3 {
            for row in top..top + SIDE {
                let line = &frame.buf()[(row * width + left) * 3..(row * width + left + SIDE) * 3];
                pixels.extend(line.iter().skip(channel).step_by(3).map(|v| (v * 255.0).round() as u8));
            }
        }
    }
    Ok(pixels)
}

fn from_records(folder: &Path, set: DataSetKind, split: Split, limit: usize) -> Result<DataSet, DataError> {
    let header = label_bytes(set);
    let mut data = DataSet { shape: set.shape(), pixels: Vec::new(), labels: Vec::new() };
    for file in record_files(set, split) {
        let wanted = limit - data.len();
        if wanted == 0 {
            break;
        }
        let path: PathBuf = folder.join(file);
        let bytes = read(&path)?;
        if bytes.is_empty() || !bytes.len().is_multiple_of(header + PIXELS) {
            return Err(malformed(
                &path,
                format!("{} bytes are no whole number of records of {}", bytes.len(), header + PIXELS),
            ));
        }
        let mut classes = Vec::new();
        for record in bytes.chunks_exact(header + PIXELS).take(wanted) {
            classes.extend_from_slice(&record[..header]);
            data.pixels.extend_from_slice(&record[header..]);
        }
        data.labels.extend(labels(set, &classes, &path)?);
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An empty data folder of this test's own.
    fn folder(name: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("halfnet-cifar-{}-{name}", std::process::id()));
        std::fs::create_dir_all(root.join("cifar10")).unwrap();
        std::fs::create_dir_all(root.join("cifar-100-binary")).unwrap();
        root
    }

    fn record(labels: &[u8], pixel: u8) -> Vec<u8> {
        [labels, &[pixel; PIXELS]].concat()
    }

    #[test]
    fn original_records_of_both_sets() {
        let root = folder("records");
        for batch in 1..=5 {
            let records = [record(&[batch], batch), record(&[9], 100 + batch)].concat();
            std::fs::write(root.join(format!("cifar10/data_batch_{batch}.bin")), records).unwrap();
        }
        std::fs::write(root.join("cifar-100-binary/test.bin"), record(&[19, 99], 7)).unwrap();
        let all = load(&root, DataSetKind::Cifar10, Split::Train, usize::MAX).unwrap();
        assert_eq!(all.labels, [1, 9, 2, 9, 3, 9, 4, 9, 5, 9]);
        assert_eq!((all.picture(4)[0], all.picture(9)[PIXELS - 1]), (3, 105));
        let some = load(&root, DataSetKind::Cifar10, Split::Train, 3).unwrap();
        assert_eq!((some.labels.as_slice(), some.pixels.len()), (&[1, 9, 2][..], 3 * PIXELS));
        let fine = load(&root, DataSetKind::Cifar100, Split::Test, usize::MAX).unwrap();
        assert_eq!((fine.labels.as_slice(), fine.pixels[0]), (&[99][..], 7));
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn faults_name_the_file_and_what_would_do() {
        let root = folder("faults");
        let error = |set, split| load(&root, set, split, usize::MAX).unwrap_err().to_string();
        let missing = error(DataSetKind::Cifar10, Split::Test);
        assert!(
            missing.contains("test_batch.bin")
                && missing.contains("test_00.jxl")
                && missing.contains("the right data folder"),
            "{missing}"
        );
        std::fs::write(root.join("cifar10/test_batch.bin"), [0; PIXELS]).unwrap();
        assert!(error(DataSetKind::Cifar10, Split::Test).contains("no whole number of records"));
        std::fs::write(root.join("cifar10/test_batch.bin"), record(&[10], 0)).unwrap();
        assert!(error(DataSetKind::Cifar10, Split::Test).contains("a label is 10"));
        std::fs::write(root.join("cifar10/train_labels.bin"), [3; 5]).unwrap();
        assert!(error(DataSetKind::Cifar10, Split::Train).contains("train_00.jxl"));
        std::fs::write(root.join("cifar10/train_00.jxl"), b"no picture").unwrap();
        assert!(error(DataSetKind::Cifar10, Split::Train).contains("no readable JPEG XL"));
        std::fs::remove_dir_all(root).unwrap();
    }
}
