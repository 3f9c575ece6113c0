//! The board's clocks and its Ethernet jack.

use embassy_stm32::eth::{Ethernet, GenericPhy, InterruptHandler, PacketQueue, Sma};
use embassy_stm32::interrupt::typelevel::{Binding, ETH as EthernetInterrupt};
use embassy_stm32::peripherals::{ETH, ETH_SMA, PA1, PA2, PA7, PB13, PC1, PC4, PC5, PG11, PG13};
use embassy_stm32::rcc::{
    AHBPrescaler, APBPrescaler, HSIPrescaler, Pll, PllDiv, PllMul, PllPreDiv, PllSource, Sysclk, VoltageScale,
};
use embassy_stm32::{Config, Peri, uid};
use static_cell::ConstStaticCell;

use crate::ethernet::KEPT;

/// 480 MHz from the internal oscillator, buses at their highest.
pub(crate) fn clocks() -> Config {
    let mut config = Config::default();
    let rcc = &mut config.rcc;
    rcc.hsi = Some(HSIPrescaler::DIV1);
    // 64 MHz / 4 * 60 / 2.
    rcc.pll1 = Some(Pll {
        source: PllSource::HSI,
        prediv: PllPreDiv::DIV4,
        mul: PllMul::MUL60,
        fracn: None,
        divp: Some(PllDiv::DIV2),
        divq: None,
        divr: None,
    });
    rcc.sys = Sysclk::PLL1_P;
    rcc.ahb_pre = AHBPrescaler::DIV2;
    rcc.apb1_pre = APBPrescaler::DIV2;
    rcc.apb2_pre = APBPrescaler::DIV2;
    rcc.apb3_pre = APBPrescaler::DIV2;
    rcc.apb4_pre = APBPrescaler::DIV2;
    rcc.voltage_scale = VoltageScale::Scale0;
    config
}

/// What the jack is wired to: the RMII of the LAN8742A on the board.
pub(crate) struct Jack {
    pub(crate) mac: Peri<'static, ETH>,
    pub(crate) management: Peri<'static, ETH_SMA>,
    pub(crate) clock: Peri<'static, PA1>,
    pub(crate) mdio: Peri<'static, PA2>,
    pub(crate) carrier: Peri<'static, PA7>,
    pub(crate) transmit_1: Peri<'static, PB13>,
    pub(crate) mdc: Peri<'static, PC1>,
    pub(crate) receive_0: Peri<'static, PC4>,
    pub(crate) receive_1: Peri<'static, PC5>,
    pub(crate) transmit_enable: Peri<'static, PG11>,
    pub(crate) transmit_0: Peri<'static, PG13>,
}

impl Jack {
    /// The jack's driver, once.
    pub(crate) fn driver(
        self,
        interrupts: impl Binding<EthernetInterrupt, InterruptHandler> + 'static,
    ) -> Ethernet<'static, ETH, GenericPhy<Sma<'static, ETH_SMA>>> {
        static QUEUE: ConstStaticCell<PacketQueue<4, KEPT>> = ConstStaticCell::new(PacketQueue::new());
        Ethernet::new(
            QUEUE.take(),
            self.mac,
            interrupts,
            self.clock,
            self.carrier,
            self.receive_0,
            self.receive_1,
            self.transmit_0,
            self.transmit_1,
            self.transmit_enable,
            hardware_address(),
            self.management,
            self.mdio,
            self.mdc,
        )
    }
}

/// An address of one's own choice, as its first byte says, from the chip's number: two boards in one network
/// differ.
fn hardware_address() -> [u8; 6] {
    let mut address = [0_u8; 6];
    for (slot, byte) in (1..6_usize).cycle().zip(uid::uid()) {
        address[slot] = address[slot].rotate_left(3) ^ byte;
    }
    address[0] = 0b10;
    address
}
