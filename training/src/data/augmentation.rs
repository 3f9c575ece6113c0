//! How training pictures are varied.

use halfnet_host::network::data::DataSetKind;

use crate::random::Random;

/// What may happen to a training picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Augmentation {
    /// Pictures are shifted up or down by up to this many rows, zeros (of the normalised picture) coming in.
    pub down: u16,
    /// And to the left or right by up to this many columns.
    pub right: u16,
    /// Every second picture is mirrored.
    pub mirror: bool,
    /// Up to this many rows in a row are zero: bands of a spectrogram that are not heard.
    pub masked_rows: u16,
    /// Deviation of normal noise that is added, in 255ths before normalisation.
    pub noise: u8,
}

impl Augmentation {
    /// None at all.
    pub const NONE: Self = Self { down: 0, right: 0, mirror: false, masked_rows: 0, noise: 0 };

    /// What the recipes for a data set use: a random crop of the picture with zeros around it and a mirror
    /// for photographs (4 zeros, as SNL and AutoReP at 32 and 64 pixels), small shifts for digits; speech
    /// comes up to 144 ms earlier or later, a tenth of its bands may be missing, and there is some noise.
    #[must_use]
    pub const fn of(data_set: DataSetKind) -> Self {
        match data_set {
            DataSetKind::Mnist => Self { down: 2, right: 2, ..Self::NONE },
            DataSetKind::Fsdd => Self { right: 6, masked_rows: 3, noise: 10, ..Self::NONE },
            _ => Self { down: 4, right: 4, mirror: true, ..Self::NONE },
        }
    }
}

/// What happens to one picture.
#[derive(Clone, Debug)]
pub(super) struct Variation {
    /// Row y of the result is row y + `down` − `augmentation.down` of the picture.
    pub(super) down: usize,
    pub(super) right: usize,
    pub(super) mirrored: bool,
    /// Rows of the result that are zero.
    pub(super) masked: std::ops::Range<usize>,
    /// Goes on where the rest left it: for noise.
    pub(super) random: Random,
}

impl Variation {
    /// Draws what happens to a picture of `height` rows.
    pub(super) fn draw(augmentation: Augmentation, height: usize, mut random: Random) -> Self {
        let mut up_to = |most: u16| if most > 0 { random.below(2 * usize::from(most) + 1) } else { 0 };
        let (down, right) = (up_to(augmentation.down), up_to(augmentation.right));
        let mirrored = augmentation.mirror && random.bits() & 1 == 1;
        let masked = match usize::from(augmentation.masked_rows).min(height) {
            0 => 0..0,
            most => {
                let rows = random.below(most + 1);
                let first = random.below(height - rows + 1);
                first..first + rows
            }
        };
        Self { down, right, mirrored, masked, random }
    }
}
