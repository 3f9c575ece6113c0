//! The command lines of `party` and `infer`: raw arguments, and what they resolve to.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{ArgGroup, Args};
use halfnet_core::plan::Role;

use super::exit::Failure;
use crate::network::pictures;
use crate::party::material::{PartyZero, Public};
use crate::party::process::{
    ClientConfig, Event, PartyConfig, PartyStats, PeerAddress, ProcessError, ThirdClient,
    infer_as_seed_party, read_raw, run_party,
};

/// The longest time that `--timeout` takes: a day.
pub(crate) const MAX_TIMEOUT_S: u32 = 86_400;

/// What every process that opens a connection is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct LinkArgs {
    /// Allow addresses that are not loopback: everything travels in the clear.
    #[arg(long)]
    pub(crate) insecure_plaintext: bool,
    /// Nonces from a seed instead of entropy, for repeatable runs. Insecure.
    #[arg(long, value_name = "HEX")]
    pub(crate) insecure_test_seed: Option<String>,
    /// How long the other end may be silent.
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    pub(crate) timeout: f64,
    /// Report events on standard output, one JSON object a line.
    #[arg(long, hide = true)]
    pub(crate) report_json: bool,
    /// End when standard input ends.
    #[arg(long, hide = true)]
    pub(crate) end_with_input: bool,
}

/// Where the other party is.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("peer").args(["peer_listen", "peer_connect", "serial"]))]
pub(crate) struct PeerArgs {
    /// Wait for the other party here.
    #[arg(long, value_name = "ADDR")]
    pub(crate) peer_listen: Option<SocketAddr>,
    /// Go to the other party there.
    #[arg(long, value_name = "ADDR")]
    pub(crate) peer_connect: Option<SocketAddr>,
    /// The other party is at the end of this line: a serial device, a pseudoterminal, or a socket in the file
    /// system.
    #[arg(long, value_name = "DEVICE")]
    pub(crate) serial: Option<PathBuf>,
    /// Bits a second of a serial device.
    #[arg(long, value_name = "N", default_value_t = 115_200, conflicts_with_all = ["peer_listen", "peer_connect"], value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) baud: u32,
}

/// `halfnet party`.
#[derive(Args, Clone, Debug)]
pub(crate) struct PartyArgs {
    /// 0, the seed party, or 1, the bundle party.
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=1))]
    pub(crate) role: u8,
    /// party0.postcard or party1.postcard.
    #[arg(long, value_name = "FILE")]
    pub(crate) material: PathBuf,
    /// P1's bundles; `bundles` beside the material if not named.
    #[arg(long, value_name = "DIR")]
    pub(crate) bundles: Option<PathBuf>,
    /// The other party.
    #[command(flatten)]
    pub(crate) peer: PeerArgs,
    /// Where third clients come to.
    #[arg(long, value_name = "ADDR")]
    pub(crate) clients: Option<SocketAddr>,
    /// End after so many inferences.
    #[arg(long, value_name = "N")]
    pub(crate) inferences: Option<u64>,
    /// Go on after an inference that failed.
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Connections.
    #[command(flatten)]
    pub(crate) link: LinkArgs,
}

/// `halfnet infer`.
#[derive(Args, Clone, Debug)]
pub(crate) struct InferArgs {
    /// Pictures: PNG files, or idx:N for picture N of the test set.
    #[arg(value_name = "FILE.png|FILE.wav|idx:N", required_unless_present = "raw_pictures")]
    pub(crate) pictures: Vec<String>,
    /// P0 as the client: its party0.postcard.
    #[arg(long, value_name = "FILE", required_unless_present = "plan", conflicts_with_all = ["plan", "p0", "p1"])]
    pub(crate) material: Option<PathBuf>,
    /// P0 as the client: where P1 is.
    #[command(flatten)]
    pub(crate) peer: PeerArgs,
    /// A third client: the plan.postcard that was dealt with the parties' files.
    #[arg(long, value_name = "FILE", requires_all = ["p0", "p1"])]
    pub(crate) plan: Option<PathBuf>,
    /// A third client: where P0 waits for clients.
    #[arg(long, value_name = "ADDR")]
    pub(crate) p0: Option<SocketAddr>,
    /// A third client: where P1 waits for clients.
    #[arg(long, value_name = "ADDR")]
    pub(crate) p1: Option<SocketAddr>,
    /// The data folder of idx:N.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Pictures in a row, as bytes.
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) raw_pictures: Option<PathBuf>,
    /// Connections.
    #[command(flatten)]
    pub(crate) link: LinkArgs,
}

