//! Processes of this program, started by it: a task as a command line.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use halfnet_core::plan::Role;

use crate::check::inspection::{client_name, mode_name, release_name};
use crate::check::pair::{Launcher, Task};
use crate::party::process::{DealRequest, PartyConfig, PeerAddress};

/// The `halfnet` program as what starts dealers and parties.
#[derive(Clone, Debug)]
pub struct Halfnet {
    program: Option<PathBuf>,
}

impl Halfnet {
    /// The program that is running.
    pub(crate) const CURRENT: Self = Self { program: None };

    /// The program at a path.
    #[must_use]
    pub const fn at(program: PathBuf) -> Self {
        Self { program: Some(program) }
    }
}

impl Launcher for Halfnet {
    fn command(&self, task: &Task<'_>) -> io::Result<Command> {
        let mut command = Command::new(match &self.program {
            Some(program) => program.clone(),
            None => std::env::current_exe()?,
        });
        command.args(match task {
            Task::Deal(request) => deal(request),
            Task::Party { config, role } => {
                let mut arguments = party("party", config);
                arguments.flag("--role", role.index().to_string());
                if let Some(count) = config.inferences {
                    arguments.flag("--inferences", count.to_string());
                }
                if config.keep_going {
                    arguments.0.push("--keep-going".into());
                }
                if let Some(bundles) = &config.bundles {
                    arguments.flag("--bundles", bundles);
                }
                if let Some(address) = config.clients {
                    arguments.flag("--clients", address.to_string());
                }
                arguments.0
            }
            Task::Infer { config, pictures } => {
                let mut arguments = party("infer", config);
                arguments.flag("--raw-pictures", pictures);
                arguments.0
            }
        });
        Ok(command)
    }
}

struct Arguments(Vec<OsString>);

impl Arguments {
    fn flag(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.extend([name.into(), value.into()]);
    }
}

fn deal(request: &DealRequest) -> Vec<OsString> {
    let options = &request.options;
    let mut arguments = Arguments(vec!["deal".into(), "--json".into()]);
    arguments.flag("--model", &request.model);
    arguments.flag("--out", &request.out);
    arguments.flag("--bundles", request.count.to_string());
    arguments.flag("--mode", mode_name(options.mode));
    arguments.flag("--client", client_name(options.client));
    arguments.flag("--release", release_name(options.release));
    arguments.flag("--chunk", options.chunk_bits.to_string());
    for (flag, role) in [("--p0-memory", Role::Seed), ("--p1-memory", Role::Bundle)] {
        arguments.flag(flag, options.memory[role.index()].to_string());
    }
    if let Some(seed) = &request.test_seed {
        arguments.flag("--insecure-test-seed", seed);
    }
    arguments.0
}

fn party(command: &str, config: &PartyConfig) -> Arguments {
    let mut arguments = Arguments(vec![command.into(), "--report-json".into(), "--end-with-input".into()]);
    arguments.flag("--material", &config.material);
    arguments.flag("--timeout", config.timeout.as_secs_f64().to_string());
    match &config.peer {
        PeerAddress::Listen(address) => arguments.flag("--peer-listen", address.to_string()),
        PeerAddress::Connect(address) => arguments.flag("--peer-connect", address.to_string()),
        PeerAddress::Line { path, baud } => {
            arguments.flag("--serial", path);
            arguments.flag("--baud", baud.to_string());
        }
    }
    if config.insecure_plaintext {
        arguments.0.push("--insecure-plaintext".into());
    }
    if let Some(seed) = &config.test_seed {
        arguments.flag("--insecure-test-seed", seed);
    }
    arguments
}
