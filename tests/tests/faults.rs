//! Links that fail under real processes: the peer gone at any byte, silent, sending too much, too little,
//! something else. Every process ends with an exit code and says why; what is spent is exactly what was
//! burned, and the next inference goes well.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use halfnet_core::plan::{Client, Mode, Options, Release, compile};
use halfnet_core::wire::frame::{HEADER, Header};
use halfnet_core::wire::message::{self, ACKNOWLEDGE, Code, HELLO, Hello, REPLY, Reply, Verdict};
use halfnet_host::party::material::PartyOne;
use halfnet_host::party::process::Event;
use halfnet_tests::dealt::{Dealt, TEST_SEED, pixels};
use halfnet_tests::network::every_step;
use halfnet_tests::processes::{ANY_PORT, Ended, Fault, Line, Meddle, Running, Stock, Way};

/// The peer's fault.
const PEER: i32 = 4;
/// Nobody listens.
const ADDRESS: i32 = 6;

/// A dealt folder and the picture that is asked about again and again.
struct Setting {
    dealt: Dealt,
    third: bool,
    pixels: Vec<u8>,
    picture: String,
}

/// What a run came to: P0, P1, and a third client.
struct Run {
    zero: Ended,
    one: Ended,
    client: Option<Ended>,
    moved: [usize; 2],
}

impl Setting {
    fn new(mode: Mode, client: Client, bundles: u64) -> Self {
        let options =
            Options { mode, client, release: Release::Label, chunk_bits: 4, memory: compile::ample() };
        let dealt = Dealt::new(every_step(), options, bundles);
        let pixels = pixels(&dealt.model, 1);
        let path = dealt.file("picture");
        std::fs::write(&path, &pixels).unwrap();
        Self { dealt, third: client == Client::Third, pixels, picture: path.to_str().unwrap().to_owned() }
    }

    fn path(&self, name: &str) -> String {
        self.dealt.file(name).to_str().unwrap().to_owned()
    }

    /// One inference whose link between the parties is at fault.
    fn run(&self, fault: Fault, timeout: &str) -> Run {
        let common = ["--insecure-test-seed", TEST_SEED, "--timeout", timeout];
        let (zero_file, one_file, plan) =
            (self.path("party0.postcard"), self.path("party1.postcard"), self.path("plan.postcard"));
        let clients: &[&str] = if self.third { &["--clients", ANY_PORT] } else { &[] };
        let arguments =
            ["party", "--role", "1", "--inferences", "1", "--material", &one_file, "--peer-listen", ANY_PORT];
        let mut one = Running::start(&[&arguments[..], &common, clients].concat());
        let [peer, one_clients] = one.listening();
        let line = Line::to(peer.unwrap(), fault);
        let address = line.address.to_string();
        let zero_common = ["--material", &zero_file, "--peer-connect", &address];
        let (zero, client) = if self.third {
            let arguments = ["party", "--role", "0", "--inferences", "1"];
            let mut zero = Running::start(&[&arguments[..], &zero_common, &common, clients].concat());
            let [_, zero_clients] = zero.listening();
            let addresses = [zero_clients, one_clients].map(|address| address.unwrap().to_string());
            let arguments = [
                "infer",
                "--plan",
                &plan,
                "--p0",
                &addresses[0],
                "--p1",
                &addresses[1],
                "--raw-pictures",
                &self.picture,
            ];
            // It tries to reach a party for as long as it waits for one.
            let patience = [
                "--insecure-test-seed",
                TEST_SEED,
                "--timeout",
                if matches!(fault, Fault::None) { timeout } else { "2" },
            ];
            (zero, Some(Running::start(&[&arguments[..], &patience].concat())))
        } else {
            (
                Running::start(
                    &[&["infer", "--raw-pictures", &self.picture][..], &zero_common, &common].concat(),
                ),
                None,
            )
        };
        let client = client.map(Running::end);
        Run { zero: zero.end(), one: one.end(), client, moved: line.moved() }
    }

