//! The command line from outside: the binary is run, its JSON and its exit codes are what is asserted.

use halfnet_core::model::{Bitmap, Model, Step};
use halfnet_tests::command::{Folder, halfnet, json, refused};
use halfnet_tests::dealt::sealed;

#[test]
fn inspect_tells_what_the_bundled_model_is() {
    let found = json(&["inspect", "--json"]);
    assert_eq!((&found["relus"], &found["activations"]), (&500.into(), &10_976.into()));
    assert_eq!((&found["mode"], &found["client"]), (&"t".into(), &"third".into()));
    assert_eq!(found["layers"].as_array().unwrap().len(), 4);
    for pair in ["bytes_sent", "arena_bytes"] {
        let pair = found[pair].as_array().unwrap();
        assert_eq!(pair.len(), 2);
        assert!(pair.iter().all(|n| n.as_u64().unwrap() > 1000));
    }
    // Both servers do the same: what they send differs in nothing.
    assert_eq!(found["bytes_sent"][0], found["bytes_sent"][1]);
    let sum: u64 =
        found["layers"].as_array().unwrap().iter().map(|l| l["bytes_sent"][0].as_u64().unwrap()).sum();
    assert!(sum < found["bytes_sent"][0].as_u64().unwrap());
    assert!(found["latency_s"].is_null());
}

#[test]
fn inspect_estimates_latency() {
    let found = json(&["inspect", "--bandwidth", "8", "--rtt", "100", "--json"]);
    let expected = found["flights"].as_f64().unwrap() * 0.05 + found["bytes_sent"][0].as_f64().unwrap() / 1e6;
    assert!((found["latency_s"].as_f64().unwrap() - expected).abs() < 1e-9);
    // By turns, both directions count.
    let found =
        json(&["inspect", "--mode", "s", "--client", "p0", "--bandwidth", "8", "--rtt", "0", "--json"]);
    let expected =
        (found["bytes_sent"][0].as_f64().unwrap() + found["bytes_sent"][1].as_f64().unwrap()) / 1e6;
    assert!((found["latency_s"].as_f64().unwrap() - expected).abs() < 1e-9);
}

#[test]
fn choices_change_the_plan() {
    let bytes = |arguments: &[&str], party: usize| json(arguments)["bytes_sent"][party].as_u64().unwrap();
    let rounds = |arguments: &[&str]| json(arguments)["rounds"].as_u64().unwrap();
    // A wider leaf needs no tree.
    assert!(rounds(&["inspect", "--chunk", "8", "--json"]) < rounds(&["inspect", "--chunk", "4", "--json"]));
    // P1 answers nothing in opening 2 of mode h, P0 does no opening 1.
    let held = ["inspect", "--mode", "h", "--client", "p0", "--release", "label", "--json"];
    let shared = ["inspect", "--mode", "s", "--client", "p0", "--release", "label", "--json"];
    assert!(bytes(&held, 0) < bytes(&shared, 0) && bytes(&held, 1) < bytes(&shared, 1));
    // A small memory makes tiles, and each tile's messages end in whole bytes. With so few ReLUs they all
    // share the rounds.
    let ample = ["inspect", "--mode", "h", "--client", "p0", "--json"];
    let small = ["inspect", "--mode", "h", "--client", "p0", "--p0-memory", "8192", "--json"];
    let arena = |arguments: &[&str]| json(arguments)["arena_bytes"][0].as_u64().unwrap();
    assert!(arena(&ample) > 8192 && arena(&small) <= 8192);
    assert!(bytes(&small, 0) > bytes(&ample, 0) && rounds(&small) == rounds(&ample));
    // With ReLUs everywhere tiles cost rounds.
    let mut model = Model::decode(halfnet_host::network::bundled::MODEL).unwrap();
    for layer in &mut model.layers {
        if let Step::Activate(activation) = &mut layer.step {
            (activation.relu, activation.polynomial) = (Bitmap::All, None);
        }
    }
    let folder = Folder::new("all-relus");
    let path = folder.file("model.postcard", &sealed(&model));
    let (ample, small) = ([&ample[..], &[&path]].concat(), [&small[..], &[&path]].concat());
    assert!(arena(&small) <= 8192);
    assert!(rounds(&small) > rounds(&ample));
}

