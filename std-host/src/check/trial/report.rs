//! What a trial found, for people and for machines.

use serde::Serialize;

use crate::network::table::{Table, grouped, seconds};

/// What a trial found. Pairs are [P0, P1]; times are medians over the inferences that count.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrialReport {
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
    /// Elements that an activation is computed of.
    pub activations: usize,
    /// How many of them are ReLU.
    pub relus: usize,
    /// Pictures classified.
    pub images: usize,
    /// Labels that the data set (or, where it says nothing, the float network) calls right; `null` where
    /// neither does.
    pub correct: Option<usize>,
    /// Answers in which every released value equals the reference under the same coins, bit for bit.
    pub agree_with_reference: usize,
    /// Labels that the deterministic reference gives too.
    pub agree_with_deterministic: usize,
    /// Labels that the float network gives too; `null` where there is none.
    pub agree_with_float: Option<usize>,
    /// The pictures on which the deterministic reference says otherwise.
    pub differences: Vec<Difference>,
    /// Bytes written to any link after the burn, an inference.
    pub bytes_sent: [u64; 2],
    /// Exchanges between the parties, an inference.
    pub rounds: u32,
    /// Longest chain of dependent messages.
    pub flights: u32,
    /// Seconds from the burn to the answer.
    pub wall_s: f64,
    /// Processor seconds from the burn on.
    pub cpu_s: [f64; 2],
    /// The most memory that each process held resident.
    pub peak_rss_bytes: [u64; 2],
    /// Working memory, as the plan states.
    pub arena_bytes: [u64; 2],
    /// Packed weights.
    pub weight_bytes: [u64; 2],
    /// P1's bundle of one inference.
    pub bundle_bytes: u64,
    /// Largest error of a released logit, in real units; `null` for a label.
    pub max_abs_error: Option<f64>,
    /// Root mean square of the logits' error in parts of the deviation of all logits; `null` for a label.
    pub relative_rms_error: Option<f64>,
    /// The same in parts of the deviation that logits have about their class's mean over the pictures: what
    /// tells pictures apart. `null` for a label or a single picture.
    pub relative_rms_error_within_classes: Option<f64>,
    /// What errors are taken against: `float`, or the deterministic `integers` where there is no float
    /// network.
    pub error_against: &'static str,
    /// Layer by layer.
    pub layers: Vec<LayerFigures>,
}

/// A label that stochastic rounding changed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Which picture.
    pub picture: usize,
    /// The parties' label.
    pub label: usize,
    /// The deterministic reference's.
    pub deterministic: usize,
    /// How far apart the deterministic logits of both labels are, in parts of the logits' range on this
    /// picture.
    pub margin: f64,
}

/// One layer of an inference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerFigures {
    /// Its linear terms in words.
    pub linear: String,
    /// Elements of the sum.
    pub elements: usize,
    /// How many are ReLU.
    pub relus: usize,
    /// Bytes sent between the parties.
    pub bytes_sent: [u64; 2],
    /// Exchanges.
    pub rounds: u32,
    /// Seconds that each party's walk stood in it.
    pub seconds: [f64; 2],
    /// Processor seconds of each party in it.
    pub cpu_s: [f64; 2],
}

impl TrialReport {
    /// Did every answer equal the reference's?
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        self.agree_with_reference == self.images
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut layers = Table::new([
            "#", "linear", "elements", "ReLU", "P0 bytes", "P1 bytes", "rounds", "time", "P0 cpu", "P1 cpu",
        ]);
        for (index, layer) in self.layers.iter().enumerate() {
            layers.row([
                index.to_string(),
                layer.linear.clone(),
                grouped(layer.elements as u64),
                grouped(layer.relus as u64),
                grouped(layer.bytes_sent[0]),
                grouped(layer.bytes_sent[1]),
                layer.rounds.to_string(),
                seconds(layer.seconds[0].max(layer.seconds[1])),
                seconds(layer.cpu_s[0]),
                seconds(layer.cpu_s[1]),
            ]);
        }
        let mut whole = Table::new(["an inference", "P0", "P1"]);
        let mut pair = |name: &str, pair: [String; 2]| {
            let [p0, p1] = pair;
            whole.row([name.to_owned(), p0, p1]);
        };
        pair("bytes sent", self.bytes_sent.map(grouped));
        pair("processor time", self.cpu_s.map(seconds));
        pair("arena bytes", self.arena_bytes.map(grouped));
        pair("packed weights", self.weight_bytes.map(grouped));
        pair("peak resident bytes", self.peak_rss_bytes.map(grouped));
        let count =
            |what: &str, count: Option<usize>| count.map_or(String::new(), |n| format!("  {n} {what}\n"));
        let insecure = if self.insecure_test_seed { "dealt under a test seed: insecure\n" } else { "" };
        let mut text = format!(
            "{insecure}{}: {} of {} activations are ReLU; mode {}, client {}, release {}\n\n{}\n{}\n\
             {} rounds, {} flights, {}; bundle {} bytes\n\nof {} pictures\n",
            self.model,
            grouped(self.relus as u64),
            grouped(self.activations as u64),
            self.mode,
            self.client,
            self.release,
            layers.render(),
            whole.render(),
            self.rounds,
            self.flights,
            seconds(self.wall_s),
            grouped(self.bundle_bytes),
            self.images,
        );
        text += &count("have the right label", self.correct);
        text += &count(
            "answers equal the reference with the same coins, bit for bit",
            Some(self.agree_with_reference),
        );
        text += &count("labels equal the deterministic reference's", Some(self.agree_with_deterministic));
        text += &count("labels equal the float network's", self.agree_with_float);
        for d in &self.differences {
            text += &format!(
                "  picture {}: {} where the deterministic reference says {}, {:.1} % of the logits' range apart\n",
                d.picture,
                d.label,
                d.deterministic,
                100.0 * d.margin
            );
        }
        if let Some(error) = self.max_abs_error {
            text += &format!("logits against the {}: largest error {error:.4}", self.error_against);
            text += &self
                .relative_rms_error
                .map_or(String::new(), |e| format!(", root mean square {e:.4} of their deviation"));
            text += &self
                .relative_rms_error_within_classes
                .map_or(String::new(), |e| format!(" ({e:.4} of that about each class's mean)"));
            text.push('\n');
        }
        text
    }
}
