//! Data sets and pictures: a [`DataFolder`] in, a [`DataSet`] of bytes in (picture, channel, row, column) order out.
//!
//! | folder | files |
//! |---|---|
//! | `mnist/` | `{train,t10k}-{images-idx3,labels-idx1}-ubyte`, plain or `.gz` |
//! | `cifar10/` | `{train,test}_NN.jxl` and `{train,test}_labels.bin`, or the original `data_batch_1.bin` … `test_batch.bin` |
//! | `cifar100/` | `{train,test}_NN.jxl` and `{train,test}_labels.bin`, or the original `train.bin`, `test.bin` |
//!
//! The original files may also lie in the folder that their archive unpacks to (`cifar-10-batches-bin`, `cifar-100-binary`).
//! Decoding uses all cores and stops after as many pictures as are wanted.

mod cifar;
mod mnist;
mod picture;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use halfnet_core::shape::Shape;
use thiserror::Error;

pub use picture::Picture;

/// The environment variable that names the data folder where no flag does.
pub const FOLDER_VARIABLE: &str = "HALFNET_DATA";

/// Why a data set or a picture could not be read.
#[derive(Debug, Error)]
pub enum DataError {
    /// Neither the flag nor the variable is set.
    #[error("no data folder named: give --data DIR or set {FOLDER_VARIABLE} to a folder with mnist/, cifar10/ or cifar100/ in it")]
    NoFolder,
    /// A file that must be there is not.
    #[error("no {what} of {set} in {}: looked for {files}; is --data (or {FOLDER_VARIABLE}) the right folder?", folder.display())]
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
    #[error("no data set is called `{0}`: known are mnist, cifar10, cifar100")]
    UnknownSet(String),
}

/// The data sets that this build reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataSetKind {
    /// MNIST: 28×28 grey digits.
    Mnist,
    /// CIFAR-10: 32×32 RGB, 10 classes.
    Cifar10,
    /// CIFAR-100: 32×32 RGB, 100 (fine) classes.
    Cifar100,
}

impl DataSetKind {
    /// The name in model headers and on the command line; also the folder's.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mnist => "mnist",
            Self::Cifar10 => "cifar10",
            Self::Cifar100 => "cifar100",
        }
    }

    /// Shape of a picture.
    #[must_use]
    pub const fn shape(self) -> Shape {
        match self {
            Self::Mnist => Shape::new(1, 28, 28),
            Self::Cifar10 | Self::Cifar100 => Shape::new(3, 32, 32),
        }
    }

    /// Number of classes.
    #[must_use]
    pub const fn classes(self) -> usize {
        match self {
            Self::Mnist | Self::Cifar10 => 10,
            Self::Cifar100 => 100,
        }
    }
}

impl std::fmt::Display for DataSetKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DataSetKind {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        let all = [Self::Mnist, Self::Cifar10, Self::Cifar100];
        all.into_iter().find(|set| set.name() == name).ok_or_else(|| DataError::UnknownSet(name.to_owned()))
    }
}

/// Which part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// For training and calibration.
    Train,
    /// For the reported accuracy, and nothing else.
    Test,
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Test => "test",
        })
    }
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
        match set {
            DataSetKind::Mnist => mnist::load(&self.root, split, limit),
            DataSetKind::Cifar10 | DataSetKind::Cifar100 => cifar::load(&self.root, set, split, limit),
        }
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

    /// Names of a set's classes from its folder (`classes.txt`, `fine_classes.txt`), if they are there and complete.
    #[must_use]
    pub fn class_names(&self, set: DataSetKind) -> Option<Vec<String>> {
        let file = match set {
            DataSetKind::Mnist => return Some((0..10).map(|digit| digit.to_string()).collect()),
            DataSetKind::Cifar10 => "classes.txt",
            DataSetKind::Cifar100 => "fine_classes.txt",
        };
        let text = std::fs::read_to_string(self.root.join(set.name()).join(file)).ok()?;
        let names: Vec<String> = text.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect();
        (names.len() == set.classes()).then_some(names)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    std::fs::read(path).map_err(|source| DataError::Read { path: path.to_owned(), source })
}

fn malformed(path: &Path, reason: impl Into<String>) -> DataError {
    DataError::Malformed { path: path.to_owned(), reason: reason.into() }
}
