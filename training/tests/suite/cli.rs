//! The command line from outside: what is refused before anything is read, and what a configuration says.

use std::process::{Command, Output};

fn train(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_halfnet-train"))
        .args(arguments)
        .env_remove("HALFNET_DATA")
        .output()
        .unwrap()
}

#[test]
fn what_does_not_go_together_is_a_usage_error() {
    for (arguments, reason) in [
        (&["--budget", "5", "--method", "random", "--lambda", "3"][..], "random has no penalty on the count"),
        (&["--budget", "5", "--method", "square", "--degree", "1"], "no polynomial of degree 1"),
        (&[], "--budget N"),
        (&["--budget", "5", "--set", "rates.speed=1"], "no such option"),
        (&["--budget", "5"], "--weights FILE"),
        (&["--budget", "5", "--data-set", "mnist"], "resnet20 is not for mnist"),
    ] {
        let output = train(&[&["search", "--model", "resnet20"], arguments].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && error.contains(reason), "{arguments:?}: {error}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_printed_configuration_is_read_back_and_flags_override_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("search.toml");
    let print = |arguments: &[&str]| {
        let output = train(&[&["search", "--print-config"], arguments].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = print(&[
        "--model",
        "resnet18",
        "--data-set",
        "cifar100",
        "--method",
        "snl",
        "--budget",
        "12900",
        "--lambda",
        "1.5",
    ]);
    assert!(text.contains("data_set = \"cifar100\"") && text.contains("constant = 1.5"), "{text}");
    std::fs::write(&path, &text).unwrap();
    let path = path.to_str().unwrap();
    assert_eq!(print(&["--config", path]), text);
    let other = print(&["--config", path, "--data-set", "cifar10", "--seed", "7"]);
    assert_eq!(other, text.replace("cifar100", "cifar10").replace("seed = 1\n", "seed = 7\n"));
}
