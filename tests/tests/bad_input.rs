//! Files that are damaged, foreign, spent or missing, ports in use and pictures of the wrong size: each has
//! its own error that says what to do, its own exit code, and spends nothing.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use halfnet_core::model::blob::{self, ENVELOPE_BYTES, Kind};
use halfnet_core::model::{Activation, Model, Step};
use halfnet_core::plan::{Client, Mode, Options, Release, compile};
use halfnet_host::party::material::{DealerState, Lock, PartyOne};
use halfnet_host::party::process::{Event, MoreRequest, deal_more};
use halfnet_host::party::store::{BundleStore, Counter};
use halfnet_tests::command::{Folder, refused};
use halfnet_tests::dealt::{Dealt, TEST_SEED, pixels, sealed};
use halfnet_tests::network::every_step;
use halfnet_tests::processes::{ANY_PORT, Ended, Running, Stock};

/// Exit codes, as `--help` lists them.
const USAGE: i32 = 2;
const INPUT: i32 = 3;
const PEER: i32 = 4;
const MATERIAL: i32 = 5;
const ADDRESS: i32 = 6;

fn dealt(bundles: u64) -> Dealt {
    let options = Options {
        mode: Mode::Shared,
        client: Client::SeedParty,
        release: Release::Label,
        chunk_bits: 4,
        memory: compile::ample(),
    };
    let dealt = Dealt::new(every_step(), options, bundles);
    std::fs::write(dealt.file("picture"), pixels(&dealt.model, 1)).unwrap();
    dealt
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What to give instead of the dealt files.
#[derive(Default)]
struct Files {
    zero: Option<PathBuf>,
    one: Option<PathBuf>,
    bundles: Option<PathBuf>,
    picture: Option<PathBuf>,
}

/// Both parties of a folder, with other files in the place of some.
fn pair(dealt: &Dealt, files: &Files) -> [Ended; 2] {
    let file = |other: &Option<PathBuf>, name| other.clone().unwrap_or_else(|| dealt.file(name));
    let common = ["--insecure-test-seed", TEST_SEED, "--timeout", "20"];
    let (one, bundles) = (file(&files.one, "party1.postcard"), file(&files.bundles, "bundles"));
    let arguments = ["party", "--role", "1", "--inferences", "1", "--peer-listen", ANY_PORT];
    let mut one = Running::start(
        &[&arguments[..], &["--material", text(&one), "--bundles", text(&bundles)], &common].concat(),
    );
    let peer = one.listening()[0].unwrap().to_string();
    let (zero, picture) = (file(&files.zero, "party0.postcard"), file(&files.picture, "picture"));
    let arguments =
        ["infer", "--raw-pictures", text(&picture), "--material", text(&zero), "--peer-connect", &peer];
    let zero = Running::start(&[&arguments[..], &common].concat());
    [zero.end(), one.end()]
}

fn says(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!(ended.code, code, "{}", ended.said);
    for part in parts {
        assert!(ended.said.contains(part), "`{part}` is not in: {}", ended.said);
    }
}

/// Every way to damage a blob, with what must be said of it.
fn damaged(good: &[u8], kind: Kind) -> Vec<(&'static str, Vec<u8>, String)> {
    let with = |at: usize, to: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = to;
        bytes
    };
    let other = if kind == Kind::Plan { Kind::Model } else { Kind::Plan };
    let middle = ENVELOPE_BYTES + (good.len() - ENVELOPE_BYTES) / 2;
    let mut found = vec![
        ("empty", Vec::new(), "too few for a blob".to_owned()),
        ("envelope", good[..ENVELOPE_BYTES - 1].to_vec(), "too few for a blob".to_owned()),
        ("cut", good[..good.len() - 1].to_vec(), "blob is cut".to_owned()),
        ("extended", [good, &[0]].concat(), "1 bytes after its end".to_owned()),
        ("first", with(ENVELOPE_BYTES, good[ENVELOPE_BYTES] ^ 1), "blob is damaged".to_owned()),
        ("middle", with(middle, good[middle] ^ 0x10), "blob is damaged".to_owned()),
        ("last", with(good.len() - 1, good[good.len() - 1] ^ 0x80), "blob is damaged".to_owned()),
        ("hash", with(ENVELOPE_BYTES - 1, good[ENVELOPE_BYTES - 1] ^ 1), "blob is damaged".to_owned()),
        ("version", with(9, 77), "format version 77".to_owned()),
        ("magic", with(3, b'?'), "not a Halfnet blob".to_owned()),
        ("kind", with(8, other as u8), format!("blob of kind {}", other as u8)),
    ];
    // A right hash around nonsense.
    let body = vec![0xff; 200];
    let mut out = vec![0; body.len() + ENVELOPE_BYTES];
    if kind != Kind::Bundle {
        found.push(("nonsense", blob::seal(kind, &body, &mut out).unwrap().to_vec(), String::new()));
    }
    found
}