    /// An inference that goes well, whatever happened before; drops what P0 would refuse.
    fn recover(&self) -> [usize; 2] {
        let before = Stock::of(&self.dealt);
        let stale: Vec<u64> =
            before.bundles.iter().copied().filter(|&counter| counter < before.next).collect();
        let counter = *before
            .bundles
            .iter()
            .find(|&&counter| counter >= before.next)
            .expect("enough bundles were dealt");
        let run = self.run(Fault::None, "20");
        assert_eq!((run.zero.code, run.one.code), (0, 0), "{} {}", run.zero.said, run.one.said);
        assert!(run.client.is_none_or(|client| client.code == 0));
        let dropped = Event::Dropped { next: before.next, bundles: stale.len() };
        assert_eq!(run.one.events.contains(&dropped), !stale.is_empty(), "{:?}", run.one.events);
        let mut expected = before.after(counter, [true, true]);
        expected.bundles.retain(|kept| !stale.contains(kept));
        assert_eq!(Stock::of(&self.dealt), expected);
        if !self.third
            && let Some(expected) = self.dealt.expected(counter, &self.pixels)
        {
            assert!(run.zero.events.contains(&Event::Answer { values: expected }), "{:?}", run.zero.events);
        }
        run.moved
    }

    /// An inference with a fault. Returns who burned, and the run.
    fn fail(&self, fault: Fault, timeout: &str) -> ([bool; 2], Run) {
        if Stock::of(&self.dealt).bundles.first().is_some_and(|&lowest| lowest < Stock::of(&self.dealt).next)
        {
            self.recover();
        }
        let before = Stock::of(&self.dealt);
        let counter = *before.bundles.first().expect("enough bundles were dealt");
        let run = self.run(fault, timeout);
        let after = Stock::of(&self.dealt);
        let burned = [after.next > before.next, !after.bundles.contains(&counter)];
        assert_eq!(after, before.after(counter, burned), "{fault:?}: one counter and its bundle, or nothing");
        for (ended, burned) in [&run.zero, &run.one].into_iter().zip(burned) {
            let says_so = ended
                .said
                .contains(&format!("inference {counter} ended early and its counter and bundle are spent"));
            match ended.code {
                0 => assert!(burned, "{fault:?}: success without an inference"),
                PEER => {
                    assert_eq!(says_so, burned, "{fault:?}: burned {burned}, but it says: {}", ended.said);
                    let place = ["in layer ", "before the first layer", "behind the last layer"]
                        .iter()
                        .any(|at| ended.said.contains(at));
                    assert!(!burned || place, "{fault:?}: no layer and step in: {}", ended.said);
                }
                code => panic!("{fault:?}: exit code {code}: {}", ended.said),
            }
        }
        // A client is told, or sees its party leave.
        if let Some(client) = &run.client {
            let ends = [
                (PEER, "spent"),
                (PEER, "closed the connection"),
                (PEER, "do not agree"),
                (PEER, "has been silent"),
                // The party was gone before the client came.
                (ADDRESS, "cannot connect"),
            ];
            let told = ends.iter().any(|(code, what)| client.code == *code && client.said.contains(what));
            assert!(told, "{fault:?}: {} {}", client.code, client.said);
        }
        (burned, run)
    }
}

