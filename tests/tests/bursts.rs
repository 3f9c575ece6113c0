//! One party sends far more than sockets and queue hold while the other is busy: when all of the queue has left
//! at once, no socket says so, and what the endpoint still has must leave all the same.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use halfnet_core::endpoint::{Endpoint, EndpointError, Event, Phase, Who};
use halfnet_core::plan::{Client, Mode, Options, Release, Role, Step, compile};
use halfnet_core::wire::frame::{HEADER, Header};
use halfnet_host::party::link::{End, Limits, Link, Reactor, drive};
use halfnet_tests::pair::Deal;
use halfnet_tests::residual::Residual;

/// Bytes of the burst: several times what sockets on loopback and the link's queue take.
const BURST: usize = 64 << 20;

/// An endpoint that has so many bytes to say, and then waits for one frame.
struct Speaker {
    left: usize,
    answered: bool,
    /// While it speaks, does it wait for the other end at all?
    listens: bool,
}

impl Endpoint for Speaker {
    fn event(&self) -> Option<Event> {
        (self.left == 0 && self.answered).then_some(Event::Done)
    }

    fn phase(&self) -> Phase {
        Phase::Layers
    }

    fn poll_transmit(&mut self, _: Who, out: &mut [u8]) -> Result<Option<usize>, EndpointError> {
        if self.left == 0 {
            return Ok(None);
        }
        let length = out.len().min(self.left).max(HEADER);
        let header = Header { layer: 0, step: 1, tile: 0, length: (length - HEADER) as u32 };
        out[..HEADER].copy_from_slice(&header.encode());
        self.left -= length.min(self.left);
        Ok(Some(length))
    }

    fn can_receive(&self, _: Who) -> bool {
        (self.listens || self.left == 0) && !self.answered
    }

    fn longest_frame(&self, _: Who) -> usize {
        HEADER
    }

    fn handle_frame(&mut self, _: Who, _: &[u8]) -> Result<(), EndpointError> {
        self.answered = true;
        Ok(())
    }

    fn at(&self) -> Option<(u16, Step)> {
        Some((0, Step::Open))
    }
}

#[test]
fn a_burst_leaves_whether_or_not_the_other_end_speaks() {
    let model = Residual { ring_bits: 20, relus: None }.resnet20();
    let options = Options {
        mode: Mode::Held,
        client: Client::SeedParty,
        release: Release::Label,
        chunk_bits: 4,
        memory: compile::ample(),
    };
    let deal = Deal::new(&model, &options);
    for listens in [false, true] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        near.set_nonblocking(true).unwrap();
        let reader = std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 22];
            let mut read = 0;
            while read < BURST {
                // Busy, and then takes all there is.
                std::thread::sleep(Duration::from_millis(20));
                let count = far.read(&mut buffer).unwrap();
                assert!(count > 0, "the speaker left after {read} bytes");
                read += count;
            }
            let answer = Header { layer: 0, step: 1, tile: 0, length: 0 }.encode();
            std::io::Write::write_all(&mut far, &answer).unwrap();
            far
        });
        let mut reactor = Reactor::new().unwrap();
        let mut link = Link::new(&mut reactor, mio::net::TcpStream::from_std(near), "P0").unwrap();
        let mut ends = [End::peer(&deal.plan(), Role::Bundle, &mut link)];
        let mut speaker = Speaker { left: BURST, answered: false, listens };
        let limits = Limits { timeout: Duration::from_secs(10) };
        let event = drive(&mut speaker, &mut ends, &mut reactor, &limits, None).unwrap();
        assert_eq!(event, Event::Done);
        drop(reader.join().unwrap());
    }
}
