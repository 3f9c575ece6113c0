//! Puts `memory.x` where the linker looks, and the material into the party.
//!
//! With the feature `party` three variables say what is linked in:
//!
//! | variable | what |
//! |---|---|
//! | `HALFNET_MATERIAL` | `party0.postcard` of `halfnet deal --client p0` |
//! | `HALFNET_PICTURES` | pictures in a row, bytes in (channel, row, column) order |
//! | `HALFNET_TEST_SEED` | optional: the hexadecimal test seed of a host's P0 whose nonces are to be repeated |

use std::path::{Path, PathBuf};
use std::{env, fs};

use halfnet_firmware::material::{Material, Needs};

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::copy("memory.x", out.join("memory.x")).expect("memory.x is copied");
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rerun-if-changed=memory.x");
    for name in ["HALFNET_MATERIAL", "HALFNET_PICTURES", "HALFNET_TEST_SEED"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    if env::var_os("CARGO_FEATURE_PARTY").is_some() {
        provision(&out);
    }
}

fn provision(out: &Path) {
    let read = |name: &str| {
        let path = env::var_os(name).unwrap_or_else(|| panic!("{name} names no file: see build.rs"));
        println!("cargo:rerun-if-changed={}", Path::new(&path).display());
        fs::read(&path).unwrap_or_else(|e| panic!("{name}: {e}"))
    };
    let (material, pictures) = (read("HALFNET_MATERIAL"), read("HALFNET_PICTURES"));
    let opened = Material::open(&material).unwrap_or_else(|e| panic!("HALFNET_MATERIAL: {e}"));
    let Needs { arena, channel, outgoing, incoming } = opened.needs();
    let size = opened.plan.header.model.input.elements();
    assert!(!pictures.is_empty() && pictures.len() % size == 0, "HALFNET_PICTURES: no whole number of pictures of {size} bytes");
    let test_seed = env::var("HALFNET_TEST_SEED").ok().map(|hex| {
        assert!(opened.test, "HALFNET_TEST_SEED: this material was dealt with entropy, and nonces of its own are drawn for it");
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits")).collect::<Vec<u8>>()
    });
    let pairing = opened.agreement.pairing;
    fs::write(out.join("party0.postcard"), &material).expect("the material is copied");
    fs::write(out.join("pictures"), &pictures).expect("the pictures are copied");
    let text = format!(
        "pub(crate) static MATERIAL: &[u8] = include_bytes!(concat!(env!(\"OUT_DIR\"), \"/party0.postcard\"));\n\
         pub(crate) static PICTURES: &[u8] = include_bytes!(concat!(env!(\"OUT_DIR\"), \"/pictures\"));\n\
         pub(crate) const PICTURE: usize = {size};\n\
         pub(crate) const ARENA: usize = {arena};\n\
         pub(crate) const CHANNEL: usize = {channel};\n\
         pub(crate) const OUTGOING: usize = {outgoing};\n\
         pub(crate) const INCOMING: usize = {incoming};\n\
         pub(crate) const TEST_SEED: Option<&[u8]> = {test_seed:?};\n\
         pub(crate) const PAIRING: [u8; 16] = {pairing:?};\n"
    )
    .replace("Some([", "Some(&[");
    fs::write(out.join("provisioned.rs"), text).expect("the sizes are written");
}