/// The peer leaves after every so many bytes, either way.
fn gone_at_any_byte(mode: Mode, client: Client) {
    let setting = Setting::new(mode, client, 60);
    let [there, back] = setting.recover();
    let (hello, reply, acknowledge) = (HEADER + HELLO, HEADER + REPLY, HEADER + ACKNOWLEDGE);
    for (way, total, first) in [(Way::There, there, reply), (Way::Back, back, hello)] {
        let edges =
            [0, 1, first - 1, first, first + 1, first + acknowledge - 1, first + acknowledge, total - 1];
        // Strides that are no multiple of anything.
        let between = (1..11).map(|i| first + i * (total - first) / 11 + i % 3);
        for after in edges.into_iter().chain(between).filter(|&after| after < total) {
            let fault = Fault::Cut(way, after);
            let (burned, run) = setting.fail(fault, "20");
            let expected = match way {
                // P0 burns when it accepts, P1 when it has the whole acceptance.
                Way::There => [after > 0, after >= reply],
                Way::Back => [after >= hello, after > hello],
            };
            assert_eq!(burned, expected, "{mode:?} {fault:?} of {total}: {} {}", run.zero.said, run.one.said);
            // Who is short of bytes fails; who sent them may have all it needs.
            let short = if way == Way::There { &run.one } else { &run.zero };
            assert_eq!(short.code, PEER, "{mode:?} {fault:?} of {total}: {}", short.said);
            assert!(
                short.said.contains("closed the connection") || short.said.contains("the peer left"),
                "{}",
                short.said
            );
        }
    }
    setting.recover();
}

#[test]
fn gone_at_any_byte_with_two_servers() {
    gone_at_any_byte(Mode::TwoServers, Client::Third);
}

#[test]
fn gone_at_any_byte_with_shared_weights() {
    gone_at_any_byte(Mode::Shared, Client::SeedParty);
    gone_at_any_byte(Mode::Shared, Client::Third);
}

#[test]
fn gone_at_any_byte_with_held_weights() {
    gone_at_any_byte(Mode::Held, Client::SeedParty);
    gone_at_any_byte(Mode::Held, Client::Third);
}

/// A peer that says nothing any more is given up after the timeout, and neither sooner nor much later.
#[test]
fn silence_ends_at_the_timeout() {
    for (mode, client) in [
        (Mode::TwoServers, Client::Third),
        (Mode::Shared, Client::SeedParty),
        (Mode::Held, Client::SeedParty),
    ] {
        let setting = Setting::new(mode, client, 12);
        let [there, back] = setting.recover();
        for fault in [
            Fault::Silence(Way::Back, 0),
            Fault::Silence(Way::There, there / 2),
            Fault::Silence(Way::Back, back * 2 / 3),
        ] {
            let began = Instant::now();
            let (_, run) = setting.fail(fault, "0.6");
            assert!((0.6..6.0).contains(&began.elapsed().as_secs_f64()), "{fault:?}: {:?}", began.elapsed());
            let silent = |ended: &Ended| {
                ended.said.contains("has been silent for") && ended.said.contains("is it still running?")
            };
            assert!(
                silent(&run.zero) || silent(&run.one),
                "{mode:?} {fault:?}: {} {}",
                run.zero.said,
                run.one.said
            );
        }
        setting.recover();
    }
}

fn header(frame: &[u8]) -> Header {
    Header::decode(frame.first_chunk().unwrap())
}

fn with_header(frame: &[u8], header: Header, payload: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = frame.to_vec();
    payload(&mut out);
    out[..HEADER].copy_from_slice(&header.encode());
    out
}

/// A frame twice.
fn repeated(frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    [&frames[..1], &frames[..]].concat()
}

/// A byte less, honestly stated.
fn shorter(mut frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let found = header(&frames[0]);
    frames[0] = with_header(&frames[0], Header { length: found.length - 1, ..found }, |bytes| {
        bytes.truncate(bytes.len() - 1)
    });
    frames
}

/// A byte more, honestly stated.
fn longer(mut frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let found = header(&frames[0]);
    frames[0] = with_header(&frames[0], Header { length: found.length + 1, ..found }, |bytes| bytes.push(7));
    frames
}

/// As long as a header can say.
fn endless(mut frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let found = header(&frames[0]);
    frames[0] = with_header(&frames[0], Header { length: (1 << 24) - 1, ..found }, |_| {});
    frames
}

/// The name of another tile.
fn misnamed(mut frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let found = header(&frames[0]);
    frames[0] = with_header(&frames[0], Header { tile: found.tile + 1, ..found }, |_| {});
    frames
}

/// A name that no frame has, ahead of the true one.
fn invented(mut frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    frames.insert(0, [&Header { layer: 77, step: 3, tile: 0, length: 5 }.encode()[..], &[1; 5]].concat());
    frames
}