#[test]
fn damaged_blobs_of_every_kind() {
    let dealt = dealt(1);
    let folder = Folder::new("damaged");
    let before = Stock::of(&dealt);
    let read = |name: &str| std::fs::read(dealt.file(name)).unwrap();
    let picture = dealt.file("picture");
    let picture = text(&picture);
    for (name, bytes, what) in damaged(&sealed(&dealt.model), Kind::Model) {
        let path = folder.file(&format!("model-{name}"), &bytes);
        let out = folder.path().join("never");
        refused(&["inspect", &path], INPUT, &what);
        refused(&["deal", "--model", &path, "--out", text(&out)], INPUT, &what);
        assert!(!out.exists());
    }
    for (name, bytes, what) in damaged(&read("party0.postcard"), Kind::PartyZero) {
        let path = folder.file(&format!("zero-{name}"), &bytes);
        refused(
            &["infer", "--raw-pictures", picture, "--material", &path, "--peer-connect", "127.0.0.1:9"],
            MATERIAL,
            &what,
        );
    }
    for (name, bytes, what) in damaged(&read("party1.postcard"), Kind::PartyOne) {
        let path = folder.file(&format!("one-{name}"), &bytes);
        refused(&["party", "--role", "1", "--material", &path, "--peer-listen", ANY_PORT], MATERIAL, &what);
    }
    for (name, bytes, what) in damaged(&read("plan.postcard"), Kind::Plan) {
        let path = folder.file(&format!("plan-{name}"), &bytes);
        let arguments = [
            "infer",
            "--raw-pictures",
            picture,
            "--plan",
            &path,
            "--p0",
            "127.0.0.1:9",
            "--p1",
            "127.0.0.1:9",
        ];
        refused(&arguments, MATERIAL, &what);
    }
    for (name, bytes, what) in damaged(&read("dealer.postcard"), Kind::State) {
        let path = folder.file(&format!("dealer-{name}"), &bytes);
        refused(
            &["deal", "--more", "1", "--state", &path, "--insecure-test-seed", TEST_SEED],
            MATERIAL,
            &what,
        );
    }
    assert_eq!(Stock::of(&dealt), before);
}

/// A counter that cannot be trusted stops P0 before it connects.
#[test]
fn damaged_counters_stop_the_seed_party() {
    let dealt = dealt(1);
    let counter = dealt.file("party0.counter");
    let good = std::fs::read(&counter).unwrap();
    let (zero, picture) = (dealt.file("party0.postcard"), dealt.file("picture"));
    let arguments = [
        "infer",
        "--raw-pictures",
        text(&picture),
        "--material",
        text(&zero),
        "--peer-connect",
        "127.0.0.1:9",
    ];
    for (_, bytes, what) in damaged(&good, Kind::State) {
        std::fs::write(&counter, bytes).unwrap();
        refused(&arguments, MATERIAL, &what);
    }
    std::fs::remove_file(&counter).unwrap();
    refused(&arguments, MATERIAL, "the counter beside the seed is missing");
    refused(&arguments, MATERIAL, "deal a new pairing");
    let options = DealerState::read(&dealt.file("dealer.postcard"))
        .unwrap()
        .public
        .plan(&counter)
        .unwrap()
        .header
        .options;
    let other = Dealt::with_seed(every_step(), options, 1, "0badc0de");
    std::fs::copy(other.file("party0.counter"), &counter).unwrap();
    refused(&arguments, MATERIAL, "belongs to another pairing");
    std::fs::write(&counter, good).unwrap();
    assert_eq!(Stock::of(&dealt).next, 0);
}

