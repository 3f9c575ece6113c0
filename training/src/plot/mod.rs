//! Accuracy against ReLUs: what a folder of runs came to, beside what papers state.
//!
//! A run is a folder with a `result.json`, of a search or of training from the start. Runs of the same
//! network and data set share a chart, runs of the same method a line.

pub mod published;
mod svg;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::TrainError;
pub use published::PUBLISHED;
pub use svg::draw;

/// One run, or one published figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// ReLUs of the network.
    pub relus: usize,
    /// On the test set, in percent.
    pub accuracy: f64,
}

/// Points of one method.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Which.
    pub name: String,
    /// Is it from a paper?
    pub is_published: bool,
    /// In the order of ReLUs.
    pub points: Vec<Point>,
}

/// Everything of one network and data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// The network.
    pub model: String,
    /// The data set.
    pub data_set: String,
    /// One's own first.
    pub series: Vec<Series>,
}

/// What one run came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The network.
    pub model: String,
    /// The data set.
    pub data_set: String,
    /// The method, with the degree of its polynomials where it has some.
    pub series: String,
    /// What it came to.
    pub point: Point,
}

/// The runs of some folders and all folders below them, in the order of their paths.
///
/// # Errors
/// A folder or a result cannot be read, or a `result.json` is no run's.
pub fn runs(folders: &[PathBuf]) -> Result<Vec<Run>, TrainError> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = folders.iter().rev().cloned().collect();
    while let Some(folder) = open.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|e| TrainError::read(&folder, e))?;
        let mut paths = Vec::new();
        for entry in entries {
            paths.push(entry.map_err(|e| TrainError::read(&folder, e))?.path());
        }
        paths.sort();
        for path in &paths {
            if path.file_name().is_some_and(|name| name == "result.json") {
                let text = std::fs::read_to_string(path).map_err(|e| TrainError::read(path, e))?;
                found.extend(parse(&text).map_err(|reason| TrainError::malformed(path, reason))?);
            }
        }
        open.extend(paths.into_iter().rev().filter(|path| path.is_dir()));
    }
    Ok(found)
}

/// A search's result is two points: what it came to, and the network with all its ReLUs that it came from.
fn parse(text: &str) -> Result<Vec<Run>, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let field =
        |name: &str| value.get(name).ok_or_else(|| format!("no result of a run: `{name}` is missing"));
    let word =
        |name: &str| field(name)?.as_str().map(str::to_owned).ok_or_else(|| format!("`{name}` is no text"));
    let count =
        |name: &str| field(name)?.as_u64().map(|n| n as usize).ok_or_else(|| format!("`{name}` is no count"));
    let percent = |name: &str| field(name)?.as_f64().ok_or_else(|| format!("`{name}` is no number"));
    let run = |series: String, relus: usize, accuracy: f64| {
        Ok::<_, String>(Run {
            model: word("model")?,
            data_set: word("data_set")?,
            series,
            point: Point { relus, accuracy },
        })
    };
    let all = || "all ReLU".to_owned();
    if value.get("method").is_some_and(|m| m == "all-relu") {
        return Ok(vec![run(all(), count("relus")?, percent("test")?)?]);
    }
    let options = field("options")?;
    let method =
        value.get("method").or(options.pointer("/method/name")).and_then(Value::as_str).unwrap_or("autorep");
    let degree = options.pointer("/polynomials/degree").or(options.get("degree")).and_then(Value::as_str);
    let series = match degree {
        Some(degree) => format!("{method}, degree {}", if degree == "one" { 1 } else { 2 }),
        None => method.to_owned(),
    };
    Ok(vec![
        run(all(), count("all_relus")?, percent("teacher_test")?)?,
        run(series, count("relus")?, percent("test")?)?,
    ])
}

