//! The Free Spoken Digit Dataset: 8 kHz recordings of ten digits by six speakers, as log-mel spectrograms.
//!
//! Takes 0 to 4 of a speaker and digit are the test split, 5 to 49 are for training, as the authors define.
//! Clips come in the order of takes, then speakers, then digits, so that the first sixty of a split hold
//! every digit of every speaker.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::log_mel::{LogMel, SAMPLE_RATE};
use super::published::Digest;
use super::{DataError, DataSet, DataSetKind, Split, malformed, published, read};

const SET: DataSetKind = DataSetKind::Fsdd;
const TEST_TAKES: u32 = 5;

/// One recording.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Clip {
    take: u32,
    speaker: String,
    digit: u16,
    place: Place,
}

/// Where its samples lie.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// In the one long recording.
    Part { start: usize, count: usize },
    /// In a file of its own.
    Wave(PathBuf),
}

pub(super) fn load(root: &Path, split: Split, limit: usize) -> Result<DataSet, DataError> {
    let folder = root.join(SET.name());
    let table = folder.join("fsdd.csv");
    let (mut clips, all) = if table.is_file() {
        (parse(&read(&table)?, &table)?, flac(&folder.join("fsdd.flac"))?)
    } else {
        let places = [
            folder.join("recordings"),
            root.join("free-spoken-digit-dataset").join("recordings"),
            folder.clone(),
        ];
        match places
            .iter()
            .map(|place| recordings(place))
            .find(|found| found.as_ref().is_ok_and(|f| !f.is_empty()))
        {
            Some(found) => (found?, Vec::new()),
            None => {
                let files = "fsdd.csv with fsdd.flac, or the original recordings/0_george_0.wav …".to_owned();
                return Err(DataError::Missing { set: SET, what: "recordings", folder, files });
            }
        }
    };
    clips.retain(|clip| (clip.take < TEST_TAKES) == (split == Split::Test));
    clips.sort();
    clips.truncate(limit);
    let log_mel = LogMel::new();
    let one = |clip: &Clip| {
        let samples = match &clip.place {
            Place::Wave(path) => wave(path)?,
            Place::Part { start, count } => {
                match start.checked_add(*count).and_then(|end| all.get(*start..end)) {
                    Some(part) => part.to_vec(),
                    None => {
                        return Err(malformed(
                            &table,
                            format!("a clip ends at sample {}, of {}", start + count, all.len()),
                        ));
                    }
                }
            }
        };
        let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        Ok((log_mel.picture(&samples), Digest::of(clip.digit, &bytes)))
    };
    let made: Vec<(Vec<u8>, Digest)> = clips.par_iter().map(one).collect::<Result<_, _>>()?;
    published::check(SET, split, &folder, made.iter().map(|(_, digest)| *digest))?;
    let labels = clips.iter().map(|clip| clip.digit).collect();
    Ok(DataSet {
        shape: SET.shape(),
        pixels: made.into_iter().flat_map(|(pixels, _)| pixels).collect(),
        labels,
    })
}

/// `digit,speaker,take,split,start_sample,num_samples` a line, after a line that says so.
fn parse(bytes: &[u8], path: &Path) -> Result<Vec<Clip>, DataError> {
    let text = std::str::from_utf8(bytes).map_err(|_| malformed(path, "no text"))?;
    let mut lines = text.lines();
    let head = "digit,speaker,take,split,start_sample,num_samples";
    if lines.next().map(str::trim) != Some(head) {
        return Err(malformed(path, format!("the first line is not `{head}`")));
    }
    let clip = |line: &str| {
        let [digit, speaker, take, split, start, count] =
            line.trim().split(',').collect::<Vec<_>>().try_into().ok()?;
        let (take, digit) = (take.parse().ok()?, digit.parse().ok()?);
        let is_test = split == "test";
        let fits = usize::from(digit) < SET.classes()
            && (is_test || split == "train")
            && is_test == (take < TEST_TAKES);
        let place = Place::Part { start: start.parse().ok()?, count: count.parse().ok()? };
        fits.then(|| Clip { take, speaker: speaker.to_owned(), digit, place })
    };
    let lines = lines.filter(|line| !line.trim().is_empty());
    lines
        .map(|line| clip(line).ok_or_else(|| malformed(path, format!("`{line}` is no recording of a digit"))))
        .collect()
}

/// `DIGIT_SPEAKER_TAKE.wav` files of a folder.
fn recordings(folder: &Path) -> Result<Vec<Clip>, DataError> {
    let unreadable = |source| DataError::Read { path: folder.to_owned(), source };
    let mut clips = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_none_or(|e| e != "wav") {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let parts: Vec<&str> = name.split('_').collect();
        let [digit, speaker, take] = parts[..] else {
            return Err(malformed(&path, "not called DIGIT_SPEAKER_TAKE.wav"));
        };
        match (digit.parse(), take.parse()) {
            (Ok(digit), Ok(take)) if usize::from(digit) < SET.classes() => {
                clips.push(Clip { take, speaker: speaker.to_owned(), digit, place: Place::Wave(path) });
            }
            _ => return Err(malformed(&path, "not called DIGIT_SPEAKER_TAKE.wav")),
        }
    }
    Ok(clips)
}

