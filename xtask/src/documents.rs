//! The documents lead where they say: links between them, and the files that they name.

use std::fs;
use std::path::{Path, PathBuf};

use crate::steps::root;

fn documents() -> Vec<PathBuf> {
    let folders = ["", "docs", "std-host/assets", "firmware", "training"].map(|folder| root().join(folder));
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    files.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "md")).collect()
}

/// Targets of `[text](target)`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

/// The anchor that a heading gets: lower case, spaces to hyphens, the rest of the punctuation gone.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn has_anchor(document: &Path, wanted: &str) -> bool {
    let text = fs::read_to_string(document).unwrap_or_default();
    text.lines()
        .filter(|line| line.starts_with('#'))
        .any(|line| anchor(line.trim_start_matches('#')) == wanted)
}

#[test]
fn links_lead_to_files_and_headings() {
    let documents = documents();
    assert!(documents.len() > 5, "the documents were not found");
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for link in links(&text).filter(|link| !link.starts_with("http")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: `{link}` leads nowhere", document.display());
            assert!(
                heading.is_empty() || has_anchor(&target, heading),
                "{}: no heading for `{link}`",
                document.display()
            );
        }
    }
}

/// Paths in backticks that begin with a folder of the repository.
#[test]
fn named_files_exist() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for name in text.split('`').skip(1).step_by(2) {
            let folders = [
                "core/",
                "std-host/",
                "tests/",
                "xtask/",
                "fuzz/",
                "training/",
                "firmware/",
                "docs/",
                ".ci/",
                ".github/",
            ];
            if folders.iter().any(|folder| name.starts_with(folder)) && !name.contains(char::is_whitespace) {
                assert!(root().join(name).exists(), "{}: there is no `{name}`", document.display());
            }
        }
    }
}
