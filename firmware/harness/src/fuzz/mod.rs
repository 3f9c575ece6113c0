//! Hostile sessions: the board must say what was wrong, wait for the next peer, keep its counter, and still
//! answer an honest one.

mod attack;
mod knowledge;
mod peer;
mod random;
mod target;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use halfnet_core::board::Board;
use halfnet_core::wire::frame::HEADER;
use halfnet_core::wire::message::{Code, Hello};
use halfnet_firmware::memory::Needs;

use self::attack::{Attack, Expected};
use self::knowledge::Knowledge;
use self::random::Random;
use self::target::{Report, Target};
use crate::emulator::MACHINE;
use crate::proxy::Proxy;
use crate::work::{Halfnet, Link, Settings, TEST_SEED, build, erase_flash, finish, firmware, fresh};

/// Milliseconds after which the board takes a silent peer for gone: short, since many are.
const TIMEOUT: u32 = 300;
/// Hostile sessions between two honest ones.
const BETWEEN: usize = 20;
/// Bundles dealt at a time: every session that is accepted burns a counter.
const BUNDLES: usize = 64;
/// Of so many sessions one goes over the serial line, which takes its time.
const UART_ONE_OF: usize = 20;

/// What is run.
pub(crate) struct Fuzz {
    pub(crate) halfnet: Halfnet,
    pub(crate) sessions: usize,
    pub(crate) seed: u64,
    /// None: both.
    pub(crate) link: Option<Link>,
    pub(crate) machine: String,
    pub(crate) work: PathBuf,
}

impl Default for Fuzz {
    fn default() -> Self {
        Self {
            halfnet: Halfnet::default(),
            sessions: 200,
            seed: 0,
            link: None,
            machine: MACHINE.into(),
            work: firmware().join("target/fuzz"),
        }
    }
}

impl Fuzz {
    /// Runs all sessions.
    ///
    /// # Errors
    /// The board did what it must not do: the session's number and the seed say how to see it again.
    pub(crate) fn run(&self) -> Result<()> {
        let slow = self.sessions / UART_ONE_OF;
        let parts = match self.link {
            Some(link) => vec![(link, self.sessions)],
            None => vec![(Link::Ethernet, self.sessions - slow), (Link::Uart, slow)],
        };
        for (link, sessions) in parts {
            let mut campaign = Campaign::start(self, link)?;
            let began = Instant::now();
            for number in 0..sessions {
                campaign.session(number).with_context(|| {
                    format!("session {number} over {}, --seed {}", link.name(), self.seed)
                })?;
            }
            campaign.honest(1).context("the last honest inference")?;
            campaign.print(sessions, began.elapsed());
        }
        Ok(())
    }
}

/// One board under attack.
struct Campaign<'f> {
    fuzz: &'f Fuzz,
    folder: PathBuf,
    target: Target,
    knowledge: Knowledge,
    random: Random,
    /// Counters below this are dealt.
    dealt: u64,
    /// The board's answer to its one picture.
    answer: String,
    honest: usize,
    /// How often each attack was made, and each fault reported.
    attacks: BTreeMap<Attack, usize>,
    faults: BTreeMap<u16, usize>,
    last: Option<Attack>,
    answers: usize,
    /// The highest counter that the log has called burned.
    burned: Option<u64>,
}

impl<'f> Campaign<'f> {
    /// Deals, provisions, builds and starts the board, and records what an honest P1 says to it.
    fn start(fuzz: &'f Fuzz, link: Link) -> Result<Self> {
        let folder = fresh(&fuzz.work.join(link.name()))?;
        let dealt = folder.join("dealt");
        fuzz.halfnet.deal(
            &firmware().join("../std-host/assets/mnist_cnn_500.postcard"),
            &dealt,
            'h',
            BUNDLES,
            None,
        )?;
        let board = folder.join("board");
        let mut provision = fuzz.halfnet.command()?;
        provision.arg("provision").arg("--material").arg(dealt.join("party0.postcard"));
        finish(provision.arg("--out").arg(&board).args(["--pictures", "idx:0"]))?;
        erase_flash(&folder)?;
        let settings = Settings {
            repeatable: false,
            timeout: Some(TIMEOUT),
            rounds: Some(u32::MAX),
            ..Settings::default()
        };
        let elf = build(&folder, link, settings)?;
        let mut target = Target::start(&elf, &fuzz.machine, &folder, link)?;
        let mut recorded = record(fuzz, &dealt, &mut target)?;
        let blob = std::fs::read(&board)?;
        let board = Board::decode(&blob)?;
        let hello = recorded.frames.remove(0);
        let hello = Hello::decode(hello.get(HEADER..).unwrap_or(&[]))?;
        ensure!(hello.agreement == board.agreement, "the recorded hello is of another pairing");
        let acknowledge = recorded.frames.remove(0);
        ensure!(
            acknowledge.get(2) == Some(&(Code::Acknowledge as u8)),
            "the second frame is no acknowledgement"
        );
        ensure!(recorded.frames.len() > 1, "too little was recorded");
        let knowledge = Knowledge {
            agreement: board.agreement,
            deal: hello.deal,
            frames: recorded.frames,
            longest: Needs::of(&board.plan).incoming,
            timeout: TIMEOUT,
            next: hello.counter + 1,
        };
        Ok(Self {
            fuzz,
            folder,
            target,
            knowledge,
            random: Random(fuzz.seed ^ link as u64),
            dealt: BUNDLES as u64,
            answer: recorded.answer,
            honest: 1,
            attacks: BTreeMap::new(),
            faults: BTreeMap::new(),
            last: None,
            answers: 0,
            burned: Some(hello.counter),
        })
    }

