//! How fast each layer's three products are on one thread, in billions of products and sums a second (of the
//! definition's, whatever the algorithm), the best of several runs.
//!
//!     cargo run --release -p halfnet-layers --example speed [LAYER]

use std::time::Instant;

use halfnet_core::shape::{Convolution, Shape};
use halfnet_layers::{LANES, convolution};

fn main() {
    // A global pool is built once; if it was already, this measures with as many threads as it has.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(1).build_global();
    let only = std::env::args().nth(1).unwrap_or_default();
    println!("{:24} {:>8} {:>8} {:>8}", "layer", "forward", "data", "weights");
    for (channels, out, side, kernel, stride, groups) in [
        (3, 16, 32, 3, 1, 1),
        (16, 16, 32, 3, 1, 1),
        (16, 32, 32, 3, 2, 1),
        (32, 32, 16, 3, 1, 1),
        (64, 64, 8, 3, 1, 1),
        (64, 64, 32, 3, 1, 1),
        (64, 128, 32, 3, 2, 1),
        (64, 128, 32, 1, 2, 1),
        (128, 128, 16, 3, 1, 1),
        (256, 256, 8, 3, 1, 1),
        (512, 512, 4, 3, 1, 1),
        (128, 128, 16, 3, 1, 128),
        (128, 256, 16, 1, 1, 1),
    ] {
        let g = Convolution {
            input: Shape::new(channels, side, side),
            out_channels: out,
            kernel_height: kernel,
            kernel_width: kernel,
            stride,
            padding: kernel / 2,
            groups,
        };
        let name = format!("{channels}→{out} {side}×{side} k{kernel} s{stride} g{groups}");
        if !name.contains(&only) {
            continue;
        }
        let blocks = 2;
        let values = |count: usize| (0..count).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<f32>>();
        let (weights, input) = (values(g.weights()), values(blocks * g.input.elements() * LANES));
        let (mut output, mut gradient) =
            (values(blocks * g.output().elements() * LANES), vec![0.0; g.weights()]);
        let mut back = input.clone();
        let work = 2e-9 * g.multiply_adds() as f64 * (blocks * LANES) as f64;
        let best = |mut run: Box<dyn FnMut() + '_>| {
            let started = Instant::now();
            let mut best = f64::INFINITY;
            while started.elapsed().as_secs_f64() < 0.4 {
                let begin = Instant::now();
                run();
                best = best.min(begin.elapsed().as_secs_f64());
            }
            work / best
        };
        let forward = best(Box::new(|| convolution::forward(&g, &weights, &input, &mut output)));
        let data = best(Box::new(|| convolution::data_gradient(&g, &weights, &output, &mut back)));
        let weight = best(Box::new(|| convolution::weight_gradient(&g, &input, &output, &mut gradient)));
        println!("{name:24} {forward:8.1} {data:8.1} {weight:8.1}");
    }
}