/// Too much, too little, out of order: refused by who gets it, with what was wrong.
#[test]
fn wrong_frames_are_refused() {
    for (mode, client) in [
        (Mode::TwoServers, Client::Third),
        (Mode::Shared, Client::SeedParty),
        (Mode::Held, Client::SeedParty),
    ] {
        let setting = Setting::new(mode, client, 60);
        let all: [(Meddle, bool); 6] = [
            (repeated, true),
            (shorter, false),
            (longer, false),
            (endless, false),
            (misnamed, false),
            (invented, false),
        ];
        for (meddle, readable) in all {
            for (way, index) in
                [(Way::There, 0), (Way::There, 3), (Way::Back, 0), (Way::Back, 1), (Way::Back, 4)]
            {
                let fault = Fault::Frames(way, index, meddle);
                let (burned, run) = setting.fail(fault, "5");
                let reader = if way == Way::There { &run.one } else { &run.zero };
                assert_eq!(reader.code, PEER, "{mode:?} {way:?} {index}: {}", reader.said);
                let faults = [
                    "sent a frame",
                    "announced a frame of",
                    "malformed message",
                    "out of order",
                    "bytes where the plan states",
                    "protocol version",
                ];
                assert!(
                    faults.iter().any(|what| reader.said.contains(what)),
                    "{mode:?} {way:?} {index}: {}",
                    reader.said
                );
                // What cannot be read of the handshake burns nothing more.
                match (way, index) {
                    (Way::Back, 0) => assert_eq!(burned, [readable; 2]),
                    (Way::There, 0) => assert_eq!(burned, [true, readable]),
                    _ => assert_eq!(burned, [true; 2]),
                }
            }
        }
        setting.recover();
    }
}

/// A client that leaves takes its inference with it, and the next client is served.
#[test]
fn a_client_that_leaves_costs_one_inference() {
    let setting = Setting::new(Mode::TwoServers, Client::Third, 4);
    let common = [
        "--insecure-test-seed",
        TEST_SEED,
        "--timeout",
        "10",
        "--clients",
        ANY_PORT,
        "--inferences",
        "1",
        "--keep-going",
    ];
    let files = [setting.path("party0.postcard"), setting.path("party1.postcard")];
    let mut one = Running::start(
        &[&["party", "--role", "1", "--material", &files[1], "--peer-listen", ANY_PORT][..], &common]
            .concat(),
    );
    let [peer, one_clients] = one.listening();
    let peer = peer.unwrap().to_string();
    let mut zero = Running::start(
        &[&["party", "--role", "0", "--material", &files[0], "--peer-connect", &peer][..], &common].concat(),
    );
    let zero_clients = zero.listening()[1].unwrap();
    let ask = |zero: &str, one: &str| {
        let plan = setting.path("plan.postcard");
        let arguments =
            ["infer", "--plan", &plan, "--p0", zero, "--p1", one, "--raw-pictures", &setting.picture];
        Running::start(&[&arguments[..], &["--insecure-test-seed", TEST_SEED, "--timeout", "10"]].concat())
            .end()
    };
    // It gets a part of P0's share of A and no more.
    let line = Line::to(zero_clients, Fault::Cut(Way::Back, HEADER + 20));
    let lost = ask(&line.address.to_string(), &one_clients.unwrap().to_string());
    assert_eq!(lost.code, PEER);
    assert!(lost.said.contains("P0 closed the connection in the middle of a frame"), "{}", lost.said);
    std::thread::sleep(Duration::from_millis(300));
    let served = ask(&zero_clients.to_string(), &one_clients.unwrap().to_string());
    assert_eq!(served.code, 0, "{}", served.said);
    let ended = [zero.end(), one.end()];
    for party in &ended {
        assert_eq!(party.code, 0, "{}", party.said);
        let failed = party
            .events
            .iter()
            .find_map(|event| if let Event::Failed { reason } = event { Some(reason) } else { None });
        assert!(
            failed.is_some_and(|reason| reason.contains("inference 0 ended early")),
            "{:?}",
            party.events
        );
    }
    assert_eq!(Stock::of(&setting.dealt).next, 2);
}