    /// One hostile session, and an honest inference where it is its turn.
    fn session(&mut self, number: usize) -> Result<()> {
        if number % BETWEEN == BETWEEN - 1 {
            self.honest(1).context("the honest inference before it")?;
        }
        let attack = Attack::draw(&mut self.random, self.target.link);
        *self.attacks.entry(attack).or_default() += 1;
        let last = self.last.replace(attack);
        self.attack(attack).with_context(|| format!("{attack:?} after {last:?}"))
    }

    fn attack(&mut self, attack: Attack) -> Result<()> {
        let mut held = None;
        let expected = self.knowledge.carry_out(attack, &mut self.target, &mut self.random, &mut held)?;
        let patience = match expected {
            Expected::Perhaps => Duration::from_millis(u64::from(TIMEOUT) + 200),
            _ => Duration::from_secs(10),
        };
        if let Expected::Said(reports) = &expected {
            reports.iter().try_for_each(|report| self.note(report))?;
            // On a line the rest of what was said before the reset comes after it, and half a frame is
            // noticed by its silence: an emulator that has to share its processor takes several timeouts for
            // that.
            while self.target.link == Link::Uart
                && let Some(report) = self.target.report(Duration::from_millis(8 * u64::from(TIMEOUT)))?
            {
                self.note(&report)?;
            }
            return Ok(());
        }
        let report = self.target.report(patience)?;
        drop(held);
        if let Some(report) = &report {
            self.note(report)?;
        }
        match (&expected, &report) {
            (Expected::Faults(codes), Some(Report::Fault(code, _))) if codes.contains(code) => {}
            (Expected::Answer, Some(Report::Answer(..)))
            | (Expected::Report, Some(_))
            | (Expected::Perhaps, _) => {}
            _ => bail!("the log must say {expected:?}, and says {report:?}"),
        }
        // A peer that left an answer behind is gone all the same.
        if self.target.link == Link::Ethernet
            && let Some(Report::Answer(..)) = report
        {
            let report = self.target.report(Duration::from_secs(5))?;
            ensure!(
                report == Some(Report::Fault(101, None)),
                "the log must say that the peer left, and says {report:?}"
            );
        }
        Ok(())
    }

    /// Counts a report, and holds its counter against all earlier ones.
    fn note(&mut self, report: &Report) -> Result<()> {
        match report {
            Report::Fault(code, _) => *self.faults.entry(*code).or_default() += 1,
            Report::Answer(..) => self.answers += 1,
        }
        if let Some(counter) = report.burned() {
            ensure!(
                self.burned.is_none_or(|burned| counter > burned),
                "the board burned counter {counter} after {:?}",
                self.burned
            );
            self.burned = Some(counter);
            self.knowledge.next = self.knowledge.next.max(counter + 1);
        }
        Ok(())
    }

    /// `count` inferences with an honest P1, whose answers must be the board's first.
    fn honest(&mut self, count: usize) -> Result<()> {
        let needed = self.knowledge.next + count as u64;
        if self.dealt < needed {
            let more = needed - self.dealt + BUNDLES as u64;
            let mut deal = self.fuzz.halfnet.command()?;
            deal.args(["deal", "--state"]).arg(self.folder.join("dealt/dealer.postcard"));
            finish(deal.args(["--more", &more.to_string(), "--insecure-test-seed", TEST_SEED, "--json"]))?;
            self.dealt += more;
        }
        let address = self.target.address.to_string();
        let one = self.fuzz.halfnet.party_one(&self.folder.join("dealt"), &address, count)?;
        for _ in 0..count {
            let report =
                self.target.report(Duration::from_secs(30))?.context("an honest P1 gets no answer")?;
            self.note(&report)?;
            let Report::Answer(_, answer) = &report else { bail!("an honest P1 gets {report:?}") };
            ensure!(*answer == self.answer, "the board answers {answer}, and answered {}", self.answer);
            self.honest += 1;
        }
        drop(one);
        left(&mut self.target)
    }

    fn print(&self, sessions: usize, took: Duration) {
        println!(
            "{}: {sessions} hostile sessions in {:.1} s, {} honest inferences between them, {} answers in all, {} boots, next counter {}",
            self.target.link.name(),
            took.as_secs_f64(),
            self.honest,
            self.answers,
            self.target.boots,
            self.knowledge.next
        );
        let attacks: Vec<_> =
            self.attacks.iter().map(|(attack, count)| format!("{attack:?} {count}")).collect();
        let faults: Vec<_> = self.faults.iter().map(|(code, count)| format!("{code} {count}")).collect();
        println!("  attacks: {}", attacks.join(", "));
        println!("  faults: {}", faults.join(", "));
    }
}

/// After an honest P1 a connection is over, which the board notes; a line is not.
fn left(target: &mut Target) -> Result<()> {
    if target.link == Link::Ethernet {
        let report = target.report(Duration::from_secs(5))?;
        ensure!(
            report == Some(Report::Fault(101, None)),
            "the log must say that the peer left, and says {report:?}"
        );
    }
    Ok(())
}

/// What an honest P1 sent, and what the board answered.
struct Recorded {
    frames: Vec<Vec<u8>>,
    answer: String,
}

fn record(fuzz: &Fuzz, dealt: &Path, target: &mut Target) -> Result<Recorded> {
    let proxy = Proxy::start(target.address)?;
    let one = fuzz.halfnet.party_one(dealt, &proxy.address.to_string(), 1)?;
    let Some(Report::Answer(0, answer)) = target.report(Duration::from_secs(30))? else {
        bail!("the first inference gives no answer")
    };
    drop(one);
    let passed = proxy.finish()?;
    left(target)?;
    Ok(Recorded { frames: peer::frames(&passed.one)?, answer })
}
