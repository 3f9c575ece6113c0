//! Data sets and pictures: a [`DataFolder`] in, a [`DataSet`] of bytes in (picture, channel, row, column)
//! order out.
//!
//! | folder | files |
//! |---|---|
//! | `mnist/` | `{train,t10k}-{images-idx3,labels-idx1}-ubyte`, plain or `.gz` |
//! | `cifar10/` | `{train,test}_NN.jxl` and `{train,test}_labels.bin`, or the original `data_batch_1.bin` … `test_batch.bin` |
//! | `cifar100/` | `{train,test}_NN.jxl` and `{train,test}_labels.bin`, or the original `train.bin`, `test.bin` |
//! | `fsdd/` | `fsdd.csv` and `fsdd.flac`, or the original `recordings/DIGIT_SPEAKER_TAKE.wav` |
//! | `tiny-imagenet-200/`, `tiny-imagenet-20/` | the original `train/`, `val/` and `wnids.txt`, or all of it as `NAME.tar.zst` |
//! | `imagenet/` | `train/WNID/*.JPEG`, `val/WNID/*.JPEG` |
//!
//! The original files of CIFAR may also lie in the folder that their archive unpacks to
//! (`cifar-10-batches-bin`, `cifar-100-binary`). Decoding uses all cores and stops after as many pictures as
//! are wanted. A split that is read whole is compared with the published one; `docs/DATA.md` says more of
//! each set.

mod cifar;
mod fourier;
pub(crate) mod fsdd;
mod image_folder;
mod jpeg;
mod kind;
pub(crate) mod log_mel;
mod mnist;
mod picture;
mod published;

use std::path::{Path, PathBuf};

use halfnet_core::shape::Shape;
use thiserror::Error;

pub use kind::{DataSetKind, Split};
pub use picture::Picture;

/// The environment variable that names the data folder where no flag does.
pub const FOLDER_VARIABLE: &str = "HALFNET_DATA";

/// Why a data set or a picture could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// Neither the flag nor the variable is set.
    #[error(
        "no data folder named: name one or set {FOLDER_VARIABLE} to a folder with mnist/, cifar10/, fsdd/ … in it"
    )]
    NoFolder,
    /// A file that must be there is not.
    #[error("no {what} of {set} in {}: looked for {files}; is that (or {FOLDER_VARIABLE}) the right data folder?", folder.display())]
    Missing {
        /// The data set.
        set: DataSetKind,
        /// What of it.
        what: &'static str,
        /// Where it was looked for.
        folder: PathBuf,
        /// Which files would do.
        files: String,
    },
    /// Reading failed.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A file is not what its name says.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Fewer pictures than were asked for.
    #[error("picture {index} of {set} asked for, but its {split} split has only {count}")]
    Index {
        /// The data set.
        set: DataSetKind,
        /// The split.
        split: Split,
        /// The picture asked for.
        index: usize,
        /// Pictures that there are.
        count: usize,
    },
    /// A name that is no data set.
    #[error("no data set is called `{name}`: known are {known}")]
    UnknownSet {
        /// The name.
        name: String,
        /// Those that are.
        known: String,
    },
    /// A name that is no picture.
    #[error("`{name}` names {expected}")]
    Name {
        /// The name.
        name: String,
        /// What it would have to be.
        expected: &'static str,
    },
    /// A picture of the wrong size.
    #[error("the picture has {found} pixels, the model takes {expected}")]
    Size {
        /// Expected.
        expected: usize,
        /// Found.
        found: usize,
    },
    /// More pictures than are held in memory.
    #[error(
        "the {split} split of {set} has {count} pictures, and at most {most} are held in memory: limit them"
    )]
    TooLarge {
        /// The data set.
        set: DataSetKind,
        /// The split.
        split: Split,
        /// Pictures wanted.
        count: usize,
        /// Pictures that are held.
        most: usize,
    },
}

/// Pictures and their labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSet {
    /// Shape of every picture.
    pub shape: Shape,
    /// All pictures, one after another, each in (channel, row, column) order.
    pub pixels: Vec<u8>,
    /// The class of each picture.
    pub labels: Vec<u16>,
}