/// A damaged bundle is found before the burn; removed, the next one serves.
#[test]
fn damaged_bundles_burn_nothing() {
    let dealt = dealt(2);
    let path = dealt.file("bundles").join(format!("{:020}.bundle", 0));
    let good = std::fs::read(&path).unwrap();
    let before = Stock::of(&dealt);
    for (_, bytes, what) in damaged(&good, Kind::Bundle) {
        std::fs::write(&path, bytes).unwrap();
        let [zero, one] = pair(&dealt, &Files::default());
        says(&one, MATERIAL, &[&what, text(&path)]);
        says(&zero, PEER, &["P1 closed the connection"]);
        assert!(!one.said.contains("spent") && !zero.said.contains("spent"));
        assert_eq!(Stock::of(&dealt), before);
    }
    // A bundle under another's name.
    std::fs::copy(dealt.file("bundles").join(format!("{:020}.bundle", 1)), &path).unwrap();
    let [_, one] = pair(&dealt, &Files::default());
    says(&one, MATERIAL, &["holds counter 1", "Remove it"]);
    assert_eq!(Stock::of(&dealt), before);
    std::fs::remove_file(&path).unwrap();
    let [zero, one] = pair(&dealt, &Files::default());
    assert_eq!((zero.code, one.code), (0, 0), "{} {}", zero.said, one.said);
    assert_eq!(Stock::of(&dealt).next, 2);
}

/// A bundle works once: put back, its counter is refused and it is dropped with all below P0's next.
#[test]
fn a_used_bundle_is_never_used_again() {
    let dealt = dealt(2);
    let backup: Vec<(PathBuf, Vec<u8>)> = std::fs::read_dir(dealt.file("bundles"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    for expected in 1..=2 {
        let [zero, one] = pair(&dealt, &Files::default());
        assert_eq!((zero.code, one.code), (0, 0), "{} {}", zero.said, one.said);
        assert_eq!(Stock::of(&dealt).next, expected);
    }
    // None is left: that is said before anything happens, with what to do.
    let [zero, one] = pair(&dealt, &Files::default());
    says(&one, MATERIAL, &["no bundle is left", "halfnet deal --more N --state dealer.postcard"]);
    says(&zero, PEER, &["P1 closed the connection"]);
    // P1 restored from a backup: both bundles are dropped at one refusal, and none is burned by P0.
    for (path, bytes) in &backup {
        std::fs::write(path, bytes).unwrap();
    }
    let [zero, one] = pair(&dealt, &Files::default());
    says(&one, MATERIAL, &["P0 has burned every counter below 2", "2 dropped", "Deal more"]);
    assert!(one.events.contains(&Event::Dropped { next: 2, bundles: 2 }));
    says(&zero, PEER, &["P1 closed the connection"]);
    let stock = Stock::of(&dealt);
    assert_eq!((stock.next, stock.bundles.len()), (2, 0));
    // More bundles go on with the counters, without a word to P0.
    let state = std::fs::read(dealt.file("dealer.postcard")).unwrap();
    assert_eq!(dealt.more(1).first, 2);
    let [zero, one] = pair(&dealt, &Files::default());
    assert_eq!((zero.code, one.code), (0, 0), "{} {}", zero.said, one.said);
    assert_eq!(Stock::of(&dealt).next, 3);
    // A dealer restored from a backup deals a counter again: P0 refuses it.
    std::fs::write(dealt.file("dealer.postcard"), state).unwrap();
    assert_eq!(dealt.more(1).first, 2);
    let [_, one] = pair(&dealt, &Files::default());
    says(&one, MATERIAL, &["P0 has burned every counter below 3", "1 dropped"]);
    assert_eq!(Stock::of(&dealt).next, 3);
}

/// Material has one user at a time: a second process would use a mask twice, or deal a counter twice.
#[test]
fn material_in_use_is_refused() {
    let dealt = dealt(1);
    let before = Stock::of(&dealt);
    let [zero, one, picture, state] =
        ["party0.postcard", "party1.postcard", "picture", "dealer.postcard"].map(|name| dealt.file(name));
    let says = "another process uses this material";
    let material = PartyOne::open(&one).unwrap();
    let plan = material.public.plan(&one).unwrap();

    let counter = Counter::open(&dealt.file("party0.counter"), material.public.pairing).unwrap();
    refused(
        &[
            "infer",
            "--raw-pictures",
            text(&picture),
            "--material",
            text(&zero),
            "--peer-connect",
            "127.0.0.1:9",
        ],
        MATERIAL,
        says,
    );
    drop(counter);
    let store = BundleStore::open(&dealt.file("bundles"), material.public.agreement(&plan), &plan).unwrap();
    refused(&["party", "--role", "1", "--material", text(&one), "--peer-listen", ANY_PORT], MATERIAL, says);
    drop(store);
    let lock = Lock::take(&state).unwrap();
    let more = ["deal", "--more", "1", "--state", text(&state), "--insecure-test-seed", TEST_SEED];
    refused(&more, MATERIAL, says);
    drop(lock);
    assert_eq!(Stock::of(&dealt), before);

    // Many at once: each deals counters of its own, or is refused.
    let request = MoreRequest {
        state: state.clone(),
        model: None,
        bundles: None,
        count: 2,
        test_seed: Some(TEST_SEED.into()),
    };
    let deal = || deal_more(&request, &|_| {});
    let firsts: Vec<u64> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..8).map(|_| scope.spawn(deal)).collect();
        runs.into_iter().filter_map(|run| run.join().unwrap().ok()).map(|report| report.first).collect()
    });
    let dealt_now = DealerState::read(&state).unwrap();
    let mut expected: Vec<u64> = dealt_now.batches[1..].iter().map(|batch| batch.first).collect();
    expected.dedup();
    assert!(!firsts.is_empty());
    assert_eq!(expected.len(), firsts.len());
    assert_eq!(dealt_now.next, 1 + 2 * firsts.len() as u64);

    let [zero, one] = pair(&dealt, &Files::default());
    assert_eq!((zero.code, one.code), (0, 0), "{} {}", zero.said, one.said);
}