/// All samples of a FLAC file.
fn flac(path: &Path) -> Result<Vec<i16>, DataError> {
    let broken = |e: claxon::Error| malformed(path, format!("no readable FLAC recording: {e}"));
    if !path.is_file() {
        let folder = path.parent().unwrap_or(path).to_owned();
        return Err(DataError::Missing {
            set: SET,
            what: "recordings",
            folder,
            files: "fsdd.flac".to_owned(),
        });
    }
    let mut reader = claxon::FlacReader::open(path).map_err(broken)?;
    let info = reader.streaminfo();
    fits(path, info.sample_rate, info.channels, info.bits_per_sample)?;
    // 16 bits were checked.
    reader.samples().map(|sample| sample.map(|s| s as i16)).collect::<Result<_, _>>().map_err(broken)
}

/// All samples of a WAV file of speech: mono, 16 bit, 8,000 a second.
///
/// # Errors
/// It cannot be read, or is something else.
pub(crate) fn wave(path: &Path) -> Result<Vec<i16>, DataError> {
    let broken = |e: hound::Error| malformed(path, format!("no readable WAV recording: {e}"));
    let mut reader = hound::WavReader::open(path).map_err(broken)?;
    let spec = reader.spec();
    fits(path, spec.sample_rate, spec.channels.into(), spec.bits_per_sample.into())?;
    reader.samples::<i16>().collect::<Result<_, _>>().map_err(broken)
}

fn fits(path: &Path, rate: u32, channels: u32, bits: u32) -> Result<(), DataError> {
    if (rate, channels, bits) == (SAMPLE_RATE, 1, 16) {
        return Ok(());
    }
    let found = format!("{rate} samples a second, {channels} channels, {bits} bits");
    Err(malformed(path, format!("{found}: must be {SAMPLE_RATE} a second, mono, 16 bits; convert it first")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("halfnet-fsdd-{}-{name}", std::process::id()));
        std::fs::create_dir_all(root.join("fsdd/recordings")).unwrap();
        root
    }

    fn record(root: &Path, name: &str, rate: u32) {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: rate,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(root.join("fsdd/recordings").join(name), spec).unwrap();
        (0..4000).for_each(|i| writer.write_sample(((i * 37) % 4001 - 2000) as i16).unwrap());
        writer.finalize().unwrap();
    }

    #[test]
    fn recordings_are_split_by_take_and_ordered() {
        let root = folder("recordings");
        for name in ["3_theo_0.wav", "1_theo_0.wav", "7_george_4.wav", "2_theo_5.wav", "0_anna_49.wav"] {
            record(&root, name, SAMPLE_RATE);
        }
        let labels = |split, limit| load(&root, split, limit).unwrap().labels;
        assert_eq!(labels(Split::Test, usize::MAX), [1, 3, 7]);
        assert_eq!(labels(Split::Train, usize::MAX), [2, 0]);
        assert_eq!(labels(Split::Test, 2), [1, 3]);
        let set = load(&root, Split::Test, usize::MAX).unwrap();
        assert_eq!((set.shape, set.pixels.len()), (SET.shape(), 3 * 1024));
        assert_eq!(
            set.picture(0),
            LogMel::new().picture(&wave(&root.join("fsdd/recordings/1_theo_0.wav")).unwrap())
        );
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn faults_name_the_file_and_what_would_do() {
        let root = folder("faults");
        let error = || load(&root, Split::Test, usize::MAX).unwrap_err().to_string();
        let missing = error();
        assert!(
            missing.contains("fsdd.flac")
                && missing.contains("0_george_0.wav")
                && missing.contains("the right data folder"),
            "{missing}"
        );
        record(&root, "1_theo_0.wav", 16_000);
        assert!(error().contains("16000 samples a second") && error().contains("convert it"), "{}", error());
        let table = root.join("fsdd/fsdd.csv");
        std::fs::write(&table, "digit,speaker\n").unwrap();
        assert!(error().contains("the first line is not"), "{}", error());
        let head = "digit,speaker,take,split,start_sample,num_samples\n";
        for line in ["10,theo,0,test,0,5", "1,theo,0,train,0,5", "1,theo,9,test,0,5", "1,theo,0,test,0"] {
            std::fs::write(&table, format!("{head}{line}\n")).unwrap();
            assert!(error().contains("is no recording of a digit"), "{line}: {}", error());
        }
        std::fs::write(&table, format!("{head}1,theo,0,test,0,5\n")).unwrap();
        assert!(error().contains("looked for fsdd.flac"), "{}", error());
        std::fs::write(root.join("fsdd/fsdd.flac"), b"no recording").unwrap();
        assert!(error().contains("no readable FLAC"), "{}", error());
        std::fs::remove_dir_all(root).unwrap();
    }
}
