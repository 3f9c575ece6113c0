//! Checked shapes: no product of sizes overflows unseen.

use serde::{Deserialize, Serialize};

use crate::error::ModelError;

/// More elements than this in one tensor are refused: every product of sizes then fits `u32`.
pub const MAX_ELEMENTS: usize = 1 << 24;

/// A tensor's shape; elements lie in (channel, row, column) order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Shape {
    /// Channels.
    pub channels: u16,
    /// Rows.
    pub height: u16,
    /// Columns.
    pub width: u16,
}

impl Shape {
    /// A shape of `channels` × `height` × `width`.
    #[must_use]
    pub const fn new(channels: u16, height: u16, width: u16) -> Self {
        Self { channels, height, width }
    }

    /// Elements of one channel.
    #[must_use]
    pub const fn plane(&self) -> usize {
        self.height as usize * self.width as usize
    }

    /// Number of elements. Exact on a shape that [`Shape::validate`] accepted.
    #[must_use]
    pub const fn elements(&self) -> usize {
        (self.channels as usize).saturating_mul(self.plane())
    }

    /// # Errors
    /// A side is zero or there are more than [`MAX_ELEMENTS`] elements.
    pub fn validate(&self) -> Result<(), ModelError> {
        let count = u64::from(self.channels) * u64::from(self.height) * u64::from(self.width);
        if count == 0 || count > MAX_ELEMENTS as u64 {
            return Err(ModelError::Shape);
        }
        Ok(())
    }
}

/// Geometry of a two-dimensional convolution; a fully connected layer is one whose kernel covers its whole
/// input.
///
/// # Shapes
/// input [`Convolution::input`] = (C, H, W); output (O, H', W') with H' = (H + 2·padding − kernel_height) /
/// stride + 1, rounded down; weights (O, C / groups, kernel_height, kernel_width), row-major. Group g reads
/// channels g·C/groups .. of the input and writes channels g·O/groups .. of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Convolution {
    /// Shape of the input.
    pub input: Shape,
    /// Output channels O.
    pub out_channels: u16,
    /// Kernel rows.
    pub kernel_height: u16,
    /// Kernel columns.
    pub kernel_width: u16,
    /// Step between output positions, rows and columns alike.
    pub stride: u16,
    /// Zeros around the input, on each side.
    pub padding: u16,
    /// Groups; C for a depthwise convolution.
    pub groups: u16,
}

impl Convolution {
    /// A fully connected layer: its kernel covers the whole input. Weights (outputs, C, H, W).
    #[must_use]
    pub const fn dense(input: Shape, outputs: u16) -> Self {
        let (kernel_height, kernel_width) = (input.height, input.width);
        Self { input, out_channels: outputs, kernel_height, kernel_width, stride: 1, padding: 0, groups: 1 }
    }

    /// # Errors
    /// A size is zero, a group does not divide its channels, the kernel does not fit, or a product is too
    /// large.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.input.validate()?;
        let Self { input, out_channels, kernel_height, kernel_width, stride, padding, groups } = *self;
        if out_channels == 0 || kernel_height == 0 || kernel_width == 0 || stride == 0 || groups == 0 {
            return Err(ModelError::Shape);
        }
        if !input.channels.is_multiple_of(groups) || !out_channels.is_multiple_of(groups) {
            return Err(ModelError::Shape);
        }
        let fits = |size: u16, kernel: u16| u32::from(size) + 2 * u32::from(padding) >= u32::from(kernel);
        if !fits(input.height, kernel_height) || !fits(input.width, kernel_width) || padding > 1 << 10 {
            return Err(ModelError::Shape);
        }
        let weights = u64::from(out_channels)
            * u64::from(input.channels / groups)
            * u64::from(kernel_height)
            * u64::from(kernel_width);
        if weights > MAX_ELEMENTS as u64 {
            return Err(ModelError::Shape);
        }
        self.output().validate()
    }

    /// Shape of the output. Exact on a geometry that [`Convolution::validate`] accepted.
    #[must_use]
    pub fn output(&self) -> Shape {
        let side = |size: u16, kernel: u16| {
            let room = (u32::from(size) + 2 * u32::from(self.padding)).saturating_sub(u32::from(kernel));
            (room / u32::from(self.stride.max(1)) + 1).min(u32::from(u16::MAX)) as u16
        };
        Shape::new(
            self.out_channels,
            side(self.input.height, self.kernel_height),
            side(self.input.width, self.kernel_width),
        )
    }

    /// Input channels that one output element reads.
    #[must_use]
    pub const fn group_channels(&self) -> usize {
        (self.input.channels / if self.groups == 0 { 1 } else { self.groups }) as usize
    }

    /// Products that one output element sums.
    #[must_use]
    pub const fn fan_in(&self) -> usize {
        self.group_channels() * self.kernel_height as usize * self.kernel_width as usize
    }

    /// Number of weights.
    #[must_use]
    pub const fn weights(&self) -> usize {
        self.out_channels as usize * self.fan_in()
    }

    /// Multiply-adds of the whole layer, products with padding included.
    #[must_use]
    pub fn multiply_adds(&self) -> u64 {
        self.output().elements() as u64 * self.fan_in() as u64
    }
}

/// How a residual input is laid under a layer's output: He et al.'s identity shortcut ("option A").
///
/// Output element (c, y, x) receives input element (c − channel_offset, y·stride, x·stride); channels outside
/// the input get zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Join {
    /// Shape of the residual input.
    pub input: Shape,
    /// Shape of the layer's output.
    pub output: Shape,
    /// Step between the input's positions.
    pub stride: u16,
    /// First output channel that receives anything.
    pub channel_offset: u16,
}

