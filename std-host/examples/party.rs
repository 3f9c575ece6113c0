//! A party in a few lines: P1 as a service, for a client or P0 that comes to a port of this machine.
//!
//! `cargo run --example party -- DIR/party1.postcard 127.0.0.1:7001 [127.0.0.1:7003]`, with material that
//! `halfnet deal --out DIR` made: where P0 comes to, and where clients do if the client is a third.

use std::error::Error;
use std::sync::atomic::AtomicBool;

use halfnet_core::plan::Role;
use halfnet_host::party::process::{Event, PartyConfig, PeerAddress, run_party};

/// A service sets it when it is told to stop.
static SHUTDOWN: AtomicBool = AtomicBool::new(false);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [material, peer, clients @ ..] = arguments.as_slice() else {
        return Err("name the material, and the address that P0 comes to".into());
    };
    let mut config = PartyConfig::new(material.into(), PeerAddress::Listen(peer.parse()?));
    config.clients = clients.first().map(|address| address.parse()).transpose()?;
    config.keep_going = true;
    run_party(&config, Role::Bundle, &SHUTDOWN, &mut |event| match event {
        Event::Listening { .. } => println!("waiting"),
        Event::Inference(stats) => println!("counter {}: {:.3} s", stats.counter, stats.wall_s),
        Event::Failed { reason } => eprintln!("{reason}"),
        _ => {}
    })?;
    Ok(())
}
