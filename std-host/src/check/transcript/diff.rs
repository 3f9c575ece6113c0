//! Where two transcripts first differ.

use std::collections::HashMap;

use halfnet_core::plan::{LayerPlan, Plan, Role, StepPlan};
use serde::Serialize;

use super::place::{self, Place};
use super::{Head, Line, Transcript, TranscriptError};
use crate::check::inspection::linear_names;

/// What two transcripts have in common, and where they part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TranscriptDiff {
    /// Not a byte differs.
    pub equal: bool,
    /// Frames of the first.
    pub frames: [usize; 2],
    /// Frames that differ or that only one has.
    pub frames_off: usize,
    /// Whether both are of one model file.
    pub same_model: bool,
    /// Whether both released the same.
    pub same_answer: bool,
    /// The first difference.
    pub first: Option<Difference>,
}

/// The first difference of two transcripts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The frame's number in the first transcript, from 0 (in the second, where only that has it).
    pub frame: usize,
    /// Who sent it.
    pub from: String,
    /// Its layer; `null` outside the layers.
    pub layer: Option<u16>,
    /// The layer's linear terms in words.
    pub linear: Option<String>,
    /// What the frame is.
    pub step: String,
    /// Its tile.
    pub tile: u16,
    /// The first byte of the payload that differs, or where the shorter payload ends; `null` where only one
    /// transcript has the frame.
    pub byte: Option<usize>,
    /// That byte in either transcript.
    pub bytes: [Option<u8>; 2],
    /// The element that it belongs to.
    pub element: Option<Element>,
}

/// An element of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Element {
    /// In (channel, row, column) order.
    pub index: usize,
    /// Its channel.
    pub channel: usize,
    /// Its row.
    pub row: usize,
    /// Its column.
    pub column: usize,
}

type Key<'a> = (&'a str, Option<u16>, u8, u16, usize);

/// Lines by their names; where a damaged transcript repeats a name, the how-manieth is part of it.
fn keys(lines: &[Line]) -> Vec<Key<'_>> {
    let mut seen: HashMap<(&str, Option<u16>, u8, u16), usize> = HashMap::new();
    lines
        .iter()
        .map(|line| {
            let count = seen.entry((line.from.as_str(), line.layer, line.code, line.tile)).or_default();
            *count += 1;
            (line.from.as_str(), line.layer, line.code, line.tile, *count - 1)
        })
        .collect()
}

/// Compares two transcripts of one plan, frame by frame in the order of the first.
///
/// # Errors
/// They are of different plans.
pub fn diff(a: &Transcript, b: &Transcript) -> Result<TranscriptDiff, TranscriptError> {
    let wrong = |e: halfnet_core::error::ModelError| TranscriptError::Plans(e.to_string());
    if a.head.plan != b.head.plan {
        return Err(TranscriptError::Plans(plans(&a.head, &b.head)));
    }
    let plan = Plan::decode(&a.head.plan).map_err(wrong)?;
    let (keys_a, keys_b) = (keys(&a.lines), keys(&b.lines));
    let places_b: HashMap<&Key<'_>, usize> =
        keys_b.iter().enumerate().map(|(index, key)| (key, index)).collect();
    let places_a: HashMap<&Key<'_>, usize> =
        keys_a.iter().enumerate().map(|(index, key)| (key, index)).collect();
    let mut first = None;
    let mut frames_off = 0;
    for (index, (line, key)) in a.lines.iter().zip(&keys_a).enumerate() {
        let other = places_b.get(key).map(|&place| &b.lines[place]);
        if other.is_none_or(|other| other.payload != line.payload) {
            frames_off += 1;
            first.get_or_insert_with(|| difference(&plan, index, line, other));
        }
    }
    for (index, (line, key)) in b.lines.iter().zip(&keys_b).enumerate() {
        if !places_a.contains_key(key) {
            frames_off += 1;
            first.get_or_insert_with(|| difference(&plan, index, line, None));
        }
    }
    let same_answer = a.head.answer == b.head.answer;
    Ok(TranscriptDiff {
        equal: frames_off == 0 && same_answer,
        frames: [a.lines.len(), b.lines.len()],
        frames_off,
        same_model: a.head.model_hash == b.head.model_hash,
        same_answer,
        first,
    })
}