impl Join {
    /// # Errors
    /// The input, strided and offset, does not lie inside the output.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.input.validate()?;
        self.output.validate()?;
        let covered = |size: u16, out: u16| self.stride > 0 && size.div_ceil(self.stride) == out;
        if !covered(self.input.height, self.output.height) || !covered(self.input.width, self.output.width) {
            return Err(ModelError::Shape);
        }
        if u32::from(self.channel_offset) + u32::from(self.input.channels) > u32::from(self.output.channels) {
            return Err(ModelError::Shape);
        }
        Ok(())
    }

    /// True when every output element reads the input element of the same index: the sum may be written over
    /// the input.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        self.input == self.output && self.stride == 1 && self.channel_offset == 0
    }

    /// The input element under output element `index`, if there is one.
    #[must_use]
    pub fn source(&self, index: usize) -> Option<usize> {
        let plane = self.output.plane().max(1);
        let width = usize::from(self.output.width).max(1);
        let (channel, position) = (index / plane, index % plane);
        let channel = channel.checked_sub(usize::from(self.channel_offset))?;
        if channel >= usize::from(self.input.channels) {
            return None;
        }
        let stride = usize::from(self.stride);
        let (row, column) = (position / width * stride, position % width * stride);
        Some((channel * usize::from(self.input.height) + row) * usize::from(self.input.width) + column)
    }
}

/// A sum over windows. Averages are sums whose divisor is folded into the scale that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Pool {
    /// Window rows and columns.
    pub kernel: u16,
    /// Step between windows.
    pub stride: u16,
    /// Zeros around the input, on each side.
    pub padding: u16,
}

/// Rows of all windows of a pool, at most.
pub const MAX_WINDOW_ROWS: usize = 1 << 21;

impl Pool {
    /// # Errors
    /// A size is zero, the window does not fit, or padding reaches a whole window.
    pub fn validate(&self, input: Shape) -> Result<(), ModelError> {
        let fits = |size: u16| u32::from(size) + 2 * u32::from(self.padding) >= u32::from(self.kernel);
        if self.kernel == 0
            || self.stride == 0
            || self.padding >= self.kernel
            || !fits(input.height)
            || !fits(input.width)
        {
            return Err(ModelError::Shape);
        }
        let output = self.output(input);
        output.validate()?;
        // Whether a window is all ReLU is asked row by row of its bitmap, several times an inference.
        if output.elements().saturating_mul(usize::from(self.kernel)) > MAX_WINDOW_ROWS {
            Err(ModelError::TooLarge)
        } else {
            Ok(())
        }
    }

    /// Shape of the pooled tensor.
    #[must_use]
    pub fn output(&self, input: Shape) -> Shape {
        let side = |size: u16| {
            let room = (u32::from(size) + 2 * u32::from(self.padding)).saturating_sub(u32::from(self.kernel));
            (room / u32::from(self.stride.max(1)) + 1).min(u32::from(u16::MAX)) as u16
        };
        Shape::new(input.channels, side(input.height), side(input.width))
    }

    /// Calls `visit` with every window (an index of the pooled tensor) that element `index` of `input`
    /// belongs to.
    pub fn windows_of(&self, input: Shape, index: usize, mut visit: impl FnMut(usize)) {
        let output = self.output(input);
        let plane = input.plane().max(1);
        let width = usize::from(input.width).max(1);
        let (channel, position) = (index / plane, index % plane);
        let span = |at: usize, size: u16| {
            let (kernel, stride, at) =
                (usize::from(self.kernel), usize::from(self.stride).max(1), at + usize::from(self.padding));
            let first = (at + 1).saturating_sub(kernel).div_ceil(stride);
            first..(at / stride + 1).min(usize::from(size))
        };
        for row in span(position / width, output.height) {
            for column in span(position % width, output.width) {
                visit((channel * usize::from(output.height) + row) * usize::from(output.width) + column);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resnet_shapes() {
        let conv = Convolution {
            input: Shape::new(16, 32, 32),
            out_channels: 32,
            kernel_height: 3,
            kernel_width: 3,
            stride: 2,
            padding: 1,
            groups: 1,
        };
        assert_eq!(conv.validate(), Ok(()));
        assert_eq!(conv.output(), Shape::new(32, 16, 16));
        assert_eq!(conv.weights(), 4608);
    }

    #[test]
    fn pool_windows_agree_with_the_definition() {
        for pool in [
            Pool { kernel: 3, stride: 2, padding: 1 },
            Pool { kernel: 2, stride: 2, padding: 0 },
            Pool { kernel: 3, stride: 1, padding: 2 },
        ] {
            let input = Shape::new(2, 7, 6);
            let output = pool.output(input);
            for index in 0..input.elements() {
                let mut found = std::vec![false; output.elements()];
                pool.windows_of(input, index, |w| found[w] = true);
                let (c, y, x) = (index / 42, index % 42 / 6, index % 6);
                for (window, &found) in found.iter().enumerate() {
                    let (wc, wy, wx) = (
                        window / output.plane(),
                        window % output.plane() / usize::from(output.width),
                        window % usize::from(output.width),
                    );
                    let inside = |at: usize, w: usize| {
                        let start = (w * usize::from(pool.stride)) as i64 - i64::from(pool.padding);
                        (start..start + i64::from(pool.kernel)).contains(&(at as i64))
                    };
                    assert_eq!(found, wc == c && inside(y, wy) && inside(x, wx), "{pool:?} {index} {window}");
                }
            }
        }
    }
}
