//! How fast training steps are: forward, backward and a step of gradient descent with momentum.

use std::time::Instant;

use halfnet_host::network::data::DataSetKind;
use halfnet_layers::LANES;
use serde::Serialize;

use crate::data::Batch;
use crate::forward::{self, PassOptions};
use crate::loss;
use crate::network::{Network, families};
use crate::optimiser::{Method, Move, Optimiser};
use crate::random::Random;
use crate::state::State;
use crate::weights::Weights;

/// What is measured by default: network and batch.
pub const CASES: [(&str, usize); 3] = [("resnet18", 32), ("resnet20", 128), ("depthwise", 32)];

/// One network's speed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Speed {
    /// The network.
    pub network: String,
    /// Pictures of a batch.
    pub batch: usize,
    /// Training pictures a second: the median over steps.
    pub images_per_second: f64,
    /// Training pictures a second of processor time of all threads: what other programs leave unchanged.
    pub images_per_cpu_second: f64,
    /// Products and sums of convolutions (forward and both gradients) a second, in billions.
    pub gflops: f64,
    /// Steps measured.
    pub steps: usize,
}

/// Pictures of noise.
fn noise(network: &Network, count: usize) -> Batch {
    let mut random = Random::new(&[1]);
    let pixels = (0..count.div_ceil(LANES) * LANES * network.input.elements())
        .map(|_| random.uniform() - 0.5)
        .collect();
    Batch { pixels, labels: (0..count).map(|i| (i % network.classes()) as u16).collect() }
}

/// Seconds that all threads have used.
fn processor_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Measures one network for at least `seconds`.
///
/// # Panics
/// `name` is none of [`families::NAMES`].
#[must_use]
pub fn measure(name: &str, batch: usize, seconds: f64) -> Speed {
    let device = crate::device::current();
    let network = families::by_name(name, DataSetKind::Cifar10).expect("a network of colour pictures");
    let mut state = State::new(&network, &Weights::initial(&network, 1), &device);
    let mut optimiser = Optimiser::new(Method::Sgd { momentum: 0.9, decay: 5e-4 });
    let pictures = noise(&network, batch);
    let mut times = Vec::new();
    let (started, mut used) = (Instant::now(), 0.0);
    while times.len() < 4 || started.elapsed().as_secs_f64() < seconds {
        let step = Instant::now();
        let leaves = forward::leaves(&state);
        let pass = forward::run(
            &network,
            &state,
            &leaves,
            forward::pictures(&network, &pictures, &device),
            &PassOptions::PLAIN,
        );
        pass.update_running(&mut state);
        let mut gradients = loss::loss(pass.logits, &pictures.labels, None, &device).backward();
        optimiser.step(&mut state, &leaves, &mut gradients, None, |_| Move::at(0.01));
        // A GPU may still be at it; where that fails, so does the next step.
        let _ = device.sync();
        times.push(step.elapsed().as_secs_f64());
        // The first step also warms caches up.
        if times.len() == 1 {
            used = processor_time();
        }
    }
    let per_step = (processor_time() - used) / (times.len() - 1) as f64;
    times.remove(0);
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    Speed {
        network: name.to_owned(),
        batch,
        images_per_second: batch as f64 / median,
        images_per_cpu_second: batch as f64 / per_step,
        gflops: 6e-9 * network.multiply_adds() as f64 * batch as f64 / median,
        steps: times.len(),
    }
}
