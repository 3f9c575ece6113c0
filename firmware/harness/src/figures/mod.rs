//! Measures what `firmware/BENCHMARKS.md` states and writes it there, between `figures:begin` and `figures:end`.
//!
//! Instructions come from programs that run an instruction a nanosecond, so they repeat exactly; bytes and
//! rounds are exact anyway.

mod flash;
mod projection;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::compare::{Comparison, Pictures, Row};
use crate::emulator::{Emulator, MACHINE};
use crate::work::{Halfnet, Link, build_program, finish, firmware, wide_rings};

/// A network as it is dealt for a board.
struct Setting {
    /// As the tables call it.
    network: &'static str,
    mode: char,
    /// What P0's arena may take.
    p0_memory: &'static str,
}

const fn setting(network: &'static str, mode: char, p0_memory: &'static str) -> Setting {
    Setting { network, mode, p0_memory }
}

const MNIST: &str = "MNIST CNN, 500 ReLUs";
const RESNET_20: &str = "ResNet-20";
const RESNET_18: &str = "ResNet-18, 12,900 ReLUs";

/// What is measured; the arenas keep the party's memory below 24 and 40 KB (MNIST), 24 and 96 KB (ResNet-20),
/// 64 and 640 KB (ResNet-18).
const SETTINGS: [Setting; 6] = [
    setting(MNIST, 'h', "16000"),
    setting(MNIST, 's', "25500"),
    setting(RESNET_20, 'h', "16000"),
    setting(RESNET_20, 's', "82000"),
    setting(RESNET_18, 'h', "49152"),
    setting(RESNET_18, 's', "545000"),
];

/// One setting, measured.
struct Measured {
    setting: &'static Setting,
    row: Row,
    /// By layer and phase.
    instructions: Vec<String>,
}

impl Measured {
    /// Instructions of an inference.
    fn total(&self) -> Result<u64> {
        let last = self.instructions.last().context("no instructions were counted")?;
        let total = last.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or_default();
        total.trim().parse().with_context(|| format!("`{last}` has no sum"))
    }

    fn bytes(&self) -> [usize; 2] {
        [self.row.board.passed.zero.len(), self.row.board.passed.one.len()]
    }
}

/// Measures everything and writes the tables.
pub(crate) fn run(data: Option<&Path>) -> Result<()> {
    let work = firmware().join("target/figures");
    let mut text = String::new();
    let kernels = emulate(&build_program("kernels", "wide-rings", &[])?)?;
    let tables = rows(&kernels);
    ensure!(!tables.is_empty(), "the kernels' program prints no table");
    // Two tables, one behind the other.
    writeln!(text, "{}\n", tables.join("\n").replace("\n| what |", "\n\n| what |"))?;

    let mut measured = Vec::new();
    for setting in &SETTINGS {
        measured.push(measure(setting, model(setting.network, data, &work)?, data, &work)?);
    }
    memory(&mut text, &measured)?;
    flash::table(&mut text, &work)?;
    projection::table(&mut text, &measured)?;
    for one in &measured {
        writeln!(
            text,
            "{}, mode {}, by layer and phase:\n\n{}\n",
            one.setting.network,
            one.setting.mode,
            one.instructions.join("\n")
        )?;
    }
    print!("{text}");
    replace(&firmware().join("BENCHMARKS.md"), &text)
}

/// The lines of a table in a log.
fn rows(lines: &[String]) -> Vec<String> {
    lines
        .iter()
        .filter_map(|line| line.find('|').map(|at| line.get(at..).unwrap_or_default().to_owned()))
        .collect()
}