/// A folder with anything of a pairing in it is not dealt into, and what is dealt is its owner's alone.
#[test]
fn dealing_over_a_pairing_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dealt = dealt(1);
    let folder = Folder::new("occupied");
    let model = folder.file("model.postcard", &sealed(&dealt.model));
    for name in ["party0.counter", "party0.postcard", "party1.postcard", "dealer.postcard", "plan.postcard"] {
        let out = folder.path().join(format!("with-{name}"));
        std::fs::create_dir(&out).unwrap();
        std::fs::copy(dealt.file(name), out.join(name)).unwrap();
        refused(&["deal", "--model", &model, "--out", text(&out)], MATERIAL, "exists already");
    }
    for folder in [dealt.folder(), dealt.file("bundles")] {
        assert_eq!(
            std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777,
            0o700,
            "{}",
            folder.display()
        );
    }
}

/// Files of two dealings: whichever two are swapped, it is found before the burn.
#[test]
fn files_of_two_pairings_do_not_mix() {
    let first = dealt(1);
    let options = Options {
        mode: Mode::Shared,
        client: Client::SeedParty,
        release: Release::Label,
        chunk_bits: 4,
        memory: compile::ample(),
    };
    // The same model and options under other identifiers; and the same identifiers with other options.
    let other = Dealt::with_seed(every_step(), options, 1, "0badc0de");
    let replanned = Dealt::new(every_step(), Options { chunk_bits: 3, ..options }, 1);
    let before = [&first, &other, &replanned].map(Stock::of);
    let disagree = |dealt: &Dealt, files: &Files, what: &str| {
        let [zero, one] = pair(dealt, files);
        let parts = ["do not belong together", what, "Use party0 and party1 of one dealing"];
        says(&zero, MATERIAL, &parts);
        says(&one, MATERIAL, &parts);
    };
    let one = |dealt: &Dealt| Files {
        one: Some(dealt.file("party1.postcard")),
        bundles: Some(dealt.file("bundles")),
        ..Files::default()
    };
    disagree(&first, &one(&other), "their pairing differs");
    disagree(&first, &one(&replanned), "their plan differs");
    let zero = Files { zero: Some(other.file("party0.postcard")), ..Files::default() };
    disagree(&first, &zero, "their pairing differs");
    // Bundles of another dealing never leave P1.
    for (foreign, what) in [(&other, "its pairing differs"), (&replanned, "its plan differs")] {
        let [zero, one] = pair(&first, &Files { bundles: Some(foreign.file("bundles")), ..Files::default() });
        says(
            &one,
            MATERIAL,
            &["does not fit this party's material", what, "Use the bundles that were dealt with it"],
        );
        says(&zero, PEER, &["P1 closed the connection"]);
    }
    assert_eq!([&first, &other, &replanned].map(Stock::of), before);
    let [zero, one] = pair(&first, &Files::default());
    assert_eq!((zero.code, one.code), (0, 0), "{} {}", zero.said, one.said);
}

