//! How fast each layer's three products are on one thread, in billions of products and sums a second of processor time, the best of
//! several runs.
//!
//!     cargo run --release -p halfnet-layers --example speed

use halfnet_core::shape::{Convolution, Shape};
use halfnet_layers::{LANES, convolution};

fn processor_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn main() {
    // A global pool is built once; if it was already, this measures with as many threads as it has.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(1).build_global();
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
        let blocks = 2;
        let values = |count: usize| (0..count).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<f32>>();
        let (weights, input) = (values(g.weights()), values(blocks * g.input.elements() * LANES));
        let (mut output, mut gradient) = (values(blocks * g.output().elements() * LANES), vec![0.0; g.weights()]);
        let mut back = input.clone();
        let work = 2e-9 * g.multiply_adds() as f64 * (blocks * LANES) as f64;
        let best = |mut run: Box<dyn FnMut() + '_>| {
            let started = processor_time();
            let mut best = f64::INFINITY;
            while processor_time() - started < 0.25 {
                let begin = processor_time();
                run();
                best = best.min(processor_time() - begin);
            }
            work / best
        };
        let forward = best(Box::new(|| convolution::forward(&g, &weights, &input, &mut output)));
        let data = best(Box::new(|| convolution::data_gradient(&g, &weights, &output, &mut back)));
        let weight = best(Box::new(|| convolution::weight_gradient(&g, &input, &output, &mut gradient)));
        let name = format!("{channels}→{out} {side}×{side} k{kernel} s{stride} g{groups}");
        println!("{name:24} {forward:8.1} {data:8.1} {weight:8.1}");
    }
}
