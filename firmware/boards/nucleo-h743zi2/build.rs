//! Links the material in (see `halfnet-provisioned`), and where the board is: `HALFNET_ADDRESS`, as
//! `192.168.47.2/24`. The first address of that network is taken for the way to others.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::{env, fs};

/// Where the board is if nothing else is said.
const ADDRESS: &str = "192.168.47.2/24";

fn main() {
    halfnet_provisioned::memory_x();
    halfnet_provisioned::material();
    println!("cargo:rerun-if-env-changed=HALFNET_ADDRESS");
    let text = env::var("HALFNET_ADDRESS").unwrap_or_else(|_| ADDRESS.to_owned());
    let parts = text
        .split_once('/')
        .and_then(|(address, prefix)| Some((address.parse::<Ipv4Addr>().ok()?, prefix.parse::<u32>().ok()?)));
    let (address, prefix) = parts
        .filter(|(_, prefix)| (1..=30).contains(prefix))
        .expect("HALFNET_ADDRESS: address and prefix, as 192.168.47.2/24");
    let network = address.to_bits() & (u32::MAX << (32 - prefix));
    let source = format!(
        "/// Where the board is.\n\
         pub(crate) const PLACE: halfnet_firmware::tcp::Place =\n    \
         halfnet_firmware::tcp::Place {{ address: {:?}, prefix: {prefix}, gateway: {:?}, port: 4000 }};\n",
        address.octets(),
        Ipv4Addr::from_bits(network + 1).octets()
    );
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(out.join("place.rs"), source).expect("the place is written");
}
