//! Sizes of a convolution, and of the planes with zeros around them.

use halfnet_core::shape::Convolution;

use crate::LANES;

/// Zeros around a source plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Padded {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) top: usize,
    pub(crate) left: usize,
    pub(crate) padded_height: usize,
    pub(crate) padded_width: usize,
}

impl Padded {
    /// Floats of a padded plane.
    pub(crate) const fn plane(&self) -> usize {
        self.padded_height * self.padded_width * LANES
    }

    /// Are there any zeros to add?
    pub(crate) const fn is_plain(&self) -> bool {
        self.height == self.padded_height && self.width == self.padded_width
    }

    /// Copies rows `from..from + count` of padded planes, zeros and all; `out` is resized.
    pub(crate) fn rows(&self, planes: &[f32], from: usize, count: usize, out: &mut Vec<f32>) {
        let (plane, line) = (self.height * self.width * LANES, self.width * LANES);
        let (wide, start) = (self.padded_width * LANES, self.left * LANES);
        out.clear();
        out.resize(planes.len() / plane * count * wide, 0.0);
        for (source, target) in planes.chunks_exact(plane).zip(out.chunks_exact_mut(count * wide)) {
            for (y, target) in (from..from + count).zip(target.chunks_exact_mut(wide)) {
                if let Some(y) = y.checked_sub(self.top).filter(|&y| y < self.height) {
                    target[start..start + line].copy_from_slice(&source[y * line..(y + 1) * line]);
                }
            }
        }
    }
}

/// A geometry's sizes, channels by group.
pub(crate) struct Sizes {
    pub(crate) groups: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) kernel_height: usize,
    pub(crate) kernel_width: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
}

impl Sizes {
    pub(crate) fn of(geometry: &Convolution) -> Self {
        let output = geometry.output();
        let groups = usize::from(geometry.groups);
        Self {
            groups,
            inputs: usize::from(geometry.input.channels) / groups,
            outputs: usize::from(geometry.out_channels) / groups,
            height: usize::from(geometry.input.height),
            width: usize::from(geometry.input.width),
            rows: usize::from(output.height),
            columns: usize::from(output.width),
            kernel_height: usize::from(geometry.kernel_height),
            kernel_width: usize::from(geometry.kernel_width),
            stride: usize::from(geometry.stride),
            padding: usize::from(geometry.padding),
        }
    }

    pub(crate) const fn padded_input(&self) -> Padded {
        Padded {
            height: self.height,
            width: self.width,
            top: self.padding,
            left: self.padding,
            padded_height: self.height + 2 * self.padding,
            padded_width: self.width + 2 * self.padding,
        }
    }
}
