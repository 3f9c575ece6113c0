//! Plans that are small to write and would be long to read, were anything counted twice.

use halfnet_core::error::ModelError;
use halfnet_core::model::{
    Activation, Bitmap, Header, Layer, Linear, Model, Normalisation, Polynomial, Step, Term,
};
use halfnet_core::plan::cost::plan_cost;
use halfnet_core::plan::{Client, Mode, Options, Plan, Release, compile};
use halfnet_core::shape::{Convolution, Shape};
use halfnet_tests::network::integers;

/// A chain of 1×1 convolutions with every element but the last few a ReLU (by a bitmap) or with none.
fn chain(side: u16, layers: u16, mixed: bool) -> Vec<u8> {
    let input = Shape::new(1, side, side);
    let linear = |stride: u16| Linear::Convolution {
        geometry: Convolution {
            input,
            out_channels: 1,
            kernel_height: 1,
            kernel_width: 1,
            stride,
            padding: 0,
            groups: 1,
        },
        weights: integers(&[1], 8),
    };
    let elements = input.elements();
    let bitmap: &'static [u8] = Box::leak(
        (0..elements.div_ceil(8))
            .map(|i| if 8 * i + 16 > elements { 0 } else { u8::MAX })
            .collect::<Vec<_>>()
            .into_boxed_slice(),
    );
    let polynomial = Polynomial {
        degree: 1,
        frac_bits: 0,
        c2: halfnet_core::model::Integers::EMPTY,
        c1: integers(&[1], 8),
        c0: integers(&[0], 8),
    };
    let relu = if mixed { Bitmap::Bits(bitmap) } else { Bitmap::None };
    let activation = Activation { ring_bits: 16, shift: 6, relu, polynomial: Some(polynomial), pool: None };
    let layer = |source: u16, linear: Linear<'static>, step: Step<'static>| Layer {
        terms: heapless::Vec::from_iter([Term { source, linear }]),
        bias: integers(&[0], 8),
        output_scale: &[],
        step,
    };
    let hidden = (0..layers).map(|source| layer(source, linear(1), Step::Activate(activation)));
    let last = layer(layers, linear(side), Step::Release { ring_bits: 16 });
    let model = Model {
        header: Header {
            name: "chain",
            data_set: "synthetic",
            input,
            normalisation: heapless::Vec::from_iter([Normalisation::IDENTITY]),
            classes: 1,
            class_names: "",
        },
        layers: hidden.chain([last]).collect(),
    };
    model.validate().unwrap();
    let options = Options {
        mode: Mode::Shared,
        client: Client::Third,
        release: Release::Label,
        chunk_bits: 4,
        memory: [u64::MAX; 2],
    };
    let mut out = vec![0; 1 << 24];
    let length = compile::compile(&model, &options, &mut out).unwrap();
    out.truncate(length);
    out
}

/// The plan's records with tiles as small as they may be: one group of them, or a group each.
fn finely(plan: &[u8], group: u16) -> Vec<u8> {
    let plan = Plan::decode(plan).unwrap();
    let mut bytes = postcard::to_allocvec(&plan.header).unwrap();
    for mut layer in plan.layers() {
        if layer.elements() > 64 {
            let tiles = usize::from(u16::MAX);
            (layer.tile, layer.group) = (layer.elements().div_ceil(tiles).max(64) as u32, group);
        }
        bytes.extend(postcard::to_allocvec(&layer).unwrap());
    }
    bytes
}

/// Half a megabyte of bitmap in 65,536 tiles. Reading it once is a matter of milliseconds; counting the bitmap
/// anew for every tile, as many times as there are tiles, took more than a minute.
#[test]
fn a_large_bitmap_in_small_tiles_is_counted_once() {
    let plan = chain(2047, 1, true);
    assert!(plan.len() > 500_000);
    for group in [u16::MAX, 1] {
        // The header's sizes are those of other tiles: refused, when everything has been counted.
        assert_eq!(Plan::decode(&finely(&plan, group)).map(drop), Err(ModelError::Memory));
    }
    assert!(plan_cost(&Plan::decode(&plan).unwrap()).rounds > 0);
}

/// 127 layers of 65,000 tiles each, in a few kilobytes: alike tiles are not counted one by one.
#[test]
fn many_alike_tiles_are_counted_together() {
    let plan = chain(2047, 127, false);
    assert!(plan.len() < 16_384);
    for group in [u16::MAX, 1] {
        assert_eq!(Plan::decode(&finely(&plan, group)).map(drop), Err(ModelError::Memory));
    }
}
