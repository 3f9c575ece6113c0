//! Both parties as processes of their own on this machine, and what they report.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use halfnet_core::plan::cost::plan_cost;
use halfnet_core::plan::{Client, Role};
use serde::Serialize;

use crate::check::interrupt::OwnChild;
use crate::party::link::LayerTrace;
use crate::party::material::{Public, names, write_secret};
use crate::party::process::{ClientConfig, Event, InferenceStats, PartyStats, ProcessError, ThirdClient};

/// How to start another process of this program: what stands before `party` and `infer`.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// The program.
    pub program: PathBuf,
    /// Arguments before the command.
    pub arguments: Vec<OsString>,
    /// Environment variables of the child.
    pub environment: Vec<(OsString, OsString)>,
    /// The command itself goes into this variable, its arguments parted by line ends, instead of the command
    /// line.
    pub command_variable: Option<OsString>,
}

impl Launcher {
    /// The program that is running.
    ///
    /// # Errors
    /// The operating system does not say which that is.
    pub fn current() -> Result<Self, ProcessError> {
        Ok(Self {
            program: std::env::current_exe()?,
            arguments: Vec::new(),
            environment: Vec::new(),
            command_variable: None,
        })
    }

    fn command(&self, arguments: &[OsString]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        match &self.command_variable {
            None => command.args(arguments),
            Some(variable) => command.env(variable, arguments.join(std::ffi::OsStr::new("\n"))),
        };
        command
    }
}

/// Pictures to be classified by two processes.
#[derive(Clone)]
pub struct PairRun {
    /// How to start them.
    pub launcher: Launcher,
    /// A folder as [`deal()`](crate::party::process::deal()) makes it, with bundles enough.
    pub dealt: PathBuf,
    /// Pictures, bytes in (channel, row, column) order.
    pub pictures: Vec<Vec<u8>>,
    /// Nonces from a test seed.
    pub test_seed: Option<String>,
    /// How long a process may be silent.
    pub timeout: Duration,
}

/// One inference of both parties.
#[derive(Clone, Debug, Serialize)]
pub struct PairInference {
    /// Its counter.
    pub counter: u64,
    /// The label alone, or the logits.
    pub values: Vec<i64>,
    /// Bytes that each party wrote after the burn, [P0, P1].
    pub bytes_sent: [u64; 2],
    /// Exchanges between the parties.
    pub rounds: u32,
    /// Longest chain of dependent messages, the client's included; stated by the plan.
    pub flights: u32,
    /// Seconds from when both had burned the counter.
    pub wall_s: f64,
    /// Processor seconds, [P0, P1].
    pub cpu_s: [f64; 2],
    /// By layer, [P0, P1].
    pub layers: Vec<[LayerTrace; 2]>,
    /// Input and hash of E, [P0, P1].
    pub outside: [LayerTrace; 2],
}

/// A run of both parties.
#[derive(Clone, Debug, Serialize)]
pub struct PairReport {
    /// One a picture.
    pub inferences: Vec<PairInference>,
    /// The most memory that each process held resident, [P0, P1].
    pub peak_rss_bytes: [u64; 2],
    /// Working memory, [P0, P1].
    pub arena_bytes: [u64; 2],
    /// Packed weights, [P0, P1].
    pub weight_bytes: [u64; 2],
    /// Bytes of a bundle.
    pub bundle_bytes: u64,
}

/// Without the pictures and the test seed.
impl core::fmt::Debug for PairRun {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut out = f.debug_struct("PairRun");
        out.field("dealt", &self.dealt)
            .field("pictures", &self.pictures.len())
            .field("timeout", &self.timeout);
        out.finish_non_exhaustive()
    }
}

