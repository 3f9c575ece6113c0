//! Measures what the documents state and writes it there: the tables between `figures:begin` and
//! `figures:end` in `docs/BENCHMARKS.md`, between `numerics:begin` and `numerics:end` in `docs/NUMERICS.md`,
//! and between `headline:begin` and `headline:end` in `README.md`.
//!
//! `cargo run --release -p halfnet-tests --example figures -- DIR`, with the data folder `DIR` (its
//! `weights/`, `cifar10/` and `mnist/`). It takes about ten minutes on two cores; run it on a machine that
//! does nothing else. A figure that cannot be measured ends it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use serde_json::Value;

/// Pictures of a demo between two processes.
const IMAGES: &str = "200";

fn main() -> ExitCode {
    let Some(data) = std::env::args().nth(1).map(PathBuf::from) else {
        eprintln!("name the data folder: cargo run --release -p halfnet-tests --example figures -- DIR");
        return ExitCode::from(2);
    };
    match measure(&data) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn measure(data: &Path) -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let halfnet = Halfnet { root: &root, data };
    let model = std::env::temp_dir().join(format!("halfnet-figures-{}.postcard", std::process::id()));
    let mut headline = Vec::new();
    let (numerics, networks) = halfnet.networks(&model, &mut headline)?;
    std::fs::remove_file(&model).map_err(|e| e.to_string())?;
    let mut figures = halfnet.machine()?;
    figures.extend(networks);
    figures.extend(halfnet.gates(&mut headline)?);
    figures.extend(halfnet.resnet18(&mut headline)?);
    replace(
        &root.join("docs/BENCHMARKS.md"),
        "figures",
        "| what | measured | command |\n|---|---|---|\n",
        &figures,
    )?;
    let head = "| what | Halfnet | others | command |\n|---|---|---|---|\n";
    replace(&root.join("README.md"), "headline", head, &headline)?;
    let head = "| network | command | accuracy % (float) | range violations | error of the logits / their deviation | bytes a picture, T, each way |\n\
                |---|---|---|---|---|---|\n";
    replace(&root.join("docs/NUMERICS.md"), "numerics", head, &numerics)
}

/// The command, from the root of the repository.
struct Halfnet<'a> {
    root: &'a Path,
    data: &'a Path,
}

