//! What a comparison found, for people and for machines.

use serde::Serialize;

use crate::network::table::{Table, grouped};

/// Beyond this part of its deviation, a layer's error is no rounding any more.
const FAR: f64 = 0.25;

/// How far two tensors are apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Differences {
    /// The largest difference of an element.
    pub largest: f64,
    /// Root mean square of the differences.
    pub rms: f64,
    /// `rms` in parts of the root mean square of what was expected; `null` where that is zero.
    pub relative_rms: Option<f64>,
}

impl Differences {
    /// Of `found` against `expected`, element by element.
    pub(super) fn between(expected: impl Iterator<Item = f64>, found: impl Iterator<Item = f64>) -> Self {
        let (mut count, mut largest, mut squares, mut size) = (0_u32, 0.0_f64, 0.0, 0.0);
        for (expected, found) in expected.zip(found) {
            let difference = (found - expected).abs();
            largest = largest.max(difference);
            squares += difference * difference;
            size += expected * expected;
            count += 1;
        }
        let rms = (squares / f64::from(count.max(1))).sqrt();
        Self { largest, rms, relative_rms: (size > 0.0).then(|| (squares / size).sqrt()) }
    }
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerComparison {
    /// Its place.
    pub index: usize,
    /// Its name in the float network, or its linear terms in words.
    pub name: String,
    /// Its linear terms in words.
    pub linear: String,
    /// Elements of its sum.
    pub elements: usize,
    /// Elements that it writes.
    pub outputs: usize,
    /// The smallest sum.
    pub low: i64,
    /// The largest sum.
    pub high: i64,
    /// What the sum must keep; `null` where anything goes.
    pub range: Option<(i64, i64)>,
    /// The part of the range used, 1 for all of it.
    pub used: Option<f64>,
    /// Sums out of range: two parties garble them.
    pub range_violations: u64,
    /// Whether errors are in the float network's units; else they are in integers.
    pub in_real_units: bool,
    /// The deterministic integers against the float network; `null` without its weights.
    pub float_error: Option<Differences>,
    /// The integers under the dealt coins against the deterministic ones.
    pub coin_error: Differences,
    /// Elements in which the parties differ from the integers under the same coins: none, or a fault. `null`
    /// where nothing multiplies by what the layer writes.
    pub parties_off: Option<usize>,
    /// The parties against the integers under the same coins; `null` for a label too.
    pub party_error: Option<Differences>,
}

impl LayerComparison {
    /// Is the float network so far away that rounding does not explain it?
    pub(super) fn is_far_from_float(&self) -> bool {
        self.float_error.and_then(|e| e.relative_rms).is_some_and(|e| e > FAR)
    }
}

/// One picture, layer by layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Name of the network.
    pub model: String,
    /// Mode, as on the command line.
    pub mode: &'static str,
    /// Client, as on the command line.
    pub client: &'static str,
    /// Release, as on the command line.
    pub release: String,
    /// Dealt under a test seed.
    pub insecure_test_seed: bool,
    /// The float network's label.
    pub float_label: Option<usize>,
    /// The deterministic integers' label.
    pub deterministic_label: usize,
    /// The label under the dealt coins.
    pub stochastic_label: usize,
    /// The parties' label.
    pub parties_label: usize,
    /// What the parties released.
    pub answer: Vec<i64>,
    /// Sums out of range, all layers together.
    pub range_violations: u64,
    /// Elements of the input in which the parties differ.
    pub input_off: usize,
    /// The first layer in which the parties differ from the integers under the same coins.
    pub first_layer_off: Option<usize>,
    /// The first layer in which the integers are further from the float network than rounding explains.
    pub first_layer_far: Option<usize>,
    /// Layer by layer.
    pub layers: Vec<LayerComparison>,
}

impl Comparison {
    /// Do the parties compute what the integers under the same coins say, element by element?
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        self.input_off == 0 && self.first_layer_off.is_none()
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let float = self.float_label.is_some();
        let mut heading = vec!["#", "layer", "outputs", "range used"];
        if float {
            heading.extend(["float: largest", "rms", "relative"]);
        }
        heading.extend(["coins: largest", "rms", "relative", "parties off"]);
        let mut table = Table::new(heading);
        let number = |v: f64| if v == 0.0 { "0".to_owned() } else { format!("{v:.3e}") };
        let three = |d: Option<&Differences>| {
            let part = |p: f64| format!("{:.2} %", 100.0 * p);
            d.map_or([const { String::new() }; 3], |d| {
                [number(d.largest), number(d.rms), d.relative_rms.map_or(String::new(), part)]
            })
        };
        for layer in &self.layers {
            let used = layer.used.map_or(String::new(), |u| format!("{:.0} %", 100.0 * u));
            let mut row =
                vec![layer.index.to_string(), layer.name.clone(), grouped(layer.outputs as u64), used];
            if float {
                row.extend(three(layer.float_error.as_ref()));
            }
            row.extend(three(Some(&layer.coin_error)));
            row.push(layer.parties_off.map_or(String::new(), |off| grouped(off as u64)));
            table.row(row);
        }
        let mut text = format!(
            "{}, mode {}, client {}, release {}\n\n{}\n",
            self.model,
            self.mode,
            self.client,
            self.release,
            table.render()
        );
        text += "float: deterministic integers against the float network; coins: integers under the dealt coins against deterministic ones;\n\
                 parties off: elements in which two parties differ from the integers under the same coins\n";
        if !float {
            text += "no float weights: integers and parties alone (name the weights that the model was imported from)\n";
        }
        if self.layers.iter().any(|l| !l.in_real_units) {
            text += "a layer without scales is in integers\n";
        }
        text += &self.float_label.map_or(String::new(), |label| format!("float label {label}, "));
        text += &format!(
            "deterministic label {}, label under the dealt coins {}, parties' label {}\n",
            self.deterministic_label, self.stochastic_label, self.parties_label
        );
        text += &self.verdict();
        text
    }

    /// The first place where something is off, and what it means.
    #[must_use]
    pub fn verdict(&self) -> String {
        let name =
            |index: usize| format!("layer {index} ({})", self.layers.get(index).map_or("", |l| &l.name));
        let far = self.first_layer_far.map_or(String::new(), |index| {
            format!(
                "the integers leave the float network at {}: more than {:.0} % of it is no rounding; are the weights those it was imported from?\n",
                name(index),
                100.0 * FAR
            )
        });
        let parties = match (self.input_off, self.first_layer_off) {
            (0, None) => "the parties equal the integers under the same coins in every element\n".to_owned(),
            (0, Some(index)) => {
                let garbled = self.layers.get(index).is_some_and(|l| l.range_violations > 0);
                let cause = if garbled {
                    "its sum leaves its range on this picture: import with more headroom or more bits"
                } else {
                    "its range is kept: this is a fault, please report it"
                };
                format!("the parties leave the integers at {}: {cause}\n", name(index))
            }
            (off, _) => {
                format!("the parties' input differs in {off} elements: this is a fault, please report it\n")
            }
        };
        far + &parties
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_largest_and_root_mean_square() {
        let d = Differences::between([0.0, 3.0, -4.0].into_iter(), [0.0, 3.0, -1.0].into_iter());
        assert_eq!((d.largest, d.rms), (3.0, 3.0_f64.sqrt()));
        assert_eq!(d.relative_rms, Some(0.6));
        assert_eq!(Differences::between([0.0].into_iter(), [1.0].into_iter()).relative_rms, None);
    }
}
