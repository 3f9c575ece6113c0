//! What a run moved and how long it took, layer by layer.

use std::time::Instant;

use halfnet_core::wire::frame::Header;
use serde::{Deserialize, Serialize};

use crate::process::thread_seconds;

/// One layer's bytes and time at one party.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerTrace {
    /// Bytes sent, headers included.
    pub sent: u64,
    /// Bytes received, headers included.
    pub received: u64,
    /// Seconds that the walk stood in it.
    pub seconds: f64,
    /// Processor seconds of this thread in it.
    pub cpu_s: f64,
}

/// Counts frames by the layer that they name; what is outside the layers (input, hash of E) is counted apart.
#[derive(Debug)]
pub struct Trace {
    layers: Vec<LayerTrace>,
    outside: LayerTrace,
    at: Option<u16>,
    since: Instant,
    processor: f64,
    record: Option<Vec<(bool, Vec<u8>)>>,
}

impl Trace {
    /// An empty trace of a plan of so many layers.
    #[must_use]
    pub fn new(layers: u16) -> Self {
        let layers = vec![LayerTrace::default(); usize::from(layers)];
        Self { layers, outside: LayerTrace::default(), at: None, since: Instant::now(), processor: thread_seconds(), record: None }
    }

    /// Keeps every frame too, for a transcript.
    pub fn keep_frames(&mut self) {
        self.record = Some(Vec::new());
    }

    /// The frames kept, in order: was it sent, and its bytes.
    pub fn take_frames(&mut self) -> Vec<(bool, Vec<u8>)> {
        self.record.take().unwrap_or_default()
    }

    fn of(&mut self, layer: u16) -> &mut LayerTrace {
        self.layers.get_mut(usize::from(layer)).unwrap_or(&mut self.outside)
    }

    /// Counts a frame.
    pub fn frame(&mut self, sent: bool, frame: &[u8]) {
        let Some(header) = frame.first_chunk().map(Header::decode) else { return };
        let layer = self.of(header.layer);
        *(if sent { &mut layer.sent } else { &mut layer.received }) += frame.len() as u64;
        if let Some(record) = &mut self.record {
            record.push((sent, frame.to_vec()));
        }
    }

    /// The walk stands in `layer`.
    pub fn stands_in(&mut self, layer: Option<u16>) {
        if layer != self.at {
            let now = Instant::now();
            let seconds = now.duration_since(self.since).as_secs_f64();
            let (then, processor) = (self.processor, thread_seconds());
            let left = self.of(self.at.unwrap_or(u16::MAX));
            left.seconds += seconds;
            left.cpu_s += processor - then;
            self.processor = processor;
            self.at = layer;
            self.since = now;
        }
    }

    /// The layers' figures.
    #[must_use]
    pub fn layers(&self) -> &[LayerTrace] {
        &self.layers
    }

    /// What belongs to no layer.
    #[must_use]
    pub const fn outside(&self) -> LayerTrace {
        self.outside
    }
}
