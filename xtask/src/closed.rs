//! The core stays closed when in doubt: no default value stands where protocol data is missing, and the party's
//! walk does not branch on mode or role, which the exchanges resolve.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What would hide a missing value.
const DEFAULTS: [&str; 9] = [
    "unwrap_or(&[])",
    "unwrap_or(&mut [])",
    "unwrap_or((&",
    "unwrap_or(0)",
    "map_or(0",
    "map_or((",
    "unwrap_or_default",
    "let _ = ",
    ".ok()",
];

/// Files that may have so many of them, and why.
const EXCEPTIONS: [(&str, usize, &str); 16] = [
    ("bits.rs", 1, "a bit string ends with zeros: that is what the function gives"),
    ("board.rs", 1, "a picture of another length, or without a normalisation, was refused before it is read"),
    (
        "dealer/split.rs",
        1,
        "a first-order c2 is zeros; there are as many as a 16-bit number of channels can ask for",
    ),
    ("endpoint/client.rs", 2, "the answer's words, which were found whole when they came"),
    ("endpoint/inference.rs", 1, "a count of bytes: no frame has none"),
    ("exchange/mod.rs", 1, "a list of steps, which has room for the longest"),
    ("exchange/output.rs", 2, "no layer: refused when the plan is decoded; words whose length was checked"),
    ("gate/argmax.rs", 1, "the reference on plaintext; no model has no class"),
    ("gate/register_block.rs", 1, "behind the last row of the last plane; a further row is an error"),
    (
        "model/borrowed.rs",
        5,
        "tensors and bitmaps of the model, whose lengths are checked when it is decoded",
    ),
    ("model/validate.rs", 3, "no layer: refused for its number of classes; a list with room for every wire"),
    ("party/bundle.rs", 2, "a list of sections: reading one that is left out is an error"),
    ("plan/compile.rs", 1, "public sizes: no row"),
    ("plan/mod.rs", 1, "a record that cannot be read ends the walk, which then is not complete: an error"),
    ("plan/wires.rs", 3, "public sizes: no use of a wire, no polynomial"),
    ("ring/mod.rs", 2, "a shift by the word's width or more gives zero: that is what it is"),
];

/// Branches on what an exchange resolves once, as a turn.
const BRANCHES: [&str; 8] = [
    "Mode::",
    "ROLE ==",
    "== H::ROLE",
    "match H::ROLE",
    "Role::Seed =>",
    "Role::Bundle =>",
    "== Role::",
    "Turn::",
];

fn core() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/src")
}

/// Every source file of a folder of the core, by its path below it.
fn sources(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(core()).unwrap().to_string_lossy().replace('\\', "/");
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 5, "the sources were not found");
    found
}

/// Its lines outside tests and comments, numbered.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines
        .take_while(|(_, line)| !line.starts_with("mod tests {"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[test]
fn nothing_missing_becomes_a_default() {
    let mut allowed: BTreeMap<_, _> = EXCEPTIONS.iter().map(|&(file, count, _)| (file, count)).collect();
    for (name, text) in sources(&core()).into_iter().filter(|(name, _)| !name.ends_with("tests.rs")) {
        let is_default = |line: &str| DEFAULTS.iter().any(|default| line.contains(default));
        let lines: Vec<_> = code(&text).filter(|(_, line)| is_default(line)).collect();
        let expected = allowed.remove(name.as_str()).unwrap_or(0);
        assert_eq!(lines.len(), expected, "core/src/{name}: make it an error, or list it here: {lines:?}");
    }
    assert!(allowed.is_empty(), "no such file: {allowed:?}");
}

#[test]
fn the_walk_does_not_branch_on_mode_or_role() {
    for (name, text) in sources(&core().join("party")) {
        // A half's own role is a constant.
        let is_branch = |line: &str| {
            BRANCHES.iter().any(|branch| line.contains(branch)) && !line.contains("const ROLE: Role")
        };
        let lines: Vec<_> = code(&text).filter(|(_, line)| is_branch(line)).collect();
        assert!(lines.is_empty(), "core/src/{name}: belongs to an exchange: {lines:?}");
    }
}

#[test]
fn no_file_of_the_core_asks_to_be_two() {
    for (name, text) in sources(&core()) {
        let lines = text.lines().count();
        assert!(lines <= 400, "core/src/{name}: {lines} lines");
    }
}