impl Halfnet<'_> {
    /// Runs `halfnet` with `--json` and reads the object that it prints.
    fn run(&self, arguments: &[&str]) -> Result<Value, String> {
        eprintln!("halfnet {}", arguments.join(" "));
        let output = Command::new("cargo")
            .args(["run", "--release", "--quiet", "--"])
            .args(arguments)
            .arg("--json")
            .env("HALFNET_DATA", self.data)
            .current_dir(self.root)
            .stderr(Stdio::inherit())
            .output()
            .map_err(|e| e.to_string())?;
        if !output.status.success() {
            return Err(format!("`halfnet {}` ended with {}", arguments.join(" "), output.status));
        }
        serde_json::from_slice(&output.stdout).map_err(|e| e.to_string())
    }

    fn machine(&self) -> Result<Vec<String>, String> {
        let limit = self.run(&["bench", "limit"])?;
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = cpu
            .lines()
            .find_map(|l| l.strip_prefix("model name"))
            .map_or("", |l| l.trim_start_matches([' ', '\t', ':']));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (rate, prg) =
            (number(&limit, "multiply_adds_per_s") / 1e9, number(&limit, "prg_bytes_per_s") / 1e9);
        let what = format!("this machine: {name}, {cores} cores, kernels {}", text(&limit, "kernel"));
        Ok(vec![row(&[
            &what,
            &format!("{rate:.1} G u32 multiply-adds, {prg:.1} GB of PRG a second"),
            "`bench limit`",
        ])])
    }

    /// Rows of NUMERICS.md and of BENCHMARKS.md: the networks in the clear, and between processes.
    fn networks(
        &self,
        model: &Path,
        headline: &mut Vec<String>,
    ) -> Result<(Vec<String>, Vec<String>), String> {
        let (mut numerics, mut figures) = (Vec::new(), Vec::new());
        let (data, assets) = (self.data.join("weights"), self.root.join("std-host/assets"));
        for (folder, file, name, relus, float) in [
            (&data, "cifar10_resnet20", "ResNet-20, CIFAR-10", "all ReLU", "91.73"),
            (&data, "mnist_cnn", "small CNN, MNIST", "all ReLU", "99.09"),
            (&assets, "mnist_cnn_500", "small CNN, MNIST, 500 ReLUs", "bundled", "99.09"),
        ] {
            let weights = folder.join(format!("{file}.safetensors"));
            let path = model.display().to_string();
            let imported = self.run(&["import", &weights.display().to_string(), "--out", &path])?;
            let run = self.run(&["simulate", "--model", &path, "--seeds", "3"])?;
            let seeds: Vec<f64> =
                run["accuracies"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
            let seeds_text = seeds.iter().map(|a| format!("{a:.2}")).collect::<Vec<_>>().join(", ");
            let accuracy = format!("{:.2} ({float}); seeds {seeds_text}", number(&run, "accuracy"));
            let demo = |mode: &str, client: &str, release: &str| {
                self.run(&[
                    "demo",
                    "--model",
                    &path,
                    "--images",
                    IMAGES,
                    "--mode",
                    mode,
                    "--client",
                    client,
                    "--release",
                    release,
                ])
            };
            let t = demo("t", "third", "logits")?;
            numerics.push(row(&[
                name,
                &format!("`import {file}.safetensors`, `simulate --seeds 3`, all 10,000 test pictures"),
                &accuracy,
                &grouped(&run["range_violations"]),
                &format!("{:.3}", number(&t, "relative_rms_error")),
                &pair(&t["bytes_sent"]),
            ]));
            figures.push(row(&[
                &format!("{name}, secret weights, {relus}: accuracy % of 10,000 test pictures (float)"),
                &format!("{accuracy}; {} range violations", grouped(&run["range_violations"])),
                "`simulate --model MODEL --data DIR --seeds 3`",
            ]));
            if headline.is_empty() {
                headline.push(row(&[
                    &format!("{name}, accuracy of 10,000 test pictures, and answers that are as the integers predict them"),
                    &format!(
                        "{:.2} % (float {float} %), {} of {}",
                        number(&run, "accuracy"),
                        t["agree_with_reference"],
                        t["images"]
                    ),
                    "CrypTen cuts shares one by one: ±1, and a value v is garbled with a probability of about abs(v) / 2^63",
                    "`simulate`, `demo`",
                ]));
            }
            let mut processes = vec![("t", "third", "logits", t)];
            for (mode, client) in [("s", "p0"), ("s", "third"), ("h", "p0"), ("h", "third")] {
                processes.push((mode, client, "label", demo(mode, client, "label")?));
            }
            for (mode, client, release, report) in processes {
                figures.push(row(&[
                    &format!("{name}, two processes, an inference"),
                    &format!(
                        "{}; {} of {} answers equal the reference bit for bit",
                        costs(&report),
                        report["agree_with_reference"],
                        report["images"]
                    ),
                    &format!("`demo --model MODEL --data DIR --images {IMAGES} --mode {mode} --client {client} --release {release}`"),
                ]));
            }
            let report = imported;
            eprintln!("{name}: {} bytes of model", report["model_bytes"]);
        }
        Ok((numerics, figures))
    }

    fn gates(&self, headline: &mut Vec<String>) -> Result<Vec<String>, String> {
        let mut rows = Vec::new();
        for width in ["10", "16"] {
            let relu = self.run(&["bench", "relu", "--n", "65536", "--width", width])?;
            let bytes = number(&relu["bytes_per_element"], 0);
            if width == "10" {
                headline.push(row(&[
                    "a ReLU: bytes that a party sends, rounds",
                    &format!("{bytes:.2}, {}", relu["rounds"]),
                    "CrypTen 232, 9; Cheetah 25",
                    "`bench relu --n 65536 --width 10`",
                ]));
            }
            rows.push(row(&[
                &format!("ReLU of 65,536 elements, mode T, {width} opened bits"),
                &format!(
                    "{bytes:.2} bytes an element and party, {} rounds, {} ms of processor [P0, P1]",
                    relu["rounds"],
                    millis(&relu["cpu_s"])
                ),
                &format!("`bench relu --n 65536 --width {width}`"),
            ]));
        }
        for bits in ["32", "16"] {
            let conv = self.run(&["bench", "conv", "--bits", bits])?;
            rows.push(row(&[
                &format!("convolution 64→64, 3×3, 32×32, and opening 1, {bits}-bit ring"),
                &format!("{} ms of processor [P0, P1]", millis(&conv["cpu_s"])),
                &format!("`bench conv --bits {bits}`"),
            ]));
        }
        Ok(rows)
    }

    fn resnet18(&self, headline: &mut Vec<String>) -> Result<Vec<String>, String> {
        let runs: [&[&str]; 6] = [
            &["--relus", "all"],
            &["--relus", "all", "--chunk", "8"],
            &["--relus", "50000"],
            &["--relus", "12900"],
            &["--relus", "none"],
            &["--relus", "12900", "--mode", "h", "--p0-memory", "65536"],
        ];
        let mut rows = Vec::new();
        for arguments in runs {
            let report = self.run(&[&["bench", "resnet18"], arguments].concat())?;
            let over = &report["cpu_over_limit"];
            let command = format!("`bench resnet18 {}`", arguments.join(" "));
            if arguments == ["--relus", "all"] {
                headline.push(row(&[
                    "ResNet-18, all 491,520 ReLUs: MB that a party sends",
                    &format!("{:.1}", number(&report["bytes_sent"], 0) / 1e6),
                    "CrypTen 114 for the ReLUs alone",
                    &command,
                ]));
                headline.push(row(&[
                    "its one-time material, MB a party",
                    &format!("P0 0 (32 bytes, once), P1 {:.1}", number(&report, "bundle_bytes") / 1e6),
                    "LLAMA 399, Orca 275 for the ReLUs alone",
                    &command,
                ]));
            }
            if arguments == ["--relus", "12900"] {
                headline.push(row(&[
                    "ResNet-18, 12,900 ReLUs: ms",
                    &format!("{:.0}", 1e3 * number(&report, "wall_s")),
                    "AutoReP 170, in its paper",
                    &command,
                ]));
            }
            rows.push(row(&[
                &format!("random ResNet-18, CIFAR shape, {} of 491,520 activations ReLU", grouped(&report["relus"])),
                &format!(
                    "{}; processor {:.2} / {:.2} × the limit's time for its multiply-adds; logits' error {:.3} of their deviation",
                    costs(&report),
                    number(over, 0),
                    number(over, 1),
                    number(&report, "relative_rms_error"),
                ),
                &command,
            ]));
        }
        Ok(rows)
    }
}

