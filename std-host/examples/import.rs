//! An import from memory: the bytes of a safetensors file become those of `model.postcard`.
//!
//! `cargo run --release --example import -- assets/mnist_cnn_500.safetensors model.postcard`

use std::error::Error;
use std::path::Path;

use halfnet_host::network::bundled;
use halfnet_host::network::float::FloatNetwork;
use halfnet_host::network::import::{ImportOptions, import_network};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [weights, model] = arguments.as_slice() else {
        return Err("name the weights, and the model to write".into());
    };
    let bytes = std::fs::read(weights)?;
    // The path is what errors call the bytes.
    let network = FloatNetwork::from_bytes(&bytes, Path::new(weights))?;
    // Whatever pictures the network was trained on. These 32 are enough to see it work, not to calibrate well.
    let pictures = bundled::pictures()?;
    let classes: Vec<String> = (0..10).map(|digit| digit.to_string()).collect();
    // Widths are chosen by the importer where none are given, which takes longer.
    let options = ImportOptions { ring_bits: Some(20), opened_bits: Some(14), ..ImportOptions::default() };
    let imported = import_network(&network, &classes, &pictures, &options)?;
    std::fs::write(model, &imported.bytes)?;
    println!("{} bytes; logits err by {:.4}", imported.bytes.len(), imported.report.logit_error);
    Ok(())
}
