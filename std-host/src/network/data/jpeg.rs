//! JPEG pictures to bytes, and those of ImageNet to 224×224.
//!
//! The decoder is used without vector instructions, so that every machine decodes to the same bytes.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// A decoded picture: RGB, interleaved, rows top to bottom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) pixels: Vec<u8>,
}

/// Decodes; grey pictures become RGB.
pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, String> {
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let pixels = decoder.decode().map_err(|e| format!("no readable JPEG picture: {e}"))?;
    let (width, height) = decoder.dimensions().ok_or("no readable JPEG picture: it has no size")?;
    if pixels.len() != 3 * width * height {
        return Err(format!("no readable JPEG picture: {} bytes for {width}×{height} pixels", pixels.len()));
    }
    Ok(Decoded { width, height, pixels })
}

impl Decoded {
    /// In (channel, row, column) order.
    pub(super) fn planes(&self) -> Vec<u8> {
        (0..3).flat_map(|channel| self.pixels.iter().skip(channel).step_by(3).copied()).collect()
    }

    /// The middle `side`×`side` pixels of the picture scaled so that its shorter side is `shorter` (bilinear,
    /// a triangle as wide as the scale when the picture gets smaller, as Pillow and torchvision do it).
    pub(super) fn middle(&self, shorter: usize, side: usize) -> Self {
        let scale = |length: usize| {
            (length * shorter + self.width.min(self.height) / 2) / self.width.min(self.height)
        };
        let (width, height) = (scale(self.width), scale(self.height));
        let (columns, rows) = (weights(self.width, width, side), weights(self.height, height, side));
        // Rows first: (row of the source, column of the result, channel).
        let mut narrow = vec![0.0_f32; self.height * side * 3];
        for (line, out) in self.pixels.chunks_exact(self.width * 3).zip(narrow.chunks_exact_mut(side * 3)) {
            for ((first, weights), out) in columns.iter().zip(out.as_chunks_mut::<3>().0) {
                for (weight, pixel) in weights.iter().zip(line[first * 3..].as_chunks::<3>().0) {
                    out.iter_mut().zip(pixel).for_each(|(o, &p)| *o += weight * f32::from(p));
                }
            }
        }
        let mut pixels = Vec::with_capacity(side * side * 3);
        for (first, weights) in &rows {
            for element in 0..side * 3 {
                let sum: f32 = weights
                    .iter()
                    .enumerate()
                    .map(|(i, weight)| weight * narrow[(first + i) * side * 3 + element])
                    .sum();
                pixels.push(sum.round().clamp(0.0, 255.0) as u8);
            }
        }
        Self { width: side, height: side, pixels }
    }
}

/// Of each of the middle `side` results: the first source pixel, and the weights from there on.
fn weights(from: usize, to: usize, side: usize) -> Vec<(usize, Vec<f32>)> {
    let scale = from as f32 / to as f32;
    let reach = scale.max(1.0);
    let one = |i: usize| {
        let centre = (i as f32 + 0.5) * scale;
        let first = (centre - reach + 0.5).max(0.0) as usize;
        let last = ((centre + reach + 0.5) as usize).min(from);
        let triangle = |p: usize| (1.0 - ((p as f32 + 0.5 - centre) / reach).abs()).max(0.0);
        let all: f32 = (first..last).map(triangle).sum();
        (first, (first..last).map(|p| triangle(p) / all).collect())
    };
    let before = to.saturating_sub(side) / 2;
    (before..before + side).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(width: usize, height: usize) -> Decoded {
        let pixels = (0..height)
            .flat_map(|y| (0..width).flat_map(move |x| [(2 * x) as u8, (2 * y) as u8, 77]))
            .collect();
        Decoded { width, height, pixels }
    }

    #[test]
    fn a_ramp_stays_a_ramp() {
        let source = ramp(120, 100);
        assert_eq!(source.middle(100, 100).pixels, {
            let cut = |y: usize| source.pixels[(y * 120 + 10) * 3..(y * 120 + 110) * 3].to_vec();
            (0..100).flat_map(cut).collect::<Vec<_>>()
        });
        let half = source.middle(50, 40);
        for (i, pixel) in half.pixels.as_chunks::<3>().0.iter().enumerate() {
            // Column i of the result is the mean of two columns of the source around 2·(i + 10) + 0.5.
            let expected = [2 * (2 * (i % 40 + 10)) + 1, 2 * (2 * (i / 40 + 5)) + 1, 77];
            assert!(
                pixel.iter().zip(expected).all(|(&p, e)| usize::from(p).abs_diff(e) <= 1),
                "{i}: {pixel:?} {expected:?}"
            );
        }
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        assert!(decode(b"no picture").unwrap_err().contains("no readable JPEG"));
        assert_eq!(ramp(2, 2).planes(), [0, 2, 0, 2, 0, 0, 2, 2, 77, 77, 77, 77]);
    }
}
