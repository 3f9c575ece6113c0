//! A network of one's own, from a list of layers in TOML.
//!
//! ```toml
//! name = "small"
//! data-set = "cifar10"
//! # mean = [0.5, 0.5, 0.5]        # of pixels / 255; as the data set's usual where it is left out
//! # deviation = [0.25, 0.25, 0.25]
//! output = "linear"               # the layer that gives the logits: `linear.weight` and `linear.bias`
//!
//! [[layer]]
//! name = "conv1"                  # `conv1.weight`
//! norm = "bn1"                    # batch normalisation `bn1.weight` …; without it the layer has none
//! channels = 16
//! kernel = 3                      # 3 where it is left out
//! stride = 1                      # 1
//! groups = 1                      # 1; as many as input channels for a depthwise layer
//! from = "input"                  # the layer before; "input" is the picture
//! relu = true                     # true
//! average = false                 # false; true averages each plane
//!
//! [[layer]]
//! name = "conv2"
//! norm = "bn2"
//! channels = 16
//! add = "conv1"                   # added to the sum before the ReLU, strided and with channels of zeros where shapes differ
//! # project = { name = "short", norm = "bnshort" }    # or through a convolution 1×1
//! ```

use std::path::Path;

use halfnet_core::shape::Shape;
use halfnet_host::network::data::DataSetKind;
use halfnet_host::network::float::ChannelNormalisation;
use serde::Deserialize;

use super::builder::Builder;
use super::{Linear, Network, Step, Term, families};
use crate::error::TrainError;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    name: String,
    data_set: String,
    mean: Option<Vec<f32>>,
    deviation: Option<Vec<f32>>,
    #[serde(default = "linear")]
    output: String,
    layer: Vec<FileLayer>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct FileLayer {
    name: String,
    norm: Option<String>,
    channels: u16,
    #[serde(default = "three")]
    kernel: u16,
    #[serde(default = "one")]
    stride: u16,
    #[serde(default = "one")]
    groups: u16,
    from: Option<String>,
    add: Option<String>,
    project: Option<Projection>,
    #[serde(default = "yes")]
    relu: bool,
    #[serde(default)]
    average: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Projection {
    name: String,
    norm: Option<String>,
}

fn linear() -> String {
    "linear".to_owned()
}

const fn three() -> u16 {
    3
}

const fn one() -> u16 {
    1
}

const fn yes() -> bool {
    true
}

/// Reads a network.
///
/// # Errors
/// The file cannot be read, is no such list, or its layers do not fit together; the error names the layer.
pub fn read(path: &Path) -> Result<Network, TrainError> {
    let text = std::fs::read_to_string(path).map_err(|e| TrainError::read(path, e))?;
    parse(&text).map_err(|reason| TrainError::malformed(path, reason))
}

fn parse(text: &str) -> Result<Network, String> {
    let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
    let data_set: DataSetKind =
        file.data_set.parse().map_err(|e: halfnet_host::network::data::DataError| e.to_string())?;
    let input = data_set.shape();
    let normalisation = match (file.mean, file.deviation) {
        (None, None) => families::normalisation(data_set),
        (Some(mean), Some(deviation))
            if mean.len() == usize::from(input.channels) && mean.len() == deviation.len() =>
        {
            mean.into_iter()
                .zip(deviation)
                .map(|(mean, deviation)| ChannelNormalisation { mean, deviation })
                .collect()
        }
        _ => return Err(format!("`mean` and `deviation`: both with {} numbers, or neither", input.channels)),
    };
    let mut b = Builder::new(&file.name, data_set, input, normalisation);
    let mut names: Vec<String> = vec!["input".to_owned()];
    for layer in &file.layer {
        let wrong = |reason: String| format!("layer `{}`: {reason}", layer.name);
        let place = |name: &str| {
            names.iter().position(|n| n == name).ok_or_else(|| wrong(format!("no layer `{name}` before it")))
        };
        if names.contains(&layer.name) {
            return Err(wrong("there is another of this name".to_owned()));
        }
        let source = layer.from.as_deref().map_or(Ok(b.last()), place)?;
        if layer.kernel == 0 || layer.stride == 0 || layer.groups == 0 {
            return Err(wrong("kernel, stride and groups are at least 1".to_owned()));
        }
        let pair = (layer.name.as_str(), layer.norm.as_deref().unwrap_or(""));
        let term = b.convolution(source, pair, layer.channels, layer.kernel, layer.stride, layer.groups);
        let sum = checked(&term).map_err(&wrong)?;
        let mut terms = vec![term];
        match (&layer.add, &layer.project) {
            (None, None) => {}
            (Some(from), None) => {
                let (from, before) = (place(from)?, b.shape(place(from)?));
                let strides = (before.height / sum.height.max(1), before.width / sum.width.max(1));
                if before.channels > sum.channels || strides.0 == 0 || strides.0 != strides.1 {
                    return Err(wrong(format!("{before:?} cannot be added to {sum:?}")));
                }
                let term = b.join(from, sum);
                checked(&term).map_err(&wrong)?;
                terms.push(term);
            }
            (Some(from), Some(projection)) => {
                let from = place(from)?;
                let stride = (b.shape(from).height / sum.height.max(1)).max(1);
                let pair = (projection.name.as_str(), projection.norm.as_deref().unwrap_or(""));
                let term = b.convolution(from, pair, layer.channels, 1, stride, 1);
                if checked(&term).map_err(&wrong)? != sum {
                    return Err(wrong(format!(
                        "the projection of {:?} does not give {sum:?}",
                        b.shape(from)
                    )));
                }
                terms.push(term);
            }
            (None, Some(_)) => {
                return Err(wrong("`project` says how `add` is added: name what is".to_owned()));
            }
        }
        let average = layer.average;
        b.push(terms, if layer.relu { Step::Relu { average } } else { Step::Linear { average } });
        names.push(layer.name.clone());
    }
    if file.layer.is_empty() {
        return Err("no layer".to_owned());
    }
    let network = b.release(&file.output);
    let mut tensors: Vec<String> = network.parameters().into_iter().map(|p| p.name).collect();
    tensors.sort();
    match tensors.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("two tensors are called `{}`", pair[0])),
        None => Ok(network),
    }
}

