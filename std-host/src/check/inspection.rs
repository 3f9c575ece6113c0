//! What a model is and what an inference of it costs, from its public part alone: the plan's predictions,
//! layer by layer.

use halfnet_core::error::ModelError;
use halfnet_core::model::Model;
use halfnet_core::plan::{
    Client, LayerPlan, LinearPlan, Mode, Options, Plan, Release, Role, StepPlan, compile, cost,
};
use halfnet_core::shape::Shape;
use serde::Serialize;

use crate::network::table::{Table, grouped, seconds};

/// A link between the parties.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Link {
    /// Bits a second, each way.
    pub bits_per_second: f64,
    /// Time for a message there and one back, in seconds.
    pub round_trip_s: f64,
}

/// What a model is and costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// Name of the network.
    pub name: String,
    /// Name of the data set.
    pub data_set: String,
    /// Shape of a picture: channels, rows, columns.
    pub input: [u16; 3],
    /// Number of classes.
    pub classes: u16,
    /// Mode, as on the command line.
    pub mode: &'static str,
    /// Client, as on the command line.
    pub client: &'static str,
    /// Release, as on the command line.
    pub release: String,
    /// Bits of a comparison's leaf.
    pub chunk_bits: u8,
    /// Bytes of the model blob.
    pub model_bytes: usize,
    /// Elements that an activation is computed of.
    pub activations: usize,
    /// How many of them are ReLU.
    pub relus: usize,
    /// Multiply-adds of one party's linear layers.
    pub multiply_adds: u64,
    /// Bytes that each party writes to any link after the burn, [P0, P1].
    pub bytes_sent: [u64; 2],
    /// Exchanges between the parties after the burn.
    pub rounds: u32,
    /// Longest chain of dependent messages.
    pub flights: u32,
    /// Bytes of each party's arena, [P0, P1].
    pub arena_bytes: [u64; 2],
    /// Bytes of P1's bundle of one inference.
    pub bundle_bytes: u64,
    /// Seconds on the link that was named: flights × rtt / 2 + bytes / bandwidth, without any computation.
    pub latency_s: Option<f64>,
    /// The link.
    pub link: Option<Link>,
    /// Layer by layer. What comes before the first and after the last (acknowledgements, input, output) is in
    /// the totals only.
    pub layers: Vec<LayerInspection>,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerInspection {
    /// Its place.
    pub index: u16,
    /// Its linear terms in words.
    pub linear: String,
    /// What happens to the sum.
    pub step: &'static str,
    /// Shape of the sum: channels, rows, columns.
    pub shape: [u16; 3],
    /// Elements of the sum.
    pub elements: usize,
    /// How many are ReLU.
    pub relus: usize,
    /// b.
    pub ring_bits: u8,
    /// n, the bits that opening 1 opens (of a release, those released or compared; of a rescaling, W).
    pub opened_bits: u8,
    /// f1.
    pub shift: u8,
    /// f_c of polynomial elements.
    pub frac_bits: u8,
    /// W of the wire written; 0 where none is.
    pub wire_bits: u8,
    /// Elements of a tile.
    pub tile: u32,
    /// Number of tiles.
    pub tiles: usize,
    /// Groups of tiles: each takes the layer's rounds anew.
    pub groups: usize,
    /// Multiply-adds of a party's convolutions.
    pub multiply_adds: u64,
    /// Bytes that each party sends, [P0, P1].
    pub bytes_sent: [u64; 2],
    /// Exchanges.
    pub rounds: u32,
    /// Bytes of the bundle.
    pub bundle_bytes: u64,
}

/// The name of a mode on the command line.
#[must_use]
pub const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::TwoServers => "t",
        Mode::Shared => "s",
        Mode::Held => "h",
    }
}

/// The name of a client on the command line.
#[must_use]
pub const fn client_name(client: Client) -> &'static str {
    match client {
        Client::SeedParty => "p0",
        Client::Third => "third",
    }
}

/// The name of a release on the command line.
#[must_use]
pub fn release_name(release: Release) -> String {
    match release {
        Release::Label => "label".to_owned(),
        Release::Logits { bits } => format!("logits:{bits}"),
    }
}

