//! Tiny-ImageNet and ImageNet: JPEG files in a folder a class.
//!
//! | set | training | test: the validation split, whose labels are published |
//! |---|---|---|
//! | Tiny-ImageNet | `train/WNID/images/*.JPEG` | `val/images/*.JPEG`, `val/val_annotations.txt` |
//! | ImageNet | `train/WNID/*.JPEG` | `val/WNID/*.JPEG` |
//!
//! Classes are numbered in the order of their names, as most code does it. Pictures come class after class in
//! turn, so that the first ones of a split are of all classes. A Tiny-ImageNet may also be an archive,
//! `NAME.tar.zst` in its folder, which is read as it is. ImageNet's pictures are scaled to 256 on the shorter
//! side and cut to the middle 224×224.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::published::Digest;
use super::{DataError, DataSet, DataSetKind, Split, jpeg, malformed, published, read};

/// Bytes of decoded pictures that are held in memory at most.
const MOST_BYTES: usize = 8 << 30;

/// Where files lie.
enum Source {
    Folder(PathBuf),
    /// By their path below the set's folder.
    Archive(PathBuf, BTreeMap<String, Vec<u8>>),
}

impl Source {
    fn open(root: &Path, set: DataSetKind) -> Result<Self, DataError> {
        let folder = root.join(set.name());
        if folder.join("train").is_dir() || folder.join("val").is_dir() {
            return Ok(Self::Folder(folder));
        }
        let archive = folder.join(format!("{set}.tar.zst"));
        if set != DataSetKind::Imagenet && archive.is_file() {
            let files = unpack(&archive, set)?;
            return Ok(Self::Archive(archive, files));
        }
        let files = match set {
            DataSetKind::Imagenet => "train/WNID/*.JPEG, val/WNID/*.JPEG".to_owned(),
            _ => format!("train/WNID/images/*.JPEG, val/val_annotations.txt and wnids.txt, or {set}.tar.zst"),
        };
        Err(DataError::Missing { set, what: "pictures", folder, files })
    }

    fn path(&self, file: &str) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.join(file),
            Self::Archive(archive, _) => archive.join(file),
        }
    }

    fn read(&self, file: &str) -> Result<Vec<u8>, DataError> {
        match self {
            Self::Folder(folder) => read(&folder.join(file)),
            Self::Archive(_, files) => {
                files.get(file).cloned().ok_or_else(|| malformed(&self.path(file), "not in the archive"))
            }
        }
    }

    fn text(&self, file: &str) -> Result<String, DataError> {
        String::from_utf8(self.read(file)?).map_err(|_| malformed(&self.path(file), "no text"))
    }

    /// Names in a folder, in order.
    fn names(&self, folder: &str) -> Result<Vec<String>, DataError> {
        let mut names = match self {
            Self::Folder(root) => {
                let path = root.join(folder);
                let unreadable = |source| DataError::Read { path: path.clone(), source };
                let entries = std::fs::read_dir(&path).map_err(unreadable)?;
                entries
                    .map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()))
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(unreadable)?
            }
            Self::Archive(_, files) => {
                let prefix = format!("{folder}/");
                let below = files.keys().filter_map(|name| name.strip_prefix(&prefix));
                below.filter_map(|rest| rest.split('/').next()).map(str::to_owned).collect()
            }
        };
        // Picture 10 of a class comes after picture 9.
        names.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
        names.dedup();
        Ok(names)
    }
}

fn unpack(path: &Path, set: DataSetKind) -> Result<BTreeMap<String, Vec<u8>>, DataError> {
    let broken = |e: std::io::Error| malformed(path, format!("no readable archive: {e}"));
    let packed = std::io::Cursor::new(read(path)?);
    let plain = ruzstd::decoding::StreamingDecoder::new(packed)
        .map_err(|e| malformed(path, format!("no Zstandard file: {e}")))?;
    let mut archive = tar::Archive::new(plain);
    let mut files = BTreeMap::new();
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = entry.path().map_err(broken)?.to_string_lossy().into_owned();
        let Some(name) =
            name.trim_start_matches("./").strip_prefix(set.name()).and_then(|n| n.strip_prefix('/'))
        else {
            continue;
        };
        let name = name.to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(broken)?;
        files.insert(name, bytes);
    }
    Ok(files)
}

