//! What a step needs beyond a Rust toolchain and a C linker, and how a machine gets it.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::run::{run, succeeds_within};
use crate::steps::CARGO;

/// Something that a step cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// A component of the toolchain, as `clippy`.
    Component(&'static str),
    /// The standard library of another target.
    Target(&'static str),
    /// A program, and the Debian packages that bring it.
    Program { name: &'static str, packages: &'static [&'static str] },
    /// A command of cargo's that is built from source, as `cargo-deny`.
    Subcommand(&'static str),
    /// Another toolchain, by its version.
    Toolchain(&'static str),
}

/// Meets needs, each at most once.
#[derive(Default)]
pub(crate) struct Setup {
    met: BTreeMap<Need, Result<(), String>>,
    package_lists_are_fresh: bool,
}

impl Setup {
    /// Makes sure that `need` is there.
    ///
    /// # Errors
    /// It is not and could not be installed; the text says what is missing and which command brings it.
    pub(crate) fn meet(&mut self, need: &Need) -> Result<(), String> {
        if let Some(result) = self.met.get(need) {
            return result.clone();
        }
        let result = match *need {
            Need::Component(name) => rustup("component", name),
            Need::Target(name) => rustup("target", name),
            Need::Program { name, packages } => self.program(name, packages),
            Need::Subcommand(name) => subcommand(name),
            Need::Toolchain(version) => toolchain(version),
        };
        self.met.insert(*need, result.clone());
        result
    }

    fn program(&mut self, name: &str, packages: &[&str]) -> Result<(), String> {
        if is_on_path(name) {
            return Ok(());
        }
        let advice = format!("`{name}` is missing: apt-get install {}", packages.join(" "));
        if !is_on_path("apt-get") || output("id", &["-u"]).as_deref().map(str::trim) != Some("0") {
            return Err(advice);
        }
        if !self.package_lists_are_fresh {
            let mut update = Command::new("apt-get");
            update.args(["update", "-qq"]);
            self.package_lists_are_fresh = run(update).0;
        }
        let mut install = Command::new("apt-get");
        install
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(packages);
        if run(install).0 && is_on_path(name) { Ok(()) } else { Err(advice) }
    }
}

/// Adds a `component` or a `target` of the toolchain in use, unless it is installed already: then nothing is
/// fetched.
fn rustup(kind: &str, name: &str) -> Result<(), String> {
    let Some(installed) = output("rustup", &[kind, "list", "--installed"]) else {
        return Err(format!("rustup is missing, which would add the {kind} {name}: see https://rustup.rs"));
    };
    // Components are listed with the host's triple, as `clippy-x86_64-unknown-linux-gnu`.
    let is_it = |line: &str| {
        line == name
            || (kind == "component" && line.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')))
    };
    if installed.lines().any(is_it) {
        return Ok(());
    }
    let mut add = Command::new("rustup");
    add.args([kind, "add", name]);
    if run(add).0 {
        Ok(())
    } else {
        Err(format!("the {kind} {name} could not be added: rustup {kind} add {name}"))
    }
}

fn subcommand(name: &str) -> Result<(), String> {
    if is_on_path(name) {
        return Ok(());
    }
    println!("{name} is missing and takes one to three minutes to build");
    let mut install = Command::new(CARGO);
    install.args(["install", name, "--locked"]);
    if run(install).0 {
        Ok(())
    } else {
        Err(format!("{name} could not be installed: cargo install {name} --locked"))
    }
}

/// How long a toolchain may take to arrive. Where there is no way to it, rustup tries for minutes.
const TOOLCHAIN_LIMIT: Duration = Duration::from_secs(60);

fn toolchain(version: &str) -> Result<(), String> {
    let Some(installed) = output("rustup", &["toolchain", "list"]) else {
        return Err(format!("rustup is missing, which would bring Rust {version}: see https://rustup.rs"));
    };
    // Listed with the host's triple, as `1.93-x86_64-unknown-linux-gnu`.
    if installed.lines().any(|line| line.strip_prefix(version).is_some_and(|rest| rest.starts_with('-'))) {
        return Ok(());
    }
    let mut install = Command::new("rustup");
    install.args(["toolchain", "install", version, "--profile", "minimal", "--no-self-update"]);
    if succeeds_within(TOOLCHAIN_LIMIT, install) {
        Ok(())
    } else {
        let command = format!("rustup toolchain install {version} --profile minimal");
        Err(format!("Rust {version} could not be had within {} s: {command}", TOOLCHAIN_LIMIT.as_secs()))
    }
}

/// Is there a program of this name on the path?
pub(crate) fn is_on_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// What a command printed, if it could be run and succeeded.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_on_the_path() {
        assert!(is_on_path("cargo"));
        assert!(!is_on_path("halfnet-no-such-program"));
    }

    #[test]
    fn output_of_a_failing_command_is_none() {
        assert_eq!(output("cargo", &["no-such-command"]), None);
    }
}