fn plans(a: &Head, b: &Head) -> String {
    let fields = [
        ("network", &a.model, &b.model),
        ("mode", &a.mode, &b.mode),
        ("client", &a.client, &b.client),
        ("release", &a.release, &b.release),
    ];
    let differs = fields.into_iter().find(|(_, a, b)| a != b);
    differs.map_or("widths, tiles or leaves".to_owned(), |(what, a, b)| format!("{what} {a} and {b}"))
}

fn difference(plan: &Plan<'_>, frame: usize, line: &Line, other: Option<&Line>) -> Difference {
    let layer = line.layer.and_then(|index| plan.layers().nth(usize::from(index)));
    let byte = other.map(|other| {
        let same = line.payload.iter().zip(&other.payload).take_while(|(a, b)| a == b);
        same.count()
    });
    let at = |line: &Line| byte.and_then(|byte| line.payload.get(byte).copied());
    let bytes = [at(line), other.and_then(at)];
    let bit = match (byte, bytes) {
        (Some(byte), [Some(a), Some(b)]) => Some(8 * byte + (a ^ b).trailing_zeros() as usize),
        _ => None,
    };
    let element = bit.and_then(|bit| match &layer {
        Some(layer) => in_layer(plan, layer, line, bit),
        None => in_input(plan, line, bit),
    });
    Difference {
        frame,
        from: line.from.clone(),
        layer: line.layer,
        linear: layer.as_ref().map(linear_names),
        step: line.step.clone(),
        tile: line.tile,
        byte,
        bytes,
        element,
    }
}

fn in_layer(plan: &Plan<'_>, layer: &LayerPlan<'_>, line: &Line, bit: usize) -> Option<Element> {
    let options = &plan.header.options;
    let role = if line.from == "P0" { Role::Seed } else { Role::Bundle };
    let step = place::step(layer, options, line.code)?;
    let index = place::element(layer, options, &Place { role, step, tile: line.tile }, bit)?;
    let pooled = matches!(step, halfnet_core::plan::Step::OpenPool);
    let shape = match layer.step {
        StepPlan::Activate { pool: Some(pool), .. } | StepPlan::Rescale { pool: Some(pool), .. }
            if pooled =>
        {
            pool.output(layer.sum)
        }
        _ => layer.sum,
    };
    Some(at(index, shape))
}

/// E of the input, from P0 tile by tile, or from a third client at once.
fn in_input(plan: &Plan<'_>, line: &Line, bit: usize) -> Option<Element> {
    use halfnet_core::wire::message::Code;
    let header = &plan.header;
    let element = bit / usize::from(header.input.bits.max(1));
    match line.code {
        code if code == Code::Input as u8 => {
            Some(usize::from(line.tile) * header.input_tile as usize + element)
        }
        code if code == Code::Masked as u8 => Some(element),
        _ => None,
    }
    .map(|index| at(index, header.model.input))
}

fn at(index: usize, shape: halfnet_core::shape::Shape) -> Element {
    let (plane, width) = (shape.plane().max(1), usize::from(shape.width).max(1));
    Element { index, channel: index / plane, row: index % plane / width, column: index % width }
}

impl TranscriptDiff {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let [a, b] = self.frames;
        let mut text = match &self.first {
            None if self.equal => return format!("equal: {a} frames, not a byte differs\n"),
            None => format!("all {a} frames are equal, but the answers differ\n"),
            Some(first) => format!("{}{} of {a} frames differ", first.text(), self.frames_off),
        };
        if a != b {
            text += &format!("; the second transcript has {b}");
        }
        text += if self.same_answer { "; the answers are equal\n" } else { "; the answers differ\n" };
        if !self.same_model {
            text += "the transcripts are of two model files\n";
        }
        text
    }
}

impl Difference {
    fn text(&self) -> String {
        let layer = match (self.layer, &self.linear) {
            (Some(layer), Some(linear)) => format!("layer {layer} ({linear})"),
            _ => "outside the layers".to_owned(),
        };
        let byte = match (self.byte, self.bytes) {
            (None, _) => "only one transcript has this frame".to_owned(),
            (Some(byte), [Some(a), Some(b)]) => format!("byte {byte}: {a:02x} and {b:02x}"),
            (Some(byte), _) => format!("the payloads are equal up to byte {byte}, where one ends"),
        };
        let element = self.element.map_or(String::new(), |e| {
            format!("\n  element {} (channel {}, row {}, column {})", e.index, e.channel, e.row, e.column)
        });
        format!(
            "first difference, frame {} of the first transcript:\n  {layer}, {}, from {}, tile {}\n  {byte}{element}\n",
            self.frame, self.step, self.from, self.tile
        )
    }
}
