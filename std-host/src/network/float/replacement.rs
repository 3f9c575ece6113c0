//! What a search puts in the place of ReLUs, as tensors beside a network's own.
//!
//! A layer `NAME` that is not all ReLU has `NAME.relu`, of bytes 0 and 1 and the shape (C, H, W) of its sum:
//! which elements are ReLUs; and for the others `NAME.c1`, `NAME.c0` and, of degree 2, `NAME.c2`, one value a
//! channel.

use super::{FloatError, FloatLayer, FloatPolynomial, FloatStep, Mask, Tensors};

/// Takes a layer's replacement, if the file has one.
///
/// # Errors
/// It is not whole, of another shape, or the layer has no activation.
pub(super) fn take(tensors: &mut Tensors, layer: &mut FloatLayer) -> Result<(), FloatError> {
    let (name, shape) = (layer.name.clone(), layer.sum_shape());
    let mask = format!("{name}.relu");
    let FloatStep::Activate { relu, polynomial, .. } = &mut layer.step else { return Ok(()) };
    if !tensors.has(&mask) {
        return Ok(());
    }
    let channels = [usize::from(shape.channels)];
    let elements = tensors.take_mask(&mask, &[shape.channels, shape.height, shape.width].map(usize::from))?;
    let mut part = |part: &str| tensors.take(&format!("{name}.{part}"), &channels);
    let (c1, c0) = (part("c1")?, part("c0")?);
    let c2 = if tensors.has(&format!("{name}.c2")) {
        tensors.take(&format!("{name}.c2"), &channels)?
    } else {
        Vec::new()
    };
    (*relu, *polynomial) = match (elements.contains(&true), elements.contains(&false)) {
        // Nothing is replaced: the coefficients are nobody's.
        (_, false) => (Mask::All, None),
        (true, true) => (Mask::Elements(elements), Some(FloatPolynomial { c2, c1, c0 })),
        (false, true) => (Mask::None, Some(FloatPolynomial { c2, c1, c0 })),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use safetensors::SafeTensors;
    use safetensors::tensor::{Dtype, TensorView};

    use super::*;
    use crate::network::float::FloatNetwork;

    type Entry = (String, Dtype, Vec<usize>, Vec<u8>);

    /// Reads the bundled network with its file's tensors changed.
    fn read(change: impl Fn(&mut Vec<Entry>)) -> Result<FloatNetwork, FloatError> {
        let file = SafeTensors::deserialize(include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/assets/mnist_cnn_500.safetensors"
        )))
        .unwrap();
        let mut entries: Vec<Entry> = file
            .iter()
            .map(|(name, view)| (name.to_owned(), view.dtype(), view.shape().to_vec(), view.data().to_vec()))
            .collect();
        change(&mut entries);
        let views = entries.iter().map(|(name, dtype, shape, bytes)| {
            (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        FloatNetwork::from_bytes(&safetensors::serialize(views, None).unwrap(), Path::new("a test"))
    }

    fn without(entries: &mut Vec<Entry>, name: &str) {
        let count = entries.len();
        entries.retain(|entry| entry.0 != name);
        assert_eq!(entries.len() + 1, count);
    }

    fn entry<'e>(entries: &'e mut [Entry], name: &str) -> &'e mut Entry {
        entries.iter_mut().find(|entry| entry.0 == name).unwrap()
    }

    fn activation(network: &FloatNetwork, layer: usize) -> (&Mask, &Option<FloatPolynomial>) {
        let FloatStep::Activate { relu, polynomial, .. } = &network.layers[layer].step else {
            panic!("an activation")
        };
        (relu, polynomial)
    }

    #[test]
    fn layers_with_a_mask_are_replaced() {
        let network = read(|_| ()).unwrap();
        let relus: usize = (0..3).map(|layer| activation(&network, layer).0.count(0)).sum();
        assert_eq!(relus, 500);
        assert_eq!(
            activation(&network, 1).1.as_ref().map(|p| [p.c2.len(), p.c1.len(), p.c0.len()]),
            Some([16; 3])
        );
        // Degree 1, and none: all of a layer's ReLUs.
        let network = read(|entries| without(entries, "conv2.c2")).unwrap();
        assert!(activation(&network, 1).1.as_ref().unwrap().c2.is_empty());
        let network = read(|entries| {
            ["relu", "c2", "c1", "c0"].iter().for_each(|part| without(entries, &format!("conv2.{part}")))
        })
        .unwrap();
        assert_eq!(activation(&network, 1), (&Mask::All, &None));
        let network = read(|entries| entry(entries, "conv3.relu").3.fill(0)).unwrap();
        assert_eq!(activation(&network, 2).0, &Mask::None);
        let network = read(|entries| entry(entries, "conv3.relu").3.fill(1)).unwrap();
        assert_eq!(activation(&network, 2), (&Mask::All, &None));
    }

    #[test]
    fn a_replacement_that_is_not_whole_is_refused_by_name() {
        let refused = |change: &dyn Fn(&mut Vec<Entry>), says: &str| {
            let error = read(change).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        };
        refused(&|e| without(e, "conv2.c1"), "tensor `conv2.c1` is missing");
        refused(&|e| without(e, "conv2.relu"), "does not have: conv2.c0, conv2.c1, conv2.c2");
        refused(
            &|e| entry(e, "conv2.relu").2 = vec![16, 196],
            "tensor `conv2.relu` has shape [16, 196], expected [16, 14, 14]",
        );
        refused(
            &|e| entry(e, "conv2.relu").3[5] = 2,
            "`conv2.relu` is a mask and holds another byte than 0 and 1",
        );
        refused(&|e| entry(e, "conv2.relu").1 = Dtype::I8, "`conv2.relu` is of type I8, expected U8");
        refused(
            &|e| entry(e, "conv2.c0").3[..4].copy_from_slice(&f32::NAN.to_le_bytes()),
            "`conv2.c0` holds values that are not finite",
        );
    }
}
