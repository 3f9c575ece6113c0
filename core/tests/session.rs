//! When a session takes a frame, seen from its driver.

use halfnet_core::dealer::FullWeights;
use halfnet_core::model::{Header, Integers, Layer, Linear, Model, Normalisation, Step, Term};
use halfnet_core::party::ErrorKind;
use halfnet_core::party::bundle::{BundleHalf, PortableModel};
use halfnet_core::party::half::OneServer;
use halfnet_core::party::session::{Parts, Session};
use halfnet_core::plan::{Client, Mode, Options, Plan, Release, Role, compile, cost};
use halfnet_core::shape::{Convolution, Shape};
use heapless::Vec;

/// One fully connected layer, 4 inputs, 3 classes.
fn model() -> Model<'static> {
    let input = Shape::new(1, 2, 2);
    let geometry = Convolution {
        input,
        out_channels: 3,
        kernel_height: 2,
        kernel_width: 2,
        stride: 1,
        padding: 0,
        groups: 1,
    };
    let linear = Linear::Convolution { geometry, weights: Integers { bits: 8, bytes: &[1; 12] } };
    let layer = Layer {
        terms: Vec::from_iter([Term { source: 0, linear }]),
        bias: Integers { bits: 8, bytes: &[0; 3] },
        step: Step::Release { ring_bits: 16 },
        output_scale: &[],
    };
    let normalisation = Vec::from_iter([Normalisation::IDENTITY]);
    let header =
        Header { name: "small", data_set: "synthetic", input, normalisation, classes: 3, class_names: "" };
    Model { header, layers: Vec::from_iter([layer]) }
}

/// The peer may have its E first: its hash must wait in the link until this party has E too. Shares of A
/// leave before that only.
#[test]
fn order_around_a_third_clients_input() {
    let model = model();
    model.validate().unwrap();
    let (mode, client, release) = (Mode::TwoServers, Client::Third, Release::Logits { bits: 8 });
    let options = Options { mode, client, release, chunk_bits: 4, memory: compile::ample() };
    let mut bytes = [0; 1024];
    let length = compile::compile(&model, &options, &mut bytes).unwrap();
    let plan = Plan::decode(&bytes[..length]).unwrap();
    let mut arena = vec![0; plan.arena_words(Role::Bundle)];
    let bundle: &[u8] = &[0; 256];
    let parts = Parts {
        plan: plan.clone(),
        half: BundleHalf::new(bundle, cost::input_section_bytes(&plan.header)),
        model: PortableModel(FullWeights(&model)),
        arena: &mut arena,
    };
    let mut session = Session::new(parts).unwrap();
    assert!(!session.can_receive());
    let (mut first, mut again) = ([0; 8], [0; 8]);
    session.mask_share(&mut first).unwrap();
    session.mask_share(&mut again).unwrap();
    assert_eq!(first, again, "the same bytes may be sent again");
    session.provide_masked(&[0; 8]).unwrap();
    assert!(session.can_receive());
    assert!(session.mask_share(&mut again).is_err(), "no words of the layers leave as a share of A");
}

/// Whose code for mode T is left out is refused a plan of mode T, and no other.
#[test]
fn a_half_that_is_no_server_is_refused_mode_t() {
    let model = model();
    for (mode, client) in [
        (Mode::TwoServers, Client::Third),
        (Mode::Shared, Client::SeedParty),
        (Mode::Held, Client::SeedParty),
    ] {
        let options = Options {
            mode,
            client,
            release: Release::Logits { bits: 8 },
            chunk_bits: 4,
            memory: compile::ample(),
        };
        let mut bytes = [0; 1024];
        let length = compile::compile(&model, &options, &mut bytes).unwrap();
        let plan = Plan::decode(&bytes[..length]).unwrap();
        let mut arena = vec![0; plan.arena_words(Role::Bundle)];
        let half = OneServer(BundleHalf::new(&[0_u8; 256][..], cost::input_section_bytes(&plan.header)));
        let parts = Parts { plan, half, model: PortableModel(FullWeights(&model)), arena: &mut arena };
        let refused = Session::new(parts).err().map(|error| error.kind);
        assert_eq!(refused, (mode == Mode::TwoServers).then_some(ErrorKind::Mode));
    }
}
