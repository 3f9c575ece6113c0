//! Tensors by name out of a safetensors file, each taken once, so that nothing is left over unseen.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use super::FloatError;

/// The tensors of a file that were not taken yet.
#[derive(Debug)]
pub struct Tensors {
    tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
}

impl Tensors {
    /// Reads a file. The prefix `module.` of parallel training and batch counters are dropped.
    ///
    /// # Errors
    /// The file cannot be read or is no safetensors file.
    pub fn read(path: &Path) -> Result<Self, FloatError> {
        let bytes =
            std::fs::read(path).map_err(|source| FloatError::Read { path: path.to_owned(), source })?;
        Self::from_bytes(&bytes, path)
    }

    /// As [`Tensors::read`], from a file's bytes; `origin` is named in errors.
    ///
    /// # Errors
    /// They are no safetensors file.
    pub fn from_bytes(bytes: &[u8], origin: &Path) -> Result<Self, FloatError> {
        let file = SafeTensors::deserialize(bytes)
            .map_err(|source| FloatError::Format { path: origin.to_owned(), source })?;
        let tensors =
            file.iter().filter(|(name, _)| !name.ends_with("num_batches_tracked")).map(|(name, view)| {
                let name = name.strip_prefix("module.").unwrap_or(name);
                (name.to_owned(), (view.dtype(), view.shape().to_vec(), view.data().to_vec()))
            });
        Ok(Self { tensors: tensors.collect() })
    }

    /// Is there a tensor of this name?
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The shape of a tensor.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn shape(&self, name: &str) -> Result<&[usize], FloatError> {
        self.tensors
            .get(name)
            .map(|(_, shape, _)| shape.as_slice())
            .ok_or_else(|| FloatError::MissingTensor(name.to_owned()))
    }

    /// Takes a tensor that must have exactly this shape.
    ///
    /// # Errors
    /// It is missing, of another shape or type, or not finite.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, FloatError> {
        let bytes = self.take_bytes(name, shape, Dtype::F32, "F32")?;
        let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        if values.iter().all(|v| v.is_finite()) {
            Ok(values)
        } else {
            Err(FloatError::NotFinite(name.to_owned()))
        }
    }

    /// Takes a mask, bytes of 0 and 1, that must have exactly this shape.
    ///
    /// # Errors
    /// It is missing, of another shape or type, or has other bytes.
    pub fn take_mask(&mut self, name: &str, shape: &[usize]) -> Result<Vec<bool>, FloatError> {
        let bytes = self.take_bytes(name, shape, Dtype::U8, "U8")?;
        if bytes.iter().all(|&byte| byte <= 1) {
            Ok(bytes.iter().map(|&b| b == 1).collect())
        } else {
            Err(FloatError::Mask(name.to_owned()))
        }
    }

    fn take_bytes(
        &mut self,
        name: &str,
        shape: &[usize],
        expected: Dtype,
        text: &'static str,
    ) -> Result<Vec<u8>, FloatError> {
        let (dtype, found, bytes) =
            self.tensors.remove(name).ok_or_else(|| FloatError::MissingTensor(name.to_owned()))?;
        if found != shape {
            return Err(FloatError::Shape { name: name.to_owned(), found, expected: format!("{shape:?}") });
        }
        if dtype != expected {
            return Err(FloatError::Type {
                name: name.to_owned(),
                found: format!("{dtype:?}"),
                expected: text,
            });
        }
        Ok(bytes)
    }

    /// Checks that every tensor was taken.
    ///
    /// # Errors
    /// Some were not: the architecture is another than it seemed.
    pub fn finish(self) -> Result<(), FloatError> {
        if self.tensors.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = self.tensors.keys().map(String::as_str).collect();
        Err(FloatError::Unused(names.join(", ")))
    }
}