impl LinkArgs {
    fn timeout(&self) -> Result<Duration, Failure> {
        let wrong = || {
            Failure::Usage(format!(
                "--timeout {}: must be above 0 and at most {MAX_TIMEOUT_S} seconds",
                self.timeout
            ))
        };
        let allowed = |t: &Duration| !t.is_zero() && *t <= Duration::from_secs(MAX_TIMEOUT_S.into());
        Duration::try_from_secs_f64(self.timeout).ok().filter(allowed).ok_or_else(wrong)
    }

    /// Sets `shutdown` when standard input ends, if asked to.
    fn watch_input(&self, shutdown: &'static AtomicBool) {
        if self.end_with_input {
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
                shutdown.store(true, Ordering::Relaxed);
            });
        }
    }

    fn reporter(&self) -> impl FnMut(Event) + use<> {
        let json = self.report_json;
        move |event| {
            if json {
                let mut out = std::io::stdout().lock();
                // A parent that is gone is noticed elsewhere.
                let _ = serde_json::to_writer(&mut out, &event)
                    .map_err(std::io::Error::from)
                    .and_then(|()| writeln!(out))
                    .and_then(|()| out.flush());
                return;
            }
            match event {
                Event::Listening { peer, clients } => {
                    for (address, who) in [(peer, "the other party"), (clients, "clients")] {
                        if let Some(address) = address {
                            eprintln!("waiting for {who} on {address}");
                        }
                    }
                }
                Event::Inference(stats) => {
                    eprintln!(
                        "counter {}: {} bytes sent, {} rounds, {:.1} ms",
                        stats.counter,
                        stats.bytes_sent,
                        stats.rounds,
                        1e3 * stats.wall_s
                    );
                }
                Event::Dropped { next, bundles } => {
                    eprintln!("{bundles} bundles below P0's counter {next} dropped")
                }
                Event::Failed { reason } => eprintln!("{reason}"),
                Event::Answer { .. } | Event::PeerGone | Event::Finished(_) => {}
            }
        }
    }

    fn warn(&self) {
        if self.insecure_test_seed.is_some() {
            eprintln!(
                "warning: --insecure-test-seed makes nonces that anybody can know; for tests on this machine alone"
            );
        }
    }
}

impl PeerArgs {
    fn resolve(&self) -> Result<PeerAddress, Failure> {
        match (self.peer_listen, self.peer_connect, &self.serial) {
            (Some(address), None, None) => Ok(PeerAddress::Listen(address)),
            (None, Some(address), None) => Ok(PeerAddress::Connect(address)),
            (None, None, Some(path)) => Ok(PeerAddress::Line { path: path.clone(), baud: self.baud }),
            _ => Err(Failure::Usage(
                "say where the other party is: --peer-listen ADDR, --peer-connect ADDR or --serial DEVICE"
                    .into(),
            )),
        }
    }
}

impl PartyArgs {
    /// What the arguments say.
    ///
    /// # Errors
    /// They contradict each other.
    fn resolve(&self) -> Result<(PartyConfig, Role), Failure> {
        let config = PartyConfig {
            material: self.material.clone(),
            bundles: self.bundles.clone(),
            peer: self.peer.resolve()?,
            clients: self.clients,
            insecure_plaintext: self.link.insecure_plaintext,
            test_seed: self.link.insecure_test_seed.clone(),
            timeout: self.link.timeout()?,
            inferences: self.inferences,
            keep_going: self.keep_going,
        };
        Ok((config, if self.role == 0 { Role::Seed } else { Role::Bundle }))
    }

    /// Runs the party until it ends by itself.
    ///
    /// # Errors
    /// See [`ProcessError`]; or the arguments contradict each other.
    pub(crate) fn run(&self, shutdown: &'static AtomicBool) -> Result<Served, Failure> {
        let (config, role) = self.resolve()?;
        self.link.warn();
        self.link.watch_input(shutdown);
        let mut served = Served { role: self.role, ..Served::default() };
        let mut reporter = self.link.reporter();
        let mut report = |event: Event| {
            match &event {
                Event::Inference(_) => served.inferences += 1,
                Event::Failed { .. } => served.failed += 1,
                Event::Finished(stats) => served.stats = *stats,
                _ => {}
            }
            reporter(event);
        };
        let ended = run_party(&config, role, shutdown, &mut report);
        ended.inspect_err(|error| ending(error, &mut report))?;
        Ok(served)
    }
}

