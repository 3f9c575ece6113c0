//! Signals: what a command has begun is cleaned away, and a party ends between two inferences.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use halfnet_core::plan::{Client, Mode, Options, Release, compile};
use halfnet_tests::command::{Folder, binary};
use halfnet_tests::dealt::Dealt;
use halfnet_tests::network::every_step;

/// After so long a process is taken for hung.
const HUNG: Duration = Duration::from_secs(60);

fn signal(child: &Child, name: &str) {
    let status =
        Command::new("kill").args(["-s", name, &child.id().to_string()]).status().expect("kill is there");
    assert!(status.success());
}

fn end(child: &mut Child) -> Option<i32> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if began.elapsed() > HUNG {
            let _ = child.kill();
            panic!("a process hangs after a signal");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// However far a demonstration has come, its folder with seeds, network and pictures goes with it.
#[test]
fn an_interrupted_demo_leaves_nothing() {
    let made = |path: &Path| path.is_dir();
    let dealing = |path: &Path| path.join("dealt/dealer.postcard").exists();
    let classifying = |path: &Path| {
        entries(&path.join("dealt")).iter().any(|file| file.to_string_lossy().contains("/.pictures-"))
    };
    type Reached<'f> = &'f dyn Fn(&Path) -> bool;
    let moments: [(&str, Reached<'_>); 3] = [("INT", &made), ("TERM", &dealing), ("INT", &classifying)];
    for (nth, (name, reached)) in moments.into_iter().enumerate() {
        let folder = Folder::new(&format!("interrupted-{nth}"));
        let mut demo = Command::new(binary());
        demo.arg("demo")
            .env("TMPDIR", folder.path())
            .env_remove("HALFNET_DATA")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut demo = demo.spawn().unwrap();
        let began = Instant::now();
        while !entries(folder.path()).iter().any(|path| reached(path)) {
            assert!(
                began.elapsed() < HUNG && demo.try_wait().unwrap().is_none(),
                "moment {nth} did not come"
            );
        }
        signal(&demo, name);
        assert_eq!(end(&mut demo), Some(130));
        assert_eq!(entries(folder.path()), Vec::<PathBuf>::new());
    }
}

/// A party that waits ends well: nothing is lost between two inferences.
#[test]
fn a_waiting_party_ends_well() {
    let options = Options {
        mode: Mode::Shared,
        client: Client::SeedParty,
        release: Release::Label,
        chunk_bits: 4,
        memory: compile::ample(),
    };
    let dealt = Dealt::new(every_step(), options, 1);
    let material = dealt.file("party1.postcard");
    let arguments =
        ["party", "--role", "1", "--peer-listen", "127.0.0.1:0", "--material", material.to_str().unwrap()];
    let mut party =
        Command::new(binary()).args(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(party.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("waiting for the other party"), "{line}");
    signal(&party, "TERM");
    assert_eq!(end(&mut party), Some(0));
}
