//! Pictures as a user names them: a PNG file, speech in a WAV file, or `idx:N`, a picture of the test set in
//! the data folder.

use std::path::Path;

use halfnet_core::model::Header;

use crate::network::bundled;
use crate::network::data::log_mel::LogMel;
use crate::network::data::{DataError, DataFolder, DataSetKind, Picture, Split, fsdd};

/// A picture's bytes, and its label where the data set says it.
pub type Labelled = (Vec<u8>, Option<u16>);

/// Names with each `idx:A..B` replaced by `idx:A` to `idx:B − 1`.
///
/// # Errors
/// A range is empty or none.
pub fn expand(names: &[String]) -> Result<Vec<String>, DataError> {
    let mut expanded = Vec::with_capacity(names.len());
    for name in names {
        let Some((first, end)) = name.strip_prefix("idx:").and_then(|range| range.split_once("..")) else {
            expanded.push(name.clone());
            continue;
        };
        let wrong = || DataError::Name {
            name: name.clone(),
            expected: "no pictures: idx:A..B with numbers A below B",
        };
        let number = |text: &str| text.parse::<u32>().map_err(|_| wrong());
        let range = number(first)?..number(end)?;
        if range.is_empty() {
            return Err(wrong());
        }
        expanded.extend(range.map(|index| format!("idx:{index}")));
    }
    Ok(expanded)
}

/// Reads the pictures named; without a data folder, the first 32 of MNIST are those that the program carries.
/// Each comes with its label where the data set says it.
///
/// # Errors
/// A file is no picture of the model's shape, or the data set has no such picture.
pub fn read(names: &[String], header: &Header<'_>, data: Option<&Path>) -> Result<Vec<Labelled>, DataError> {
    let index = |name: &str| name.strip_prefix("idx:").map(str::to_owned);
    let wanted: Vec<Option<usize>> = names
        .iter()
        .map(|name| match index(name) {
            None => Ok(None),
            Some(number) => number.parse().map(Some).map_err(|_| DataError::Name {
                name: name.clone(),
                expected: "no picture: idx:N with a number N",
            }),
        })
        .collect::<Result<_, _>>()?;
    let set = match wanted.iter().flatten().max() {
        None => None,
        Some(&last) => {
            let kind: DataSetKind = header.data_set.parse()?;
            let set = match DataFolder::from_flag(data) {
                // The digits that the program carries are the first of MNIST's test set.
                Err(DataError::NoFolder) if kind == DataSetKind::Mnist && last < bundled::PICTURES => {
                    bundled::pictures()?
                }
                folder => folder?.load(kind, Split::Test, Some(last.saturating_add(1)))?,
            };
            if last >= set.len() {
                return Err(DataError::Index {
                    set: kind,
                    split: Split::Test,
                    index: last,
                    count: set.len(),
                });
            }
            if set.shape != header.input {
                return Err(DataError::Size {
                    expected: header.input.elements(),
                    found: set.shape.elements(),
                });
            }
            Some(set)
        }
    };
    let picture = |(name, index): (&String, &Option<usize>)| match (index, &set) {
        (Some(index), Some(set)) => Ok((set.picture(*index).to_vec(), Some(set.labels[*index]))),
        _ => Ok((file(Path::new(name), header)?, None)),
    };
    names.iter().zip(&wanted).map(picture).collect()
}

/// A file's picture: the spectrogram of a recording where the model takes those, else a PNG.
fn file(path: &Path, header: &Header<'_>) -> Result<Vec<u8>, DataError> {
    let is_speech = header.data_set == DataSetKind::Fsdd.name() && header.input == DataSetKind::Fsdd.shape();
    if is_speech && path.extension().is_some_and(|e| e.eq_ignore_ascii_case("wav")) {
        return Ok(LogMel::new().picture(&fsdd::wave(path)?));
    }
    Ok(Picture::read_png(path, header.input)?.pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speech_is_a_picture_of_a_model_of_speech_alone() {
        let path = std::env::temp_dir().join(format!("halfnet-speech-{}.wav", std::process::id()));
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 8000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let samples: Vec<i16> = (0..5000).map(|i| ((i * i) % 997) as i16).collect();
        let mut writer = hound::WavWriter::create(&path, spec).unwrap();
        samples.iter().for_each(|&s| writer.write_sample(s).unwrap());
        writer.finalize().unwrap();
        let header = |set: DataSetKind| Header {
            name: "none",
            data_set: set.name(),
            input: set.shape(),
            normalisation: Default::default(),
            classes: 10,
            class_names: "",
        };
        let names = [path.display().to_string()];
        let found = read(&names, &header(DataSetKind::Fsdd), None).unwrap();
        assert_eq!(found, [(LogMel::new().picture(&samples), None)]);
        assert!(
            read(&names, &header(DataSetKind::Mnist), None)
                .unwrap_err()
                .to_string()
                .contains("no readable PNG")
        );
        std::fs::remove_file(path).unwrap();
    }
}
