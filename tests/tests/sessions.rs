//! The conversation belongs to core: nobody else drives a session, but tests that must misdrive one.

use std::path::{Path, PathBuf};

/// Files outside core that name core's `Session`, and why they may.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("tests/src/sessions.rs", "calls in any order, with buffers of any length, which no endpoint makes"),
    ("tests/tests/sessions.rs", "this check"),
];

/// Folders whose files are core's own, made by a build, or not of this project.
const LEFT_OUT: &[&str] = &["core/src", "core/tests", "target", ".git"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Sources below `folder`, by their paths from the root.
fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(root().join(folder)).into_iter().flatten().flatten() {
        let path = folder.join(entry.file_name());
        if LEFT_OUT.iter().any(|left_out| path.ends_with(left_out)) {
            continue;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sources(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

/// Does a path of core's in this text, or a list of them, name the session?
fn names_session(text: &str) -> bool {
    let code: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    ["session::", "halfnet_core::"].iter().any(|path| {
        code.split(path).skip(1).any(|rest| {
            let statement = rest.split([';', '(']).next().unwrap_or_default();
            let mut names = statement.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '*');
            names.any(|name| name == "Session" || path == &"session::" && name == "*")
        })
    })
}

#[test]
fn core_alone_drives_sessions() {
    let mut files = Vec::new();
    sources(Path::new(""), &mut files);
    assert!(files.len() > 200, "the sources were not found: {}", files.len());
    let mut found: Vec<String> = files
        .iter()
        .filter(|path| names_session(&std::fs::read_to_string(root().join(path)).unwrap()))
        .map(|path| path.to_string_lossy().replace('\\', "/"))
        .collect();
    found.sort();
    let excepted: Vec<&str> = EXCEPTIONS.iter().map(|(path, _)| *path).collect();
    assert_eq!(found, excepted, "a session is driven by core's endpoints, and these are its exceptions");
}

#[test]
fn a_session_is_found_however_it_is_named() {
    for text in [
        "use halfnet_core::party::session::{Parts, Session};",
        "use halfnet_core::party::session::Session;\n",
        "use halfnet_core::{\n    party::{session::{Parts,\n Session}},\n};",
        "let mut session = halfnet_core::party::session::Session::new(parts);",
        "use halfnet_core::party::session::*;",
        "use halfnet_core::Session;",
    ] {
        assert!(names_session(text), "{text}");
    }
    for text in [
        "use halfnet_core::party::session::{combine_outputs, output_shape};",
        "use halfnet_core::party::SessionError;",
        "/// A halfnet_core::party::session::Session's frames.",
        "struct Session;",
    ] {
        assert!(!names_session(text), "{text}");
    }
}