/// Material's fault.
const MATERIAL: i32 = 5;

fn message(code: Code, payload: &[u8]) -> Vec<u8> {
    [&message::header(code, 0, payload.len() as u32).encode()[..], payload].concat()
}

/// A stranger that calls every counter old must not have the bundles dropped.
#[test]
fn a_stranger_s_refusal_drops_nothing() {
    let setting = Setting::new(Mode::Shared, Client::SeedParty, 2);
    let before = Stock::of(&setting.dealt);
    let listener = TcpListener::bind(ANY_PORT).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let one_file = setting.path("party1.postcard");
    let one = Running::start(&[
        "party",
        "--role",
        "1",
        "--material",
        &one_file,
        "--peer-connect",
        &address,
        "--timeout",
        "5",
    ]);
    let mut stream = listener.accept().unwrap().0;
    let mut frame = [0; HEADER + HELLO];
    stream.read_exact(&mut frame).unwrap();
    let hello = Hello::decode(&frame[HEADER..]).unwrap();
    let mut agreement = hello.agreement;
    agreement.pairing[0] ^= 1;
    let reply = Reply { agreement, nonce: [3; 16], verdict: Verdict::OldCounter, next: u64::MAX };
    stream.write_all(&message(Code::Reply, &reply.encode())).unwrap();
    let ended = one.end();
    assert_eq!(ended.code, MATERIAL, "{}", ended.said);
    assert!(ended.said.contains("their pairing differs"), "{}", ended.said);
    assert_eq!(Stock::of(&setting.dealt), before);
    setting.recover();
}

/// P0 that waits for P1, and a connection to it from whoever says that it is P1.
fn seed_party(setting: &Setting) -> (Running, TcpStream) {
    let zero_file = setting.path("party0.postcard");
    let common = ["--material", &zero_file, "--peer-listen", ANY_PORT, "--timeout", "5"];
    let arguments: &[&str] = if setting.third {
        &["party", "--role", "0", "--inferences", "1", "--clients", ANY_PORT]
    } else {
        &["infer", "--raw-pictures", &setting.picture]
    };
    let mut zero = Running::start(&[arguments, &common].concat());
    let stream = TcpStream::connect(zero.listening()[0].unwrap()).unwrap();
    (zero, stream)
}

/// What P1 would propose.
fn proposal(setting: &Setting, counter: u64) -> Vec<u8> {
    let one_file = setting.path("party1.postcard");
    let one = PartyOne::open(one_file.as_ref()).unwrap();
    let agreement = one.public.agreement(&one.public.plan(one_file.as_ref()).unwrap());
    let hello = Hello { agreement, deal: [1; 16], nonce: [2; 16], request: [0; 16], counter };
    message(Code::Hello, &hello.encode())
}

/// The last counter there is has none behind it: P0 refuses it before it burns or says anything.
#[test]
fn the_last_counter_is_never_accepted() {
    for client in [Client::SeedParty, Client::Third] {
        let setting = Setting::new(Mode::Shared, client, 1);
        let before = Stock::of(&setting.dealt);
        let (zero, mut stream) = seed_party(&setting);
        stream.write_all(&proposal(&setting, u64::MAX)).unwrap();
        let mut answered = Vec::new();
        let _ = stream.read_to_end(&mut answered);
        assert!(answered.is_empty(), "it answered {answered:?}");
        let ended = zero.end();
        assert_eq!(ended.code, PEER, "{}", ended.said);
        assert!(ended.said.contains("the last counter there is"), "{}", ended.said);
        assert_eq!(Stock::of(&setting.dealt), before);
        setting.recover();
    }
}

