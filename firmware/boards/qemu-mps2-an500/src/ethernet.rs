//! TCP over the board's Ethernet: its address on QEMU's user network, and the network stack's memory.

use halfnet_firmware::tcp::{Buffers, Place, TcpLink};
use smoltcp::iface::SocketStorage;
use static_cell::ConstStaticCell;

use crate::lan9118::{Absent, Lan9118, RECEIVE_FIFO, WORDS};
use crate::uart::SysTick;

/// Where QEMU's user network expects a guest, and the port that is to be forwarded to.
pub const PLACE: Place = Place { address: [10, 0, 2, 15], prefix: 24, gateway: [10, 0, 2, 2], port: 4000 };

/// Bytes of a segment.
const SEGMENT: usize = 1460;
/// What a peer may send before it is read: six full frames fit the controller's FIFO with room for short
/// ones. A frame that finds it full is lost, and comes again only after a second.
const RECEIVE: usize = 6 * SEGMENT;
const TRANSMIT: usize = 12 * SEGMENT;
const _: () = assert!(RECEIVE / SEGMENT * (4 * WORDS) < RECEIVE_FIFO);

static RECEIVED: ConstStaticCell<[u8; RECEIVE]> = ConstStaticCell::new([0; RECEIVE]);
static TRANSMITTED: ConstStaticCell<[u8; TRANSMIT]> = ConstStaticCell::new([0; TRANSMIT]);
static FRAME_IN: ConstStaticCell<[u32; WORDS]> = ConstStaticCell::new([0; WORDS]);
static FRAME_OUT: ConstStaticCell<[u32; WORDS]> = ConstStaticCell::new([0; WORDS]);
static SOCKET: ConstStaticCell<[SocketStorage<'static>; 1]> = ConstStaticCell::new([SocketStorage::EMPTY]);

/// Bytes of the network stack's statics, which are none of the party's.
pub const STATICS: usize = RECEIVE + TRANSMIT + 8 * WORDS + size_of::<SocketStorage<'static>>();

/// The link.
pub type Ethernet = TcpLink<'static, Lan9118, SysTick>;

/// Waits for P1 at [`PLACE`]; drops a peer that moves no byte for `patience` milliseconds. `random`: other
/// than at the last boot.
///
/// # Errors
/// The emulator was started without the controller.
///
/// # Panics
/// Called twice.
///
/// # Safety
/// Nobody else has the controller.
pub unsafe fn open(patience: u32, random: u64) -> Result<Ethernet, Absent> {
    let buffers = Buffers { receive: RECEIVED.take(), transmit: TRANSMITTED.take(), socket: SOCKET.take() };
    // Safety: the caller's.
    let device = unsafe { Lan9118::start(FRAME_IN.take(), FRAME_OUT.take()) }?;
    Ok(TcpLink::new(device, SysTick, PLACE, buffers, patience, random))
}