/// Who connects to whom, and which file is whose.
#[test]
fn roles_and_addresses_are_checked_first() {
    let dealt = dealt(1);
    let [zero, one, picture] = ["party0.postcard", "party1.postcard", "picture"].map(|name| dealt.file(name));
    let [zero, one, picture] = [text(&zero), text(&one), text(&picture)];
    let before = Stock::of(&dealt);
    // The other party's file.
    refused(
        &["party", "--role", "1", "--material", zero, "--peer-listen", ANY_PORT],
        MATERIAL,
        "blob of kind",
    );
    refused(
        &["infer", "--raw-pictures", picture, "--material", one, "--peer-connect", "127.0.0.1:9"],
        MATERIAL,
        "blob of kind",
    );
    refused(
        &["party", "--role", "1", "--material", "absent.postcard", "--peer-listen", ANY_PORT],
        MATERIAL,
        "absent.postcard",
    );
    // The wrong kind of client.
    refused(
        &["party", "--role", "0", "--material", zero, "--peer-listen", ANY_PORT],
        USAGE,
        "infer --material party0.postcard",
    );
    let arguments =
        ["party", "--role", "1", "--material", one, "--peer-listen", ANY_PORT, "--clients", ANY_PORT];
    refused(&arguments, USAGE, "there is nobody to come to an address for clients (leave --clients out)");
    refused(
        &["party", "--role", "1", "--material", one],
        USAGE,
        "--peer-listen ADDR, --peer-connect ADDR or --serial DEVICE",
    );
    refused(&["party", "--role", "2", "--material", one, "--peer-listen", ANY_PORT], USAGE, "--role");
    // A port in use, nobody there, and addresses beyond this machine.
    let taken = TcpListener::bind(ANY_PORT).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let arguments = ["party", "--role", "1", "--material", one, "--peer-listen", &address];
    refused(&arguments, ADDRESS, "another process uses this port: stop it or name another");
    drop(taken);
    let infer =
        ["infer", "--raw-pictures", picture, "--material", zero, "--timeout", "0.3", "--peer-connect"];
    refused(&[&infer[..], &[&address]].concat(), ADDRESS, "cannot connect to P1");
    let far = [&infer[..], &["10.0.0.1:4000"]].concat();
    refused(&far, ADDRESS, "not loopback, and a test seed was given");
    refused(
        &[&far[..], &["--insecure-plaintext"]].concat(),
        ADDRESS,
        "not loopback, and a test seed was given",
    );
    refused(
        &["party", "--role", "1", "--material", one, "--peer-listen", "0.0.0.0:0"],
        ADDRESS,
        "not loopback",
    );
    // No time at all, and more than any clock counts.
    for timeout in ["0", "1e19", "86401", "inf", "NaN"] {
        let says = format!(
            "--timeout {}: must be above 0 and at most 86400 seconds",
            timeout.parse::<f64>().unwrap()
        );
        refused(
            &[
                "infer",
                "--raw-pictures",
                picture,
                "--material",
                zero,
                "--timeout",
                timeout,
                "--peer-connect",
                &address,
            ],
            USAGE,
            &says,
        );
    }
    refused(&["demo", "--timeout", "86401"], USAGE, "--timeout");
    assert_eq!(Stock::of(&dealt), before);
}

