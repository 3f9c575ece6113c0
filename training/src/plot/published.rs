//! Points that papers state, to stand beside one's own: read from their tables and texts, not measured here.
//!
//! AutoReP: Peng et al., ICCV 2023, with first-order points that its authors' scripts note (revision 3c577a3
//! of its code). Its Table 3 gives the points of SNL (Cho et al., ICML 2022), DeepReDuce (Jha et al., ICML
//! 2021) and Sphynx (Cho et al., 2022) too. Two things limit a comparison: AutoReP and SNL take the epoch
//! that is best on the test set, and AutoReP counts an epoch as within a budget up to two thousand ReLUs
//! above it.

/// Points of one method.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Published {
    /// The network, as it is called here.
    pub model: &'static str,
    /// The data set.
    pub data_set: &'static str,
    /// Whose they are.
    pub series: &'static str,
    /// ReLUs, and accuracy on the test set in percent.
    pub points: &'static [(usize, f64)],
}

const fn resnet18(
    data_set: &'static str,
    series: &'static str,
    points: &'static [(usize, f64)],
) -> Published {
    Published { model: "resnet18", data_set, series, points }
}

/// All of them.
pub const PUBLISHED: &[Published] = &[
    resnet18("cifar100", "AutoReP degree 2 (paper)", &[(6000, 73.79), (12_900, 74.92), (50_000, 75.48)]),
    resnet18(
        "cifar100",
        "AutoReP degree 1 (paper, scripts)",
        &[(12_900, 67.75), (15_000, 68.4), (25_000, 71.10), (50_000, 73.86)],
    ),
    resnet18("cifar100", "SNL (in AutoReP)", &[(12_900, 66.53), (49_900, 73.75)]),
    resnet18(
        "cifar100",
        "DeepReDuce (paper, in AutoReP)",
        &[(12_288, 64.97), (49_152, 69.50), (196_608, 75.51), (229_376, 76.22)],
    ),
    resnet18("cifar100", "Sphynx (in AutoReP)", &[(25_600, 66.13), (51_200, 69.57)]),
    resnet18("cifar100", "all ReLU (AutoReP)", &[(491_520, 77.8)]),
    resnet18("tiny-imagenet-200", "SNL (in AutoReP)", &[(198_100, 63.39)]),
    resnet18(
        "tiny-imagenet-200",
        "DeepReDuce (paper, in AutoReP)",
        &[(57_344, 53.75), (196_608, 57.51), (393_216, 61.65), (917_504, 64.66)],
    ),
];
