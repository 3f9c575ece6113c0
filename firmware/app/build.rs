//! Says whether the processor has the DSP extension, which stable compilers do not tell: `cfg(halfnet_dsp)`,
//! and `cfg(halfnet_m33)` where it is one of ARMv8-M.

use std::env;

fn main() {
    println!("cargo:rustc-check-cfg=cfg(halfnet_dsp, halfnet_m33)");
    println!("cargo:rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    println!("cargo:rerun-if-changed=build.rs");
    let target = env::var("TARGET").unwrap_or_default();
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    // M4 and M7 have it. An M33 has it where its maker chose so, and the board's flags then say so.
    let m33 = target.starts_with("thumbv8m.main") && flags.contains("target-cpu=cortex-m33");
    if target.starts_with("thumbv7em") || m33 {
        println!("cargo:rustc-cfg=halfnet_dsp");
    }
    if m33 {
        println!("cargo:rustc-cfg=halfnet_m33");
    }
}
