//! The fuzz targets on bounded random input: mutations of well-formed bytes, and bytes without form.

use halfnet_tests::network::Random;
use halfnet_tests::targets::{ALL, seeds};

/// Inputs a target.
fn runs() -> u64 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(800)
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len().max(1) as u64) as usize;
        match random.below(8) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), random.word() as u8),
            2 => drop((at < bytes.len()).then(|| bytes.remove(at))),
            3 => bytes.extend((0..random.below(40)).map(|_| random.word() as u8)),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = if random.one_in(2) { *byte ^ 1 << random.below(8) } else { random.word() as u8 };
                }
            }
        }
    }
}

#[test]
fn targets_hold_on_random_input() {
    for (index, (name, target)) in ALL.into_iter().enumerate() {
        let seeds = seeds(name);
        assert!(!seeds.is_empty());
        let mut random = Random(index as u64);
        for run in 0..runs() {
            let mut bytes = if random.one_in(20) {
                (0..random.below(600)).map(|_| random.word() as u8).collect()
            } else {
                seeds[run as usize % seeds.len()].clone()
            };
            if name == "operations" && random.one_in(2) {
                bytes = std::iter::once(run as u8)
                    .chain((0..600).map(|_| random.word() as u8 & if run % 3 == 0 { 0xff } else { 3 }))
                    .collect();
            }
            mutate(&mut bytes, &mut random);
            let input = bytes.clone();
            std::panic::catch_unwind(move || target(&bytes))
                .unwrap_or_else(|_| panic!("target {name} fails on {input:02x?}"));
        }
    }
}

/// Every target has a file in `fuzz/`, and the other way round.
#[test]
fn fuzz_folder_has_every_target() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for (name, _) in ALL {
        let source = std::fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(source.contains(&format!("targets::{name}")), "{name}");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
    assert_eq!(std::fs::read_dir(folder.join("fuzz_targets")).unwrap().count(), ALL.len());
}

/// The fuzzer begins from what the formats are now, and from little.
#[test]
fn fuzz_seeds_are_up_to_date() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    let mut total = 0;
    for (name, _) in ALL {
        let seeds = seeds(name);
        assert_eq!(std::fs::read_dir(folder.join(name)).unwrap().count(), seeds.len(), "{name}");
        for (number, seed) in seeds.into_iter().enumerate() {
            let written = std::fs::read(folder.join(name).join(number.to_string())).unwrap();
            // The dealer's state says where the model lay: in another temporary folder each time.
            let same = (name, number) == ("party_files", 2) || written == seed;
            assert!(same, "{name}/{number} is outdated: cargo run --package halfnet-tests --example seeds");
            assert!(seed.len() < 8 << 10, "{name}/{number}: {} bytes", seed.len());
            total += seed.len();
        }
    }
    assert!(total < 200 << 10, "{total} bytes");
}
