//! Every kernel that this machine has, against the definition.

use halfnet_core::ring::{WordKind, Words, WordsMut};
use halfnet_core::shape::{Convolution, Shape};
use proptest::prelude::*;

use super::choice::{ALL, Enumerated, first_correct, operands, reference};
use super::*;

/// Any valid geometry of moderate size.
fn geometries() -> impl Strategy<Value = Convolution> {
    let groups =
        prop_oneof![3 => Just((1_u16, 0_u16)), 1 => (1_u16..5, Just(0_u16)), 1 => (1_u16..40, Just(1_u16))];
    let sizes = (1_u16..7, 1_u16..40, 1_u16..15, 1_u16..15);
    (groups, sizes, 1_u16..6, 1_u16..6, 1_u16..4, 0_u16..4)
        .prop_map(
            |(
                (groups, depthwise),
                (channels, outputs, height, width),
                kernel_height,
                kernel_width,
                stride,
                padding,
            )| {
                let (channels, outputs) =
                    if depthwise == 1 { (1, 1 + outputs % 5) } else { (channels, outputs) };
                let input = Shape::new(groups * channels, height, width);
                Convolution {
                    input,
                    out_channels: groups * outputs,
                    kernel_height,
                    kernel_width,
                    stride,
                    padding,
                    groups,
                }
            },
        )
        .prop_filter("the kernel fits", |geometry| geometry.validate().is_ok())
}

fn check<W: Enumerated>(
    kernel: &Kernel,
    geometry: &Convolution,
    scratch: &mut PackedInput,
    tile: Range<usize>,
    chunk: usize,
    seed: u64,
) {
    let weights = operands::<W>(seed, geometry.weights());
    let input = operands::<W>(!seed, geometry.input.elements());
    let mut expected = operands::<W>(seed ^ 5, geometry.output().elements());
    let mut out = expected[tile.clone()].to_vec();
    reference(geometry, &weights, &input, &mut expected);

    let mut packed = kernel.pack_empty(geometry, W::KIND).unwrap();
    for (index, weights) in weights.chunks(chunk * geometry.fan_in()).enumerate() {
        packed.fill(index * chunk, W::words(weights)).unwrap();
    }
    kernel.prepare(scratch, geometry, W::words(&input)).unwrap();
    kernel.convolve(&packed, scratch, tile.clone(), W::words_mut(&mut out)).unwrap();
    assert!(out == expected[tile.clone()], "{kernel:?}, {:?}, tile {tile:?} of {geometry:?}", W::KIND);
}

proptest! {
    #[test]
    fn convolution_is_its_definition(
        list in prop::collection::vec((geometries(), any::<u64>(), 0.0..1.0_f64, 0.0..1.0_f64, 1_usize..50), 1..4),
    ) {
        for kernel in Kernels::available() {
            // One scratch for layer after layer, as in a network: nothing of the last may remain.
            let mut scratch = PackedInput::new();
            for (geometry, seed, start, length, chunk) in &list {
                let elements = geometry.output().elements();
                let start = (elements as f64 * start) as usize;
                let tile = start..start + ((elements - start) as f64 * length).round() as usize;
                for tile in [0..elements, tile] {
                    check::<u16>(&kernel, geometry, &mut scratch, tile.clone(), *chunk, *seed);
                    check::<u32>(&kernel, geometry, &mut scratch, tile.clone(), *chunk, *seed);
                    check::<u64>(&kernel, geometry, &mut scratch, tile, *chunk, *seed);
                }
            }
        }
    }
}

fn convolution(channels: u16, size: u16, out_channels: u16, kernel: u16, stride: u16) -> Convolution {
    let input = Shape::new(channels, size, size);
    Convolution {
        input,
        out_channels,
        kernel_height: kernel,
        kernel_width: kernel,
        stride,
        padding: kernel / 2,
        groups: 1,
    }
}

#[test]
fn layers_of_real_networks() {
    let fully_connected = Convolution {
        input: Shape::new(16, 7, 7),
        out_channels: 100,
        kernel_height: 7,
        kernel_width: 7,
        padding: 0,
        ..convolution(1, 1, 1, 1, 1)
    };
    let layers = [
        convolution(3, 32, 64, 3, 1),
        convolution(64, 8, 96, 3, 2),
        convolution(96, 4, 80, 1, 2),
        convolution(16, 28, 32, 5, 1),
        Convolution { groups: 40, ..convolution(40, 14, 40, 3, 2) },
        fully_connected,
    ];
    for kernel in Kernels::available() {
        let mut scratch = PackedInput::new();
        for geometry in &layers {
            let elements = geometry.output().elements();
            check::<u16>(&kernel, geometry, &mut scratch, 0..elements, 16, 1);
            check::<u32>(&kernel, geometry, &mut scratch, 0..elements, 16, 2);
            check::<u64>(&kernel, geometry, &mut scratch, 0..elements, 16, 3);
        }
    }
}

