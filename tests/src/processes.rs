//! Parties and clients as processes of the real command, and a line between them that somebody meddles with.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use halfnet_core::wire::frame::{HEADER, Header};
use halfnet_host::party::material::{PartyZero, names};
use halfnet_host::party::process::Event;
use halfnet_host::party::store::Counter;

use crate::command::binary;
use crate::dealt::Dealt;

/// After so long a process is taken for hung.
const HUNG: Duration = Duration::from_secs(30);

/// A port of this machine that the operating system chooses.
pub const ANY_PORT: &str = "127.0.0.1:0";

/// A process that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    events: Receiver<Event>,
    said: Option<JoinHandle<String>>,
}

/// A process that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its exit code.
    pub code: i32,
    /// Its standard error.
    pub said: String,
    /// What it reported and nobody has read yet.
    pub events: Vec<Event>,
}

impl Running {
    /// Starts `halfnet ARGUMENTS` and reads the events that it reports.
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.args(arguments).args(["--report-json", "--end-with-input"]).env_remove("HALFNET_DATA");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        let (send, events) = channel();
        let out = child.stdout.take().expect("piped");
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"));
                if send.send(event).is_err() {
                    break;
                }
            }
        });
        let mut error = child.stderr.take().expect("piped");
        let said = std::thread::spawn(move || {
            let mut text = String::new();
            error.read_to_string(&mut text).expect("text");
            text
        });
        Self { child, events, said: Some(said) }
    }

    /// Where it listens, for the other party and for clients.
    pub fn listening(&mut self) -> [Option<SocketAddr>; 2] {
        match self.events.recv_timeout(HUNG) {
            Ok(Event::Listening { peer, clients }) => [peer, clients],
            other => panic!("{other:?}: {}", self.kill()),
        }
    }

    fn kill(&mut self) -> String {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.said.take().map(|said| said.join().expect("read")).unwrap_or_default()
    }

    /// Waits for its end; a process that hangs is a failed test.
    pub fn end(mut self) -> Ended {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(began.elapsed() < HUNG, "a process hangs; it said: {}", self.kill());
            std::thread::sleep(Duration::from_millis(2));
        };
        let said = self.said.take().expect("once").join().expect("read");
        let code = status.code().unwrap_or_else(|| panic!("{status}: {said}"));
        Ended { code, said, events: self.events.iter().collect() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.kill();
        }
    }
}

/// Which way bytes go over a line: from who connected to who listens, or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From who connected.
    There,
    /// To who connected.
    Back,
}

/// What happens to one frame.
pub type Meddle = fn(Vec<Vec<u8>>) -> Vec<Vec<u8>>;

/// What is wrong with a line.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Nothing.
    None,
    /// Both ends see the other leave once so many bytes have gone one way.
    Cut(Way, usize),
    /// Nothing passes either way any more once so many bytes have gone one way, but that an end leaves.
    Silence(Way, usize),
    /// Frame number so and so and the one behind it, in one direction, become what the function makes of
    /// them.
    Frames(Way, usize, Meddle),
}

/// A line to an address, for one connection.
#[derive(Debug)]
pub struct Line {
    /// Connect here.
    pub address: SocketAddr,
    moved: Arc<[AtomicUsize; 2]>,
}

/// What both directions share.
struct Ends {
    near: TcpStream,
    far: TcpStream,
    broken: AtomicBool,
    /// Held while bytes pass, so that nothing passes after a break.
    passing: Mutex<()>,
}

impl Line {
    /// A line to `far`.
    pub fn to(far: SocketAddr, fault: Fault) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        let moved: Arc<[AtomicUsize; 2]> = Arc::default();
        let counted = moved.clone();
        std::thread::spawn(move || {
            let (near, _) = listener.accept().expect("a connection");
            // Nobody else comes.
            drop(listener);
            let far = TcpStream::connect(far).expect("the far end listens");
            near.set_nodelay(true).and_then(|()| far.set_nodelay(true)).expect("a socket");
            let ends = Arc::new(Ends { near, far, broken: AtomicBool::new(false), passing: Mutex::new(()) });
            // Before anything has passed the other way.
            if let Fault::Cut(way, 0) | Fault::Silence(way, 0) = fault {
                ends.pass_last(way, &[], &counted[way as usize], matches!(fault, Fault::Cut(..)));
            }
            for way in [Way::There, Way::Back] {
                let (ends, counted) = (ends.clone(), counted.clone());
                std::thread::spawn(move || carry(&ends, way, fault, &counted[way as usize]));
            }
        });
        Self { address, moved }
    }

    /// Bytes that have passed, there and back.
    pub fn moved(&self) -> [usize; 2] {
        [0, 1].map(|way| self.moved[way].load(Ordering::SeqCst))
    }
}