impl PairRun {
    /// Runs both parties; `progress` is told how many pictures are done.
    ///
    /// # Errors
    /// A process ended early (with what it said), or bytes or rounds are not what the plan states.
    pub fn run(&self, progress: &mut dyn FnMut(u64)) -> Result<PairReport, ProcessError> {
        let path = self.dealt.join(names::PLAN);
        let public = Public::read(&path)?;
        let plan = public.plan(&path)?;
        let third = plan.header.options.client == Client::Third;
        let count = self.pictures.len() as u64;

        let mut arguments = self.arguments("party", Role::Bundle, third);
        arguments.extend(strings(&[
            "--role",
            "1",
            "--inferences",
            &count.to_string(),
            "--peer-listen",
            &any_port(),
        ]));
        let mut one = Party::start(&self.launcher, &arguments, Role::Bundle)?;
        let Event::Listening { peer: Some(peer), clients } = one.next(self.timeout)? else {
            return Err(one.failed("it did not say where it listens"));
        };
        let one_clients = clients;

        // The pictures are in the child's hands for as long as the run lasts.
        let raw = TemporaryFile::write(&self.dealt, &self.pictures)?;
        let mut arguments = self.arguments(if third { "party" } else { "infer" }, Role::Seed, third);
        arguments.extend(strings(&["--peer-connect", &peer.to_string()]));
        if third {
            arguments.extend(strings(&["--role", "0", "--inferences", &count.to_string()]));
        } else {
            arguments.extend([OsString::from("--raw-pictures"), raw.0.clone().into()]);
        }
        let mut zero = Party::start(&self.launcher, &arguments, Role::Seed)?;
        let Event::Listening { clients, .. } = zero.next(self.timeout)? else {
            return Err(zero.failed("it did not begin"));
        };

        let mut answers = Vec::with_capacity(self.pictures.len());
        let mut stats: [Vec<InferenceStats>; 2] = [Vec::new(), Vec::new()];
        if third {
            let (Some(zero_clients), Some(one_clients)) = (clients, one_clients) else {
                return Err(zero.failed("it did not say where clients come to"));
            };
            let config = ClientConfig {
                plan: path.clone(),
                parties: [zero_clients, one_clients],
                insecure_plaintext: false,
                test_seed: self.test_seed.clone(),
                timeout: self.timeout,
            };
            let mut client = ThirdClient::connect(&config, &public, &plan)?;
            for picture in &self.pictures {
                // What the parties say of a failure is closer to its cause than what the client sees.
                let values =
                    client.infer(picture).map_err(|e| zero.cause().or_else(|| one.cause()).unwrap_or(e))?;
                answers.push(values);
                progress(answers.len() as u64);
            }
        }
        while answers.len() < self.pictures.len() {
            match zero.next_or_cause(self.timeout, &mut one)? {
                Event::Inference(inference) => stats[0].push(inference),
                Event::Answer { values } => {
                    answers.push(values);
                    progress(answers.len() as u64);
                }
                _ => {}
            }
        }
        let ended = [zero.finish(self.timeout, &mut stats[0])?, one.finish(self.timeout, &mut stats[1])?];

        let cost = plan_cost(&plan);
        let [zeros, ones] = stats;
        let mut inferences = Vec::with_capacity(answers.len());
        for ((values, a), b) in answers.into_iter().zip(zeros).zip(ones) {
            let (bytes_sent, rounds) = ([a.bytes_sent, b.bytes_sent], a.rounds);
            if (a.counter, a.rounds, &a.session) != (b.counter, b.rounds, &b.session) {
                return Err(ProcessError::Usage("the parties report different inferences".into()));
            }
            if bytes_sent != cost.bytes_sent || rounds != cost.rounds {
                return Err(ProcessError::Usage(format!(
                    "the plan states {:?} bytes and {} rounds, the parties moved {bytes_sent:?} in {rounds}: please report this",
                    cost.bytes_sent, cost.rounds
                )));
            }
            inferences.push(PairInference {
                counter: a.counter,
                values,
                bytes_sent,
                rounds,
                flights: cost.flights,
                // Both have burned when the later of the two begins.
                wall_s: a.wall_s.min(b.wall_s),
                cpu_s: [a.cpu_s, b.cpu_s],
                layers: a.layers.into_iter().zip(b.layers).map(|(a, b)| [a, b]).collect(),
                outside: [a.outside, b.outside],
            });
        }
        if inferences.len() != self.pictures.len() {
            return Err(ProcessError::Usage(format!(
                "{} pictures, but the parties report {} inferences",
                self.pictures.len(),
                inferences.len()
            )));
        }
        Ok(PairReport {
            inferences,
            peak_rss_bytes: ended.map(|e| e.peak_rss_bytes),
            arena_bytes: ended.map(|e| e.arena_bytes),
            weight_bytes: ended.map(|e| e.weight_bytes),
            bundle_bytes: ended[1].bundle_bytes,
        })
    }

    fn arguments(&self, command: &str, role: Role, third: bool) -> Vec<OsString> {
        let material = self.dealt.join(if role == Role::Seed { names::PARTY_ZERO } else { names::PARTY_ONE });
        let mut arguments: Vec<OsString> = vec![command.into(), "--material".into(), material.into()];
        arguments.extend(strings(&[
            "--report-json",
            "--end-with-input",
            "--timeout",
            &self.timeout.as_secs_f64().to_string(),
        ]));
        if let Some(seed) = &self.test_seed {
            arguments.extend(strings(&["--insecure-test-seed", seed]));
        }
        if third {
            arguments.extend(strings(&["--clients", &any_port()]));
        }
        arguments
    }
}

