//! One picture, as a user hands it in.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use halfnet_core::shape::Shape;
use png::{ColorType, Transformations};

use super::{DataError, malformed};

/// A picture of bytes in (channel, row, column) order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Its shape: one channel (grey) or three (RGB).
    pub shape: Shape,
    /// Its pixels.
    pub pixels: Vec<u8>,
}

impl Picture {
    /// Reads a PNG that must have exactly the given shape. Palettes and depths below 8 bits are expanded, 16
    /// bits cut to 8 and an opaque alpha channel dropped; nothing is scaled or converted between grey and
    /// colour, which would change the answer.
    ///
    /// # Errors
    /// The file cannot be read, is no PNG, or has another shape or transparency.
    pub fn read_png(path: &Path, shape: Shape) -> Result<Self, DataError> {
        let file = File::open(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
        let broken = |e: png::DecodingError| malformed(path, format!("no readable PNG: {e}"));
        let mut decoder = png::Decoder::new(BufReader::new(file));
        decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
        let mut reader = decoder.read_info().map_err(broken)?;
        let (width, height) = reader.info().size();
        let wanted =
            || format!("{}×{} pixels, {}", shape.width, shape.height, kind(usize::from(shape.channels)));
        if (width, height) != (u32::from(shape.width), u32::from(shape.height)) {
            return Err(malformed(
                path,
                format!(
                    "the picture has {width}×{height} pixels, the model takes {}: resize it first",
                    wanted()
                ),
            ));
        }
        let (color, _) = reader.output_color_type();
        let (colors, alpha) = match color {
            ColorType::Grayscale => (1, false),
            ColorType::GrayscaleAlpha => (1, true),
            ColorType::Rgba => (3, true),
            ColorType::Rgb | ColorType::Indexed => (3, false),
        };
        if colors != usize::from(shape.channels) {
            return Err(malformed(
                path,
                format!("the picture is {}, the model takes {}: convert it first", kind(colors), wanted()),
            ));
        }
        let Some(size) = reader.output_buffer_size() else {
            return Err(malformed(path, "the picture is too large"));
        };
        let mut interleaved = vec![0; size];
        reader.next_frame(&mut interleaved).map_err(broken)?;
        let step = colors + usize::from(alpha);
        if alpha && interleaved.iter().skip(colors).step_by(step).any(|&a| a != 255) {
            return Err(malformed(path, "the picture is transparent in places: flatten it first"));
        }
        let pixels = (0..colors).flat_map(|c| interleaved.iter().skip(c).step_by(step).copied()).collect();
        Ok(Self { shape, pixels })
    }
}

fn kind(channels: usize) -> &'static str {
    if channels == 1 { "grey" } else { "RGB" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(name: &str, color: ColorType, size: (u32, u32), bytes: &[u8]) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("halfnet-{}-{name}.png", std::process::id()));
        let mut encoder = png::Encoder::new(File::create(&path).unwrap(), size.0, size.1);
        encoder.set_color(color);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.write_header().unwrap().write_image_data(bytes).unwrap();
        path
    }

    #[test]
    fn exact_pictures_are_read_and_others_refused() {
        let rgb = write("rgb", ColorType::Rgb, (2, 1), &[1, 2, 3, 4, 5, 6]);
        let rgba = write("rgba", ColorType::Rgba, (2, 1), &[1, 2, 3, 255, 4, 5, 6, 255]);
        let clear = write("clear", ColorType::Rgba, (2, 1), &[1, 2, 3, 255, 4, 5, 6, 0]);
        let grey = write("grey", ColorType::Grayscale, (2, 1), &[9, 8]);
        let shape = Shape::new(3, 1, 2);
        for path in [&rgb, &rgba] {
            assert_eq!(Picture::read_png(path, shape).unwrap().pixels, [1, 4, 2, 5, 3, 6]);
        }
        assert_eq!(Picture::read_png(&grey, Shape::new(1, 1, 2)).unwrap().pixels, [9, 8]);
        let refused = |path, shape| Picture::read_png(path, shape).unwrap_err().to_string();
        assert!(refused(&clear, shape).contains("transparent"));
        assert!(refused(&grey, shape).contains("is grey, the model takes 2×1 pixels, RGB"));
        assert!(refused(&rgb, Shape::new(3, 2, 2)).contains("has 2×1 pixels, the model takes 2×2"));
        std::fs::write(&grey, b"no picture").unwrap();
        assert!(refused(&grey, shape).contains("no readable PNG"));
        for path in [rgb, rgba, clear, grey] {
            std::fs::remove_file(path).unwrap();
        }
    }
}
