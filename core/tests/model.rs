//! A small residual model with every kind of layer, sealed and read back, and every way to break it.

use halfnet_core::error::ModelError;
use halfnet_core::model::blob::{self, BlobError, DecodeError, Kind};
use halfnet_core::model::{
    Activation, Bitmap, Header, Integers, InvalidModel, Layer, Linear, Model, Normalisation, Polynomial,
    Step, SumRing, Term, wire_bits_of,
};
use halfnet_core::plan::{Client, Mode, Options, Plan, Release, compile};
use halfnet_core::shape::{Convolution, Join, Pool, Shape};
use heapless::Vec;

const ZEROS: [u8; 1024] = [0; 1024];
const MIXED: [u8; 8] = [0b0101_0101; 8];

fn integers(bits: u8, count: usize) -> Integers<'static> {
    Integers { bits, bytes: &ZEROS[..count * usize::from(bits) / 8] }
}

fn convolution(input: Shape, out_channels: u16, kernel: u16, stride: u16, padding: u16) -> Linear<'static> {
    let geometry = Convolution {
        input,
        out_channels,
        kernel_height: kernel,
        kernel_width: kernel,
        stride,
        padding,
        groups: 1,
    };
    Linear::Convolution { geometry, weights: integers(8, geometry.weights()) }
}

fn layer<'a>(terms: &[Term<'a>], channels: usize, step: Step<'a>) -> Layer<'a> {
    Layer { terms: terms.iter().copied().collect(), bias: integers(16, channels), step, output_scale: &[] }
}

fn activation(ring_bits: u8, shift: u8) -> Activation<'static> {
    Activation { ring_bits, shift, relu: Bitmap::All, polynomial: None, pool: None }
}

/// Input 2×8×8; convolution to 4×8×8; strided convolution to 8×4×4 with option A, mixed and pooled;
/// rescaling; release.
fn model() -> Model<'static> {
    let (input, first, second, pooled) =
        (Shape::new(2, 8, 8), Shape::new(4, 8, 8), Shape::new(8, 4, 4), Shape::new(8, 2, 2));
    let join = Join { input: first, output: second, stride: 2, channel_offset: 2 };
    let coefficients = Polynomial {
        degree: 2,
        frac_bits: 14,
        c2: integers(16, 8),
        c1: integers(32, 8),
        c0: integers(32, 8),
    };
    let mixed = Activation {
        relu: Bitmap::Bits(&[0x0f; 16]),
        polynomial: Some(coefficients),
        pool: Some(Pool { kernel: 2, stride: 2, padding: 0 }),
        ..activation(17, 7)
    };
    let layers = [
        layer(
            &[Term { source: 0, linear: convolution(input, 4, 3, 1, 1) }],
            4,
            Step::Activate(activation(16, 6)),
        ),
        layer(
            &[
                Term { source: 1, linear: convolution(first, 8, 3, 2, 1) },
                Term { source: 1, linear: Linear::JoinShift { geometry: join, shift: 3 } },
            ],
            8,
            Step::Activate(mixed),
        ),
        layer(
            &[Term { source: 2, linear: convolution(pooled, 8, 1, 1, 0) }],
            8,
            Step::Rescale { shift: 5, pool: None },
        ),
        layer(
            &[Term { source: 3, linear: convolution(pooled, 3, 2, 1, 0) }],
            3,
            Step::Release { ring_bits: 18 },
        ),
    ];
    let normalisation = Normalisation::shifted(-128);
    Model {
        header: Header {
            name: "small",
            data_set: "synthetic",
            input,
            normalisation: Vec::from_array([normalisation; 2]),
            classes: 3,
            class_names: "a\nb\nc",
        },
        layers: layers.into_iter().collect(),
    }
}

fn refused(change: impl FnOnce(&mut Model<'static>)) -> (Option<u16>, ModelError) {
    let mut model = model();
    change(&mut model);
    let InvalidModel { layer, reason } = model.validate().unwrap_err();
    (layer, reason)
}

fn activation_of<'m, 'a>(model: &'m mut Model<'a>, layer: usize) -> &'m mut Activation<'a> {
    match &mut model.layers[layer].step {
        Step::Activate(activation) => activation,
        step => panic!("{step:?}"),
    }
}

fn sealed(model: &Model<'_>) -> std::vec::Vec<u8> {
    let (mut body, mut out) = ([0; 8192], [0; 8300]);
    let body = model.encode_body(&mut body).unwrap();
    blob::seal(Kind::Model, body, &mut out).unwrap().to_vec()
}

#[test]
fn reads_back_what_was_written() {
    let bytes = sealed(&model());
    assert_eq!(Model::decode(&bytes).unwrap(), model());
    let mut longer = blob::open(&bytes, Kind::Model).unwrap().to_vec();
    longer.push(0);
    let mut out = [0; 8400];
    let longer = blob::seal(Kind::Model, &longer, &mut out).unwrap();
    assert_eq!(Model::decode(longer), Err(DecodeError::TrailingBody { extra: 1 }));
    assert_eq!(Model::decode(&bytes[..60]).unwrap_err(), {
        let stated = bytes.len() as u64 - blob::ENVELOPE_BYTES as u64;
        DecodeError::Blob(BlobError::Cut { stated, present: 60 - blob::ENVELOPE_BYTES as u64 })
    });
}

#[test]
fn a_body_of_any_bytes_is_an_error_and_no_panic() {
    let bytes = sealed(&model());
    let body = blob::open(&bytes, Kind::Model).unwrap().to_vec();
    let mut out = [0; 8400];
    for at in 0..body.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = body.clone();
            changed[at] = value;
            // Whatever is decoded must have been validated; a change that leaves a valid model is fine.
            let _ = Model::decode(blob::seal(Kind::Model, &changed, &mut out).unwrap());
        }
        assert!(
            Model::decode(blob::seal(Kind::Model, &body[..at], &mut out).unwrap()).is_err(),
            "cut at {at}"
        );
    }
}

