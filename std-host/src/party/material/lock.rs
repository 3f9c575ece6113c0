//! One process at a time for material of which every part may be used once.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::FileError;
use super::file::{SECRET_MODE, folder_of};

/// Held for as long as a process uses a piece of material; the operating system gives it back when the
/// process ends, however it ends.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Where the lock of a file lies: beside it, hidden. The file itself is replaced whenever it is written,
    /// so it cannot carry a lock.
    #[must_use]
    pub fn path_beside(material: &Path) -> PathBuf {
        let mut name = std::ffi::OsString::from(".");
        name.push(material.file_name().unwrap_or_default());
        name.push(".lock");
        folder_of(material).join(name)
    }

    /// Takes the lock of a file, without waiting.
    ///
    /// # Errors
    /// Another process holds it, or the folder cannot be written to.
    pub fn take(material: &Path) -> Result<Self, FileError> {
        Self::take_at(&Self::path_beside(material), material)
    }

    /// Takes the lock of a folder, which lies inside it: a folder may be reached by more than one path.
    ///
    /// # Errors
    /// Another process holds it, or the folder cannot be written to.
    pub fn take_inside(folder: &Path) -> Result<Self, FileError> {
        Self::take_at(&folder.join(".lock"), folder)
    }

    fn take_at(path: &Path, material: &Path) -> Result<Self, FileError> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(SECRET_MODE).open(path);
        let file = file.map_err(FileError::io("open", path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(FileError::InUse { path: material.to_owned() }),
            Err(TryLockError::Error(source)) => Err(FileError::io("lock", path)(source)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A child that is just being started holds a copy of the handle; this gives the lock back for all of
        // them.
        let _ = self.0.unlock();
    }
}