impl DataSet {
    /// Number of pictures.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// True when there is no picture.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The pixels of picture `index`.
    ///
    /// # Panics
    /// There is no such picture.
    #[must_use]
    pub fn picture(&self, index: usize) -> &[u8] {
        let elements = self.shape.elements();
        &self.pixels[index * elements..(index + 1) * elements]
    }

    /// The first `count` pictures, or all if there are fewer.
    #[must_use]
    pub fn first(&self, count: usize) -> Self {
        let count = count.min(self.len());
        let pixels = self.pixels[..count * self.shape.elements()].to_vec();
        Self { shape: self.shape, pixels, labels: self.labels[..count].to_vec() }
    }

    /// Pictures of an idx pair in memory, plain or gzipped, as the bundled digits are.
    ///
    /// # Errors
    /// The bytes are no idx files or do not belong together; `origin` is named in the error.
    pub fn from_idx(images: &[u8], labels: &[u8], origin: &Path) -> Result<Self, DataError> {
        mnist::parse(images, labels, origin, origin, usize::MAX)
    }
}

/// A folder that holds data sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFolder {
    root: PathBuf,
}

impl DataFolder {
    /// The folder at `root`. Nothing is read yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder that a flag names, or else the environment variable [`FOLDER_VARIABLE`].
    ///
    /// # Errors
    /// Neither is set.
    pub fn from_flag(flag: Option<&Path>) -> Result<Self, DataError> {
        let root = flag.map(Path::to_owned).or_else(|| std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from));
        root.filter(|r| !r.as_os_str().is_empty()).map(Self::new).ok_or(DataError::NoFolder)
    }

    /// Where the folder lies.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The first `limit` pictures of a split, or all of them.
    ///
    /// # Errors
    /// A file is missing, unreadable or malformed; the error names it and what would do.
    pub fn load(&self, set: DataSetKind, split: Split, limit: Option<usize>) -> Result<DataSet, DataError> {
        let limit = limit.unwrap_or(usize::MAX);
        let data = match set {
            DataSetKind::Mnist => mnist::load(&self.root, split, limit)?,
            DataSetKind::Cifar10 | DataSetKind::Cifar100 => cifar::load(&self.root, set, split, limit)?,
            // These compare their files themselves.
            DataSetKind::Fsdd => return fsdd::load(&self.root, split, limit),
            _ => return image_folder::load(&self.root, set, split, limit),
        };
        published::check_pictures(set, split, &self.root.join(set.name()), &data)?;
        Ok(data)
    }

    /// One picture of a split with its label.
    ///
    /// # Errors
    /// As [`DataFolder::load`], or there is no such picture.
    pub fn picture(&self, set: DataSetKind, split: Split, index: usize) -> Result<(Picture, u16), DataError> {
        let data = self.load(set, split, Some(index.saturating_add(1)))?;
        match data.labels.get(index) {
            Some(&label) => Ok((Picture { shape: data.shape, pixels: data.picture(index).to_vec() }, label)),
            None => Err(DataError::Index { set, split, index, count: data.len() }),
        }
    }

    /// Names of a set's classes from its folder (`classes.txt`, `fine_classes.txt`, `words.txt`), if they are
    /// there and complete.
    #[must_use]
    pub fn class_names(&self, set: DataSetKind) -> Option<Vec<String>> {
        let file = match set {
            DataSetKind::Mnist | DataSetKind::Fsdd => {
                return Some((0..10).map(|digit| digit.to_string()).collect());
            }
            DataSetKind::Cifar10 => "classes.txt",
            DataSetKind::Cifar100 => "fine_classes.txt",
            _ => return image_folder::class_names(&self.root, set),
        };
        let text = std::fs::read_to_string(self.root.join(set.name()).join(file)).ok()?;
        let names: Vec<String> =
            text.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect();
        (names.len() == set.classes()).then_some(names)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    std::fs::read(path).map_err(|source| DataError::Read { path: path.to_owned(), source })
}

fn malformed(path: &Path, reason: impl Into<String>) -> DataError {
    DataError::Malformed { path: path.to_owned(), reason: reason.into() }
}