#[test]
fn a_kernel_that_computes_wrongly_is_not_chosen() {
    // Right in everything but one element of one word: where its last channel ends.
    const FAULTY: Kernel = Kernel {
        name: "faulty",
        accumulate: |weights, input, tile, mut out| {
            let last = out.len() - 1;
            let faulty = matches!(out, WordsMut::U32(_)).then(|| out.as_words().get(last)).flatten();
            // SAFETY: the caller's promise, passed on.
            unsafe { (portable::KERNEL.accumulate)(weights, input, tile, reborrow(&mut out)) };
            if let Some(value) = faulty {
                out.set(last, value).unwrap();
            }
        },
        ..portable::KERNEL
    };
    const MISSING: Kernel = Kernel { name: "missing", supported: || false, ..portable::KERNEL };
    assert_eq!(
        first_correct(&[MISSING, FAULTY, portable::KERNEL]).map(|kernel| kernel.name()),
        Some("portable")
    );
    assert!(first_correct(&[MISSING, FAULTY]).is_none());
}

fn reborrow<'a>(words: &'a mut WordsMut<'_>) -> WordsMut<'a> {
    match words {
        WordsMut::U16(words) => WordsMut::U16(words),
        WordsMut::U32(words) => WordsMut::U32(words),
        WordsMut::U64(words) => WordsMut::U64(words),
    }
}

#[test]
fn every_kernel_that_this_machine_supports_is_right() {
    // Else a broken one would be left out silently, here as in every other test.
    let supported: Vec<&str> =
        ALL.iter().filter(|kernel| (kernel.supported)()).map(|kernel| kernel.name).collect();
    let available: Vec<&str> = Kernels::available().map(|kernel| kernel.name).collect();
    assert_eq!(available, supported);
}

#[test]
fn names() {
    assert_eq!(Kernels::named("portable").unwrap().name(), "portable");
    let error = Kernels::named("abacus").unwrap_err();
    assert!(error.to_string().contains("portable"), "{error}");
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    assert_eq!(Kernels::available().next().map(|kernel| kernel.name()), Some("neon"));
    assert_eq!(Kernels::available().last().map(|kernel| kernel.name()), Some("portable"));
}

#[test]
fn wrong_operands_are_refused() {
    let kernel = Kernels::detect().unwrap();
    let geometry = convolution(4, 6, 20, 3, 1);
    let other = convolution(4, 6, 20, 3, 2);
    let (weights, input) = (vec![1_u32; geometry.weights()], vec![1_u32; geometry.input.elements()]);
    let mut scratch = PackedInput::new();
    let mut out = vec![0_u32; geometry.output().elements()];
    let elements = out.len();

    assert!(matches!(
        kernel.pack(&geometry, WordKind::U32, Words::U32(&weights[1..])),
        Err(KernelError::Length { .. })
    ));
    assert!(matches!(
        kernel.pack(&geometry, WordKind::U16, Words::U32(&weights)),
        Err(KernelError::Word { .. })
    ));
    let zero = Convolution { stride: 0, ..geometry };
    assert!(matches!(kernel.pack(&zero, WordKind::U32, Words::U32(&weights)), Err(KernelError::Geometry(_))));
    let vast = Convolution {
        input: Shape::new(2000, 1, 1),
        padding: 1024,
        kernel_height: 1,
        kernel_width: 1,
        stride: 2000,
        ..geometry
    };
    assert!(matches!(kernel.pack_empty(&vast, WordKind::U32), Err(KernelError::Padding { .. })));
    assert!(matches!(
        kernel.prepare(&mut scratch, &geometry, Words::U32(&input[1..])),
        Err(KernelError::Length { .. })
    ));

    let mut packed = kernel.pack(&geometry, WordKind::U32, Words::U32(&weights)).unwrap();
    assert!(matches!(packed.fill(20, Words::U32(&weights[..36])), Err(KernelError::Length { .. })));
    assert!(matches!(packed.fill(0, Words::U32(&weights[..35])), Err(KernelError::Length { .. })));
    let fails = |scratch: &PackedInput, tile: Range<usize>, out: WordsMut<'_>| {
        kernel.convolve(&packed, scratch, tile, out).unwrap_err()
    };
    assert_eq!(fails(&scratch, 0..elements, WordsMut::U32(&mut out)), KernelError::InputElsewhere);
    kernel.prepare(&mut scratch, &other, Words::U32(&input)).unwrap();
    assert_eq!(fails(&scratch, 0..elements, WordsMut::U32(&mut out)), KernelError::InputElsewhere);
    kernel.prepare(&mut scratch, &geometry, Words::U32(&input)).unwrap();
    assert!(matches!(fails(&scratch, 1..elements + 1, WordsMut::U32(&mut out)), KernelError::Tile { .. }));
    assert!(matches!(fails(&scratch, 0..7, WordsMut::U32(&mut out)), KernelError::Length { .. }));
    assert!(matches!(fails(&scratch, 0..7, WordsMut::U16(&mut [0; 7])), KernelError::Word { .. }));
    assert!(out.iter().all(|&sum| sum == 0));
}
