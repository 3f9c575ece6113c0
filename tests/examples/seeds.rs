//! Writes the fuzz targets' seeds: well-formed inputs that a fuzzer begins from.
//!
//! ```text
//! cargo run --package halfnet-tests --example seeds     # writes fuzz/seeds/TARGET/NUMBER
//! ```

use std::fs;
use std::io;
use std::path::Path;

use halfnet_tests::targets::{ALL, seeds};

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    for (name, _) in ALL {
        let folder = folder.join(name);
        // What an older format left is no seed any more.
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        for (number, seed) in seeds(name).into_iter().enumerate() {
            fs::write(folder.join(number.to_string()), &seed)?;
            println!("{name}/{number}: {} bytes", seed.len());
        }
    }
    Ok(())
}