#[test]
fn wires_are_as_wide_as_their_widest_reader_needs() {
    // Wire 3 is read by Z_18; wire 2 by the rescaling in Z_(18 + 5); wire 1 by Z_17 directly; the input by
    // Z_16.
    assert_eq!(model().wire_bits().unwrap().as_slice(), [16, 17, 23, 18]);
    let only_join = [
        (SumRing::Bits(16), Vec::from_slice(&[(0, 0)]).unwrap()),
        (SumRing::Bits(16), Vec::from_slice(&[(0, 0), (1, 3)]).unwrap()),
    ];
    assert_eq!(wire_bits_of(only_join.into_iter()).unwrap().as_slice(), [16, 13]);
}

#[test]
fn wiring_is_checked() {
    assert_eq!(refused(|m| m.layers[3].terms[0].source = 4), (Some(3), ModelError::Wiring));
    assert_eq!(refused(|m| m.layers[3].terms[0].source = 9), (Some(3), ModelError::Wiring));
    // Wire 3 (of layer 2) has the shape of wire 2: nobody reads it any more.
    assert_eq!(refused(|m| m.layers[3].terms[0].source = 2), (Some(2), ModelError::Wiring));
    assert_eq!(refused(|m| m.layers[0].terms.clear()), (Some(0), ModelError::TooLarge));
}

#[test]
fn exactly_the_last_layer_releases() {
    assert_eq!(
        refused(|m| m.layers[3].step = Step::Rescale { shift: 0, pool: None }),
        (Some(3), ModelError::Release)
    );
    assert_eq!(
        refused(|m| m.layers[2].step = Step::Release { ring_bits: 16 }),
        (Some(2), ModelError::Release)
    );
    assert_eq!(refused(|m| m.layers.clear()), (None, ModelError::Release));
}

#[test]
fn shapes_are_checked() {
    let changed = |change: fn(&mut Convolution)| {
        refused(move |m| {
            let Linear::Convolution { geometry, .. } = &mut m.layers[1].terms[0].linear else { panic!() };
            change(geometry);
        })
    };
    assert_eq!(changed(|g| g.stride = 1), (Some(1), ModelError::Shape));
    assert_eq!(changed(|g| g.input.height = 9), (Some(1), ModelError::Shape));
    assert_eq!(changed(|g| g.groups = 3), (Some(1), ModelError::Shape));
    assert_eq!(
        refused(|m| activation_of(m, 1).pool = Some(Pool { kernel: 5, stride: 1, padding: 0 })),
        (Some(1), ModelError::Shape)
    );
    let first_is_join = |m: &mut Model<'static>| {
        m.layers[1].terms.remove(0);
    };
    assert_eq!(refused(first_is_join), (Some(1), ModelError::Shape));
}

#[test]
fn tensor_lengths_are_checked() {
    assert_eq!(refused(|m| m.layers[0].bias = integers(16, 5)), (Some(0), ModelError::TensorLength));
    assert_eq!(refused(|m| m.layers[0].bias.bits = 12), (Some(0), ModelError::TensorLength));
    assert_eq!(refused(|m| m.layers[0].output_scale = &[0; 8]), (Some(0), ModelError::TensorLength));
    let short = |m: &mut Model<'static>| {
        let geometry =
            Join { input: Shape::new(4, 8, 8), output: Shape::new(8, 4, 4), stride: 2, channel_offset: 2 };
        m.layers[1].terms[1].linear = Linear::JoinScaled { geometry, factors: integers(8, 8) };
    };
    assert_eq!(refused(short), (Some(1), ModelError::TensorLength));
}

