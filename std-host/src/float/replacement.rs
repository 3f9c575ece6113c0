//! What a search puts in the place of ReLUs, as tensors beside a network's own.
//!
//! A layer `NAME` that is not all ReLU has `NAME.relu`, of bytes 0 and 1 and the shape (C, H, W) of its sum: which elements are ReLUs;
//! and for the others `NAME.c1`, `NAME.c0` and, of degree 2, `NAME.c2`, one value a channel.

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
    let c2 = if tensors.has(&format!("{name}.c2")) { tensors.take(&format!("{name}.c2"), &channels)? } else { Vec::new() };
    *relu = if elements.contains(&true) { Mask::Elements(elements) } else { Mask::None };
    *polynomial = Some(FloatPolynomial { c2, c1, c0 });
    Ok(())
}