/// Charts of all networks and data sets that there are runs of.
#[must_use]
pub fn charts(runs: &[Run]) -> Vec<Chart> {
    let mut by_chart: BTreeMap<(String, String), BTreeMap<String, Vec<Point>>> = BTreeMap::new();
    for run in runs {
        let chart = by_chart.entry((run.model.clone(), run.data_set.clone())).or_default();
        let points = chart.entry(run.series.clone()).or_default();
        // Several searches come from one network.
        if !points.contains(&run.point) {
            points.push(run.point);
        }
    }
    let chart = |((model, data_set), own): ((String, String), BTreeMap<String, Vec<Point>>)| {
        let own = own.into_iter().map(|(name, points)| Series { name, is_published: false, points });
        let theirs = PUBLISHED.iter().filter(|p| p.model == model && p.data_set == data_set).map(|p| {
            let points = p.points.iter().map(|&(relus, accuracy)| Point { relus, accuracy }).collect();
            Series { name: p.series.to_owned(), is_published: true, points }
        });
        let mut series: Vec<Series> = own.chain(theirs).collect();
        for one in &mut series {
            one.points.sort_by(|a, b| a.relus.cmp(&b.relus).then(a.accuracy.total_cmp(&b.accuracy)));
        }
        Chart { model, data_set, series }
    };
    by_chart.into_iter().map(chart).collect()
}

/// Draws every chart into `folder`, as `MODEL-DATA_SET.svg`.
///
/// # Errors
/// A file cannot be written.
pub fn write(charts: &[Chart], folder: &Path) -> Result<Vec<PathBuf>, TrainError> {
    std::fs::create_dir_all(folder).map_err(|e| TrainError::write(folder, e))?;
    let one = |chart: &Chart| {
        let path = folder.join(format!("{}-{}.svg", chart.model, chart.data_set));
        std::fs::write(&path, draw(chart)).map_err(|e| TrainError::write(&path, e))?;
        Ok(path)
    };
    charts.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEARCH: &str = r#"{"model": "resnet18", "data_set": "cifar100", "all_relus": 491520, "relus": 6000, "teacher_test": 70.5,
        "method": "autorep", "test": 60.25, "options": {"method": {"name": "autorep"}, "polynomials": {"degree": "two"}}}"#;

    #[test]
    fn runs_of_a_folder_become_charts() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str, text: &str| {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("result.json"), text).unwrap();
        };
        place("b/deep", &SEARCH.replace("6000", "0").replace("60.25", "55.5"));
        place("a", SEARCH);
        place(
            "i",
            &SEARCH.replace("\"method\": \"autorep\"", "\"method\": \"identity\"").replace("two", "one"),
        );
        place(
            "c",
            r#"{"model": "fsdd_cnn", "data_set": "fsdd", "method": "all-relu", "relus": 15360, "test": 99.0}"#,
        );
        let charts = charts(&runs(&[folder.path().to_owned()]).unwrap());
        assert_eq!(charts.iter().map(|c| c.model.as_str()).collect::<Vec<_>>(), ["fsdd_cnn", "resnet18"]);
        let own: Vec<&Series> = charts[1].series.iter().filter(|s| !s.is_published).collect();
        assert_eq!(own[0].points, [Point { relus: 491_520, accuracy: 70.5 }]);
        let expected = [Point { relus: 0, accuracy: 55.5 }, Point { relus: 6000, accuracy: 60.25 }];
        assert_eq!((own[1].name.as_str(), own[1].points.as_slice()), ("autorep, degree 2", &expected[..]));
        assert_eq!((own[2].name.as_str(), own.len()), ("identity, degree 1", 3));
        assert_eq!(charts[1].series.iter().filter(|s| s.is_published).count(), 6);
        let written = write(&charts, &folder.path().join("charts")).unwrap();
        let text = std::fs::read_to_string(&written[1]).unwrap();
        assert!(
            written[1].ends_with("resnet18-cifar100.svg") && text.contains("AutoReP degree 2 (paper)"),
            "{text}"
        );

        place("d", r#"{"model": "resnet18"}"#);
        let error = runs(&[folder.path().to_owned()]).unwrap_err().to_string();
        assert!(error.contains("result.json") && error.contains("`options` is missing"), "{error}");
    }
}
