//! The same inferences twice, under one test seed: P0 on the host, P0 on the board. Answers and every byte
//! must be equal.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use halfnet_core::board::Board;
use halfnet_core::model::Model;
use halfnet_core::wire::frame::HEADER;
use halfnet_firmware::memory::Needs;

use crate::emulator::{Emulator, MACHINE, forwarded, serial};
use crate::proxy::{Passed, Proxy, free_address};
use crate::work::{
    Halfnet, Link, Process, Settings, TEST_SEED, TIMEOUT, build, copy, erase_flash, finish, firmware, fresh,
};

/// Where pictures come from.
#[derive(Clone, Debug)]
pub(crate) enum Pictures {
    /// The first of the model's test set: those that the host's program carries, or of the data folder.
    TestSet,
    /// Pixels in a row behind a header of so many bytes.
    Raw(PathBuf, usize),
}

/// What is compared.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    pub(crate) halfnet: Halfnet,
    pub(crate) model: PathBuf,
    pub(crate) data: Option<PathBuf>,
    pub(crate) pictures: Pictures,
    pub(crate) count: usize,
    pub(crate) modes: String,
    pub(crate) link: Link,
    pub(crate) p0_memory: Option<String>,
    pub(crate) machine: String,
    pub(crate) work: PathBuf,
}

impl Default for Comparison {
    fn default() -> Self {
        Self {
            halfnet: Halfnet::default(),
            model: firmware().join("../std-host/assets/mnist_cnn_500.postcard"),
            data: None,
            pictures: Pictures::TestSet,
            count: 20,
            modes: "hs".into(),
            link: Link::Ethernet,
            p0_memory: None,
            machine: MACHINE.into(),
            work: firmware().join("target/compare"),
        }
    }
}

/// One answer: its values, and what the data set says.
struct Answer {
    values: String,
    truth: Option<u64>,
}

/// What a run of the board gave.
pub(crate) struct Run {
    answers: Vec<String>,
    pub(crate) passed: Passed,
    /// Exchanges of the last picture, as the board counts them.
    pub(crate) rounds: u64,
    pub(crate) memory: String,
    seconds: f64,
}

/// One mode's row.
pub(crate) struct Row {
    network: String,
    machine: String,
    link: Link,
    mode: char,
    count: usize,
    host: Vec<Answer>,
    host_passed: Passed,
    pub(crate) board: Run,
    pub(crate) needs: Needs,
}

impl Row {
    /// Bytes of memory that the party itself is lent: arena, a channel's weights, a frame each way.
    pub(crate) const fn party_bytes(&self) -> usize {
        8 * (self.needs.arena + self.needs.channel) + self.needs.outgoing + self.needs.incoming
    }

    fn equal_answers(&self) -> usize {
        self.board.answers.iter().zip(&self.host).filter(|(board, host)| **board == host.values).count()
    }

    pub(crate) fn is_equal(&self) -> bool {
        self.host_passed == self.board.passed
            && self.board.answers.len() == self.count
            && self.equal_answers() == self.count
    }

    fn correct(&self) -> String {
        let known = self.host.iter().filter(|answer| answer.truth.is_some()).count();
        let correct = self
            .host
            .iter()
            .filter(|answer| answer.truth.is_some_and(|truth| answer.values == truth.to_string()))
            .count();
        if known == 0 { "-".into() } else { format!("{correct}/{known}") }
    }
}

/// Prints rows; says whether everything was equal.
pub(crate) fn print(rows: &[Row]) -> bool {
    println!(
        "{:<16} {:<11} {:<8} mode  pictures  correct  equal answers  bytes P0->P1  bytes P1->P0  equal bytes  party's RAM (arena)  s/picture    MB/s",
        "network", "machine", "link"
    );
    for row in rows {
        let Row { board: Run { passed, seconds, memory, .. }, host_passed, count, .. } = row;
        let (zero, one) = (passed.zero.len(), passed.one.len());
        println!(
            "{:<16} {:<11} {:<8} {:<4}  {:>8}  {:>7}  {:>13}  {:>12}  {:>12}  {:>11}  {:>9} {:>9}  {:>9.2}  {:>6.2}",
            row.network,
            row.machine,
            row.link.name(),
            row.mode,
            count,
            row.correct(),
            row.equal_answers(),
            zero / count,
            one / count,
            if host_passed == passed { "all" } else { "NO" },
            row.party_bytes(),
            format!("({})", 8 * row.needs.arena),
            seconds / *count as f64,
            (zero + one) as f64 / seconds / 1e6,
        );
        println!("{:<16} {memory}", "");
        for (who, a, b) in [("P0", &host_passed.zero, &passed.zero), ("P1", &host_passed.one, &passed.one)] {
            if let Some(at) =
                (a != b).then(|| a.iter().zip(b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len())))
            {
                println!("{:<16} {who}'s bytes differ first at {at} of {} and {}", "", a.len(), b.len());
            }
        }
    }
    !rows.is_empty() && rows.iter().all(Row::is_equal)
}

impl Comparison {
    /// Runs every mode.
    pub(crate) fn run(&self) -> Result<Vec<Row>> {
        ensure!(self.count > 0, "--count 0: there is nothing to compare");
        let row = |mode: char| self.mode(mode).with_context(|| format!("mode {mode}"));
        self.modes.chars().map(row).collect()
    }