#[test]
fn simulate_runs_the_bundled_digits() {
    let found = json(&["simulate", "--json"]);
    assert_eq!((&found["images"], &found["range_violations"]), (&32.into(), &0.into()));
    assert_eq!(found["correct"], 32);
    assert_eq!(found["accuracy"], 100.0);
    assert_eq!(json(&["simulate", "--limit", "3", "--seeds", "2", "--json"])["images"], 6);
    assert_eq!(
        json(&["simulate", "--deterministic", "--json"]),
        json(&["simulate", "--deterministic", "--json"])
    );
}

#[test]
fn tables_are_for_people() {
    let output = halfnet(&["inspect"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("500 of 10,976 activations are ReLU") && text.contains("conv 3×3 8→16 /2"),
        "{text}"
    );
    let text = String::from_utf8(halfnet(&["simulate"]).stdout).unwrap();
    assert!(text.contains("32 of 32 pictures right"), "{text}");
}

#[test]
fn help_lists_the_exit_codes() {
    let output = halfnet(&["--help"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let commands = include_str!("../../docs/COMMANDS.md");
    for code in 0..=7 {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("  {code}  ")))
            .unwrap_or_else(|| panic!("{code} in {text}"));
        assert!(
            commands.contains(&format!("| {code} | {line} |")),
            "docs/COMMANDS.md says otherwise of exit code {code}"
        );
    }
}

#[test]
fn wrong_command_lines_are_usage_errors() {
    refused(&[], 2, "Usage");
    refused(&["classify"], 2, "unrecognized subcommand");
    refused(&["inspect", "--chunk", "9"], 2, "--chunk");
    refused(&["inspect", "--release", "everything"], 2, "logits:BITS");
    refused(&["inspect", "--release", "logits:17"], 2, "BITS must be 1 to 16");
    refused(&["demo", "--release", "logits:exact"], 2, "exact logits are never released");
    refused(&["demo", "--mode", "t", "--client", "p0"], 2, "with two servers (t) the client is a third");
    refused(&["deal", "--more", "1"], 2, "--state");
    refused(&["inspect", "--mode", "t", "--client", "p0"], 2, "with two servers (t) the client is a third");
    refused(&["inspect", "--p0-memory", "1000"], 2, "memory budget is too small");
    refused(&["inspect", "--rtt=-1", "--bandwidth", "1"], 2, "zero or more");
    refused(&["import", "--out", "model.postcard"], 2, "WEIGHTS");
}

#[test]
fn damaged_models_are_bad_input() {
    let folder = Folder::new("models");
    let good = halfnet_host::network::bundled::MODEL;
    let changed = |at: usize, to: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = to;
        bytes
    };
    for (name, bytes, says) in [
        ("cut", good[..good.len() - 9].to_vec(), "blob is cut"),
        ("empty", Vec::new(), "too few for a blob"),
        ("extended", [good, &[0]].concat(), "1 bytes after its end"),
        ("flipped", changed(good.len() / 2, good[good.len() / 2] ^ 4), "blob is damaged"),
        ("version", changed(9, 77), "format version 77"),
        ("magic", changed(0, b'h'), "not a Halfnet blob"),
        ("kind", changed(8, 3), "blob of kind 3"),
    ] {
        let path = folder.file(name, &bytes);
        refused(&["inspect", &path], 3, says);
        refused(&["simulate", "--model", &path], 3, says);
    }
    refused(&["inspect", folder.path().join("absent").to_str().unwrap()], 3, "cannot read");
}

