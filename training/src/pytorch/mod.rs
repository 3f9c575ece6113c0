//! Weights out of PyTorch files (`torch.save` of a state dictionary, since version 1.6): a zip archive with a
//! pickle and the tensors' bytes. Nothing of the pickle is executed: it is read by a small machine that knows
//! dictionaries, tensors and little else.

mod pickle;

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};

use crate::error::TrainError;
use pickle::{Tensor, Value};

/// Is a file called as PyTorch's are?
#[must_use]
pub fn is_named(path: &Path) -> bool {
    path.extension()
        .is_some_and(|e| ["pth", "pt", "th", "bin"].iter().any(|known| e.eq_ignore_ascii_case(known)))
}

/// A file's tensors as the bytes of a safetensors file, 32-bit floats all. Counters of batches are left out.
///
/// # Errors
/// The file cannot be read, or holds no state dictionary of 32- or 64-bit floats.
pub fn to_safetensors(path: &Path) -> Result<Vec<u8>, TrainError> {
    let bytes = std::fs::read(path).map_err(|e| TrainError::read(path, e))?;
    convert(&bytes).map_err(|reason| TrainError::malformed(path, reason))
}

fn convert(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let files = archive(bytes)?;
    let (name, pickled) = files
        .iter()
        .find(|(name, _)| name.ends_with("data.pkl"))
        .ok_or("no `data.pkl`: no file of `torch.save`")?;
    let folder = name.trim_end_matches("data.pkl");
    let Value::Dictionary(mut entries) = pickle::read(pickled)? else {
        return Err("no state dictionary".to_owned());
    };
    // A checkpoint holds the state dictionary among other things.
    for inner in ["state_dict", "model"] {
        let found = entries.iter().position(|(key, value)| {
            *key == Value::Text(inner.to_owned()) && matches!(value, Value::Dictionary(_))
        });
        if let Some((_, Value::Dictionary(inside))) = found.map(|at| entries.swap_remove(at)) {
            entries = inside;
        }
    }
    let mut tensors = Vec::new();
    for (key, value) in entries {
        let (Value::Text(key), Value::Tensor(tensor)) = (key, value) else { continue };
        if key.ends_with("num_batches_tracked") {
            continue;
        }
        let place = format!("{folder}data/{}", tensor.storage);
        let stored = files.get(&place).ok_or_else(|| format!("tensor `{key}`: `{place}` is missing"))?;
        let values = gather(&tensor, stored).map_err(|reason| format!("tensor `{key}`: {reason}"))?;
        tensors.push((key, tensor.shape, values));
    }
    if tensors.is_empty() {
        return Err(
            "no tensor in it: save the state dictionary, `torch.save(network.state_dict(), …)`".to_owned()
        );
    }
    let mut views = Vec::new();
    for (name, shape, bytes) in &tensors {
        views.push((
            name.as_str(),
            TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(|e| e.to_string())?,
        ));
    }
    safetensors::serialize(views, None).map_err(|e| e.to_string())
}

/// A tensor's elements in the order of its shape, as bytes of 32-bit floats.
fn gather(tensor: &Tensor, stored: &[u8]) -> Result<Vec<u8>, String> {
    let size = match tensor.kind.as_str() {
        "FloatStorage" => 4,
        "DoubleStorage" => 8,
        kind => return Err(format!("of type {kind}: convert it to 32-bit floats first")),
    };
    let count =
        tensor.shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= stored.len() / size);
    let count = count.ok_or("larger than its storage")?;
    if tensor.strides.len() != tensor.shape.len() {
        return Err("as many strides as sizes are wanted".to_owned());
    }
    let mut out = Vec::with_capacity(4 * count);
    for index in 0..count {
        let (mut rest, mut place) = (index, tensor.offset);
        for (&length, &stride) in tensor.shape.iter().zip(&tensor.strides).rev() {
            place = (rest % length)
                .checked_mul(stride)
                .and_then(|step| step.checked_add(place))
                .ok_or("strides too large")?;
            rest /= length;
        }
        let element = place
            .checked_mul(size)
            .and_then(|at| stored.get(at..)?.get(..size))
            .ok_or("outside its storage")?;
        let value = match element {
            [a, b, c, d] => f32::from_le_bytes([*a, *b, *c, *d]),
            wide => f64::from_le_bytes(wide.try_into().map_err(|_| "outside its storage")?) as f32,
        };
        out.extend(value.to_le_bytes());
    }
    Ok(out)
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<usize> {
    let field = bytes.get(at..)?.get(..N)?;
    Some(field.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b)))
}

/// The files of a zip archive whose entries are stored as they are, by name.
fn archive(bytes: &[u8]) -> Result<BTreeMap<String, &[u8]>, String> {
    const END: [u8; 4] = [b'P', b'K', 5, 6];
    let none = "no zip archive: PyTorch before 1.6 wrote another format; load it and save it anew";
    // The comment after the end of the directory is at most 65,535 bytes long.
    let from = bytes.len().saturating_sub(65_535 + 22);
    let end = bytes[from..].windows(4).rposition(|w| w == END).map(|at| at + from).ok_or(none)?;
    let fields = (number::<2>(bytes, end + 10), number::<4>(bytes, end + 16), number::<2>(bytes, end + 20));
    let (Some(count), Some(mut at), Some(_)) = fields else { return Err(none.to_owned()) };
    let mut files = BTreeMap::new();
    for _ in 0..count {
        let entry = || {
            let (method, size) = (number::<2>(bytes, at + 10)?, number::<4>(bytes, at + 24)?);
            let lengths = [28, 30, 32].map(|field| number::<2>(bytes, at + field));
            let ([Some(name), Some(extra), Some(comment)], local) = (lengths, number::<4>(bytes, at + 42)?)
            else {
                return None;
            };
            let text = String::from_utf8_lossy(bytes.get(at + 46..)?.get(..name)?).into_owned();
            let data = local + 30 + number::<2>(bytes, local + 26)? + number::<2>(bytes, local + 28)?;
            Some((method, text, bytes.get(data..)?.get(..size)?, 46 + name + extra + comment))
        };
        let (method, name, content, length) =
            entry().ok_or("the archive is cut, or too large for its format")?;
        if method != 0 {
            return Err(format!("`{name}` is compressed, which `torch.save` does not do"));
        }
        files.insert(name, content);
        at += length;
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use halfnet_host::network::float::Tensors;

    /// Made by `tests/data/state.py`: what `torch.save` writes, with the standard library's pickler.
    const STATE: &[u8] = include_bytes!("../../tests/data/state.pth");

    #[test]
    fn tensors_come_in_the_order_of_their_shapes() {
        let bytes = convert(STATE).unwrap();
        let mut tensors = Tensors::from_bytes(&bytes, Path::new("state.pth")).unwrap();
        assert_eq!(tensors.take("conv1.weight", &[2, 3]).unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.5]);
        // A view with strides into the same storage, and a parameter of doubles.
        assert_eq!(tensors.take("turned", &[3, 2]).unwrap(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.5]);
        assert_eq!(tensors.take("linear.bias", &[2]).unwrap(), [-0.25, 8.0]);
        tensors.finish().unwrap();
    }

    #[test]
    fn faults_are_errors_and_cuts_do_not_panic() {
        assert!(convert(b"no archive").unwrap_err().contains("PyTorch before 1.6"));
        (0..STATE.len()).for_each(|length| assert!(convert(&STATE[..length]).is_err()));
        for at in 0..STATE.len() {
            let mut damaged = STATE.to_vec();
            damaged[at] ^= 0x55;
            let _ = convert(&damaged);
        }
    }
}