/// The classes in order: WordNet's identifiers.
fn classes(source: &Source, set: DataSetKind) -> Result<Vec<String>, DataError> {
    let mut classes: Vec<String> = if set == DataSetKind::Imagenet {
        source.names("train").or_else(|_| source.names("val"))?
    } else {
        source.text("wnids.txt")?.split_whitespace().map(str::to_owned).collect()
    };
    classes.sort();
    if classes.len() == set.classes() {
        return Ok(classes);
    }
    let place = source.path(if set == DataSetKind::Imagenet { "train" } else { "wnids.txt" });
    Err(malformed(&place, format!("{} classes, but {set} has {}", classes.len(), set.classes())))
}

/// Files of a split, with their classes.
fn files(
    source: &Source,
    set: DataSetKind,
    split: Split,
    classes: &[String],
) -> Result<Vec<(String, u16)>, DataError> {
    let mut by_class: Vec<Vec<String>> = vec![Vec::new(); classes.len()];
    if split == Split::Test && set != DataSetKind::Imagenet {
        let table = "val/val_annotations.txt";
        for line in source.text(table)?.lines() {
            let mut fields = line.split('\t');
            let (Some(file), Some(class)) = (fields.next(), fields.next()) else { continue };
            let number = classes.binary_search_by(|c| c.as_str().cmp(class));
            let number = number.map_err(|_| {
                malformed(&source.path(table), format!("`{class}` of {file} is not in wnids.txt"))
            })?;
            by_class[number].push(format!("val/images/{file}"));
        }
    } else {
        for (class, found) in classes.iter().zip(&mut by_class) {
            let folder = match (set, split) {
                (DataSetKind::Imagenet, Split::Train) => format!("train/{class}"),
                (DataSetKind::Imagenet, Split::Test) => format!("val/{class}"),
                _ => format!("train/{class}/images"),
            };
            *found = source.names(&folder)?.into_iter().map(|name| format!("{folder}/{name}")).collect();
        }
    }
    let most = by_class.iter().map(Vec::len).max().unwrap_or(0);
    let turn = |i: usize| {
        by_class
            .iter()
            .enumerate()
            .filter_map(move |(class, files)| Some((files.get(i)?.clone(), class as u16)))
    };
    Ok((0..most).flat_map(turn).collect())
}

pub(super) fn load(root: &Path, set: DataSetKind, split: Split, limit: usize) -> Result<DataSet, DataError> {
    let source = Source::open(root, set)?;
    let classes = classes(&source, set)?;
    let mut files = files(&source, set, split, &classes)?;
    files.truncate(limit);
    let most = MOST_BYTES / set.shape().elements();
    if files.len() > most {
        return Err(DataError::TooLarge { set, split, count: files.len(), most });
    }
    let one = |(file, class): &(String, u16)| {
        let bytes = source.read(file)?;
        let wrong = |reason: String| malformed(&source.path(file), reason);
        let decoded = jpeg::decode(&bytes).map_err(wrong)?;
        let shape = set.shape();
        let (height, width) = (usize::from(shape.height), usize::from(shape.width));
        let decoded = match set {
            DataSetKind::Imagenet => decoded.middle(256, width),
            _ if (decoded.width, decoded.height) == (width, height) => decoded,
            _ => {
                return Err(wrong(format!(
                    "{}×{} pixels, {set} has {width}×{height}",
                    decoded.width, decoded.height
                )));
            }
        };
        // What is published are the files.
        Ok((decoded.planes(), Digest::of(*class, &bytes)))
    };
    let made: Vec<(Vec<u8>, Digest)> = files.par_iter().map(one).collect::<Result<_, _>>()?;
    published::check(set, split, &root.join(set.name()), made.iter().map(|(_, digest)| *digest))?;
    let mut pixels = Vec::with_capacity(made.len() * set.shape().elements());
    made.iter().for_each(|(picture, _)| pixels.extend_from_slice(picture));
    Ok(DataSet { shape: set.shape(), pixels, labels: files.into_iter().map(|(_, class)| class).collect() })
}

/// A name of each class: the first of `words.txt`, or else its identifier.
pub(super) fn class_names(root: &Path, set: DataSetKind) -> Option<Vec<String>> {
    let source = Source::open(root, set).ok()?;
    let words = source.text("words.txt").unwrap_or_default();
    let words: BTreeMap<&str, &str> = words.lines().filter_map(|line| line.split_once('\t')).collect();
    let name = |class: String| match words.get(class.as_str()) {
        Some(names) => names.split(',').next().unwrap_or(names).trim().to_owned(),
        None => class,
    };
    Some(classes(&source, set).ok()?.into_iter().map(name).collect())
}

#[cfg(test)]
mod tests;