#[test]
fn missing_data_says_what_to_do() {
    let folder = Folder::new("data");
    let empty = folder.path().to_str().unwrap();
    let model = folder.file("model", halfnet_host::network::bundled::MODEL);
    refused(
        &["simulate", "--model", &model],
        3,
        "set HALFNET_DATA to a folder with mnist/, cifar10/, fsdd/ … in it (give --data DIR)",
    );
    refused(&["simulate", "--data", empty], 3, "no pictures of mnist");
    refused(&["import", &model, "--data", empty], 3, "no safetensors file");
    refused(&["import", "absent.safetensors", "--data", empty], 3, "cannot read");
}

#[test]
fn demo_prints_what_an_inference_took() {
    // Default: mode s, P0 as the client, the label alone.
    let found = json(&["demo", "--images", "2", "--json"]);
    assert_eq!(
        (&found["mode"], &found["client"], &found["release"]),
        (&"s".into(), &"p0".into(), &"label".into())
    );
    assert_eq!(found["insecure_test_seed"], false);
    let seeded = [
        "demo",
        "--images",
        "2",
        "--json",
        "--mode",
        "t",
        "--release",
        "logits:16",
        "--insecure-test-seed",
        "c0de",
    ];
    let (first, second) = (json(&seeded), json(&seeded));
    assert_eq!((&first["client"], &first["insecure_test_seed"]), (&"third".into(), &true.into()));
    // The same coins, the same errors.
    assert_eq!(first["max_abs_error"], second["max_abs_error"]);
    for (found, logits) in [(&found, false), (&first, true)] {
        assert_eq!(
            (&found["images"], &found["correct"], &found["agree_with_reference"]),
            (&2.into(), &2.into(), &2.into())
        );
        for pair in ["bytes_sent", "peak_rss_bytes", "arena_bytes"] {
            let pair = found[pair].as_array().unwrap();
            assert!(pair.len() == 2 && pair.iter().all(|n| n.as_u64().unwrap() > 1000), "{pair:?}");
        }
        assert!(
            found["cpu_s"].as_array().unwrap().iter().all(|s| s.as_f64().unwrap() > 0.0)
                && found["wall_s"].as_f64().unwrap() > 0.0
        );
        assert!(found["rounds"].as_u64().unwrap() < found["flights"].as_u64().unwrap());
        assert!(found["bundle_bytes"].as_u64().unwrap() > 100_000);
        for error in ["max_abs_error", "relative_rms_error"] {
            assert_eq!(found[error].as_f64().is_some_and(|e| e > 0.0 && e < 1.0), logits, "{error}");
            assert_eq!(found[error].is_null(), !logits, "{error}");
        }
    }
    // What the plan predicts is what moved.
    let inspected = json(&["inspect", "--mode", "s", "--client", "p0", "--release", "label", "--json"]);
    for field in ["bytes_sent", "rounds", "flights", "arena_bytes", "bundle_bytes"] {
        assert_eq!(found[field], inspected[field], "{field}");
    }
}

#[test]
fn bench_prints_the_same_fields() {
    for arguments in [&["relu", "--n", "1024"][..], &["conv", "--bits", "16"], &["conv"]] {
        let found = json(&[&["bench"], arguments, &["--inferences", "1", "--json"]].concat());
        let fields = [
            "images",
            "agree_with_reference",
            "bytes_sent",
            "rounds",
            "flights",
            "wall_s",
            "cpu_s",
            "peak_rss_bytes",
        ];
        for field in fields.into_iter().chain(["arena_bytes", "bundle_bytes", "max_abs_error"]) {
            assert!(!found[field].is_null(), "{arguments:?}: {field} in {found}");
        }
        // No data set has these pictures, and the logits of a single gate need not vary from one to the next.
        for field in ["correct", "relative_rms_error"] {
            assert!(found.get(field).is_some(), "{arguments:?}: {field} in {found}");
        }
        assert_eq!(found["agree_with_reference"], found["images"]);
    }
}
