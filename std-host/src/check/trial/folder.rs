//! A working folder that only its owner may enter, gone when it is dropped or a signal ends the process.

use std::fs::DirBuilder;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::check::interrupt::{hold_folder, release_folder};

/// Names tried before giving up.
const ATTEMPTS: u32 = 1000;

/// A temporary folder.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new folder below the system's for temporary files.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new() -> Result<Self, Error> {
        for attempt in 0..ATTEMPTS {
            let path = std::env::temp_dir().join(format!("halfnet-{}-{attempt}", std::process::id()));
            // A folder that is there already may be somebody else's.
            match hold_folder(&path, |path| DirBuilder::new().mode(0o700).create(path)) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(ErrorKind::AlreadyExists, "every name tried is taken"))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        release_folder(&self.0);
    }
}