/// A network's model and its pictures.
fn model(network: &str, data: Option<&Path>, work: &Path) -> Result<(PathBuf, Pictures)> {
    std::fs::create_dir_all(work)?;
    match network {
        MNIST => Ok((Comparison::default().model, Pictures::TestSet)),
        RESNET_20 => {
            let data =
                data.context("ResNet-20 needs its weights and pictures: HALFNET_DATA names the data folder")?;
            Ok((crate::demo::import(&Halfnet::default(), data, work)?, Pictures::TestSet))
        }
        _ => {
            let folder = work.join("resnet18");
            if !crate::demo::is_current(&folder, &Halfnet::default())? {
                let _ = std::fs::remove_dir_all(&folder);
                let mut bench = Halfnet::default().command()?;
                finish(bench.args(["bench", "resnet18", "--relus", "12900", "--save"]).arg(&folder))?;
            }
            Ok((folder.join("model.postcard"), Pictures::Raw(folder.join("pictures"), 0)))
        }
    }
}

fn measure(
    setting: &'static Setting,
    (model, pictures): (PathBuf, Pictures),
    data: Option<&Path>,
    work: &Path,
) -> Result<Measured> {
    println!("{}, mode {}", setting.network, setting.mode);
    let folder = work.join(format!("{}-{}", setting.network.replace([' ', ','], "-"), setting.mode));
    let comparison = Comparison {
        model,
        pictures,
        data: data.map(Path::to_owned),
        count: 1,
        modes: setting.mode.to_string(),
        link: Link::Ethernet,
        p0_memory: Some(setting.p0_memory.into()),
        work: folder.clone(),
        ..Comparison::default()
    };
    let row = comparison.run()?.pop().context("nothing was compared")?;
    ensure!(
        row.is_equal(),
        "{}, mode {}: the board's bytes are not the host's",
        setting.network,
        setting.mode
    );
    let folder = std::path::absolute(folder.join(setting.mode.to_string()))?;
    let (blob, peer) = (folder.join("board").join("board"), folder.join("host").join("peer"));
    let features = format!("replay{}", wide_rings(&blob)?);
    let replay = build_program(
        "replay",
        &features,
        &[("HALFNET_BOARD", blob.into()), ("HALFNET_REPLAY", peer.into())],
    )?;
    Ok(Measured { setting, row, instructions: rows(&emulate(&replay)?) })
}

fn memory(text: &mut String, measured: &[Measured]) -> Result<()> {
    writeln!(
        text,
        "| network, mode, `--p0-memory` | arena | weights and strip | frames, out and in | party's RAM | stack at most, the network's part of it included | bytes P0 to P1, P1 to P0 | rounds |\n\
         |---|---|---|---|---|---|---|---|"
    )?;
    for one in measured {
        let needs = &one.row.needs;
        let [sent, received] = one.bytes();
        let stack =
            one.row.board.memory.split_once("stack at most ").and_then(|(_, rest)| rest.split(' ').next());
        writeln!(
            text,
            "| {}, {}, {} | {} | {} | {}, {} | **{}** | {} | {}, {} | {} |",
            one.setting.network,
            one.setting.mode,
            one.setting.p0_memory,
            grouped(8 * needs.arena),
            grouped(8 * needs.channel),
            grouped(needs.outgoing),
            grouped(needs.incoming),
            grouped(one.row.party_bytes()),
            grouped(stack.context("the board tells no stack")?),
            grouped(sent),
            grouped(received),
            one.row.board.rounds,
        )?;
    }
    writeln!(text)?;
    Ok(())
}

/// Runs a program an instruction a nanosecond, and gives its log.
fn emulate(elf: &Path) -> Result<Vec<String>> {
    let ended = Emulator::count(elf, MACHINE, false)?;
    ensure!(ended.success, "{} ended with a failure: {}", elf.display(), ended.lines.join("; "));
    Ok(ended.lines)
}

/// Digits in groups of three.
fn grouped(number: impl ToString) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Puts `text` between the marks.
fn replace(file: &Path, text: &str) -> Result<()> {
    let before = std::fs::read_to_string(file)?;
    let (head, rest) = before.split_once("<!-- figures:begin -->").context("no figures:begin")?;
    let (_, tail) = rest.split_once("<!-- figures:end -->").context("no figures:end")?;
    Ok(std::fs::write(
        file,
        format!("{head}<!-- figures:begin -->\n{}\n<!-- figures:end -->{tail}", text.trim_end()),
    )?)
}