/// Who reads that P0 accepts finds the counter burned, and whoever leaves then has spent it.
#[test]
fn the_counter_is_burned_before_it_is_accepted() {
    let setting = Setting::new(Mode::Shared, Client::SeedParty, 3);
    let before = Stock::of(&setting.dealt);
    let (zero, mut stream) = seed_party(&setting);
    stream.write_all(&proposal(&setting, 1)).unwrap();
    let mut frame = [0; HEADER + REPLY];
    stream.read_exact(&mut frame).unwrap();
    // A gap is legal.
    assert_eq!(Stock::of(&setting.dealt), before.after(1, [true, false]));
    let reply = Reply::decode(&frame[HEADER..]).unwrap();
    assert_eq!((reply.verdict, reply.next), (Verdict::Accepted, 0));
    drop(stream);
    let ended = zero.end();
    assert_eq!(ended.code, PEER, "{}", ended.said);
    let says = "inference 1 ended early and its counter and bundle are spent: before the first layer, at the acknowledgements: P1 ";
    assert!(ended.said.contains(says), "{}", ended.said);
    setting.recover();
}

/// A counter that cannot be burned is not accepted: P1 hears nothing, and nothing is spent.
#[test]
fn what_cannot_be_burned_is_never_accepted() {
    let setting = Setting::new(Mode::Shared, Client::SeedParty, 1);
    let before = Stock::of(&setting.dealt);
    let (zero, mut stream) = seed_party(&setting);
    let (counter, aside) = (setting.path("party0.counter"), setting.path("aside"));
    std::fs::rename(&counter, &aside).unwrap();
    stream.write_all(&proposal(&setting, 0)).unwrap();
    let mut answered = Vec::new();
    let _ = stream.read_to_end(&mut answered);
    assert!(answered.is_empty(), "it answered {answered:?}");
    let ended = zero.end();
    assert_eq!(ended.code, MATERIAL, "{}", ended.said);
    assert!(ended.said.contains("the counter beside the seed is missing"), "{}", ended.said);
    assert!(!ended.said.contains("spent"), "{}", ended.said);
    std::fs::rename(&aside, &counter).unwrap();
    assert_eq!(Stock::of(&setting.dealt), before);
    setting.recover();
}

/// P1 that leaves after its proposal has spent the counter at P0, which says so; with half of it, nothing.
#[test]
fn who_leaves_after_a_proposal_spends_its_counter() {
    let setting = Setting::new(Mode::Held, Client::SeedParty, 2);
    let before = Stock::of(&setting.dealt);
    for (whole, text) in [
        (false, "P1 closed the connection in the middle of a frame"),
        (true, "inference 0 ended early and its counter and bundle are spent"),
    ] {
        let (zero, mut stream) = seed_party(&setting);
        let hello = proposal(&setting, 0);
        stream.write_all(&hello[..if whole { hello.len() } else { hello.len() / 2 }]).unwrap();
        drop(stream);
        let ended = zero.end();
        assert_eq!(ended.code, PEER, "{}", ended.said);
        assert!(ended.said.contains(text), "{}", ended.said);
        assert_eq!(Stock::of(&setting.dealt), before.after(0, [whole, false]));
    }
    setting.recover();
}

/// A party that goes on after failures does not hammer on a peer that fails at once.
#[test]
fn a_party_that_connects_again_pauses() {
    let setting = Setting::new(Mode::Shared, Client::SeedParty, 1);
    let listener = TcpListener::bind(ANY_PORT).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let one_file = setting.path("party1.postcard");
    let _one = Running::start(&[
        "party",
        "--role",
        "1",
        "--material",
        &one_file,
        "--peer-connect",
        &address,
        "--keep-going",
    ]);
    listener.set_nonblocking(true).unwrap();
    let (mut came, mut first) = (0, None);
    // From when it came first.
    while first.is_none_or(|first: Instant| first.elapsed() < Duration::from_millis(1200)) {
        match listener.accept() {
            Ok((mut stream, _)) => {
                came += 1;
                first.get_or_insert_with(Instant::now);
                // Half a header: no orderly end.
                let _ = stream.write_all(&[1]);
            }
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    assert!((2..=4).contains(&came), "it came {came} times");
}
