#![no_main]

use halfnet_tests::targets;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| targets::plan(data));
