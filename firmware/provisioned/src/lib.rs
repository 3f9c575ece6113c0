//! What a board's build script does: `memory.x` goes where the linker looks, and the material goes into the
//! program.
//!
//! These variables say what is linked in:
//!
//! | variable | what |
//! |---|---|
//! | `HALFNET_BOARD` | the blob that `halfnet provision` makes, pictures inside, by an absolute path; or `test`: a known answer's board |
//! | `HALFNET_TEST_SEED` | optional: the hexadecimal test seed of a host's P0 whose nonces are to be repeated |
//! | `HALFNET_TIMEOUT` | optional: milliseconds after which a silent peer is gone; 30000 |
//! | `HALFNET_ROUNDS` | optional: how many times every picture is asked, where that ends; once |
//!
//! With `test`, the frames of the known answer's P1 are what `HALFNET_REPLAY` names while the board is
//! compiled, unless it is set. The seed of `test` is in the repository: it is for checks that a board builds,
//! and no P1 is paired with it.
//!
//! The board includes `$OUT_DIR/provisioned.rs`: `BLOB`, `TEST_SEED`, `TIMEOUT`, `ROUNDS`, the sizes of the
//! memory that the plan asks for, and `memory()`, which lends it. It is for build scripts, so what is wrong
//! is a panic, whose text cargo shows.

use std::path::{Path, PathBuf};
use std::{env, fs};

use halfnet_core::board::{Board, Body};
use halfnet_core::model::blob::{ENVELOPE_BYTES, Kind, encode_body, seal};
use halfnet_core::ring::WIDEST_NARROW;
use halfnet_core::wire::message::{Acknowledge, Code, Hello, header};
use halfnet_firmware::memory::Needs;
use halfnet_vectors::{REPLAY_SHARED, Replay, Vector, read};

/// Where cargo wants what a build script makes.
fn out() -> PathBuf {
    PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"))
}

/// Puts the board's `memory.x` where the linker looks.
///
/// # Panics
/// There is none.
pub fn memory_x() {
    let out = out();
    fs::copy("memory.x", out.join("memory.x")).expect("memory.x is copied");
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rerun-if-changed=memory.x");
}

/// Puts the material into the program.
///
/// # Panics
/// `HALFNET_BOARD` is not set, or names no material that a board can use; a test seed is given for material
/// that is no test's.
pub fn material() {
    for name in ["HALFNET_BOARD", "HALFNET_TEST_SEED", "HALFNET_TIMEOUT", "HALFNET_ROUNDS", "HALFNET_REPLAY"]
    {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let path =
        env::var_os("HALFNET_BOARD").expect("HALFNET_BOARD names the blob that `halfnet provision` makes");
    let blob = if path == "test" { test_blob() } else { read_blob(Path::new(&path)) };
    let board = Board::decode(&blob).unwrap_or_else(|e| panic!("HALFNET_BOARD: {e}"));
    let (widest, has_code) = (board.plan.widest(), env::var_os("CARGO_FEATURE_WIDE_RINGS").is_some());
    assert!(
        widest <= WIDEST_NARROW || has_code,
        "HALFNET_BOARD: the plan has rings of {widest} bits: build with --features wide-rings"
    );
    assert!(board.pictures().len() > 0, "HALFNET_BOARD: no picture to ask: provision with --pictures");
    if path == "test" && env::var_os("HALFNET_REPLAY").is_none() {
        let peer = out().join("peer");
        fs::write(&peer, test_peer(&board)).expect("the peer's frames are written");
        println!("cargo:rustc-env=HALFNET_REPLAY={}", peer.display());
    }
    let test_seed = env::var("HALFNET_TEST_SEED").ok().map(|hex| {
        assert!(
            board.test,
            "HALFNET_TEST_SEED: this material was dealt with entropy, and nonces of its own are drawn for it"
        );
        bytes(&hex).expect("HALFNET_TEST_SEED: pairs of hexadecimal digits")
    });
    let number = |name: &str, default: u32| {
        env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{name}: {e}")))
    };
    let times = Times { timeout: number("HALFNET_TIMEOUT", 30_000), rounds: number("HALFNET_ROUNDS", 1) };
    let out = out();
    fs::write(out.join("board"), &blob).expect("the blob is copied");
    fs::write(out.join("provisioned.rs"), source(Needs::of(&board.plan), test_seed.as_deref(), &times))
        .expect("the source is written");
}

fn read_blob(path: &Path) -> Vec<u8> {
    // Build scripts run in their package's folder, wherever cargo was started.
    assert!(path.is_absolute(), "HALFNET_BOARD: an absolute path, or `test`");
    println!("cargo:rerun-if-changed={}", path.display());
    fs::read(path).unwrap_or_else(|e| panic!("HALFNET_BOARD: {e}"))
}

/// A known answer of a whole inference.
fn known_answer() -> Replay<'static> {
    let replay = read(REPLAY_SHARED).find_map(|vector| match vector {
        Ok(Vector::Replay(replay)) => Some(replay),
        _ => None,
    });
    replay.expect("there is a known answer of a whole inference")
}