impl Ends {
    /// (reads from, writes to)
    fn of(&self, way: Way) -> (&TcpStream, &TcpStream) {
        if way == Way::There { (&self.near, &self.far) } else { (&self.far, &self.near) }
    }

    /// Passes bytes on, unless the line is broken.
    fn pass(&self, way: Way, bytes: &[u8], moved: &AtomicUsize) {
        let _passing = self.passing.lock().expect("no panic while passing");
        if !self.broken.load(Ordering::SeqCst) {
            moved.fetch_add(bytes.len(), Ordering::SeqCst);
            // Who left does not read.
            let _ = self.of(way).1.write_all(bytes);
        }
    }

    /// Passes the last bytes on; nothing follows, either way. Both ends see an orderly end, or nothing at
    /// all.
    fn pass_last(&self, way: Way, bytes: &[u8], moved: &AtomicUsize, close: bool) {
        let _passing = self.passing.lock().expect("no panic while passing");
        if !self.broken.swap(true, Ordering::SeqCst) {
            moved.fetch_add(bytes.len(), Ordering::SeqCst);
            let (from, mut to) = self.of(way);
            let _ = to.write_all(bytes);
            if close {
                let _ = (from.shutdown(Shutdown::Write), to.shutdown(Shutdown::Write));
            }
        }
    }
}

fn carry(ends: &Ends, way: Way, fault: Fault, moved: &AtomicUsize) {
    let (mut from, _) = ends.of(way);
    let mut buffer = vec![0; 1 << 16];
    let (mut frames, mut waiting) = (0, Vec::new());
    // Read to the end even when broken: a reset would take back what was passed on.
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 {
            break;
        }
        let bytes = &buffer[..count];
        match fault {
            Fault::Cut(at, after) | Fault::Silence(at, after) if at == way => {
                let before = moved.load(Ordering::SeqCst);
                match bytes.split_at_checked(after.saturating_sub(before)) {
                    Some((last, _)) => ends.pass_last(way, last, moved, matches!(fault, Fault::Cut(..))),
                    None => ends.pass(way, bytes, moved),
                }
            }
            Fault::Frames(at, index, meddle) if at == way => {
                waiting.extend_from_slice(bytes);
                while let Some(frame) = take_frame(&mut waiting, frames, index) {
                    let count = frame.len();
                    let passed = if frames == index { meddle(frame) } else { frame };
                    frames += count;
                    ends.pass(way, &passed.concat(), moved);
                }
            }
            _ => ends.pass(way, bytes, moved),
        }
    }
    // Who leaves is seen to leave, over a silent line too: only a party that has nothing to do waits for
    // ever.
    let _ = ends.of(way).1.shutdown(Shutdown::Write);
}

/// The next whole frame; the one to meddle with together with the next, if that is there already.
fn take_frame(waiting: &mut Vec<u8>, number: usize, index: usize) -> Option<Vec<Vec<u8>>> {
    let length = |bytes: &[u8]| {
        let length = HEADER + Header::decode(bytes.first_chunk()?).length as usize;
        (bytes.len() >= length).then_some(length)
    };
    let first = length(waiting)?;
    let second = if number == index { length(&waiting[first..]) } else { None };
    let frame: Vec<u8> = waiting.drain(..first).collect();
    Some(
        [Some(frame), second.map(|second| waiting.drain(..second).collect())].into_iter().flatten().collect(),
    )
}

/// What a dealt folder still holds: P0's next counter and P1's unspent ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stock {
    /// The next that P0 accepts.
    pub next: u64,
    /// Bundles.
    pub bundles: BTreeSet<u64>,
}

impl Stock {
    /// Looks.
    pub fn of(dealt: &Dealt) -> Self {
        let material = dealt.file(names::PARTY_ZERO);
        let pairing = PartyZero::read(&material).expect("P0's material").public.pairing;
        let next = Counter::read(&Counter::path_beside(&material), pairing).expect("a counter");
        let folder = std::fs::read_dir(dealt.file(names::BUNDLES)).expect("bundles");
        let bundles = folder
            .filter_map(|entry| {
                entry.expect("an entry").path().file_name()?.to_str()?.strip_suffix(".bundle")?.parse().ok()
            })
            .collect();
        Self { next, bundles }
    }

    /// After inference `counter` was burned by P0, by P1.
    pub fn after(&self, counter: u64, burned: [bool; 2]) -> Self {
        let mut after = self.clone();
        if burned[0] {
            after.next = counter + 1;
        }
        if burned[1] {
            after.bundles.remove(&counter);
        }
        after
    }
}