/// The shape of a term's sum, if its geometry is one.
fn checked(term: &Term) -> Result<Shape, String> {
    match &term.linear {
        Linear::Convolution { geometry, .. } => {
            geometry.validate().map(|()| geometry.output()).map_err(|e| format!("{geometry:?}: {e}"))
        }
        Linear::Join(join) => join.validate().map(|()| join.output).map_err(|e| format!("{join:?}: {e}")),
        Linear::Normalisation { .. } => Err("no convolution".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESNET: &str = r#"
        name = "resnet8"
        data-set = "cifar10"
        [[layer]]
        name = "conv1"
        norm = "bn1"
        channels = 16
        [[layer]]
        name = "a.conv1"
        norm = "a.bn1"
        channels = 16
        [[layer]]
        name = "a.conv2"
        norm = "a.bn2"
        channels = 16
        add = "conv1"
        [[layer]]
        name = "b.conv1"
        norm = "b.bn1"
        channels = 32
        stride = 2
        [[layer]]
        name = "b.conv2"
        norm = "b.bn2"
        channels = 32
        add = "a.conv2"
        project = { name = "b.short", norm = "b.bnshort" }
        average = true
    "#;

    #[test]
    fn a_list_of_layers_is_a_network() {
        let network = parse(RESNET).unwrap();
        assert_eq!(network.relus(), 3 * 16 * 1024 + 2 * 32 * 256);
        assert_eq!((network.classes(), network.data_set), (10, DataSetKind::Cifar10));
        let names: Vec<String> = network.parameters().into_iter().map(|p| p.name).collect();
        assert!(names.contains(&"b.short.weight".to_owned()) && names.contains(&"linear.bias".to_owned()));
        // The same with option A's shortcut.
        let joined =
            parse(&RESNET.replace("project = { name = \"b.short\", norm = \"b.bnshort\" }", "")).unwrap();
        assert_eq!(joined.parameters().len(), network.parameters().len() - 5);
    }

    #[test]
    fn faults_name_the_layer() {
        let refused = |from: &str, to: &str| {
            let text = RESNET.replace(from, to);
            assert_ne!(text, RESNET);
            parse(&text).unwrap_err()
        };
        assert!(
            refused("add = \"conv1\"", "add = \"conv9\"")
                .contains("layer `a.conv2`: no layer `conv9` before it")
        );
        assert!(refused("\"b.conv1\"", "\"conv1\"").contains("another of this name"));
        assert!(refused("stride = 2", "stride = 0").contains("at least 1"));
        assert!(refused("stride = 2", "speed = 2").contains("speed"));
        assert!(refused("\"cifar10\"", "\"cifar11\"").contains("no data set is called `cifar11`"));
        assert!(refused("norm = \"a.bn1\"", "norm = \"bn1\"").contains("two tensors are called `bn1.bias`"));
        assert!(refused("stride = 2", "groups = 5").contains("layer `b.conv1`"));
    }
}
