//! TCP as a link, over smoltcp and any Ethernet device of a board: the board waits at a port, P1 comes to it.
//!
//! One connection at a time. When it ends, early or not, [`Link`]'s calls say so until [`Link::restart`],
//! which makes the board wait for the next. Nobody holds the board up: a peer that is connected and silent,
//! or whose cable is out, counts as gone.

use core::fmt;

use smoltcp::iface::{
    Config, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet, SocketStorage,
};
use smoltcp::phy::Device;
use smoltcp::socket::tcp::{Socket, SocketBuffer};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr, Ipv4Address};

use crate::link::{Broken, Clock, Link};

/// Ethernet frames that one look takes in, and that it sends at most: a flood must not keep the party from
/// its work.
const BURST: usize = 32;
/// Milliseconds that TCP's handshake may take.
const HANDSHAKE: u64 = 3000;
/// Milliseconds between looks at the cable.
const LOOK: u64 = 100;

/// An Ethernet device of a board.
pub trait Adapter: Device {
    /// Its hardware address, unicast.
    fn address(&mut self) -> [u8; 6];

    /// Is the cable in?
    fn is_up(&mut self) -> bool;

    /// Sleeps until a frame has come or a millisecond has passed. Returning at once is allowed, and costs
    /// power alone.
    fn sleep(&mut self);
}

/// Where the board is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// IPv4 address.
    pub address: [u8; 4],
    /// Bits of it that name the network.
    pub prefix: u8,
    /// Who knows the way to other networks.
    pub gateway: [u8; 4],
    /// The port that P1 comes to.
    pub port: u16,
}

/// Memory of the network stack, apart from the party's.
pub struct Buffers<'s> {
    /// Bytes that came and were not read. The peer sends no more than fits, so it is best no more than the
    /// device holds.
    pub receive: &'s mut [u8],
    /// Bytes that left and were not acknowledged.
    pub transmit: &'s mut [u8],
    /// The socket itself, empty.
    pub socket: &'s mut [SocketStorage<'s>; 1],
}

impl fmt::Debug for Buffers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffers({} bytes in, {} out)", self.receive.len(), self.transmit.len())
    }
}

/// A board's end of a TCP connection.
pub struct TcpLink<'s, D, C> {
    device: D,
    clock: C,
    interface: Interface,
    sockets: SocketSet<'s>,
    socket: SocketHandle,
    port: u16,
    patience: u64,
    /// The clock without its wrapping.
    now: u64,
    /// A peer is there, or was when this was last asked.
    connected: bool,
    /// When a byte came or went last, or the peer came.
    progress: u64,
    /// When the cable was last looked at.
    looked: u64,
}

impl<D, C> fmt::Debug for TcpLink<'_, D, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpLink(port {}, connected: {})", self.port, self.connected)
    }
}

impl<'s, D: Adapter, C: Clock> TcpLink<'s, D, C> {
    /// Waits at `place`. A peer that is connected and moves no byte for `patience` milliseconds is dropped:
    /// longer than the party's own timeout, whose fault tells more. `random`: other than at the last boot, so
    /// that no old segment fits a new connection.
    pub fn new(
        mut device: D,
        mut clock: C,
        place: Place,
        buffers: Buffers<'s>,
        patience: u32,
        random: u64,
    ) -> Self {
        let now = u64::from(clock.milliseconds());
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(device.address())));
        config.random_seed = random;
        let mut interface = Interface::new(config, &mut device, instant(now));
        let Place { address, prefix, gateway, port } = place;
        // There is room for one address and one route.
        interface.update_ip_addrs(|list| {
            list.push(IpCidr::new(IpAddress::Ipv4(Ipv4Address::from(address)), prefix)).unwrap_or(())
        });
        let _ = interface.routes_mut().add_default_ipv4_route(Ipv4Address::from(gateway));
        let Buffers { receive, transmit, socket } = buffers;
        let mut sockets = SocketSet::new(&mut socket[..]);
        let mut tcp = Socket::new(SocketBuffer::new(receive), SocketBuffer::new(transmit));
        // A frame is a whole: nothing is gained by holding its last segment back, or an acknowledgement.
        tcp.set_nagle_enabled(false);
        tcp.set_ack_delay(None);
        let socket = sockets.add(tcp);
        let patience = patience.into();
        let mut link = Self {
            device,
            clock,
            interface,
            sockets,
            socket,
            port,
            patience,
            now,
            connected: false,
            progress: now,
            looked: now,
        };
        link.wait();
        link
    }

    /// Says farewell: what was sent still arrives, unless that takes more than `limit` milliseconds.
    pub fn close(&mut self, limit: u32) {
        self.tcp().close();
        self.poll();
        let end = self.now + u64::from(limit);
        while self.tcp().send_queue() > 0 && self.now < end {
            self.device.sleep();
            self.poll();
        }
    }

    fn tcp(&mut self) -> &mut Socket<'s> {
        self.sockets.get_mut(self.socket)
    }

    fn wait(&mut self) {
        let port = self.port;
        // It fails for port 0 and for a socket in use only.
        let _ = self.tcp().listen(port);
    }

    /// Takes in and sends out, bounded; notices a peer that came.
    fn poll(&mut self) {
        let clock = self.clock.milliseconds();
        self.now += u64::from(clock.wrapping_sub(self.now as u32));
        let now = instant(self.now);
        let Self { interface, device, sockets, .. } = self;
        interface.poll_maintenance(now);
        for _ in 0..BURST {
            if interface.poll_ingress_single(now, device, sockets) == PollIngressSingleResult::None {
                break;
            }
        }
        for _ in 0..BURST {
            if interface.poll_egress(now, device, sockets) == PollResult::None {
                break;
            }
        }
        if self.connected {
            return;
        }
        if self.tcp().may_send() {
            (self.connected, self.progress) = (true, self.now);
        } else if self.tcp().is_listening() {
            self.progress = self.now;
        } else if !self.tcp().is_open() || self.now - self.progress > HANDSHAKE {
            // It came and was gone again between two looks, or never finishes TCP's handshake.
            self.tcp().abort();
            self.wait();
        }
    }

    /// Is the peer of a connection gone, as far as can be told without a word from it?
    fn is_gone(&mut self) -> bool {
        if self.now - self.progress > self.patience {
            return true;
        }
        if self.now - self.looked < LOOK {
            return false;
        }
        self.looked = self.now;
        !self.device.is_up()
    }
}

impl<D: Adapter, C: Clock> Link for TcpLink<'_, D, C> {
    fn send(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let sent = self.tcp().send_slice(bytes).map_err(|_| Broken)?;
        self.poll();
        if sent > 0 {
            self.progress = self.now;
        }
        Ok(sent)
    }

    fn receive(&mut self, out: &mut [u8]) -> Result<usize, Broken> {
        self.poll();
        if !self.connected || out.is_empty() {
            return Ok(0);
        }
        let received = self.tcp().recv_slice(out).map_err(|_| Broken)?;
        if received > 0 {
            self.progress = self.now;
        } else if self.is_gone() {
            return Err(Broken);
        }
        Ok(received)
    }

    fn idle(&mut self) {
        self.device.sleep();
    }

    fn milliseconds(&mut self) -> u32 {
        self.clock.milliseconds()
    }

    fn restart(&mut self) -> bool {
        if self.connected {
            self.tcp().abort();
            // The reset leaves before the socket forgets whom it was for.
            self.poll();
            self.connected = false;
            self.wait();
        }
        true
    }
}

fn instant(milliseconds: u64) -> Instant {
    Instant::from_millis(milliseconds as i64)
}

#[cfg(test)]
mod tests;
