//! What the program carries: a small network for handwritten digits and 32 of them; see `assets/README.md`.

use std::path::Path;

use crate::network::data::{DataError, DataSet};
use crate::network::float::{FloatError, FloatNetwork};

/// The MNIST network, as `import` made it from `assets/mnist_cnn_500.safetensors`.
pub static MODEL: &[u8] =
    include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/mnist_cnn_500.postcard"));

/// The float network that [`MODEL`] was made from.
///
/// # Errors
/// The embedded file is malformed, which would be a fault of the build.
pub fn network() -> Result<FloatNetwork, FloatError> {
    FloatNetwork::from_bytes(
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/mnist_cnn_500.safetensors")),
        Path::new("the bundled weights"),
    )
}

/// Pictures that the program carries.
pub const PICTURES: usize = 32;

/// The first [`PICTURES`] pictures of MNIST's test set.
///
/// # Errors
/// The embedded files are malformed, which would be a fault of the build.
pub fn pictures() -> Result<DataSet, DataError> {
    let images = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/mnist32-images-idx3-ubyte"));
    let labels = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/mnist32-labels-idx1-ubyte"));
    DataSet::from_idx(images, labels, Path::new("the bundled digits"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use halfnet_core::model::Model;

    #[test]
    fn what_is_carried_is_small_and_fits_together() {
        assert!(MODEL.len() <= 64 << 10, "{} bytes", MODEL.len());
        let model = Model::decode(MODEL).unwrap();
        let pictures = pictures().unwrap();
        assert_eq!((pictures.len(), pictures.shape), (PICTURES, model.header.input));
        assert_eq!(model.header.data_set, "mnist");
        assert_eq!(network().unwrap().input, model.header.input);
    }
}
