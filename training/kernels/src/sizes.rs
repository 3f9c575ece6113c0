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
        let Some(y) = y.checked_sub(self.top).filter(|&y| y < self.height) else {
            return target.fill(0.0);
        };
        let (left, rest) = target.split_at_mut(self.left * LANES);
        let (middle, right) = rest.split_at_mut(line);
        left.fill(0.0);
        middle.copy_from_slice(&plane[y * line..(y + 1) * line]);
        right.fill(0.0);
    }
}

/// `count` floats of scratch memory, whatever they are, from the start of a line of the cache: no vector then
/// lies in two. The memory only ever grows.
pub(crate) fn at_least(scratch: &mut Vec<f32>, count: usize) -> &mut [f32] {
    const LINE: usize = 64;
    let spare = LINE / size_of::<f32>() - 1;
    if scratch.len() < count + spare {
        // What it holds is of no use: grown anew, nothing is copied.
        *scratch = vec![0.0; count + spare];
    }
    let start = scratch.as_ptr().align_offset(LINE).min(spare);
    &mut scratch[start..start + count]
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
