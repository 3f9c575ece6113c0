//! A file written beside its place, and in it only once it is whole.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::FileError;
use super::file::{SECRET_MODE, folder_of, sync_folder};

/// Bytes that are gathered before the operating system gets them.
const BUFFER: usize = 1 << 16;

/// A file on its way. Dropped before [`Pending::place`], it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) file: BufWriter<File>,
    pub(super) temporary: PathBuf,
    pub(super) target: PathBuf,
    placed: bool,
}

impl Pending {
    /// Begins `target`, which stays as it is until [`Pending::place`].
    pub(super) fn create(target: &Path, mode: u32) -> Result<Self, FileError> {
        let mut name = std::ffi::OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(".new");
        let temporary = folder_of(target).join(name);
        // A file left from a crash would keep its own permissions.
        let _ = std::fs::remove_file(&temporary);
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary);
        let file = BufWriter::with_capacity(BUFFER, file.map_err(FileError::io("create", &temporary))?);
        Ok(Self { file, temporary, target: target.to_owned(), placed: false })
    }

    /// Synchronises the file and puts it in its place. The folder is synchronised by the caller, once for all
    /// files.
    pub(super) fn place(mut self) -> Result<(), FileError> {
        let written = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        written
            .and_then(|()| std::fs::rename(&self.temporary, &self.target))
            .map_err(FileError::io("write", &self.target))?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.placed {
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Writes a file that its owner alone may read: the network, a picture, a transcript. After a crash there is
/// the old file or the new one.
///
/// # Errors
/// The disk is full or fails.
pub fn write_secret(
    target: &Path,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), FileError> {
    let mut pending = Pending::create(target, SECRET_MODE)?;
    write(&mut pending.file).map_err(FileError::io("write", target))?;
    pending.place()?;
    sync_folder(folder_of(target))
}

/// Makes a folder that its owner alone may enter, and the folders above it; one that is there keeps its
/// permissions.
///
/// # Errors
/// It cannot be made.
pub fn create_secret_folder(folder: &Path) -> Result<(), FileError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = match folder.parent() {
        Some(above) if !above.as_os_str().is_empty() => std::fs::create_dir_all(above),
        _ => Ok(()),
    };
    let made = made.and_then(|()| match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        made => made,
    });
    made.map_err(FileError::io("create", folder))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn secrets_are_their_owner_s_alone() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("above").join("secret");
        create_secret_folder(&secret).unwrap();
        create_secret_folder(&secret).unwrap();
        assert_eq!(mode(&secret), 0o700);
        let path = secret.join("file");
        // What lies there already, and what a crash left, may be open to all.
        std::fs::write(&path, "old").unwrap();
        std::fs::write(secret.join(".file.new"), "half").unwrap();
        write_secret(&path, |out| out.write_all(b"new")).unwrap();
        assert_eq!((mode(&path), std::fs::read(&path).unwrap()), (0o600, b"new".to_vec()));
        write_secret(&path, |_| Err(std::io::Error::other("full"))).unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(&secret).unwrap().count(), 1);
        assert!(create_secret_folder(&path).is_err());
    }
}
