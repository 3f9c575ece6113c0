//! The idx format of MNIST: big-endian header (two zero bytes, type 8 = unsigned bytes, number of sizes, the
//! sizes), then bytes.

use std::io::Read;
use std::path::{Path, PathBuf};

use halfnet_core::shape::Shape;

use super::{DataError, DataSet, DataSetKind, Split, malformed, read};

pub(super) fn load(root: &Path, split: Split, limit: usize) -> Result<DataSet, DataError> {
    let prefix = match split {
        Split::Train => "train",
        Split::Test => "t10k",
    };
    let images = find(root, &format!("{prefix}-images-idx3-ubyte"), "pictures")?;
    let labels = find(root, &format!("{prefix}-labels-idx1-ubyte"), "labels")?;
    parse(&read(&images)?, &read(&labels)?, &images, &labels, limit)
}

fn find(root: &Path, name: &str, what: &'static str) -> Result<PathBuf, DataError> {
    let folder = root.join("mnist");
    let candidates = [format!("{name}.gz"), name.to_owned()];
    candidates.iter().map(|c| folder.join(c)).find(|p| p.is_file()).ok_or_else(|| DataError::Missing {
        set: DataSetKind::Mnist,
        what,
        folder,
        files: candidates.join(", "),
    })
}

/// Pictures and labels from two idx files, plain or gzipped.
pub(super) fn parse(
    images: &[u8],
    labels: &[u8],
    images_path: &Path,
    labels_path: &Path,
    limit: usize,
) -> Result<DataSet, DataError> {
    let ([count, rows, columns], pixels) = idx::<3>(images, images_path, limit)?;
    let ([label_count], labels) = idx::<1>(labels, labels_path, limit)?;
    if count != label_count {
        return Err(malformed(labels_path, format!("{label_count} labels for {count} pictures")));
    }
    let side = |size: usize| u16::try_from(size).ok().filter(|&s| s > 0);
    let (Some(rows), Some(columns)) = (side(rows), side(columns)) else {
        return Err(malformed(images_path, format!("pictures of {rows}×{columns}")));
    };
    if let Some(label) = labels.iter().find(|&&l| usize::from(l) >= DataSetKind::Mnist.classes()) {
        return Err(malformed(labels_path, format!("a label is {label}, digits are 0 to 9")));
    }
    Ok(DataSet {
        shape: Shape::new(1, rows, columns),
        pixels,
        labels: labels.into_iter().map(u16::from).collect(),
    })
}

/// Sizes (the first as stated in the file) and at most `limit` items of a file of unsigned bytes.
fn idx<const N: usize>(bytes: &[u8], path: &Path, limit: usize) -> Result<([usize; N], Vec<u8>), DataError> {
    let mut source: Box<dyn Read> = match bytes {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::GzDecoder::new(bytes)),
        _ => Box::new(bytes),
    };
    let mut header = vec![0; 4 + 4 * N];
    source.read_exact(&mut header).map_err(|_| malformed(path, "shorter than an idx header"))?;
    if header[..4] != [0, 0, 8, N as u8] {
        return Err(malformed(path, format!("not an idx file of unsigned bytes with {N} sizes")));
    }
    let mut sizes = [0; N];
    for (size, bytes) in sizes.iter_mut().zip(header[4..].as_chunks::<4>().0) {
        *size = u32::from_be_bytes(*bytes) as usize;
    }
    let item = sizes[1..].iter().try_fold(1_usize, |a, &b| a.checked_mul(b));
    let wanted = item.and_then(|i| i.checked_mul(sizes[0].min(limit))).filter(|&w| w < 1 << 32);
    let Some(wanted) = wanted else {
        return Err(malformed(path, format!("impossible sizes {sizes:?}")));
    };
    let mut items = Vec::new();
    source
        .take(wanted as u64)
        .read_to_end(&mut items)
        .map_err(|e| malformed(path, format!("cannot be decompressed: {e}")))?;
    if items.len() != wanted {
        return Err(malformed(path, format!("cut: {} of {wanted} bytes", items.len())));
    }
    Ok((sizes, items))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn files() -> (Vec<u8>, Vec<u8>) {
        let mut images = vec![0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 2];
        images.extend(0..12);
        (images, vec![0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9])
    }

    fn parsed(images: &[u8], labels: &[u8], limit: usize) -> Result<DataSet, DataError> {
        parse(images, labels, Path::new("images"), Path::new("labels"), limit)
    }

    #[test]
    fn plain_and_gzipped() {
        let (images, labels) = files();
        let whole = parsed(&images, &labels, usize::MAX).unwrap();
        assert_eq!(
            (whole.len(), whole.shape, whole.picture(2), whole.labels[2]),
            (3, Shape::new(1, 2, 2), &[8, 9, 10, 11][..], 9)
        );
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&images).unwrap();
        assert_eq!(parsed(&gzip.finish().unwrap(), &labels, usize::MAX).unwrap(), whole);
        assert_eq!(parsed(&images, &labels, 2).unwrap().len(), 2);
    }

    #[test]
    fn faults_are_errors() {
        let (images, labels) = files();
        assert!(parsed(&images[..20], &labels, 9).unwrap_err().to_string().contains("cut: 4 of 12"));
        assert!(parsed(&images, &images, 9).unwrap_err().to_string().contains("not an idx file"));
        assert!(
            parsed(&images, &[0, 0, 8, 1, 0, 0, 0, 2, 7, 8], 9)
                .unwrap_err()
                .to_string()
                .contains("2 labels for 3 pictures")
        );
        assert!(
            parsed(&images, &[0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 10], 9)
                .unwrap_err()
                .to_string()
                .contains("label is 10")
        );
    }
}