fn strings(list: &[&str]) -> Vec<OsString> {
    list.iter().map(OsString::from).collect()
}

fn any_port() -> String {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).to_string()
}

struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn write(folder: &Path, pictures: &[Vec<u8>]) -> Result<Self, ProcessError> {
        let file = Self(folder.join(format!(".pictures-{}", std::process::id())));
        write_secret(&file.0, |out| pictures.iter().try_for_each(|picture| out.write_all(picture)))?;
        Ok(file)
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A child process.
struct Party {
    role: Role,
    child: OwnChild,
    /// Ends with this process, whatever happens to it, and the child with it.
    _input: Option<ChildStdin>,
    events: Receiver<Event>,
    errors: Receiver<String>,
}

impl Party {
    fn start(launcher: &Launcher, arguments: &[OsString], role: Role) -> Result<Self, ProcessError> {
        let mut command = launcher.command(arguments);
        let child =
            OwnChild::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()))?;
        let (input, out, err) = {
            let mut child = child.get();
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        };
        let (send_event, events) = channel();
        let (send_error, errors) = channel();
        if let Some(out) = out {
            std::thread::spawn(move || {
                for line in BufReader::new(out).lines().map_while(Result::ok) {
                    // A harness may print lines of its own.
                    if let Some(event) = line.find('{').and_then(|at| serde_json::from_str(&line[at..]).ok())
                        && send_event.send(event).is_err()
                    {
                        break;
                    }
                }
            });
        }
        if let Some(mut err) = err {
            std::thread::spawn(move || {
                let mut text = String::new();
                let _ = err.read_to_string(&mut text);
                let _ = send_error.send(text);
            });
        }
        Ok(Self { role, child, _input: input, events, errors })
    }

    fn next(&mut self, timeout: Duration) -> Result<Event, ProcessError> {
        match self.events.recv_timeout(timeout) {
            Ok(event) => Ok(event),
            Err(RecvTimeoutError::Timeout) => Err(self.failed("it has been silent for too long")),
            Err(RecvTimeoutError::Disconnected) => Err(self.failed("it said nothing")),
        }
    }

    /// As [`Party::next`]; if this party failed because the other did, the other's error is the one that
    /// counts.
    fn next_or_cause(&mut self, timeout: Duration, other: &mut Self) -> Result<Event, ProcessError> {
        self.next(timeout).map_err(|e| other.cause().unwrap_or(e))
    }

    /// Why the process ended, if it failed by itself and not because its peer left.
    fn cause(&mut self) -> Option<ProcessError> {
        let end = std::time::Instant::now() + Duration::from_millis(500);
        loop {
            let status = self.child.get().try_wait();
            match status {
                Ok(Some(status)) if !status.success() => {
                    let error = self.failed("it failed");
                    return (!error.to_string().contains("closed the connection")).then_some(error);
                }
                Ok(Some(_)) | Err(_) => return None,
                Ok(None) if std::time::Instant::now() > end => return None,
                Ok(None) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    fn failed(&mut self, otherwise: &str) -> ProcessError {
        let said = self.errors.recv_timeout(Duration::from_millis(500)).unwrap_or_default();
        let reason = if said.trim().is_empty() { otherwise.to_owned() } else { said.trim().to_owned() };
        ProcessError::Child { role: self.role, reason }
    }

    /// Waits for the end.
    fn finish(
        &mut self,
        timeout: Duration,
        stats: &mut Vec<InferenceStats>,
    ) -> Result<PartyStats, ProcessError> {
        loop {
            match self.next(timeout)? {
                Event::Inference(inference) => stats.push(inference),
                Event::Finished(party) => {
                    let status = self.child.wait()?;
                    return if status.success() {
                        Ok(party)
                    } else {
                        Err(self.failed("it failed at its end"))
                    };
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_and_seeds_are_not_printed() {
        let run = PairRun {
            launcher: Launcher::current().unwrap(),
            dealt: "dealt".into(),
            pictures: vec![vec![201; 9]],
            test_seed: Some("c0ffee".into()),
            timeout: Duration::from_secs(1),
        };
        let text = format!("{run:?}");
        assert!(text.contains("dealt") && !text.contains("201") && !text.contains("c0ffee"), "{text}");
    }
}
