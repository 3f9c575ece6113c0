//! A USB port as a wire: a serial port (CDC ACM), which every desktop system knows without a driver of its
//! own.

use embassy_futures::join::join;
use embassy_usb::class::cdc_acm::{CdcAcmClass, ControlChanged, Receiver, State};
use embassy_usb::driver::{Driver, EndpointError};
use embassy_usb::{Builder, Config};
use embedded_io_async::{ErrorKind, ErrorType, Read};
use static_cell::StaticCell;

use crate::wire::Wire;

/// Vendor and product that pid.codes reserves for tests: nobody may ship them.
const TEST_IDS: (u16, u16) = (0x1209, 0x0001);
/// Bytes of a packet at full speed.
const PACKET: u16 = 64;
/// Bytes sent at a time. A host takes a full packet for the first part of a longer transfer and waits for the
/// rest, so none is full.
const SENT: usize = PACKET as usize - 1;

/// What the device is described with.
struct Descriptions {
    configuration: [u8; 256],
    binary: [u8; 64],
    microsoft: [u8; 0],
    control: [u8; 64],
    state: State<'static>,
}

/// What the host sends, packet by packet.
struct Packets<'r, D: Driver<'static>>(&'r mut Receiver<'static, D>);

/// The port is gone.
#[derive(Clone, Copy, Debug)]
struct Unplugged;

impl core::fmt::Display for Unplugged {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the port is gone")
    }
}

impl core::error::Error for Unplugged {}

impl embedded_io_async::Error for Unplugged {
    fn kind(&self) -> ErrorKind {
        ErrorKind::NotConnected
    }
}

impl From<EndpointError> for Unplugged {
    fn from(_: EndpointError) -> Self {
        Self
    }
}

impl<D: Driver<'static>> ErrorType for Packets<'_, D> {
    type Error = Unplugged;
}

impl<D: Driver<'static>> Read for Packets<'_, D> {
    /// `out` holds a packet at least; [`Wire::carry`]'s does.
    async fn read(&mut self, out: &mut [u8]) -> Result<usize, Unplugged> {
        loop {
            // An empty packet ends a transfer, not the connection.
            match self.0.read_packet(out).await? {
                0 => {}
                count => return Ok(count),
            }
        }
    }
}

/// Waits until a program on the host has opened the port, or has closed it.
async fn opened(control: &ControlChanged<'_>, open: bool) {
    while control.dtr() != open {
        control.control_changed().await;
    }
}

/// Is the serial port called `product`, for ever. A connection begins when the host opens the port and ends
/// when it closes it.
///
/// # Panics
/// Called twice.
pub async fn serve<D: Driver<'static>>(driver: D, product: &'static str, wire: &Wire) -> ! {
    static DESCRIPTIONS: StaticCell<Descriptions> = StaticCell::new();
    let Descriptions { configuration, binary, microsoft, control, state } = DESCRIPTIONS.init(Descriptions {
        configuration: [0; 256],
        binary: [0; 64],
        microsoft: [],
        control: [0; 64],
        state: State::new(),
    });
    let mut config = Config::new(TEST_IDS.0, TEST_IDS.1);
    config.manufacturer = Some("halfnet");
    config.product = Some(product);
    let mut builder = Builder::new(driver, config, configuration, binary, microsoft, control);
    let class = CdcAcmClass::new(&mut builder, state, PACKET);
    let mut device = builder.build();
    let (mut sender, mut receiver, control) = class.split_with_control();
    let carrying = async {
        loop {
            opened(&control, true).await;
            wire.carry(Packets(&mut receiver), &mut sender, SENT, opened(&control, false)).await;
        }
    };
    join(device.run(), carrying).await.0
}
