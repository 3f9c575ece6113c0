//! A picture's bytes: as the integers of the input wire, and in a row in a file.

use std::path::Path;

use halfnet_core::model::Header;

use super::ProcessError;
use crate::party::material::FileError;

/// The integers of the input wire.
///
/// # Shapes
/// `pixels`: the model's input, bytes in (channel, row, column) order; so is the result.
///
/// # Errors
/// The picture has another size, or the model does not normalise every channel: a picture cut short would be
/// classified silently.
pub fn integers(header: &Header<'_>, pixels: &[u8]) -> Result<Vec<i32>, ProcessError> {
    let (expected, channels) = (header.input.elements(), usize::from(header.input.channels));
    if pixels.len() != expected {
        return Err(ProcessError::Picture { expected, found: pixels.len() });
    }
    if header.normalisation.len() != channels {
        return Err(ProcessError::Normalisation { expected: channels, found: header.normalisation.len() });
    }
    let planes = pixels.chunks(header.input.plane().max(1)).zip(&header.normalisation);
    Ok(planes
        .flat_map(|(plane, normalisation)| plane.iter().map(|&pixel| normalisation.apply(pixel)))
        .collect())
}

/// Pictures in a row, without any header: how a parent process hands them over.
///
/// # Errors
/// The file cannot be read or is no whole number of pictures.
pub fn read_raw(path: &Path, header: &Header<'_>) -> Result<Vec<Vec<u8>>, ProcessError> {
    let bytes = std::fs::read(path).map_err(FileError::io("read", path))?;
    let size = header.input.elements();
    if bytes.is_empty() || bytes.len() % size != 0 {
        return Err(ProcessError::Picture { expected: size, found: bytes.len() });
    }
    Ok(bytes.chunks(size).map(<[u8]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use halfnet_core::model::Normalisation;
    use halfnet_core::shape::Shape;

    use super::*;

    #[test]
    fn a_short_picture_is_never_classified() {
        let normalise = |channels: usize| Header {
            name: "none",
            data_set: "mnist",
            input: Shape { channels: 2, height: 1, width: 2 },
            normalisation: (0..channels).map(|_| Normalisation::IDENTITY).collect(),
            classes: 2,
            class_names: "",
        };
        assert_eq!(integers(&normalise(2), &[1, 2, 3, 4]).unwrap(), [1, 2, 3, 4]);
        assert!(matches!(
            integers(&normalise(2), &[1, 2, 3]),
            Err(ProcessError::Picture { expected: 4, found: 3 })
        ));
        for found in [0, 1, 3] {
            let refused = integers(&normalise(found), &[1, 2, 3, 4]);
            assert!(
                matches!(refused, Err(ProcessError::Normalisation { expected: 2, found: f }) if f == found),
                "{refused:?}"
            );
        }
    }
}
