//! TCP over the board's Ethernet: the chip's driver, polled, under the TCP that the emulated board runs too.

use core::task::{Context, Waker};

use embassy_net_driver::{Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embassy_time::Instant;
use halfnet_firmware::link::Clock;
use halfnet_firmware::tcp::{Adapter, Buffers, Place, TcpLink};
use smoltcp::iface::SocketStorage;
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant as Moment;
use static_cell::ConstStaticCell;

/// Bytes of a segment.
const SEGMENT: usize = 1460;
/// Frames that the driver keeps until they are looked at.
pub(crate) const KEPT: usize = 8;
/// What a peer may send before it is read: two of the frames kept are for others. One that finds no room
/// comes again only after a second.
const RECEIVE: usize = (KEPT - 2) * SEGMENT;
const TRANSMIT: usize = 12 * SEGMENT;

static RECEIVED: ConstStaticCell<[u8; RECEIVE]> = ConstStaticCell::new([0; RECEIVE]);
static TRANSMITTED: ConstStaticCell<[u8; TRANSMIT]> = ConstStaticCell::new([0; TRANSMIT]);
static SOCKET: ConstStaticCell<[SocketStorage<'static>; 1]> = ConstStaticCell::new([SocketStorage::EMPTY]);

/// Waits for P1 at `place`; drops a peer that moves no byte for `patience` milliseconds. `random`: other than
/// at the last boot.
///
/// # Panics
/// Called twice.
pub(crate) fn open<D: Driver>(
    driver: D,
    place: Place,
    patience: u32,
    random: u64,
) -> TcpLink<'static, Polled<D>, Uptime> {
    let buffers = Buffers { receive: RECEIVED.take(), transmit: TRANSMITTED.take(), socket: SOCKET.take() };
    TcpLink::new(Polled(driver), Uptime, place, buffers, patience, random)
}

/// A driver for tasks that nobody wakes: it is asked again instead.
pub(crate) struct Polled<D>(D);

/// A frame that came.
pub(crate) struct Came<T>(T);

/// Room for a frame that leaves.
pub(crate) struct Room<T>(T);

impl<T: RxToken> phy::RxToken for Came<T> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        self.0.consume(|frame| read(frame))
    }
}

impl<T: TxToken> phy::TxToken for Room<T> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        self.0.consume(length, write)
    }
}

fn nobody() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

impl<D: Driver> Device for Polled<D> {
    type RxToken<'a>
        = Came<D::RxToken<'a>>
    where
        Self: 'a;
    type TxToken<'a>
        = Room<D::TxToken<'a>>
    where
        Self: 'a;

    fn receive(&mut self, _: Moment) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        self.0.receive(&mut nobody()).map(|(came, room)| (Came(came), Room(room)))
    }

    fn transmit(&mut self, _: Moment) -> Option<Self::TxToken<'_>> {
        self.0.transmit(&mut nobody()).map(Room)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let driver = self.0.capabilities();
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = driver.max_transmission_unit;
        capabilities.max_burst_size = driver.max_burst_size;
        capabilities
    }
}

impl<D: Driver> Adapter for Polled<D> {
    fn address(&mut self) -> [u8; 6] {
        match self.0.hardware_address() {
            HardwareAddress::Ethernet(address) => address,
            // There is no other on this board; zeros are no address, and nothing would come.
            _ => [0; 6],
        }
    }

    fn is_up(&mut self) -> bool {
        self.0.link_state(&mut nobody()) == LinkState::Up
    }

    fn sleep(&mut self) {
        core::hint::spin_loop();
    }
}

/// Time since the board began.
pub(crate) struct Uptime;

impl Clock for Uptime {
    fn milliseconds(&mut self) -> u32 {
        Instant::now().as_millis() as u32
    }
}
