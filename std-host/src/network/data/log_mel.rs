//! Speech as pictures: the log-mel spectrogram.
//!
//! | what | value |
//! |---|---|
//! | samples | 8,000 a second, mono, 16 bit |
//! | window | 256 samples (32 ms), Hann (periodic), zeros to 512 for the transform |
//! | hop | 192 samples (24 ms), 32 frames: 776 ms |
//! | bands | 32 triangles, equally spaced on the mel scale 2595·log10(1 + f/700) from 80 Hz to 4 kHz, each with a peak of 1 |
//! | value | 10·log10 of a band's energy, in decibels below the clip's loudest; 60 dB and more below it is 0, the loudest 255 |
//!
//! Of a longer clip the 776 ms with the most energy are taken, a shorter one lies in the middle of silence.
//! Row 0 is the lowest band, column 0 the first frame. Sums are in 64 bits, so that a byte depends on the
//! machine only where a value lies within rounding of the middle between two.

use super::fourier::Transform;

/// Samples a second.
pub(crate) const SAMPLE_RATE: u32 = 8000;
/// Samples of a frame.
pub(crate) const WINDOW: usize = 256;
/// Samples from a frame to the next.
pub(crate) const HOP: usize = 192;
/// Mel bands: rows of a picture.
pub(crate) const BANDS: usize = 32;
/// Frames: columns of a picture.
pub(crate) const FRAMES: usize = 32;
/// Samples that the frames cover.
pub(crate) const SPAN: usize = (FRAMES - 1) * HOP + WINDOW;

const BINS: usize = 512;
const LOWEST_HERTZ: f64 = 80.0;
const DECIBELS: f64 = 60.0;

/// One band: its first bin and the weights from there on.
#[derive(Clone, Debug)]
struct Band {
    first: usize,
    weights: Vec<f64>,
}

/// Makes spectrograms.
#[derive(Clone, Debug)]
pub(crate) struct LogMel {
    transform: Transform,
    window: Vec<f64>,
    bands: Vec<Band>,
}

impl Default for LogMel {
    fn default() -> Self {
        Self::new()
    }
}

fn mel(hertz: f64) -> f64 {
    2595.0 * (1.0 + hertz / 700.0).log10()
}

fn hertz(mel: f64) -> f64 {
    700.0 * (10.0_f64.powf(mel / 2595.0) - 1.0)
}

/// The triangles' corners in Hz: band b rises from corner b to b + 1 and falls to b + 2.
fn corners() -> Vec<f64> {
    let (low, high) = (mel(LOWEST_HERTZ), mel(f64::from(SAMPLE_RATE) / 2.0));
    (0..BANDS + 2).map(|c| hertz(low + (high - low) * c as f64 / (BANDS + 1) as f64)).collect()
}

impl LogMel {
    /// Plans the transform and the bands.
    #[must_use]
    pub(crate) fn new() -> Self {
        let transform = Transform::new(BINS);
        let turn = std::f64::consts::TAU / WINDOW as f64;
        let window = (0..WINDOW).map(|i| 0.5 - 0.5 * (turn * i as f64).cos()).collect();
        let bin = |b: usize| b as f64 * f64::from(SAMPLE_RATE) / BINS as f64;
        let band = |c: &[f64]| {
            let weight =
                |b: usize| ((bin(b) - c[0]) / (c[1] - c[0])).min((c[2] - bin(b)) / (c[2] - c[1])).max(0.0);
            let bins = || (0..=BINS / 2).filter(|&b| weight(b) > 0.0);
            Band { first: bins().next().unwrap_or(0), weights: bins().map(weight).collect() }
        };
        Self { transform, window, bands: corners().windows(3).map(band).collect() }
    }

    /// The spectrogram of a clip, in bytes.
    ///
    /// # Shapes
    /// `samples`: any number, at [`SAMPLE_RATE`]. The result: (band, frame), [`BANDS`] × [`FRAMES`].
    #[must_use]
    pub(crate) fn picture(&self, samples: &[i16]) -> Vec<u8> {
        let (part, before) = centred(samples);
        let mut energies = vec![0.0; BANDS * FRAMES];
        let mut values = vec![[0.0; 2]; BINS];
        for frame in 0..FRAMES {
            values.fill([0.0; 2]);
            for (i, (to, window)) in values.iter_mut().zip(&self.window).enumerate() {
                let sample = (frame * HOP + i).checked_sub(before).and_then(|i| part.get(i));
                *to = [sample.map_or(0.0, |&s| f64::from(s) * window), 0.0];
            }
            self.transform.run(&mut values);
            for (b, band) in self.bands.iter().enumerate() {
                let bins = values[band.first..].iter().zip(&band.weights);
                energies[b * FRAMES + frame] =
                    bins.map(|([re, im], weight)| (re * re + im * im) * weight).sum();
            }
        }
        let loudest = energies.iter().copied().fold(0.0, f64::max);
        let byte = |energy: f64| {
            let decibels = 10.0 * (energy / loudest).log10();
            // Silence: 0/0 or the logarithm of 0.
            if decibels.is_finite() {
                (255.0 * (1.0 + decibels / DECIBELS)).round().clamp(0.0, 255.0) as u8
            } else {
                0
            }
        };
        energies.into_iter().map(byte).collect()
    }
}

