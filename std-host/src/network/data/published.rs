//! Is a data set the published one? What was decoded is compared with digests that this file holds.
//!
//! The digest of a split is the sum, in four 64-bit words, of BLAKE3 over each picture's label and bytes: it
//! does not depend on the order, in which copies of CIFAR-100 differ. It finds damage; it is no defence
//! against someone who makes a set on purpose. A split is compared when it is read whole, by its published
//! number of pictures; a part of it is not.

use std::path::Path;

use super::{DataError, DataSet, DataSetKind, Split, malformed};

/// A sum of hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest([u64; 4]);

impl Digest {
    /// Of one picture.
    pub(super) fn of(label: u16, bytes: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&label.to_le_bytes());
        hasher.update(bytes);
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(hasher.finalize().as_bytes().as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Self(words)
    }

    fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].wrapping_add(other.0[i])))
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|word| write!(f, "{word:016x}"))
    }
}

/// Pictures of a split, and its digest.
const fn known(set: DataSetKind, split: Split) -> Option<(usize, &'static str)> {
    Some(match (set, split) {
        (DataSetKind::Mnist, Split::Train) => {
            (60_000, "07753c66899714152f25ded8266cb7680345f77eb4c4d030bb6d820a99f63eed")
        }
        (DataSetKind::Mnist, Split::Test) => {
            (10_000, "9d89217de8a84802fd1c3c79125988c560d7cc4299a17b13346cea6ea5fad64e")
        }
        (DataSetKind::Cifar10, Split::Train) => {
            (50_000, "128ffcd0fda5a6ace86130ced804f1747b59d4f5c2445f5a226a24f2e6636674")
        }
        (DataSetKind::Cifar10, Split::Test) => {
            (10_000, "16e56ef045990fc6c746f906f152a2c2c209f20473eb0138772fc6862b62a097")
        }
        (DataSetKind::Cifar100, Split::Train) => {
            (50_000, "bfd8523f37e43aacd2ecde47f344cc7e4f5c1df9e0e405bcc7457e8ee09720da")
        }
        (DataSetKind::Cifar100, Split::Test) => {
            (10_000, "f67cd74155062e04872ce69ed6cfc3c0284eb298de1d97fe01210cfeb4ede4b1")
        }
        (DataSetKind::Fsdd, Split::Train) => {
            (2700, "74bee9dbfdb6e7cf7c6f22da2198378e18e2a29010020afd9c591abfda8962ce")
        }
        (DataSetKind::Fsdd, Split::Test) => {
            (300, "d9a7e885973a7dc5ff7714edf223458a374c6d452e227777bc0384ec05c6e6b4")
        }
        (DataSetKind::TinyImagenet20, Split::Train) => {
            (10_000, "ad37c6dc5e31c6e2dbe7855ef8aef3ccb2685cf450884c50cafc3c051cfa4b21")
        }
        (DataSetKind::TinyImagenet20, Split::Test) => {
            (1000, "b4d19041d1148a92e593bd121a03bf9b0f93e4bfe1a7dbae6793e443aee3b7ff")
        }
        (DataSetKind::TinyImagenet | DataSetKind::Imagenet, _) => return None,
    })
}

/// Compares the digests of all pictures that were read with the published ones, if there are as many.
pub(super) fn check(
    set: DataSetKind,
    split: Split,
    folder: &Path,
    pictures: impl ExactSizeIterator<Item = Digest>,
) -> Result<(), DataError> {
    let Some((count, expected)) = known(set, split) else { return Ok(()) };
    if pictures.len() != count {
        return Ok(());
    }
    let found = pictures.fold(Digest::default(), Digest::add).to_string();
    if found == expected {
        return Ok(());
    }
    Err(malformed(
        folder,
        format!(
            "the {split} split is not the published {set}: digest {found}, expected {expected}; fetch it again"
        ),
    ))
}

/// As [`check`], of pictures as they were read.
pub(super) fn check_pictures(
    set: DataSetKind,
    split: Split,
    folder: &Path,
    data: &DataSet,
) -> Result<(), DataError> {
    use rayon::prelude::*;
    if known(set, split).is_none_or(|(count, _)| count != data.len()) {
        return Ok(());
    }
    let digests: Vec<Digest> =
        (0..data.len()).into_par_iter().map(|i| Digest::of(data.labels[i], data.picture(i))).collect();
    check(set, split, folder, digests.into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_of_labels_and_pictures_in_any_order() {
        let sum = |pictures: &[(u16, &[u8])]| {
            pictures.iter().map(|(l, b)| Digest::of(*l, b)).fold(Digest::default(), Digest::add)
        };
        let whole = sum(&[(1, b"one"), (2, b"two")]);
        assert_eq!(whole, sum(&[(2, b"two"), (1, b"one")]));
        assert_ne!(whole, sum(&[(2, b"one"), (1, b"two")]));
        assert_ne!(whole, sum(&[(1, b"one"), (2, b"twp")]));
        assert_eq!(whole.to_string().len(), 64);
    }

    #[test]
    fn a_whole_split_of_other_pictures_is_refused_and_a_part_is_not_looked_at() {
        let data = |count: usize| DataSet {
            shape: DataSetKind::Mnist.shape(),
            pixels: vec![7; count * 784],
            labels: vec![3; count],
        };
        let folder = Path::new("somewhere");
        let refused =
            check_pictures(DataSetKind::Mnist, Split::Test, folder, &data(10_000)).unwrap_err().to_string();
        assert!(refused.contains("somewhere") && refused.contains("not the published mnist"), "{refused}");
        check_pictures(DataSetKind::Mnist, Split::Test, folder, &data(9999)).unwrap();
    }
}
