//! Files that are there as a whole or not at all.

use std::path::Path;

use crate::error::TrainError;

/// Writes a file: first beside its place, then in it, so that what is there is never half of something.
///
/// # Errors
/// It cannot be written.
pub fn replace(path: &Path, contents: impl AsRef<[u8]>) -> Result<(), TrainError> {
    let beside = path.with_extension("new");
    std::fs::write(&beside, contents).map_err(|e| TrainError::write(&beside, e))?;
    std::fs::rename(&beside, path).map_err(|e| TrainError::write(path, e))
}