/// The part of a clip that the frames cover, and how many samples of silence come before it.
fn centred(samples: &[i16]) -> (&[i16], usize) {
    if samples.len() <= SPAN {
        return (samples, (SPAN - samples.len()) / 2);
    }
    let square = |s: i16| i64::from(s) * i64::from(s);
    let mut energy: i64 = samples[..SPAN].iter().map(|&s| square(s)).sum();
    let (mut best, mut start) = (energy, 0);
    for first in 1..=samples.len() - SPAN {
        energy += square(samples[first + SPAN - 1]) - square(samples[first - 1]);
        if energy > best {
            (best, start) = (energy, first);
        }
    }
    (&samples[start..start + SPAN], 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hertz: f64, count: usize) -> Vec<i16> {
        let turn = std::f64::consts::TAU * hertz / f64::from(SAMPLE_RATE);
        (0..count).map(|i| (8000.0 * (turn * i as f64).sin()) as i16).collect()
    }

    #[test]
    fn a_tone_is_loudest_in_its_band() {
        let log_mel = LogMel::new();
        let corners = corners();
        for band in [0, 5, 17, 31] {
            let picture = log_mel.picture(&tone(corners[band + 1], SPAN));
            let column: Vec<u8> = (0..BANDS).map(|b| picture[b * FRAMES + 10]).collect();
            let loudest = column.iter().enumerate().max_by_key(|(_, v)| **v).unwrap();
            assert_eq!(loudest.0, band, "{column:?}");
            assert!(*loudest.1 > 250);
            // Far away there is nothing.
            assert!(column[(band + 16) % BANDS] < 60, "{column:?}");
        }
    }

    #[test]
    fn the_transform_is_its_definition() {
        let log_mel = LogMel::new();
        let samples: Vec<i16> = (0..SPAN).map(|i| ((i * i * 7919) % 20_011) as i16 - 10_000).collect();
        let picture = log_mel.picture(&samples);
        let energy = |band: usize, frame: usize| -> f64 {
            let bins = log_mel.bands[band].weights.iter().enumerate();
            bins.map(|(k, weight)| {
                let turn = std::f64::consts::TAU * (log_mel.bands[band].first + k) as f64 / BINS as f64;
                let sum = |of: fn(f64) -> f64| -> f64 {
                    (0..WINDOW)
                        .map(|i| {
                            f64::from(samples[frame * HOP + i]) * log_mel.window[i] * of(turn * i as f64)
                        })
                        .sum()
                };
                (sum(f64::cos).powi(2) + sum(f64::sin).powi(2)) * weight
            })
            .sum()
        };
        let all: Vec<f64> = (0..BANDS * FRAMES).map(|i| energy(i / FRAMES, i % FRAMES)).collect();
        let loudest = all.iter().copied().fold(0.0, f64::max);
        for (found, energy) in picture.iter().zip(&all) {
            let expected = (255.0 * (1.0 + 10.0 * (energy / loudest).log10() / 60.0)).max(0.0);
            assert!((f64::from(*found) - expected).abs() < 0.501, "{found} {expected}");
        }
    }

    #[test]
    fn short_clips_lie_in_the_middle_and_long_ones_are_cut_to_their_loudest_part() {
        let log_mel = LogMel::new();
        let short = log_mel.picture(&tone(440.0, 4 * HOP));
        let loud = |picture: &[u8], frame: usize| (0..BANDS).any(|b| picture[b * FRAMES + frame] > 200);
        assert!(loud(&short, FRAMES / 2) && !loud(&short, 4) && !loud(&short, FRAMES - 5));
        let silence = vec![0; 3000];
        let long = [silence.clone(), tone(440.0, SPAN), silence].concat();
        assert_eq!(log_mel.picture(&long), log_mel.picture(&tone(440.0, SPAN)));
        assert!(log_mel.picture(&[]).iter().chain(&log_mel.picture(&[0; 9000])).all(|&v| v == 0));
        // Loudness alone changes nothing but for the rounding of samples.
        let quiet: Vec<i16> = tone(440.0, SPAN).iter().map(|s| s / 4).collect();
        let (quiet, plain) = (log_mel.picture(&quiet), log_mel.picture(&tone(440.0, SPAN)));
        let near = |(a, b): (&u8, &u8)| *b < 60 || a.abs_diff(*b) < 6;
        assert!(quiet.iter().zip(&plain).all(near));
    }
}