/// Tells a parent process, which knows the other one too, where the cause is to be looked for.
fn ending(error: &ProcessError, report: &mut dyn FnMut(Event)) {
    if error.is_peer_gone() {
        report(Event::PeerGone);
    }
}

/// What a party did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Served {
    /// 0 or 1.
    pub(crate) role: u8,
    /// Inferences done.
    pub(crate) inferences: u64,
    /// Inferences that failed, where the party went on.
    pub(crate) failed: u64,
    /// The whole run's figures.
    #[serde(flatten)]
    pub(crate) stats: PartyStats,
}

/// Pictures and labels.
type Named = (Vec<Vec<u8>>, Vec<Option<u16>>);

/// One picture's answer.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Inferred {
    /// The picture's name.
    pub(crate) picture: String,
    /// The counter that it was asked under.
    pub(crate) counter: u64,
    /// The label alone, or the logits.
    pub(crate) values: Vec<i64>,
    /// What the data set says, where the picture is one of it.
    pub(crate) truth: Option<u16>,
}

impl InferArgs {
    /// Classifies the pictures, as P0 or as a third client.
    ///
    /// # Errors
    /// See [`ProcessError`]; or the arguments contradict each other.
    pub(crate) fn run(&self, shutdown: &'static AtomicBool) -> Result<Vec<Inferred>, Failure> {
        self.link.warn();
        self.link.watch_input(shutdown);
        let timeout = self.link.timeout()?;
        match (&self.material, &self.plan, self.p0, self.p1) {
            (Some(material), _, _, _) => {
                let mut config = PartyConfig::new(material.clone(), self.peer.resolve()?);
                config.insecure_plaintext = self.link.insecure_plaintext;
                config.test_seed = self.link.insecure_test_seed.clone();
                config.timeout = timeout;
                let public = PartyZero::read(material)?.public;
                let (pixels, labels) = self.read(&public, material)?;
                let mut counters = Vec::with_capacity(pixels.len());
                let mut reporter = self.link.reporter();
                let mut report = |event: Event| {
                    if let Event::Inference(stats) = &event {
                        counters.push(stats.counter);
                    }
                    reporter(event);
                };
                let answers = infer_as_seed_party(&config, &pixels, shutdown, &mut report)
                    .inspect_err(|error| ending(error, &mut report))?;
                Ok(self.named(counters.into_iter().zip(answers), labels))
            }
            (None, Some(path), Some(p0), Some(p1)) => {
                let config = ClientConfig {
                    plan: path.clone(),
                    parties: [p0, p1],
                    insecure_plaintext: self.link.insecure_plaintext,
                    test_seed: self.link.insecure_test_seed.clone(),
                    timeout,
                };
                let public = Public::read(path)?;
                let (pixels, labels) = self.read(&public, path)?;
                let plan = public.plan(path)?;
                let mut client = ThirdClient::connect(&config, &public, &plan)?;
                let mut answers = Vec::with_capacity(pixels.len());
                for picture in &pixels {
                    if shutdown.load(Ordering::Relaxed) {
                        return Err(ProcessError::Stopped.into());
                    }
                    let values = client.infer(picture)?;
                    answers.push((client.counter(), values));
                }
                Ok(self.named(answers, labels))
            }
            _ => Err(Failure::Usage(
                "say who asks: --material party0.postcard (P0), or --plan plan.postcard --p0 ADDR --p1 ADDR (a third client)".into(),
            )),
        }
    }

    fn read(&self, public: &Public, path: &std::path::Path) -> Result<Named, Failure> {
        let plan = public.plan(path)?;
        let header = &plan.header.model;
        match &self.raw_pictures {
            Some(raw) => {
                let pixels = read_raw(raw, header)?;
                let labels = vec![None; pixels.len()];
                Ok((pixels, labels))
            }
            None => Ok(pictures::read(&self.pictures, header, self.data.as_deref())?.into_iter().unzip()),
        }
    }

    fn named(
        &self,
        answers: impl IntoIterator<Item = (u64, Vec<i64>)>,
        labels: Vec<Option<u16>>,
    ) -> Vec<Inferred> {
        let name = |index: usize| self.pictures.get(index).cloned().unwrap_or_else(|| index.to_string());
        let one =
            |(index, ((counter, values), truth))| Inferred { picture: name(index), counter, values, truth };
        answers.into_iter().zip(labels).enumerate().map(one).collect()
    }
}