    fn mode(&self, mode: char) -> Result<Row> {
        let work = fresh(&self.work.join(mode.to_string()))?;
        let dealt = work.join("host");
        self.halfnet.deal(&self.model, &dealt, mode, self.count, self.p0_memory.as_deref())?;
        let copied = work.join("board");
        copy(&dealt, &copied)?;
        let model = std::fs::read(&self.model)?;
        let header = Model::decode(&model)?.header;
        let raw = match &self.pictures {
            Pictures::TestSet => None,
            Pictures::Raw(path, skip) => {
                let pictures =
                    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
                let end = skip + header.input.elements() * self.count;
                let file = work.join("pictures");
                std::fs::write(&file, pictures.get(*skip..end).context("not so many pictures in the file")?)?;
                Some(file)
            }
        };
        let blob = copied.join("board");
        let mut provision = self.halfnet.command()?;
        provision
            .arg("provision")
            .arg("--material")
            .arg(copied.join("party0.postcard"))
            .arg("--out")
            .arg(&blob);
        match &raw {
            None => provision.arg("--pictures").arg(format!("idx:0..{}", self.count)),
            Some(file) => provision.arg("--raw-pictures").arg(file),
        };
        finish(self.data(&mut provision))?;
        let bytes = std::fs::read(&blob)?;
        let needs = Needs::of(&Board::decode(&bytes)?.plan);
        erase_flash(&copied)?;

        let (host, host_passed) = self.on_host(&dealt, raw.as_deref())?;
        let elf = build(
            &copied,
            self.link,
            Settings { repeatable: true, timeout: Some(120_000), ..Settings::default() },
        )?;
        let board = self.on_board(&elf, &copied)?;
        let (network, machine) = (header.name.to_owned(), self.machine.clone());
        Ok(Row {
            network,
            machine,
            link: self.link,
            mode,
            count: self.count,
            host,
            host_passed,
            board,
            needs,
        })
    }

    fn data<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        if let Some(folder) = &self.data {
            command.arg("--data").arg(folder);
        }
        command
    }

    /// P0 on the host: its answers, and what passed.
    fn on_host(&self, folder: &Path, raw: Option<&Path>) -> Result<(Vec<Answer>, Passed)> {
        let address = free_address()?;
        let proxy = Proxy::start(address)?;
        let mut infer = self.halfnet.command()?;
        infer.args(["infer", "--json"]);
        match raw {
            None => infer.args((0..self.count).map(|index| format!("idx:{index}"))),
            Some(file) => infer.arg("--raw-pictures").arg(file),
        };
        self.data(&mut infer).arg("--material").arg(folder.join("party0.postcard"));
        infer.args([
            "--peer-listen",
            &address.to_string(),
            "--insecure-test-seed",
            TEST_SEED,
            "--timeout",
            TIMEOUT,
        ]);
        let infer = infer.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let one = self.party_one(folder, &proxy)?;
        let output = infer.wait_with_output()?;
        ensure!(output.status.success(), "the host's P0 failed: {}", String::from_utf8_lossy(&output.stderr));
        let passed = proxy.finish()?;
        drop(one);
        // What the board's `replay` is fed with.
        std::fs::write(folder.join("peer"), &passed.one)?;
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).context("the host's answers")?;
        let answers = json["answers"].as_array().context("the host gives no answers")?;
        let one = |answer: &serde_json::Value| {
            let values =
                answer["values"].as_array()?.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            Some(Answer { values, truth: answer["truth"].as_u64() })
        };
        Ok((answers.iter().filter_map(one).collect(), passed))
    }

    fn party_one(&self, folder: &Path, proxy: &Proxy) -> Result<Process> {
        self.halfnet.party_one(folder, &proxy.address.to_string(), self.count)
    }

    /// P0 on the board.
    fn on_board(&self, elf: &Path, folder: &Path) -> Result<Run> {
        let address = free_address()?;
        let link = match self.link {
            Link::Uart => serial(address, true),
            Link::Ethernet => forwarded(address),
        };
        let board = Emulator::start(elf, &self.machine, folder, &link, false)?;
        // The emulated line waits for its other end; a port that is forwarded leads nowhere until the board
        // listens.
        let early = (self.link == Link::Uart).then(|| Proxy::start(address)).transpose()?;
        let early = early
            .map(|proxy| Ok::<_, anyhow::Error>((self.party_one(folder, &proxy)?, proxy)))
            .transpose()?;
        board.wait_for("waiting", Duration::from_secs(30))?;
        let began = Instant::now();
        let (one, proxy) = match early {
            Some(early) => early,
            None => {
                let proxy = Proxy::start(address)?;
                (self.party_one(folder, &proxy)?, proxy)
            }
        };
        let (mut answers, mut rounds) = (Vec::new(), 0);
        while answers.len() < self.count {
            let line = board.wait_for("", Duration::from_secs(600))?;
            ensure!(!line.contains("ERROR"), "the board reports: {line}");
            if let Some((_, rest)) = line.split_once("answer [")
                && let Some((values, _)) = rest.split_once(']')
            {
                answers.push(values.to_owned());
                rounds = line
                    .rsplit_once(" rounds")
                    .and_then(|(head, _)| head.rsplit(' ').next()?.parse().ok())
                    .context("no rounds in the log")?;
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        let ended = board.finish()?;
        let passed = proxy.finish()?;
        drop(one);
        ensure!(ended.success, "the board ended with a failure");
        ensure!(passed.zero.len() > HEADER, "nothing passed");
        let memory = ended
            .lines
            .iter()
            .find_map(|line| line.split_once("statics ").map(|(_, rest)| format!("statics {rest}")));
        Ok(Run { answers, passed, rounds, memory: memory.unwrap_or_default(), seconds })
    }
}
