//! Both parties as processes of their own on this machine, and what they report.

use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
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
use crate::party::process::{
    ClientConfig, DealRequest, Event, InferenceStats, PartyConfig, PartyStats, PeerAddress, ProcessError,
    ThirdClient,
};

/// What a process is started to do.
#[derive(Clone, Copy, Debug)]
pub enum Task<'a> {
    /// Deal a new pairing; errors go to standard error.
    Deal(&'a DealRequest),
    /// Run a party. It writes each [`Event`] to standard output, a line of JSON each, and ends with its standard
    /// input.
    Party {
        /// What it is told.
        config: &'a PartyConfig,
        /// Which party.
        role: Role,
    },
    /// As P0, classify the pictures of a file of [`read_raw`](crate::party::process::read_raw); else as
    /// [`Task::Party`].
    Infer {
        /// What it is told.
        config: &'a PartyConfig,
        /// The pictures.
        pictures: &'a Path,
    },
}

/// How a process is started that does a [`Task`]: which program, and how it is told.
pub trait Launcher {
    /// The command; standard streams are the caller's to set.
    ///
    /// # Errors
    /// The operating system does not say which program that is.
    fn command(&self, task: &Task<'_>) -> io::Result<Command>;
}

/// How long a process may take to say why it ended.
const SAYING: Duration = Duration::from_millis(500);
/// A port that the operating system chooses, for this machine alone.
const ANY_PORT: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));

/// Pictures to be classified by two processes.
#[derive(Clone)]
pub struct PairRun<'a> {
    /// How to start them.
    pub launcher: &'a dyn Launcher,
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
impl core::fmt::Debug for PairRun<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut out = f.debug_struct("PairRun");
        out.field("dealt", &self.dealt)
            .field("pictures", &self.pictures.len())
            .field("timeout", &self.timeout);
        out.finish_non_exhaustive()
    }
}

impl PairRun<'_> {
    /// Runs both parties; `progress` is told how many pictures are done.
    ///
    /// # Errors
    /// A process ended early (with what it said), or bytes or rounds are not what the plan states.
    pub fn run(&self, progress: &mut dyn FnMut(u64)) -> Result<PairReport, ProcessError> {
        let path = self.dealt.join(names::PLAN);
        let public = Public::read(&path)?;
        let plan = public.plan(&path)?;
        let third = plan.header.options.client == Client::Third;
        let config = self.config(Role::Bundle, PeerAddress::Listen(ANY_PORT), third);
        let mut one = Party::start(self.launcher, &Task::Party { config: &config, role: Role::Bundle })?;
        let Event::Listening { peer: Some(peer), clients } = one.next(self.timeout)? else {
            return Err(one.failed("it did not say where it listens"));
        };
        let one_clients = clients;

        // The pictures are in the child's hands for as long as the run lasts.
        let raw = TemporaryFile::write(&self.dealt, &self.pictures)?;
        let config = self.config(Role::Seed, PeerAddress::Connect(peer), third);
        let mut zero = Party::start(
            self.launcher,
            &if third {
                Task::Party { config: &config, role: Role::Seed }
            } else {
                Task::Infer { config: &config, pictures: &raw.0 }
            },
        )?;
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
                return Err(ProcessError::Internal("the parties report different inferences".into()));
            }
            if bytes_sent != cost.bytes_sent || rounds != cost.rounds {
                return Err(ProcessError::Internal(format!(
                    "the plan states {:?} bytes and {} rounds, the parties moved {bytes_sent:?} in {rounds}",
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
            return Err(ProcessError::Internal(format!(
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

    fn config(&self, role: Role, peer: PeerAddress, third: bool) -> PartyConfig {
        let material = self.dealt.join(if role == Role::Seed { names::PARTY_ZERO } else { names::PARTY_ONE });
        PartyConfig {
            clients: third.then_some(ANY_PORT),
            test_seed: self.test_seed.clone(),
            timeout: self.timeout,
            inferences: Some(self.pictures.len() as u64),
            ..PartyConfig::new(material, peer)
        }
    }
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
    /// Did it say that the other end of a link was gone?
    peer_gone: bool,
}

impl Party {
    fn start(launcher: &dyn Launcher, task: &Task<'_>) -> Result<Self, ProcessError> {
        let role = match task {
            Task::Party { role, .. } => *role,
            Task::Deal(_) | Task::Infer { .. } => Role::Seed,
        };
        let mut command = launcher.command(task)?;
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
        Ok(Self { role, child, _input: input, events, errors, peer_gone: false })
    }

    fn next(&mut self, timeout: Duration) -> Result<Event, ProcessError> {
        match self.events.recv_timeout(timeout) {
            Ok(event) => {
                self.peer_gone |= event == Event::PeerGone;
                Ok(event)
            }
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
        let end = std::time::Instant::now() + SAYING;
        loop {
            let status = self.child.get().try_wait();
            match status {
                Ok(Some(status)) if !status.success() => {
                    // What it wrote before it ended.
                    while let Ok(event) = self.events.recv_timeout(SAYING) {
                        self.peer_gone |= event == Event::PeerGone;
                    }
                    return (!self.peer_gone).then(|| self.failed("it failed"));
                }
                Ok(Some(_)) | Err(_) => return None,
                Ok(None) if std::time::Instant::now() > end => return None,
                Ok(None) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    fn failed(&mut self, otherwise: &str) -> ProcessError {
        let said = self.errors.recv_timeout(SAYING).unwrap_or_default();
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

    /// Starts nothing.
    struct Nobody;

    impl Launcher for Nobody {
        fn command(&self, _task: &Task<'_>) -> io::Result<Command> {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    #[test]
    fn pictures_and_seeds_are_not_printed() {
        let run = PairRun {
            launcher: &Nobody,
            dealt: "dealt".into(),
            pictures: vec![vec![201; 9]],
            test_seed: Some("c0ffee".into()),
            timeout: Duration::from_secs(1),
        };
        let text = format!("{run:?}");
        assert!(text.contains("dealt") && !text.contains("201") && !text.contains("c0ffee"), "{text}");
    }
}