/// The plan of a model under `options`, as bytes.
///
/// # Errors
/// The options forbid each other or do not fit the model.
pub fn plan_bytes(model: &Model<'_>, options: &Options) -> Result<Vec<u8>, ModelError> {
    // Bitmaps are most of a plan; the rest of a record is far below this.
    let bitmaps: usize = model.layers.iter().map(|l| l.sum_shape().elements().div_ceil(8)).sum();
    let mut bytes = vec![0; bitmaps + 4096 + 512 * model.layers.len()];
    let length = compile::compile(model, options, &mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}

/// Inspects a model.
///
/// # Errors
/// The options forbid each other or do not fit the model.
pub fn inspect(
    model: &Model<'_>,
    model_bytes: usize,
    options: &Options,
    link: Option<Link>,
) -> Result<Inspection, ModelError> {
    let bytes = plan_bytes(model, options)?;
    let plan = Plan::decode(&bytes)?;
    let total = cost::plan_cost(&plan);
    let layers: Vec<LayerInspection> = plan.layers().map(|l| layer(&l, options)).collect();
    let activations =
        layers.iter().zip(plan.layers()).filter(|(_, p)| matches!(p.step, StepPlan::Activate { .. }));
    let header = &model.header;
    let arena = |role| 8 * plan.arena_words(role) as u64;
    // Both directions at once where openings are mutual, one after the other where they are by turns.
    let in_line = match options.mode {
        Mode::TwoServers => total.bytes_sent[0].max(total.bytes_sent[1]),
        Mode::Shared | Mode::Held => total.bytes_sent[0] + total.bytes_sent[1],
    };
    let latency =
        |l: Link| f64::from(total.flights) * l.round_trip_s / 2.0 + 8.0 * in_line as f64 / l.bits_per_second;
    Ok(Inspection {
        name: header.name.to_owned(),
        data_set: header.data_set.to_owned(),
        input: sides(header.input),
        classes: header.classes,
        mode: mode_name(options.mode),
        client: client_name(options.client),
        release: release_name(options.release),
        chunk_bits: options.chunk_bits,
        model_bytes,
        activations: activations.map(|(l, _)| l.elements).sum(),
        relus: layers.iter().map(|l| l.relus).sum(),
        multiply_adds: layers.iter().map(|l| l.multiply_adds).sum(),
        bytes_sent: total.bytes_sent,
        rounds: total.rounds,
        flights: total.flights,
        arena_bytes: [arena(Role::Seed), arena(Role::Bundle)],
        bundle_bytes: total.bundle_bytes,
        latency_s: link.map(latency),
        link,
        layers,
    })
}

const fn sides(shape: Shape) -> [u16; 3] {
    [shape.channels, shape.height, shape.width]
}

fn layer(layer: &LayerPlan<'_>, options: &Options) -> LayerInspection {
    let work = layer.work(options);
    let cost = cost::layer_cost(layer, options);
    let release = matches!(layer.step, StepPlan::Release { .. });
    LayerInspection {
        index: layer.index,
        linear: linear_names(layer),
        step: match layer.step {
            StepPlan::Activate { pool: None, .. } => "activate",
            StepPlan::Activate { pool: Some(_), .. } => "activate, pool",
            StepPlan::Rescale { pool: None, .. } => "rescale",
            StepPlan::Rescale { pool: Some(_), .. } => "rescale, pool",
            StepPlan::Release { .. } => "release",
        },
        shape: sides(layer.sum),
        elements: layer.elements(),
        relus: layer.relu().count(0..layer.elements()),
        ring_bits: work.ring_bits,
        opened_bits: work.opened_bits,
        shift: work.shift,
        frac_bits: work.frac_bits,
        wire_bits: if release { 0 } else { work.wire_bits },
        tile: layer.tile,
        tiles: (0..layer.groups()).map(|g| layer.group_tiles(g)).sum(),
        groups: layer.groups(),
        multiply_adds: layer.terms.iter().map(|t| multiply_adds(&t.linear)).sum(),
        bytes_sent: cost.bytes_sent,
        rounds: cost.rounds,
        bundle_bytes: cost.bundle_bytes,
    }
}

fn multiply_adds(linear: &LinearPlan) -> u64 {
    match linear {
        LinearPlan::Convolution(geometry) => geometry.multiply_adds(),
        LinearPlan::JoinScaled { geometry } => {
            (usize::from(geometry.input.channels) * geometry.output.plane()) as u64
        }
        LinearPlan::JoinShift { .. } => 0,
    }
}

/// A layer's linear terms in words.
#[must_use]
pub fn linear_names(layer: &LayerPlan<'_>) -> String {
    layer.terms.iter().map(|t| linear_name(&t.linear)).collect::<Vec<_>>().join(" + ")
}

fn linear_name(linear: &LinearPlan) -> String {
    match linear {
        LinearPlan::Convolution(g)
            if g.output().plane() == 1 && g.input.plane() > 1 || g.input.plane() == 1 =>
        {
            format!("full {}→{}", g.input.elements(), g.out_channels)
        }
        LinearPlan::Convolution(g) => {
            let kind = if g.groups == 1 { String::new() } else { format!(" in {} groups", g.groups) };
            let stride = if g.stride == 1 { String::new() } else { format!(" /{}", g.stride) };
            format!(
                "conv {}×{} {}→{}{stride}{kind}",
                g.kernel_height, g.kernel_width, g.input.channels, g.out_channels
            )
        }
        LinearPlan::JoinShift { shift: 0, .. } => "join".to_owned(),
        LinearPlan::JoinShift { shift, .. } => format!("join·2^{shift}"),
        LinearPlan::JoinScaled { .. } => "join·κ".to_owned(),
    }
}

impl Inspection {
    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = Table::new([
            "#", "linear", "step", "shape", "ReLU", "n", "b", "f1", "f_c", "W", "tiles", "P0 bytes",
            "P1 bytes", "rounds", "bundle",
        ]);
        let blank = |number: u8| if number == 0 { String::new() } else { number.to_string() };
        for l in &self.layers {
            let tiles = if l.groups > 1 {
                format!("{} in {} groups", l.tiles, l.groups)
            } else {
                l.tiles.to_string()
            };
            table.row([
                l.index.to_string(),
                l.linear.clone(),
                l.step.to_owned(),
                l.shape.map(|s| s.to_string()).join("×"),
                grouped(l.relus as u64),
                l.opened_bits.to_string(),
                l.ring_bits.to_string(),
                l.shift.to_string(),
                blank(l.frac_bits),
                blank(l.wire_bits),
                tiles,
                grouped(l.bytes_sent[0]),
                grouped(l.bytes_sent[1]),
                l.rounds.to_string(),
                grouped(l.bundle_bytes),
            ]);
        }
        let [p0, p1] = self.bytes_sent.map(grouped);
        let [arena0, arena1] = self.arena_bytes.map(grouped);
        let mut text = format!(
            "{} for {}: {} of {} activations are ReLU, {} million multiply-adds; model {} bytes\n\
             mode {}, client {}, release {}, comparison leaves of {} bits\n\n{}\n\
             an inference: P0 sends {p0} bytes, P1 sends {p1}; {} rounds, {} flights\n\
             arena: P0 {arena0} bytes, P1 {arena1}; bundle {} bytes\n",
            self.name,
            self.data_set,
            grouped(self.relus as u64),
            grouped(self.activations as u64),
            self.multiply_adds.div_ceil(1_000_000),
            grouped(self.model_bytes as u64),
            self.mode,
            self.client,
            self.release,
            self.chunk_bits,
            table.render(),
            self.rounds,
            self.flights,
            grouped(self.bundle_bytes),
        );
        if let (Some(latency), Some(link)) = (self.latency_s, self.link) {
            text += &format!(
                "on a link of {} Mbit/s and {} ms: {} (flights × rtt / 2 + bytes / bandwidth; computing comes on top)\n",
                link.bits_per_second / 1e6,
                link.round_trip_s * 1e3,
                seconds(latency),
            );
        }
        text
    }
}