/// The board of a known answer.
fn test_blob() -> Vec<u8> {
    let replay = known_answer();
    let body = Body {
        pairing: replay.pairing,
        provisioning: replay.provisioning,
        test: true,
        next: replay.counter,
        seed: replay.seed,
        plan: replay.plan,
        pictures: replay.picture,
    };
    let room = 256 + replay.plan.len() + replay.picture.len();
    let (mut encoded, mut sealed) = (vec![0; room], vec![0; ENVELOPE_BYTES + room]);
    let body = encode_body(&body, &mut encoded).expect("there is room");
    seal(Kind::Board, body, &mut sealed).expect("there is room").to_vec()
}

/// What the known answer's P1 sent, the handshake in front.
fn test_peer(board: &Board<'_>) -> Vec<u8> {
    let Replay { deal, counter, received, .. } = known_answer();
    let hello =
        Hello { agreement: board.agreement, deal, nonce: [0; 16], request: [0; 16], counter }.encode();
    let acknowledge = Acknowledge { counter, session: [0; 16] }.encode();
    let head = |code, payload: &[u8]| header(code, 0, payload.len() as u32).encode();
    [&head(Code::Hello, &hello)[..], &hello, &head(Code::Acknowledge, &acknowledge), &acknowledge, received]
        .concat()
}

/// Bytes of hexadecimal digits.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = hex.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    digits
        .filter(|digits| digits.len().is_multiple_of(2))
        .map(|digits| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// How long a silent peer is waited for, in milliseconds, and how many times every picture is asked.
struct Times {
    timeout: u32,
    rounds: u32,
}

/// What the board includes.
fn source(needs: Needs, test_seed: Option<&[u8]>, times: &Times) -> String {
    let Times { timeout, rounds } = times;
    let Needs { arena, channel, outgoing, incoming } = needs;
    let test_seed = test_seed.map_or_else(|| "None".to_owned(), |seed| format!("Some(&{seed:?})"));
    format!(
        "/// What `halfnet provision` wrote.
pub(crate) static BLOB: &[u8] = include_bytes!(concat!(env!(\"OUT_DIR\"), \"/board\"));

/// The test seed whose nonces are repeated.
#[allow(dead_code)]
pub(crate) const TEST_SEED: Option<&[u8]> = {test_seed};

/// Milliseconds without a byte after which the peer is taken for gone.
pub(crate) const TIMEOUT: u32 = {timeout};

/// How many times every picture is asked, where that ends.
#[allow(dead_code)]
pub(crate) const ROUNDS: u32 = {rounds};

/// Words and bytes of the memory that the plan asks for.
#[allow(dead_code)]
pub(crate) const ARENA: usize = {arena};
#[allow(dead_code)]
pub(crate) const CHANNEL: usize = {channel};
#[allow(dead_code)]
pub(crate) const OUTGOING: usize = {outgoing};
#[allow(dead_code)]
pub(crate) const INCOMING: usize = {incoming};

/// The memory that the plan asks for. A second call panics.
pub(crate) fn memory() -> halfnet_firmware::memory::Memory<'static> {{
    use static_cell::ConstStaticCell;
    static ARENA_WORDS: ConstStaticCell<[u64; ARENA]> = ConstStaticCell::new([0; ARENA]);
    static CHANNEL_WORDS: ConstStaticCell<[u64; CHANNEL]> = ConstStaticCell::new([0; CHANNEL]);
    static OUTGOING_BYTES: ConstStaticCell<[u8; OUTGOING]> = ConstStaticCell::new([0; OUTGOING]);
    static INCOMING_BYTES: ConstStaticCell<[u8; INCOMING]> = ConstStaticCell::new([0; INCOMING]);
    halfnet_firmware::memory::Memory {{
        arena: ARENA_WORDS.take(),
        channel: CHANNEL_WORDS.take(),
        outgoing: OUTGOING_BYTES.take(),
        incoming: INCOMING_BYTES.take(),
    }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_is_read_whole_or_not_at_all() {
        assert_eq!(bytes("4a1F"), Some(vec![0x4a, 0x1f]));
        assert_eq!(bytes(""), Some(vec![]));
        assert_eq!(bytes("4a1"), None);
        assert_eq!(bytes("4g"), None);
    }

    #[test]
    fn the_known_answers_board_is_one() {
        let blob = test_blob();
        let board = Board::decode(&blob).unwrap();
        assert!(board.test);
        assert_eq!(board.pictures().len(), 1);
    }

    #[test]
    fn sizes_and_seed_are_in_the_source() {
        let needs = Needs { arena: 11, channel: 22, outgoing: 33, incoming: 44 };
        let text = source(needs, Some(&[74, 31]), &Times { timeout: 55, rounds: 66 });
        for piece in [
            "TIMEOUT: u32 = 55;",
            "ROUNDS: u32 = 66;",
            "ARENA: usize = 11;",
            "CHANNEL: usize = 22;",
            "OUTGOING: usize = 33;",
            "INCOMING: usize = 44;",
        ] {
            assert!(text.contains(piece), "{piece}");
        }
        assert!(text.contains("= Some(&[74, 31]);"));
        assert!(source(needs, None, &Times { timeout: 0, rounds: 0 }).contains("= None;"));
    }
}
