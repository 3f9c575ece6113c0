//! The step that runs every fuzz target for a moment, from the seeds in `fuzz/seeds`.

use std::path::Path;
use std::process::Command;

use crate::setup::Need;
use crate::steps::{CARGO, Step, root, with, within};

/// How long each target runs.
const SECONDS: u32 = 20;

/// Every target.
pub(crate) const STEP: Step = Step {
    name: "fuzz",
    what: "every fuzz target, twenty seconds each from the seeds in fuzz/seeds",
    needs: &[Need::Subcommand("cargo-fuzz")],
    commands: || {
        let run = |target: String| {
            // What a run finds goes to the first folder, which git ignores.
            let [found, seeds] = ["corpus", "seeds"].map(|folder| format!("{folder}/{target}"));
            // libFuzzer wants it to be there; where it cannot be made, the run says so.
            let _ = std::fs::create_dir_all(root().join("fuzz").join(&found));
            let mut command = fuzz(&["run", &target, &found, &seeds, "--"]);
            command.args([&format!("-max_total_time={SECONDS}"), "-verbosity=0", "-print_final_stats=1"]);
            command
        };
        std::iter::once(fuzz(&["build"])).chain(targets().into_iter().map(run)).collect()
    },
    at_a_time: 2,
    ..Step::PLAIN
};

/// cargo-fuzz on the toolchain in use, a stable one: it counts branches by an unstable option of the compiler,
/// and goes without sanitizers, which only a nightly compiler has.
fn fuzz(arguments: &[&str]) -> Command {
    let mut command = Command::new(CARGO);
    command.arg("fuzz").arg(arguments[0]).args(["--sanitizer", "none"]).args(&arguments[1..]);
    with(within("fuzz", command), "RUSTC_BOOTSTRAP", "1")
}

/// The targets' names, in their order.
fn targets() -> Vec<String> {
    let files = std::fs::read_dir(root().join("fuzz/fuzz_targets")).into_iter().flatten().flatten();
    let name = |path: &Path| Some(path.file_stem()?.to_str()?.to_owned());
    let mut names: Vec<String> = files.filter_map(|file| name(&file.path())).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_seeds() {
        let targets = targets();
        assert!(targets.len() > 5, "{targets:?}");
        for target in targets {
            let seeds = std::fs::read_dir(root().join("fuzz/seeds").join(&target)).unwrap();
            assert!(seeds.count() > 0, "{target} has none");
        }
    }
}
