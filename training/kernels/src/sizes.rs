//! Sizes of a convolution, and of the planes with zeros around them.

use halfnet_core::shape::Convolution;

use crate::LANES;
use crate::scratch::at_least;

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

    /// Copies rows `from..from + count` of padded planes, zeros and all; the first floats of `out`, which
    /// only grows.
    pub(crate) fn rows<'a>(
        &self,
        planes: &[f32],
        from: usize,
        count: usize,
        out: &'a mut Vec<f32>,
    ) -> &'a [f32] {
        let (plane, wide) = (self.height * self.width * LANES, self.padded_width * LANES);
        let out = at_least(out, planes.len() / plane * count * wide);
        for (source, target) in planes.chunks_exact(plane).zip(out.chunks_exact_mut(count * wide)) {
            for (y, target) in (from..from + count).zip(target.chunks_exact_mut(wide)) {
                self.row(source, y, target);
            }
        }
        out
    }

    /// Writes row `y` of one padded plane.
    pub(crate) fn row(&self, plane: &[f32], y: usize, target: &mut [f32]) {
        let line = self.width * LANES;
        self.line(y, LANES, target, |y, middle| middle.copy_from_slice(&plane[y * line..(y + 1) * line]));
    }

    /// Writes line `y` of something padded, `position` floats a position: zeros, and between them what
    /// `write` makes of the row of the source that it is given.
    pub(crate) fn line(
        &self,
        y: usize,
        position: usize,
        target: &mut [f32],
        write: impl FnOnce(usize, &mut [f32]),
    ) {
        let Some(y) = y.checked_sub(self.top).filter(|&y| y < self.height) else {
            return target.fill(0.0);
        };
        let (left, rest) = target.split_at_mut(self.left * position);
        let (middle, right) = rest.split_at_mut(self.width * position);
        left.fill(0.0);
        write(y, middle);
        right.fill(0.0);
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
