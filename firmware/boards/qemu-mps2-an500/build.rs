//! Puts `memory.x` where the linker looks, and the material into the party.
//!
//! With the feature `party` these variables say what is linked in:
//!
//! | variable | what |
//! |---|---|
//! | `HALFNET_BOARD` | the blob that `halfnet provision` makes, pictures inside |
//! | `HALFNET_TEST_SEED` | optional: the hexadecimal test seed of a host's P0 whose nonces are to be repeated |
//! | `HALFNET_TIMEOUT` | optional: milliseconds after which a silent peer is gone; 30000 |
//! | `HALFNET_ROUNDS` | optional: how many times every picture is asked; once |

use std::path::{Path, PathBuf};
use std::{env, fs};

use halfnet_core::board::Board;
use halfnet_firmware::memory::Needs;

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::copy("memory.x", out.join("memory.x")).expect("memory.x is copied");
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rerun-if-changed=memory.x");
    for name in ["HALFNET_BOARD", "HALFNET_TEST_SEED", "HALFNET_TIMEOUT", "HALFNET_ROUNDS"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    if env::var_os("CARGO_FEATURE_PARTY").is_some() {
        provision(&out);
    }
}

fn provision(out: &Path) {
    let path = env::var_os("HALFNET_BOARD").expect("HALFNET_BOARD names the blob that `halfnet provision` makes");
    println!("cargo:rerun-if-changed={}", Path::new(&path).display());
    let blob = fs::read(&path).unwrap_or_else(|e| panic!("HALFNET_BOARD: {e}"));
    let board = Board::decode(&blob).unwrap_or_else(|e| panic!("HALFNET_BOARD: {e}"));
    assert!(board.pictures().len() > 0, "HALFNET_BOARD: no picture to ask: provision with --pictures");
    let Needs { arena, channel, outgoing, incoming } = Needs::of(&board.plan);
    let test_seed = env::var("HALFNET_TEST_SEED").ok().map(|hex| {
        assert!(board.test, "HALFNET_TEST_SEED: this material was dealt with entropy, and nonces of its own are drawn for it");
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits")).collect::<Vec<u8>>()
    });
    let number = |name: &str, default: u32| env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{name}: {e}")));
    let (timeout, rounds) = (number("HALFNET_TIMEOUT", 30_000), number("HALFNET_ROUNDS", 1));
    fs::write(out.join("board"), &blob).expect("the blob is copied");
    let text = format!(
        "pub(crate) static BLOB: &[u8] = include_bytes!(concat!(env!(\"OUT_DIR\"), \"/board\"));\n\
         pub(crate) const ARENA: usize = {arena};\n\
         pub(crate) const CHANNEL: usize = {channel};\n\
         pub(crate) const OUTGOING: usize = {outgoing};\n\
         pub(crate) const INCOMING: usize = {incoming};\n\
         /// Milliseconds without a byte after which the host is taken for gone.\n\
         pub const TIMEOUT: u32 = {timeout};\n\
         pub(crate) const ROUNDS: u32 = {rounds};\n\
         pub(crate) const TEST_SEED: Option<&[u8]> = {test_seed:?};\n"
    )
    .replace("Some([", "Some(&[");
    fs::write(out.join("provisioned.rs"), text).expect("the sizes are written");
}
