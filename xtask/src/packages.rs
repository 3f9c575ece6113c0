//! The steps that look at `halfnet-core` and `halfnet-host` as their users do: packaged, by examples, with the
//! oldest compiler that they promise.

use std::process::Command;

use crate::setup::Need;
use crate::steps::{Step, cargo, with, within};

/// The crates that are published.
const PUBLISHED: [&str; 2] = ["halfnet-core", "halfnet-host"];
/// The oldest Rust that builds them: the first of `rust-version` in the workspace's manifest.
const OLDEST_RUST: &str = concat!(env!("CARGO_PKG_RUST_VERSION"), ".0");

/// An example of a published crate: package, name, and the arguments that it is run with, in the repository's
/// folder. One that serves until it is stopped is built only.
type Example = (&'static str, &'static str, Option<&'static [&'static str]>);

/// Every example, a line each.
const ALL_EXAMPLES: &[Example] = &[
    ("halfnet-core", "two_parties", Some(&[])),
    ("halfnet-host", "import", Some(&["assets/mnist_cnn_500.safetensors", "target/example.postcard"])),
    ("halfnet-host", "party", None),
];

/// The examples.
pub(crate) const EXAMPLES: Step = Step {
    name: "examples",
    what: "the examples of the published crates build and run",
    commands: || {
        let mut build = cargo(&["build", "--examples"]);
        build.args(packages());
        let run = |&(package, name, arguments): &Example| {
            let mut run = cargo(&["run", "--quiet", "--package", package, "--example", name, "--"]);
            run.args(arguments?);
            Some(within(".", run))
        };
        std::iter::once(build).chain(ALL_EXAMPLES.iter().filter_map(run)).collect()
    },
    ..Step::PLAIN
};

/// The packages.
pub(crate) const PACKAGE: Step = Step {
    name: "package",
    what: "the published crates are packaged, and build from their packages alone",
    commands: || {
        // Files that are not committed yet are packaged too: the check comes before the commit.
        let mut package = cargo(&["package", "--allow-dirty"]);
        package.args(packages());
        // In the folder and the profile of the tests, which have built the dependencies.
        let package = with(package, "CARGO_TARGET_DIR", "target");
        let package = with(package, "CARGO_PROFILE_DEV_OPT_LEVEL", "2");
        let package = with(package, "CARGO_PROFILE_DEV_DEBUG", "line-tables-only");
        vec![within(".", package)]
    },
    ..Step::PLAIN
};

/// The oldest compiler.
pub(crate) const MSRV: Step = Step {
    name: "msrv",
    what: "the published crates compile with the oldest Rust that their manifests name",
    needs: &[Need::Toolchain(OLDEST_RUST)],
    commands: || {
        let mut check = Command::new("rustup");
        check.args(["run", OLDEST_RUST, "cargo", "check"]).args(packages());
        vec![check]
    },
    ..Step::PLAIN
};

fn packages() -> impl Iterator<Item = &'static str> {
    PUBLISHED.into_iter().flat_map(|name| ["--package", name])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::root;

    #[test]
    fn every_example_is_run() {
        for (package, folder) in PUBLISHED.into_iter().zip(["core", "std-host"]) {
            let files =
                std::fs::read_dir(root().join(folder).join("examples")).into_iter().flatten().flatten();
            let mut found: Vec<String> = files
                .map(|file| file.file_name().to_string_lossy().trim_end_matches(".rs").to_owned())
                .collect();
            let listed = ALL_EXAMPLES.iter().filter(|example| example.0 == package);
            let mut listed: Vec<&str> = listed.map(|example| example.1).collect();
            found.sort();
            listed.sort();
            assert_eq!(found, listed, "examples of {package}, and those in xtask/src/packages.rs");
        }
    }
}
