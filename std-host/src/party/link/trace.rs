//! What a run moved and how long it took, layer by layer.

use std::time::Instant;

use halfnet_core::wire::frame::{Header, NO_LAYER};
use serde::{Deserialize, Serialize};

use crate::party::process::thread_seconds;

/// One layer's bytes and time at one party.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerTrace {
    /// Bytes sent, headers included.
    pub sent: u64,
    /// Bytes received, headers included.
    pub received: u64,
    /// Seconds that its frames took: computed, waited for, used.
    pub seconds: f64,
    /// Processor seconds of this thread in it.
    pub cpu_s: f64,
}

/// Counts frames by the layer that they name; what is outside the layers (input, hash of E) is counted apart.
#[derive(Debug)]
pub struct Trace {
    layers: Vec<LayerTrace>,
    outside: LayerTrace,
    since: Instant,
    processor: f64,
    record: Option<Vec<(bool, Vec<u8>)>>,
}

impl Trace {
    /// An empty trace of a plan of so many layers.
    #[must_use]
    pub fn new(layers: u16) -> Self {
        let layers = vec![LayerTrace::default(); usize::from(layers)];
        Self {
            layers,
            outside: LayerTrace::default(),
            since: Instant::now(),
            processor: thread_seconds(),
            record: None,
        }
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

    /// Counts a frame, and the time since the last mark to the layer that it names: whoever sends a frame has
    /// just computed it, whoever took one has just used it.
    pub fn frame(&mut self, sent: bool, frame: &[u8]) {
        let Some(header) = frame.first_chunk().map(Header::decode) else { return };
        let layer = self.of(header.layer);
        *(if sent { &mut layer.sent } else { &mut layer.received }) += frame.len() as u64;
        self.mark(Some(header.layer));
        if let Some(record) = &mut self.record {
            record.push((sent, frame.to_vec()));
        }
    }

    /// Counts the time since the last mark to `layer`.
    pub fn mark(&mut self, layer: Option<u16>) {
        let (now, processor) = (Instant::now(), thread_seconds());
        let (seconds, cpu_s) = (now.duration_since(self.since).as_secs_f64(), processor - self.processor);
        (self.since, self.processor) = (now, processor);
        let layer = self.of(layer.unwrap_or(NO_LAYER));
        layer.seconds += seconds;
        layer.cpu_s += cpu_s;
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