#[test]
fn pictures_of_the_wrong_size_are_never_sent() {
    let dealt = dealt(1);
    let folder = Folder::new("pictures");
    let before = Stock::of(&dealt);
    let good = pixels(&dealt.model, 1);
    let zero = dealt.file("party0.postcard");
    // A PNG of 2 × 2 grey pixels, where the model takes 4 × 4.
    let png = folder.file("small.png", &small_png());
    for (name, bytes) in [("short", &good[1..]), ("empty", &[][..]), ("long", &[&good[..], &[1]].concat())] {
        let path = folder.file(name, bytes);
        let arguments =
            ["infer", "--raw-pictures", &path, "--material", text(&zero), "--peer-connect", "127.0.0.1:9"];
        refused(&arguments, INPUT, "16");
    }
    let infer = |picture: &str, code: i32, what: &str| {
        refused(&["infer", picture, "--material", text(&zero), "--peer-connect", "127.0.0.1:9"], code, what);
    };
    infer(&png, INPUT, "2");
    infer(&folder.file("noise.png", &[3; 100]), INPUT, "noise.png");
    infer("absent.png", INPUT, "absent.png");
    infer("idx:many", USAGE, "idx:N with a number N");
    assert_eq!(Stock::of(&dealt), before);
}

/// 2 × 2 pixels of 8 bits of grey, stored without compression.
fn small_png() -> Vec<u8> {
    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, &byte| {
            (0..8).fold(
                crc ^ u32::from(byte),
                |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
            )
        })
    }
    let chunk = |name: &[u8; 4], data: &[u8]| {
        let body = [&name[..], data].concat();
        [&(data.len() as u32).to_be_bytes()[..], &body, &crc(&body).to_be_bytes()].concat()
    };
    let rows = [0, 10, 20, 0, 30, 40];
    let (a, b) = rows.iter().fold((1_u32, 0), |(a, b), &byte| ((a + byte) % 65521, (b + a + byte) % 65521));
    let stored: Vec<u8> = rows.iter().map(|&byte| byte as u8).collect();
    let data = [&[0x78, 1, 1, 6, 0, 0xf9, 0xff][..], &stored, &(b << 16 | a).to_be_bytes()].concat();
    let head = [0, 0, 0, 2, 0, 0, 0, 2, 8, 0, 0, 0, 0];
    [&b"\x89PNG\r\n\x1a\n"[..], &chunk(b"IHDR", &head), &chunk(b"IDAT", &data), &chunk(b"IEND", &[])].concat()
}

/// A model whose sums do not fit the ring it states is refused with the layer; nothing is dealt.
#[test]
fn a_model_beyond_its_ring_is_refused() {
    let folder = Folder::new("ranges");
    let out = folder.path().join("never");
    let with_ring = |ring_bits: u8| -> Model<'static> {
        let mut model = every_step();
        let Step::Activate(activation) = model.layers[0].step else { panic!("the first layer activates") };
        model.layers[0].step =
            Step::Activate(Activation { ring_bits, shift: ring_bits.saturating_sub(10), ..activation });
        model
    };
    // One bit of n, a shift longer than the ring, a ring that no word holds, a wire narrower than the sum
    // that reads it.
    let mut wide = every_step();
    let last = wide.layers.len() - 1;
    wide.layers[last].step = Step::Release { ring_bits: 33 };
    for (name, model, what) in [
        ("nothing", with_ring(1), "layer 0"),
        ("forty", with_ring(40), "layer 0"),
        ("release", wide, "layer"),
    ] {
        let path = folder.file(name, &sealed(&model));
        refused(&["inspect", &path], INPUT, what);
        refused(&["deal", "--model", &path, "--out", text(&out)], INPUT, what);
    }
    assert!(!out.exists());
}
