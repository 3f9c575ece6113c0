//! Instructions a multiply-add of the linear layers' portable loop, and a byte of the generator. Under `-icount shift=0` an instruction
//! takes a nanosecond, so the figures repeat exactly.
#![no_std]
#![no_main]

use bytemuck::{cast_slice, cast_slice_mut};
use cortex_m_rt::entry;
use halfnet_core::gate::linear::convolve_words;
use halfnet_core::prg::{Key, Stream};
use halfnet_core::ring::{Words, WordsMut};
use halfnet_core::shape::{Convolution, Shape};
use halfnet_qemu_mps2_an500::{clock, exit};
use static_cell::ConstStaticCell;

static INPUT: ConstStaticCell<[u64; 4096]> = ConstStaticCell::new([0; 4096]);
static WEIGHTS: ConstStaticCell<[u64; 1024]> = ConstStaticCell::new([0; 1024]);
static SUMS: ConstStaticCell<[u64; 1024]> = ConstStaticCell::new([0; 1024]);

/// One output channel, all inputs inside: a kernel of `taps` × `taps` over 16 planes.
fn measure(input: Words<'_>, weights: Words<'_>, sums: WordsMut<'_>, taps: u16) -> u64 {
    let size = 12 + taps - 1;
    let shape = Shape::new(16, size, size);
    let geometry = Convolution { input: shape, out_channels: 1, kernel_height: taps, kernel_width: taps, stride: 1, padding: 0, groups: 1 };
    let plane = geometry.output().plane();
    let products = (plane * geometry.fan_in()) as u64;
    let began = clock::nanoseconds();
    convolve_words(&geometry, input, weights, 0, 0..plane, sums);
    (clock::nanoseconds() - began) * 100 / products
}

#[entry]
fn main() -> ! {
    if let Some(peripherals) = cortex_m::Peripherals::take() {
        clock::start(peripherals.SYST);
    }
    let (input, weights, sums): (&mut [u64], &mut [u64], &mut [u64]) = (INPUT.take(), WEIGHTS.take(), SUMS.take());
    let key = Key::new([7; 32]);
    let began = clock::nanoseconds();
    let filled = Stream::new(&key, 1).fill_words(0, input);
    let hundredths = (clock::nanoseconds() - began) * 100 / (8 * input.len() as u64);
    let filled = filled.and_then(|()| Stream::new(&key, 2).fill_words(0, weights));
    defmt::info!("generator: {=u64}.{=u64:02} instructions a byte", hundredths / 100, hundredths % 100);
    let (input_16, input_32): (&[u16], &[u32]) = (cast_slice(input), cast_slice(input));
    let (weights_16, weights_32): (&[u16], &[u32]) = (cast_slice(weights), cast_slice(weights));
    for taps in [1, 3, 5] {
        let figures = [
            measure(Words::U16(input_16), Words::U16(weights_16), WordsMut::U16(cast_slice_mut(sums)), taps),
            measure(Words::U16(input_16), Words::U32(weights_32), WordsMut::U32(cast_slice_mut(sums)), taps),
            measure(Words::U32(input_32), Words::U32(weights_32), WordsMut::U32(cast_slice_mut(sums)), taps),
            measure(Words::U32(input_32), Words::U64(weights), WordsMut::U64(sums), taps),
        ];
        for (what, hundredths) in
            ["16-bit wires in Z_16", "16-bit wires in Z_32", "32-bit wires in Z_32", "32-bit wires in Z_64"].iter().zip(figures)
        {
            defmt::info!(
                "{=u16} x {=u16}, {=str}: {=u64}.{=u64:02} instructions a multiply-add",
                taps,
                taps,
                what,
                hundredths / 100,
                hundredths % 100
            );
        }
    }
    exit(filled.is_ok())
}
