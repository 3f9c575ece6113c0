//! Parties at the two ends of a serial line: pseudoterminals and sockets, by the real command.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

use halfnet_core::plan::{Client, Mode, Options, Release, compile};
use halfnet_host::party::process::Event;
use halfnet_tests::command::refused;
use halfnet_tests::dealt::{Dealt, TEST_SEED, pixels};
use halfnet_tests::network::every_step;
use halfnet_tests::processes::Running;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

const INFERENCES: u64 = 3;

fn dealt(bundles: u64) -> Dealt {
    let options = Options {
        mode: Mode::Held,
        client: Client::SeedParty,
        release: Release::Label,
        chunk_bits: 4,
        memory: compile::ample(),
    };
    let dealt = Dealt::new(every_step(), options, bundles);
    let pictures: Vec<_> = (0..INFERENCES).map(|seed| pixels(&dealt.model, seed)).collect();
    std::fs::write(dealt.file("pictures"), pictures.concat()).unwrap();
    dealt
}

fn text(dealt: &Dealt, name: &str) -> String {
    dealt.file(name).to_str().unwrap().to_owned()
}

/// One end of a line: what an emulator or a cable holds, and the device that a party opens.
struct Terminal {
    held: File,
    path: String,
    /// As long as the device is open, reading what is held does not fail.
    _open: File,
}

impl Terminal {
    fn new() -> Self {
        let held: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&held).unwrap();
        unlockpt(&held).unwrap();
        let path = ptsname(&held, Vec::new()).unwrap().into_string().unwrap();
        let open = File::options().read(true).write(true).open(&path).unwrap();
        Self { held: held.into(), path, _open: open }
    }
}

/// Carries bytes one way, in pieces that no frame respects, until an end is gone; gives their number.
fn carry(mut from: impl Read + Send + 'static, mut to: impl Write + Send + 'static) -> JoinHandle<usize> {
    std::thread::spawn(move || {
        let (mut piece, mut moved) = ([0; 61], 0);
        while let Ok(count @ 1..) = from.read(&mut piece) {
            if to.write_all(&piece[..count]).is_err() {
                break;
            }
            moved += count;
        }
        moved
    })
}

/// P0 on one line and P1 on the other: what they ask and answer under `counters`.
fn classify(dealt: &Dealt, [zero_line, one_line]: [&str; 2]) {
    let common = ["--insecure-test-seed", TEST_SEED, "--timeout", "20", "--baud", "921600"];
    let (pictures, zero, one) =
        (text(dealt, "pictures"), text(dealt, "party0.postcard"), text(dealt, "party1.postcard"));
    let arguments = ["infer", "--raw-pictures", &pictures, "--material", &zero, "--serial", zero_line];
    let mut zero = Running::start(&[&arguments[..], &common].concat());
    // Its line is open: P1 may speak.
    assert_eq!(zero.listening(), [None, None]);
    let inferences = INFERENCES.to_string();
    let arguments =
        ["party", "--role", "1", "--inferences", &inferences, "--material", &one, "--serial", one_line];
    let one = Running::start(&[&arguments[..], &common].concat());
    let [zero, one] = [zero.end(), one.end()];
    assert_eq!((zero.code, one.code), (0, 0), "{}{}", zero.said, one.said);
    let answers: Vec<_> = zero
        .events
        .iter()
        .filter_map(|e| if let Event::Answer { values } = e { Some(values.clone()) } else { None })
        .collect();
    let expected: Vec<_> = (0..INFERENCES)
        .map(|counter| dealt.expected(counter, &pixels(&dealt.model, counter)).unwrap())
        .collect();
    assert_eq!(answers, expected);
}

#[test]
fn two_parties_classify_over_pseudoterminals() {
    let [zero, one] = [Terminal::new(), Terminal::new()];
    for (from, to) in [(&zero, &one), (&one, &zero)] {
        carry(from.held.try_clone().unwrap(), to.held.try_clone().unwrap());
    }
    classify(&dealt(INFERENCES), [&zero.path, &one.path]);
}

#[test]
fn two_parties_classify_over_sockets_in_the_file_system() {
    let dealt = dealt(INFERENCES);
    let paths = ["zero", "one"].map(|name| text(&dealt, name));
    let listeners = paths.clone().map(|path| UnixListener::bind(path).unwrap());
    let carrier = std::thread::spawn(move || {
        let [(zero, _), (one, _)] = listeners.map(|listener| listener.accept().unwrap());
        let back = carry(one.try_clone().unwrap(), zero.try_clone().unwrap());
        [carry(zero, one), back].map(|way| way.join().unwrap())
    });
    classify(&dealt, [&paths[0], &paths[1]]);
    let moved = carrier.join().unwrap();
    assert_eq!(moved.iter().filter(|&&bytes| bytes > 1000).count(), 2, "{moved:?}");
}

#[test]
fn a_line_that_is_pulled_out_is_a_peer_that_left() {
    let dealt = dealt(1);
    let line = Terminal::new();
    let one = text(&dealt, "party1.postcard");
    let arguments = ["party", "--role", "1", "--inferences", "1", "--material", &one, "--serial", &line.path];
    let mut running =
        Running::start(&[&arguments[..], &["--timeout", "20", "--insecure-test-seed", TEST_SEED]].concat());
    assert_eq!(running.listening(), [None, None]);
    // Its hello comes, and the line goes.
    let mut byte = [0];
    (&line.held).read_exact(&mut byte).unwrap();
    drop(line);
    let ended = running.end();
    assert_eq!(ended.code, 4, "{}", ended.said);
    assert!(ended.said.contains("left after 0 of 1") || ended.said.contains("closed"), "{}", ended.said);
}

#[test]
fn what_is_no_line_is_refused() {
    let dealt = dealt(1);
    let (one, absent) = (text(&dealt, "party1.postcard"), text(&dealt, "absent"));
    let party = ["party", "--role", "1", "--material", &one];
    let with = |more: &[&str], code, says| refused(&[&party[..], more].concat(), code, says);
    with(&["--serial", &absent], 6, "cannot open the line");
    with(&["--serial", &one], 6, "neither a serial device nor a socket");
    with(&["--serial", &absent, "--peer-listen", "127.0.0.1:0"], 2, "cannot be used with");
    with(&["--peer-listen", "127.0.0.1:0", "--baud", "9600"], 2, "cannot be used with");
    with(&["--serial", &absent, "--baud", "0"], 2, "--baud");
    with(&[], 2, "--serial DEVICE");
}
