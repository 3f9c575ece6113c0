//! The binary from outside: run with arguments, its standard output read as JSON, its exit codes asserted.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;

/// The binary, brought up to date: tests of another package do not build it, and a stale one would be tested
/// unseen.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        // target/PROFILE/deps/cli-HASH
        let profile = test.parent().unwrap().parent().unwrap();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "halfnet-host", "--bin", "halfnet"]);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success());
        profile.join(format!("halfnet{}", std::env::consts::EXE_SUFFIX))
    })
}

/// Runs the binary to its end.
pub fn halfnet(arguments: &[&str]) -> Output {
    // A data folder in the environment would change what the defaults mean.
    Command::new(binary()).args(arguments).env_remove("HALFNET_DATA").output().unwrap()
}

/// The one object that a command prints.
pub fn json(arguments: &[&str]) -> Value {
    let output = halfnet(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Asserts on the exit code and on a part of what is said; nothing may stand on standard output.
pub fn refused(arguments: &[&str], code: i32, says: &str) {
    let output = halfnet(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(said.contains(says), "{arguments:?} said: {said}");
    assert!(output.stdout.is_empty());
}

/// A folder of this test's own, gone when it is over.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new folder; `name` tells the tests of one process apart.
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("halfnet-cli-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a file into it; gives its path.
    pub fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Folder {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder left behind harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