/// What an inference takes.
fn costs(report: &Value) -> String {
    format!(
        "{} bytes sent [P0, P1], {} rounds, {:.1} ms, processor {} ms, arena {} bytes, peak resident {:.0} / {:.0} MB, bundle {} bytes",
        pair(&report["bytes_sent"]),
        report["rounds"],
        1e3 * number(report, "wall_s"),
        millis(&report["cpu_s"]),
        pair(&report["arena_bytes"]),
        number(&report["peak_rss_bytes"], 0) / 1e6,
        number(&report["peak_rss_bytes"], 1) / 1e6,
        grouped(&report["bundle_bytes"]),
    )
}

fn number(value: &Value, index: impl serde_json::value::Index) -> f64 {
    value[index].as_f64().unwrap_or(f64::NAN)
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

fn millis(pair: &Value) -> String {
    format!("{:.1} / {:.1}", 1e3 * number(pair, 0), 1e3 * number(pair, 1))
}

fn pair(pair: &Value) -> String {
    format!("{} / {}", grouped(&pair[0]), grouped(&pair[1]))
}

/// Digits in groups of three.
fn grouped(value: &Value) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn row(cells: &[&str]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// Puts a table between the two marks of `name`.
fn replace(path: &Path, name: &str, head: &str, rows: &[String]) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    let document = std::fs::read_to_string(path).map_err(failed)?;
    let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("<!-- {name}:end -->"));
    let (before, rest) =
        document.split_once(&begin).ok_or_else(|| format!("{} has no {begin}", path.display()))?;
    let (_, after) = rest.split_once(&end).ok_or_else(|| format!("{} has no {end}", path.display()))?;
    std::fs::write(path, [before, &begin, head, &rows.concat(), &end, after].concat()).map_err(failed)
}
