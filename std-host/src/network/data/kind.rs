//! Which data sets there are, and what their pictures are.

use std::str::FromStr;

use halfnet_core::shape::Shape;

use super::{DataError, log_mel};

/// The data sets that this build reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataSetKind {
    /// MNIST: 28×28 grey digits.
    Mnist,
    /// CIFAR-10: 32×32 RGB, 10 classes.
    Cifar10,
    /// CIFAR-100: 32×32 RGB, 100 (fine) classes.
    Cifar100,
    /// Free Spoken Digit Dataset: 32×32 log-mel spectrograms of ten digits, see `log_mel`.
    Fsdd,
    /// Tiny-ImageNet: 64×64 RGB, 200 classes.
    TinyImagenet,
    /// 20 classes of Tiny-ImageNet.
    TinyImagenet20,
    /// ImageNet (ILSVRC 2012): 224×224 RGB out of the middle, 1,000 classes.
    Imagenet,
}

impl DataSetKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Mnist,
        Self::Cifar10,
        Self::Cifar100,
        Self::Fsdd,
        Self::TinyImagenet,
        Self::TinyImagenet20,
        Self::Imagenet,
    ];

    /// The name in model headers and on the command line; also the folder's.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mnist => "mnist",
            Self::Cifar10 => "cifar10",
            Self::Cifar100 => "cifar100",
            Self::Fsdd => "fsdd",
            Self::TinyImagenet => "tiny-imagenet-200",
            Self::TinyImagenet20 => "tiny-imagenet-20",
            Self::Imagenet => "imagenet",
        }
    }

    /// Shape of a picture.
    #[must_use]
    pub const fn shape(self) -> Shape {
        match self {
            Self::Mnist => Shape::new(1, 28, 28),
            Self::Cifar10 | Self::Cifar100 => Shape::new(3, 32, 32),
            Self::Fsdd => Shape::new(1, log_mel::BANDS as u16, log_mel::FRAMES as u16),
            Self::TinyImagenet | Self::TinyImagenet20 => Shape::new(3, 64, 64),
            Self::Imagenet => Shape::new(3, 224, 224),
        }
    }

    /// Number of classes.
    #[must_use]
    pub const fn classes(self) -> usize {
        match self {
            Self::Mnist | Self::Cifar10 | Self::Fsdd => 10,
            Self::Cifar100 => 100,
            Self::TinyImagenet => 200,
            Self::TinyImagenet20 => 20,
            Self::Imagenet => 1000,
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
        Self::ALL.into_iter().find(|set| set.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            DataError::UnknownSet { name: name.to_owned(), known }
        })
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
