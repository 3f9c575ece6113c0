//! `halfnet`, the command: see [`halfnet_host::cli`].
#![deny(unsafe_code)]

fn main() -> std::process::ExitCode {
    halfnet_host::cli::main()
}
