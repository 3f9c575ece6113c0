//! The link against another smoltcp at the other end of a cable, in one process and in a time of their own.

use std::boxed::Box;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

use smoltcp::phy::{DeviceCapabilities, Medium, RxToken, TxToken};

use super::*;

const PATIENCE: u32 = 5000;
const BOARD: Place = Place { address: [10, 0, 2, 15], prefix: 24, gateway: [10, 0, 2, 2], port: 4000 };

/// What both ends share: frames under way to each, whether the cable is in, and the time.
#[derive(Default)]
struct Shared {
    frames: [VecDeque<Vec<u8>>; 2],
    is_out: bool,
    now: u64,
}

/// One end of the cable.
#[derive(Clone)]
struct Cable(Rc<RefCell<Shared>>, usize);

struct Frame(Vec<u8>);

impl RxToken for Frame {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Cable {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut frame = vec![0; length];
        let result = f(&mut frame);
        let mut shared = self.0.borrow_mut();
        if !shared.is_out {
            shared.frames[1 - self.1].push_back(frame);
        }
        result
    }
}

impl Device for Cable {
    type RxToken<'a> = Frame;
    type TxToken<'a> = Self;

    fn receive(&mut self, _: Instant) -> Option<(Frame, Self)> {
        let frame = self.0.borrow_mut().frames[self.1].pop_front()?;
        Some((Frame(frame), self.clone()))
    }

    fn transmit(&mut self, _: Instant) -> Option<Self> {
        Some(self.clone())
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

impl Adapter for Cable {
    fn address(&mut self) -> [u8; 6] {
        [2, 0, 0, 0, 0, self.1 as u8]
    }

    fn is_up(&mut self) -> bool {
        !self.0.borrow().is_out
    }

    fn sleep(&mut self) {
        self.0.borrow_mut().now += 1;
    }
}

struct Time(Rc<RefCell<Shared>>);

impl Clock for Time {
    fn milliseconds(&mut self) -> u32 {
        self.0.borrow().now as u32
    }
}

fn buffers(receive: usize, transmit: usize) -> Buffers<'static> {
    let bytes = |size: usize| Box::leak(vec![0; size].into_boxed_slice());
    Buffers {
        receive: bytes(receive),
        transmit: bytes(transmit),
        socket: Box::leak(Box::new([SocketStorage::EMPTY])),
    }
}

/// P1's end.
struct Peer {
    device: Cable,
    interface: Interface,
    sockets: SocketSet<'static>,
    socket: SocketHandle,
    port: u16,
}

impl Peer {
    fn new(mut device: Cable) -> Self {
        let config = Config::new(HardwareAddress::Ethernet(EthernetAddress(device.address())));
        let mut interface = Interface::new(config, &mut device, instant(0));
        interface.update_ip_addrs(|list| list.push(IpCidr::new(IpAddress::v4(10, 0, 2, 2), 24)).unwrap());
        let Buffers { receive, transmit, socket } = buffers(4096, 4096);
        let mut sockets = SocketSet::new(&mut socket[..]);
        let socket = sockets.add(Socket::new(SocketBuffer::new(receive), SocketBuffer::new(transmit)));
        Self { device, interface, sockets, socket, port: 50_000 }
    }

    fn tcp(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.socket)
    }

    fn connect(&mut self) {
        self.port += 1;
        let (port, board) = (self.port, IpAddress::v4(10, 0, 2, 15));
        self.sockets
            .get_mut::<Socket<'_>>(self.socket)
            .connect(self.interface.context(), (board, BOARD.port), port)
            .unwrap();
    }

    fn poll(&mut self) {
        let now = instant(self.device.0.borrow().now);
        self.interface.poll(now, &mut self.device, &mut self.sockets);
    }
}

type Board = TcpLink<'static, Cable, Time>;

fn pair() -> (Board, Peer) {
    let shared = Rc::new(RefCell::new(Shared { now: u64::from(u32::MAX) - 50, ..Shared::default() }));
    let board =
        TcpLink::new(Cable(shared.clone(), 0), Time(shared.clone()), BOARD, buffers(1000, 700), PATIENCE, 7);
    (board, Peer::new(Cable(shared, 1)))
}

/// Lets `milliseconds` pass, or fewer if the board finds the connection broken; what the board received.
fn pass(board: &mut Board, peer: &mut Peer, milliseconds: u32) -> Result<Vec<u8>, Broken> {
    let mut all = Vec::new();
    for _ in 0..milliseconds {
        let mut bytes = [0; 64];
        let count = board.receive(&mut bytes)?;
        all.extend_from_slice(&bytes[..count]);
        peer.poll();
        board.idle();
    }
    Ok(all)
}

