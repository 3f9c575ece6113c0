//! Flash of the party by crate: what lies in text and rodata, told apart by the names of functions and
//! statics.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

use super::grouped;
use crate::work::{Link, Settings, build};

/// The static that refers to the material: plan, bitmaps, pictures.
const MATERIAL: &str = "provisioned::BLOB";

pub(super) fn table(text: &mut String, work: &Path) -> Result<()> {
    // Any material will do: its own bytes are taken off.
    let folder = std::path::absolute(work.join("MNIST-CNN-s/s/board"))?;
    writeln!(
        text,
        "| flash, bytes | with a serial port, rings to 32 bits | with a serial port | with Ethernet |\n|---|---|---|---|"
    )?;
    let columns = [
        crates(&folder, Link::Uart, false)?,
        crates(&folder, Link::Uart, true)?,
        crates(&folder, Link::Ethernet, true)?,
    ];
    let mut names: Vec<_> = columns.iter().flat_map(BTreeMap::keys).collect();
    names.sort();
    names.dedup();
    let of = |name: &str| columns.each_ref().map(|sizes| sizes.get(name).copied().unwrap_or(0));
    names.sort_by_key(|name| std::cmp::Reverse(of(name)[2]));
    let (mut rest, mut all) = ([0; 3], [0; 3]);
    let mut row =
        |name: &str, sizes: [u64; 3]| writeln!(text, "| {name} | {} |", sizes.map(grouped).join(" | "));
    for name in names {
        let sizes = of(name);
        all = core::array::from_fn(|column| all[column] + sizes[column]);
        if sizes[2] < 1024 {
            rest = core::array::from_fn(|column| rest[column] + sizes[column]);
        } else {
            row(name, sizes)?;
        }
    }
    row("crates below 1 KB", rest)?;
    writeln!(
        text,
        "| **all, without the material** | {} |\n",
        all.map(|size| format!("**{}**", grouped(size))).join(" | ")
    )?;
    Ok(())
}

/// Bytes in flash by crate, the material left out.
fn crates(folder: &Path, link: Link, wide_rings: bool) -> Result<BTreeMap<String, u64>> {
    let elf = build(folder, link, Settings { repeatable: true, wide_rings, ..Settings::default() })?;
    let bytes = std::fs::read(elf)?;
    let file = object::File::parse(&*bytes)?;
    let mut sizes = BTreeMap::new();
    let mut unnamed = 0;
    for section in
        file.sections().filter(|s| matches!(s.name(), Ok(".vector_table" | ".text" | ".rodata" | ".data")))
    {
        let mut named = 0;
        let range = section.address()..section.address() + section.size();
        for symbol in file.symbols().filter(|s| matches!(s.kind(), SymbolKind::Text | SymbolKind::Data)) {
            if !range.contains(&(symbol.address() & !1)) || symbol.size() == 0 {
                continue;
            }
            let name = format!("{:#}", rustc_demangle::demangle(symbol.name()?));
            named += symbol.size();
            if !name.contains(MATERIAL) {
                *sizes.entry(crate_of(&name)).or_default() += symbol.size();
            }
        }
        unnamed += section.size().saturating_sub(named);
    }
    // The material is what `BLOB` refers to, a constant without a name.
    let material = std::fs::metadata(folder.join("board")).context("the material")?.len();
    sizes.insert("constants".into(), unnamed.saturating_sub(material));
    Ok(sizes)
}

/// The crate that a function belongs to, by the first path in its name.
fn crate_of(name: &str) -> String {
    let path = name.trim_start_matches(['<', '&', '*', '[', '(']);
    let path = path.strip_prefix("dyn ").or_else(|| path.strip_prefix("mut ")).unwrap_or(path);
    match path.split_once("::") {
        Some((first, _)) if first.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') => first.to_owned(),
        _ => "instances of generic functions".into(),
    }
}
