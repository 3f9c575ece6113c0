//! `compare` and `transcript`: that nothing is off where all is well, and that a fault is named where it was
//! made.

use halfnet_core::error::ModelError;
use halfnet_core::model::{Integers, Linear, Model, Normalisation, Step};
use halfnet_core::plan::{Client, Mode, Options, Release, compile};
use halfnet_core::wire::frame::{HEADER, Header};
use halfnet_host::check::compare::{Request, compare};
use halfnet_host::check::rehearsal::{Frame, Plain, Wire};
use halfnet_host::check::transcript::{diff, record};
use halfnet_host::check::trial::TrialError;
use halfnet_host::network::bundled;
use halfnet_tests::command::{Folder, halfnet, json, refused};
use halfnet_tests::dealt::{pixels, sealed};
use halfnet_tests::network::random_network;
use serde_json::Value;

const MODES: [[&str; 4]; 4] = [
    ["--mode", "t", "--client", "third"],
    ["--mode", "s", "--client", "p0"],
    ["--mode", "h", "--client", "p0"],
    ["--mode", "h", "--client", "third"],
];

/// The object of a command that ends with "a check failed".
fn failed_check(arguments: &[&str], says: &str) -> Value {
    let output = halfnet(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{arguments:?}: {said}");
    assert!(said.contains(says), "{arguments:?} said: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn compare_finds_nothing_where_nothing_is_off() {
    for mode in MODES {
        for release in ["logits", "label"] {
            let found = json(
                &[&["compare", "--json", "--release", release, "--picture", "idx:5"], &mode[..]].concat(),
            );
            assert_eq!(
                (&found["first_layer_off"], &found["input_off"]),
                (&Value::Null, &0.into()),
                "{mode:?} {release}"
            );
            assert_eq!((&found["first_layer_far"], &found["range_violations"]), (&Value::Null, &0.into()));
            assert_eq!(found["parties_label"], found["stochastic_label"]);
            let layers = found["layers"].as_array().unwrap();
            assert_eq!(layers.len(), 4);
            for layer in layers {
                assert_eq!(layer["parties_off"], 0, "{mode:?} {release}: {layer}");
                let used = layer["used"].as_f64().unwrap();
                assert!(used > 0.05 && used <= 1.0, "{layer}");
                // Rounding errs, and by little.
                let relative = layer["float_error"]["relative_rms"].as_f64().unwrap();
                assert!(relative > 1e-6 && relative < 0.1, "{layer}");
                assert!(layer["coin_error"]["rms"].as_f64().unwrap() > 0.0);
            }
        }
    }
}

/// Flips bits of the first frame of a layer on its way.
struct Corrupt(Option<u16>);

impl Wire for Corrupt {
    fn carry(&mut self, Frame { mut bytes, .. }: Frame) -> Vec<u8> {
        let layer = bytes.first_chunk::<HEADER>().map(|head| Header::decode(head).layer);
        if self.0.is_some() && layer == self.0 {
            // Low bits may be cut and a ReLU may hide a sign: some dozens of elements are changed altogether.
            bytes.iter_mut().skip(HEADER).take(64).for_each(|byte| *byte = !*byte);
            self.0 = None;
        }
        bytes
    }
}

#[test]
fn compare_names_the_layer_in_which_a_frame_was_changed() {
    let parties = [
        (Mode::TwoServers, Client::Third),
        (Mode::Shared, Client::SeedParty),
        (Mode::Held, Client::SeedParty),
        (Mode::Held, Client::Third),
    ];
    let pictures = bundled::pictures().unwrap();
    let model = Model::decode(bundled::MODEL).unwrap();
    let Step::Release { ring_bits } = model.layers[3].step else { panic!("the last layer") };
    let release = Release::Logits { bits: (ring_bits - 2).min(16) };
    for (mode, client) in parties {
        for layer in 0..4 {
            // A third client's last layer has no frame between the parties.
            if layer == 3 && client == Client::Third {
                continue;
            }
            let options = Options { mode, client, release, chunk_bits: 4, memory: compile::ample() };
            let request = Request {
                model: bundled::MODEL,
                options,
                pixels: pictures.picture(0),
                float: None,
                test_seed: None,
            };
            let found = compare(&request, &mut Corrupt(Some(layer))).unwrap();
            assert_eq!(found.first_layer_off, Some(usize::from(layer)), "{mode:?}, {client:?}");
            assert_eq!(found.input_off, 0);
            let says = format!("the parties leave the integers at layer {layer}");
            assert!(!found.is_exact() && found.verdict().contains(&says), "{}", found.verdict());
        }
    }
}

#[test]
fn compare_without_float_weights_says_so_and_with_others_finds_where_they_leave() {
    let folder = Folder::new("compare");
    // Another file of the same network is not the bundled model.
    let mut model = Model::decode(bundled::MODEL).unwrap();
    let Linear::Convolution { weights, .. } = &mut model.layers[2].terms[0].linear else {
        panic!("a convolution")
    };
    let negated: Vec<u8> = weights.bytes.iter().map(|byte| byte.wrapping_neg()).collect();
    assert_eq!(weights.bits, 8);
    *weights = Integers { bits: 8, bytes: negated.leak() };
    let path = folder.file("negated.postcard", &sealed(&model));
    let found = json(&["compare", "--model", &path, "--json"]);
    assert!(found["float_label"].is_null() && found["layers"][0]["float_error"].is_null());
    let text = String::from_utf8(halfnet(&["compare", "--model", &path]).stdout).unwrap();
    assert!(
        text.contains("no float weights") && text.contains("equal the integers under the same coins"),
        "{text}"
    );

    let weights = concat!(env!("CARGO_MANIFEST_DIR"), "/../std-host/assets/mnist_cnn_500.safetensors");
    let found = json(&["compare", "--model", &path, "--weights", weights, "--json"]);
    assert_eq!((&found["first_layer_far"], &found["first_layer_off"]), (&2.into(), &Value::Null));
    let all = concat!(env!("CARGO_MANIFEST_DIR"), "/../std-host/assets/mnist_cnn.safetensors");
    refused(&["compare", "--weights", all], 3, "with other ReLUs");
    refused(&["compare", "--weights", &path], 3, "no safetensors file");
    refused(&["compare", "--mode", "t", "--client", "p0"], 2, "the client is a third");
    refused(&["compare", "--picture", "absent.png"], 3, "absent.png");
}

#[test]
fn compare_says_when_a_sum_leaves_its_range() {
    let folder = Folder::new("garbled");
    let mut model = Model::decode(bundled::MODEL).unwrap();
    let bias: Vec<i64> = model.layers[1].bias.iter().collect();
    let raised: Vec<u8> = bias
        .iter()
        .enumerate()
        .flat_map(|(c, b)| (b + if c == 3 { 16_384 } else { 0 }).to_le_bytes())
        .collect();
    model.layers[1].bias = Integers { bits: 64, bytes: raised.leak() };
    let path = folder.file("raised.postcard", &sealed(&model));
    let says = "leave the integers at layer 1 (conv 3×3 8→16 /2): its sum leaves its range on this picture";
    let found = failed_check(&["compare", "--model", &path, "--json"], says);
    assert_eq!(found["first_layer_off"], 1);
    let layer = &found["layers"][1];
    assert!(
        layer["range_violations"].as_u64().unwrap() > 0 && layer["used"].as_f64().unwrap() > 1.0,
        "{layer}"
    );
    assert_eq!(found["layers"][0]["range_violations"], 0);
}

#[test]
fn transcripts_repeat_under_a_seed_and_name_the_first_difference() {
    let folder = Folder::new("transcripts");
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let record = |name: &str, mode: &[&str], more: &[&str]| {
        let out = path(name);
        let output = halfnet(&[&["transcript", "record", "--out", &out, "--json"], mode, more].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("warning: --insecure-test-seed"), "{said}");
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(found["insecure_test_seed"], true);
        out
    };
    let mut model = Model::decode(bundled::MODEL).unwrap();
    let bias: Vec<i64> = model.layers[2].bias.iter().collect();
    let changed: Vec<u8> =
        bias.iter().enumerate().flat_map(|(c, b)| (b + if c == 5 { 512 } else { 0 }).to_le_bytes()).collect();
    model.layers[2].bias = Integers { bits: 64, bytes: changed.leak() };
    let other = folder.file("other.postcard", &sealed(&model));
    let plane = model.layers[2].sum_shape().plane() as u64;

    for (index, mode) in MODES.iter().enumerate() {
        let seed = ["--insecure-test-seed", "beef"];
        let a = record(&format!("a{index}"), mode, &seed);
        let same = record(&format!("same{index}"), mode, &seed);
        assert_eq!(std::fs::read(&a).unwrap(), std::fs::read(&same).unwrap());
        let found = json(&["transcript", "diff", &a, &same, "--json"]);
        assert_eq!((&found["equal"], &found["first"]), (&true.into(), &Value::Null));

        // A bias of channel 5 of layer 2: P1's opening shows it, at the first element of that channel.
        let b = record(&format!("b{index}"), mode, &[&seed[..], &["--model", &other]].concat());
        let found = failed_check(&["transcript", "diff", &a, &b, "--json"], "the transcripts differ");
        let first = &found["first"];
        assert_eq!(
            (&first["layer"], &first["from"], &first["tile"]),
            (&2.into(), &"P1".into(), &0.into()),
            "{mode:?}: {first}"
        );
        assert_eq!(
            (&first["step"], &first["element"]["channel"]),
            (&"opening 1".into(), &5.into()),
            "{first}"
        );
        assert_eq!(first["element"]["index"], 5 * plane);
        assert_eq!(found["same_model"], false);

        // Another picture: the masked input shows it.
        let c = record(&format!("c{index}"), mode, &[&seed[..], &["--picture", "idx:1"]].concat());
        let first = &failed_check(&["transcript", "diff", &a, &c, "--json"], "differ")["first"];
        let from = if mode[3] == "p0" { "P0" } else { "client" };
        assert_eq!((&first["layer"], &first["from"]), (&Value::Null, &from.into()), "{first}");
        let digits = bundled::pictures().unwrap();
        let expected = (0..784).find(|&i| digits.picture(0)[i] != digits.picture(1)[i]).unwrap();
        assert_eq!(first["element"]["index"], expected, "{first}");
        // Other coins differ from the first frame on.
        let d = record(&format!("d{index}"), mode, &["--insecure-test-seed", "beee"]);
        assert_eq!(failed_check(&["transcript", "diff", &a, &d, "--json"], "differ")["first"]["frame"], 0);
    }
    refused(&["transcript", "diff", &path("a0"), &path("a1")], 3, "different plans (mode t and s)");
    refused(&["transcript", "diff", &path("a0"), &other], 3, "other.postcard");
    refused(&["transcript", "record", "--out", &path("x")], 2, "--insecure-test-seed");
    refused(
        &["transcript", "record", "--out", &path("x"), "--insecure-test-seed", "xyz"],
        2,
        "hexadecimal digits",
    );
    let cut = std::fs::read(path("a0")).unwrap();
    let cut = folder.file("cut", &cut[..cut.len() - 20]);
    refused(&["transcript", "diff", &path("a0"), &cut], 3, "line ");
}

/// A random network whose pixels lie around 128, as a file.
fn random_model(seed: u64) -> Vec<u8> {
    let mut model = random_network(seed);
    for normalisation in &mut model.header.normalisation {
        *normalisation = Normalisation::shifted(-128);
    }
    sealed(&model)
}

/// Options of every mode and client, with memory enough and with little of it for P0.
fn all_options() -> impl Iterator<Item = Options> {
    let ample = compile::ample();
    let clients = [
        (Mode::TwoServers, Client::Third),
        (Mode::Shared, Client::SeedParty),
        (Mode::Shared, Client::Third),
        (Mode::Held, Client::SeedParty),
        (Mode::Held, Client::Third),
    ];
    let memories = [ample, [6 << 10, ample[1]]];
    let release = Release::Logits { bits: 6 };
    clients.into_iter().flat_map(move |(mode, client)| {
        memories.map(|memory| Options { mode, client, release, chunk_bits: 4, memory })
    })
}

#[test]
fn every_wire_of_every_kind_of_layer_is_reconstructed() {
    let (mut compared, mut wires) = (0, 0);
    for seed in 0..24 {
        let bytes = random_model(seed);
        let model = Model::decode(&bytes).unwrap();
        let pixels = pixels(&model, seed);
        for options in all_options() {
            let request =
                Request { model: &bytes, options, pixels: &pixels, float: None, test_seed: Some("77") };
            let found = match compare(&request, &mut Plain) {
                Ok(found) => found,
                // Not every network fits into little memory, or has logits of so many bits.
                Err(TrialError::Plan(ModelError::Memory | ModelError::ReleaseBits)) => continue,
                Err(error) => panic!("seed {seed}, {options:?}: {error}"),
            };
            if found.range_violations > 0 {
                continue;
            }
            assert!(found.is_exact(), "seed {seed}, {options:?}: {}", found.verdict());
            compared += 1;
            wires += found.layers.iter().filter(|l| l.parties_off.is_some()).count();
        }
    }
    assert!(compared > 100 && wires > 3 * compared, "{compared} networks, {wires} wires");
}

#[test]
fn a_flipped_bit_is_found_in_its_frame_at_its_byte_and_element() {
    let mut located = [0, 0];
    for seed in 0..12 {
        let bytes = random_model(seed);
        let model = Model::decode(&bytes).unwrap();
        let pixels = pixels(&model, seed);
        for options in all_options() {
            let a = match record(&bytes, options, &pixels, "77") {
                Ok(transcript) => transcript,
                Err(TrialError::Plan(ModelError::Memory | ModelError::ReleaseBits)) => continue,
                Err(error) => panic!("seed {seed}, {options:?}: {error}"),
            };
            for frame in 0..a.lines.len() {
                let line = &a.lines[frame];
                let last = line.payload.len() - 1;
                let mut elements = Vec::new();
                for byte in [0, last] {
                    let mut b = a.clone();
                    b.lines[frame].payload[byte] ^= 1;
                    let found = diff(&a, &b).unwrap();
                    let first = found.first.unwrap();
                    assert_eq!(
                        (found.frames_off, first.frame, first.byte),
                        (1, frame, Some(byte)),
                        "seed {seed}, {options:?}"
                    );
                    assert_eq!((&first.from, first.layer, &first.step), (&line.from, line.layer, &line.step));
                    elements.push(first.element.map(|e| e.index));
                }
                // Padding at the end of a payload is of no element.
                let [first, end] = elements[..] else { unreachable!() };
                let of_elements = line.step.starts_with("opening") || line.step.starts_with("comparison");
                if let (Some(layer), true) = (line.layer, of_elements) {
                    let sum = model.layers[usize::from(layer)].sum_shape().elements();
                    let first = first.unwrap_or_else(|| panic!("seed {seed}, {options:?}: {line:?}"));
                    assert!(
                        first < sum && end.is_none_or(|end| first <= end && end < sum),
                        "seed {seed}, {options:?}: {line:?}"
                    );
                    located[usize::from(first > 0)] += 1;
                }
            }
        }
    }
    // Tiles begin elsewhere than at the first element.
    assert!(located.iter().all(|count| *count > 500), "{located:?}");
}