fn connected() -> (Board, Peer) {
    let (mut board, mut peer) = pair();
    assert_eq!(pass(&mut board, &mut peer, 5), Ok(Vec::new()));
    peer.connect();
    assert_eq!(pass(&mut board, &mut peer, 50), Ok(Vec::new()));
    assert!(peer.tcp().may_send());
    (board, peer)
}

#[test]
fn more_than_the_buffers_hold_goes_both_ways_at_once() {
    let (mut board, mut peer) = connected();
    let out: Vec<u8> = (0..20_000_u32).map(|i| (i % 251) as u8).collect();
    let into: Vec<u8> = (0..30_000_u32).map(|i| (i % 241) as u8).collect();
    let (mut sent, mut queued, mut from_board, mut from_peer) = (0, 0, Vec::new(), Vec::new());
    while from_board.len() < out.len() || from_peer.len() < into.len() {
        sent += board.send(&out[sent..]).unwrap();
        queued += peer.tcp().send_slice(&into[queued..]).unwrap();
        from_peer.extend(pass(&mut board, &mut peer, 1).unwrap());
        let mut bytes = [0; 512];
        let count = peer.tcp().recv_slice(&mut bytes).unwrap();
        from_board.extend_from_slice(&bytes[..count]);
    }
    assert!(from_board == out && from_peer == into);
}

#[test]
fn a_peer_that_leaves_is_noticed_after_its_last_byte_and_the_next_is_taken() {
    let (mut board, mut peer) = connected();
    for round in 0..3 {
        peer.tcp().send_slice(b"last words").unwrap();
        if round == 1 {
            peer.tcp().abort()
        } else {
            peer.tcp().close()
        }
        let mut heard = Vec::new();
        let broken = loop {
            match pass(&mut board, &mut peer, 1) {
                Ok(bytes) => heard.extend(bytes),
                Err(broken) => break broken,
            }
        };
        assert_eq!(broken, Broken);
        assert_eq!(heard, if round == 1 { &b""[..] } else { b"last words" });
        assert_eq!(board.receive(&mut [0; 4]), Err(Broken), "until the restart");
        assert!(board.restart());
        assert_eq!(pass(&mut board, &mut peer, 20), Ok(Vec::new()));
        peer.tcp().abort();
        pass(&mut board, &mut peer, 5).unwrap();
        peer.connect();
        pass(&mut board, &mut peer, 50).unwrap();
        peer.tcp().send_slice(b"hello").unwrap();
        assert_eq!(pass(&mut board, &mut peer, 50).unwrap(), b"hello");
    }
}

#[test]
fn a_restart_tells_the_peer() {
    let (mut board, mut peer) = connected();
    board.restart();
    pass(&mut board, &mut peer, 5).unwrap();
    assert!(!peer.tcp().is_open());
    assert_eq!(board.send(b"to nobody"), Err(Broken));
    assert_eq!(board.send(b""), Ok(0));
}

#[test]
fn a_silent_peer_and_one_without_a_cable_are_gone() {
    let (mut board, mut peer) = connected();
    assert_eq!(pass(&mut board, &mut peer, PATIENCE - 200), Ok(Vec::new()));
    assert_eq!(pass(&mut board, &mut peer, 400), Err(Broken));

    let (mut board, mut peer) = connected();
    board.device.0.borrow_mut().is_out = true;
    assert_eq!(pass(&mut board, &mut peer, 2 * LOOK as u32), Err(Broken));
    board.restart();
    // Without a peer a cable may be out for as long as it likes.
    assert_eq!(pass(&mut board, &mut peer, 2 * PATIENCE), Ok(Vec::new()));
}

#[test]
fn a_peer_that_was_there_for_a_moment_does_not_stop_the_board() {
    let (mut board, mut peer) = pair();
    pass(&mut board, &mut peer, 5).unwrap();
    peer.connect();
    for _ in 0..20 {
        peer.poll();
        // The board takes frames in, but is asked nothing.
        board.poll();
        board.connected = false;
    }
    peer.tcp().abort();
    peer.poll();
    pass(&mut board, &mut peer, 20).unwrap();
    peer.connect();
    pass(&mut board, &mut peer, 50).unwrap();
    peer.tcp().send_slice(b"hello").unwrap();
    assert_eq!(pass(&mut board, &mut peer, 50).unwrap(), b"hello");
}

#[test]
fn what_was_sent_arrives_before_the_farewell() {
    let (mut board, mut peer) = connected();
    let sent = board.send(&[9; 5000]).unwrap();
    assert!(sent > 0);
    let end = board.now + 100;
    board.tcp().close();
    while board.now < end {
        board.poll();
        peer.poll();
        board.idle();
    }
    let mut bytes = [0; 5000];
    assert_eq!(peer.tcp().recv_slice(&mut bytes), Ok(sent));
    assert!(!peer.tcp().may_recv());
}