#[test]
fn widths_are_checked() {
    assert_eq!(refused(|m| activation_of(m, 0).shift = 15), (Some(0), ModelError::Widths));
    assert_eq!(refused(|m| activation_of(m, 0).shift = 17), (Some(0), ModelError::Widths));
    assert_eq!(refused(|m| activation_of(m, 1).shift = 0), (Some(1), ModelError::Widths), "n = 17");
    assert_eq!(refused(|m| activation_of(m, 0).ring_bits = 33), (Some(0), ModelError::Widths));
    assert_eq!(refused(|m| m.layers[3].step = Step::Release { ring_bits: 3 }), (Some(3), ModelError::Widths));
    let long_cut = |m: &mut Model<'static>| m.layers[2].step = Step::Rescale { shift: 47, pool: None };
    assert_eq!(refused(long_cut), (Some(2), ModelError::Widths), "18 + 47 > 64");
    let long_coefficients =
        |m: &mut Model<'static>| activation_of(m, 1).polynomial.as_mut().unwrap().frac_bits = 42;
    assert_eq!(refused(long_coefficients), (Some(1), ModelError::Widths), "23 + 42 > 64");
    let long_shift = |m: &mut Model<'static>| {
        let Linear::JoinShift { shift, .. } = &mut m.layers[1].terms[1].linear else { panic!() };
        *shift = 17;
    };
    assert_eq!(refused(long_shift), (Some(1), ModelError::Widths));
}

#[test]
fn bitmaps_and_polynomials_are_checked() {
    assert_eq!(refused(|m| activation_of(m, 1).relu = Bitmap::Bits(&MIXED)), (Some(1), ModelError::Bitmap));
    assert_eq!(refused(|m| activation_of(m, 1).relu = Bitmap::All), (Some(1), ModelError::Polynomial));
    assert_eq!(refused(|m| activation_of(m, 0).relu = Bitmap::None), (Some(0), ModelError::Polynomial));
    assert_eq!(refused(|m| activation_of(m, 1).polynomial = None), (Some(1), ModelError::Polynomial));
    let degree = |m: &mut Model<'static>| activation_of(m, 1).polynomial.as_mut().unwrap().degree = 3;
    assert_eq!(refused(degree), (Some(1), ModelError::Polynomial));
    let without_c2 = |m: &mut Model<'static>| activation_of(m, 1).polynomial.as_mut().unwrap().degree = 1;
    assert_eq!(refused(without_c2), (Some(1), ModelError::Polynomial));
    // A tensor of 4 elements: the upper half of its only byte must be zero.
    let beyond = |m: &mut Model<'static>| {
        let input = Shape::new(2, 8, 8);
        m.layers[0].terms[0].linear = convolution(input, 4, 8, 1, 0);
        activation_of(m, 0).relu = Bitmap::Bits(&[0b0001_1111]);
    };
    assert_eq!(refused(beyond), (Some(0), ModelError::Bitmap));
}

#[test]
fn ranges_that_no_input_fits_are_refused() {
    const LARGE: [u8; 12] = [0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // 32767 > 2^14, with weights of zero.
    assert_eq!(
        refused(|m| m.layers[0].bias = Integers { bits: 16, bytes: &LARGE[..8] }),
        (Some(0), ModelError::Range)
    );
    assert_eq!(
        refused(|m| m.layers[3].bias = Integers { bits: 32, bytes: &[0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0] }),
        (Some(3), ModelError::Range)
    );
    const WIDE: [u8; 64] = wide();
    let coefficients = |m: &mut Model<'static>| {
        activation_of(m, 1).polynomial.as_mut().unwrap().c2 = Integers { bits: 64, bytes: &WIDE }
    };
    assert_eq!(refused(coefficients), (Some(1), ModelError::Range));
}

/// Eight 64-bit integers of about 2^62.
const fn wide() -> [u8; 64] {
    let mut bytes = [0; 64];
    let mut at = 7;
    while at < 64 {
        bytes[at] = 0x40;
        at += 8;
    }
    bytes
}

#[test]
fn the_header_is_checked() {
    assert_eq!(refused(|m| m.header.name = ""), (None, ModelError::Header));
    assert_eq!(refused(|m| m.header.class_names = "a\nb"), (None, ModelError::Header));
    assert_eq!(refused(|m| m.header.normalisation.truncate(1)), (None, ModelError::Header));
    let renumbered = |m: &mut Model<'static>| {
        m.header.classes = 4;
        m.header.class_names = "";
    };
    assert_eq!(refused(renumbered), (None, ModelError::Header));
}

/// A polynomial's sums have the wire's bits and the coefficients': a build without rings of more than 32 says
/// so, and the other computes.
#[test]
fn a_plan_says_how_wide_its_rings_are() {
    let widest = |frac_bits: u8| {
        let mut model = model();
        if let Step::Activate(Activation { polynomial: Some(polynomial), .. }) = &mut model.layers[1].step {
            polynomial.frac_bits = frac_bits;
        }
        model.validate().unwrap();
        let (client, release) = (Client::SeedParty, Release::Label);
        let options =
            Options { mode: Mode::Shared, client, release, chunk_bits: 4, memory: compile::ample() };
        let mut bytes = [0; 2048];
        let length = compile::compile(&model, &options, &mut bytes)?;
        Ok::<_, ModelError>(Plan::decode(&bytes[..length])?.widest())
    };
    let narrow = widest(8).unwrap();
    assert!((9..=32).contains(&narrow), "{narrow} bits");
    let wide = widest(8 + 32);
    if cfg!(feature = "wide-rings") {
        assert_eq!(wide, Ok(narrow + 32));
    } else {
        assert_eq!(wide, Err(ModelError::TooWide));
    }
}
