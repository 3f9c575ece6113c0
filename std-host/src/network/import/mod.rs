//! From a trained float network to the integer model.
//!
//! `calibrate` measures ranges on training pictures; `scales` gives each channel of each wire a real
//! value a unit; `quantise` goes through the layers in order and rounds each one's weights (`rounding`)
//! so that its output error on training pictures, with the inputs that the integer layers before it really
//! give, is smallest; `widths` says what a choice of widths costs and searches for the narrowest that keeps
//! the answers, from wider ones where there is none (polynomials square what rounding leaves); `write`
//! packs the result. The figures of merit are in the [`Report`].

mod calibrate;
mod error;
mod quantise;
mod report;
mod rounding;
mod scales;
mod sensitivity;
mod widths;
mod write;

use std::path::Path;

pub use error::ImportError;
use quantise::Quantised;
pub use report::{LayerReport, Report, bytes_each_way};
pub use widths::{LayerWidths, Widths};

use crate::network::data::{DataFolder, DataSet, Split};
use crate::network::float::FloatNetwork;
use crate::network::progress::Progress;

/// Choices of widths that are tried, at most, from each of the rule's.
const SEARCHES: usize = 3;

/// How a network is imported.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportOptions {
    /// Ring bits b of every layer; chosen by the importer where none are given.
    pub ring_bits: Option<u8>,
    /// Opened bits n of every activation; chosen by the importer where none are given.
    pub opened_bits: Option<u8>,
    /// Ranges are this many times what training pictures use.
    pub headroom: f64,
    /// Training pictures that ranges are taken from.
    pub range_pictures: usize,
    /// Training pictures that weights are rounded on.
    pub rounding_pictures: usize,
    /// Training pictures that a choice of widths is judged on.
    pub judging_pictures: usize,
    /// Training pictures that each layer's part in the error is measured on.
    pub sensitivity_pictures: usize,
    /// Root mean square error of the logits, in parts of their deviation, that a choice of widths may have on
    /// training pictures.
    pub logit_error: f64,
    /// Percent of training pictures on which the integer network's accuracy may be below the float network's.
    pub accuracy_loss: f64,
    /// Seed of the coins during import.
    pub seed: u64,
    /// Whether progress is shown.
    pub progress: Progress,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            ring_bits: None,
            opened_bits: None,
            headroom: 2.0,
            range_pictures: 2000,
            rounding_pictures: 500,
            judging_pictures: 2000,
            sensitivity_pictures: 128,
            logit_error: 0.06,
            accuracy_loss: 0.1,
            seed: 0,
            progress: Progress::Shown,
        }
    }
}

/// An integer model and how it came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The whole blob, to be written to `model.postcard`.
    pub bytes: Vec<u8>,
    /// What was chosen and how good it is on training pictures.
    pub report: Report,
}

/// Imports a safetensors file, calibrated on the training pictures of the data set that it was trained on.
///
/// # Errors
/// The weights or the data cannot be read, or no ring is wide enough.
pub fn import_file(
    weights: &Path,
    data: &DataFolder,
    options: &ImportOptions,
) -> Result<Imported, ImportError> {
    let network = FloatNetwork::read(weights)?;
    let wanted = options.range_pictures.max(options.judging_pictures).max(options.rounding_pictures);
    let pictures = data.load(network.data_set, Split::Train, Some(wanted))?;
    let class_names = data.class_names(network.data_set).unwrap_or_default();
    import_network(&network, &class_names, &pictures, options)
}

/// Imports a network, calibrated on the given training pictures. Where no widths keep what the options ask
/// for, the model by rule that errs least is given, and its report is not `good`.
///
/// # Errors
/// There are no pictures, their shape differs, or no ring is wide enough.
pub fn import_network(
    network: &FloatNetwork,
    class_names: &[String],
    pictures: &DataSet,
    options: &ImportOptions,
) -> Result<Imported, ImportError> {
    if pictures.is_empty() || pictures.shape != network.input {
        return Err(ImportError::Pictures {
            found: pictures.shape,
            count: pictures.len(),
            expected: network.input,
        });
    }
    let ranges = calibrate::ranges(network, &pictures.first(options.range_pictures), &options.progress);
    let rounding = pictures.first(options.rounding_pictures);
    let judging = pictures.first(options.judging_pictures);
    let quantise = |widths: &Widths| quantise::quantise(network, &ranges, widths, &rounding, options);
    let finish = |widths: &Widths, quantised: &Quantised| {
        let bytes = write::model(network, class_names, quantised)?;
        let report = report::measure(network, widths, quantised, &bytes, &judging, options)?;
        Ok::<_, ImportError>(Imported { bytes, report })
    };
    let by_rule = |(ring_bits, opened_bits): (u8, u8)| {
        let widths = widths::by_rule(network, ring_bits, opened_bits);
        let quantised = quantise(&widths)?;
        Ok::<_, ImportError>((widths, quantised))
    };
    let [usual, wider @ ..] = widths::STARTS;
    if options.ring_bits.is_some() || options.opened_bits.is_some() {
        let (widths, quantised) =
            by_rule((options.ring_bits.unwrap_or(usual.0), options.opened_bits.unwrap_or(usual.1)))?;
        return finish(&widths, &quantised);
    }
    // The narrowest that are good enough, from widths that were tried.
    let narrow = |tried: &Widths, quantised: &Quantised| {
        let noise =
            sensitivity::measure(network, quantised, &pictures.first(options.sensitivity_pictures), options);
        let search = widths::Search::new(network, tried.clone(), noise);
        let mut budget = options.logit_error * options.logit_error;
        for _ in 0..SEARCHES {
            let widths = search.narrowest(budget);
            let found = finish(&widths, &quantise(&widths)?)?;
            if found.report.good {
                return Ok(Some(found));
            }
            // What was measured came out worse than predicted: aim lower by as much.
            let excess = found.report.logit_error / options.logit_error;
            budget /= (excess * excess).max(1.2);
        }
        Ok::<_, ImportError>(None)
    };
    let (widths, quantised) = by_rule(usual)?;
    let mut found = match narrow(&widths, &quantised)? {
        Some(narrowest) => narrowest,
        None => finish(&widths, &quantised)?,
    };
    for start in wider {
        if found.report.good {
            break;
        }
        // What is there already stays where no ring is wide enough for more.
        let Ok((widths, quantised)) = by_rule(start) else { break };
        let Ok(wide) = finish(&widths, &quantised) else { break };
        if wide.report.good {
            found = narrow(&widths, &quantised)?.unwrap_or(wide);
        } else if wide.report.errs_less_than(&found.report) {
            found = wide;
        }
    }
    Ok(found)
}
