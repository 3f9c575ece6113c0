//! P1's bundles: one file an inference, checked before it is burned, burned before it is read, gone once it
//! is open.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use halfnet_core::dealer::bundle_bytes;
use halfnet_core::endpoint::Part;
use halfnet_core::model::blob::Kind;
use halfnet_core::plan::Plan;
use halfnet_core::wire::message::{Agreement, Identifier};
use thiserror::Error;

use super::Windows;
use crate::party::material::file::sync_folder;
use crate::party::material::{FileError, Lock, SealedFile, SealedWriter};

/// Bytes of a bundle's header: pairing, plan hash, provisioning, deal, counter.
const HEADER: usize = 16 + 32 + 16 + 16 + 8;
/// The folder, inside the store, that a bundle passes through on its way out.
const BURNED: &str = "burned";
/// What bundle files end with.
const EXTENSION: &str = "bundle";

/// Why no bundle could be taken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// None is left.
    #[error("no bundle is left in {}: the dealer must deal more", folder.display())]
    Empty {
        /// The store.
        folder: PathBuf,
    },
    /// A file is damaged or cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The bundle was dealt for something else.
    #[error("bundle {} does not fit this party's material: its {what} differs. Use the bundles that were dealt with it", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The first part that differs.
        what: Part,
    },
    /// The file's name and its content disagree.
    #[error("bundle {} holds counter {found}: it was renamed, and a counter must never be used twice. Remove it", path.display())]
    Renamed {
        /// The file.
        path: PathBuf,
        /// The counter inside.
        found: u64,
    },
    /// The body is not as long as the plan says.
    #[error("bundle {} has {found} bytes of correlations, the plan needs {expected}", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes that the plan states.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// It is gone.
    #[error("bundle {} is gone: it was used or removed meanwhile; does another process use this store?", path.display())]
    Gone {
        /// The file.
        path: PathBuf,
    },
}

/// What stands before a bundle's correlations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleHeader {
    /// Of what pairing, plan and provisioning.
    pub agreement: Agreement,
    /// Of what dealing run.
    pub deal: Identifier,
    /// Of which inference.
    pub counter: u64,
}

impl BundleHeader {
    fn encode(&self) -> [u8; HEADER] {
        let a = &self.agreement;
        let parts: [&[u8]; 5] =
            [&a.pairing, &a.plan, &a.provisioning, &self.deal, &self.counter.to_le_bytes()];
        let mut out = [0; HEADER];
        for (slot, byte) in out.iter_mut().zip(parts.into_iter().flatten()) {
            *slot = *byte;
        }
        out
    }

    fn decode(bytes: &[u8; HEADER]) -> Self {
        let mut rest = &bytes[..];
        fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
            let mut out = [0; N];
            let (head, tail) = rest.split_at(N);
            out.copy_from_slice(head);
            *rest = tail;
            out
        }
        let agreement =
            Agreement { pairing: take(&mut rest), plan: take(&mut rest), provisioning: take(&mut rest) };
        Self { agreement, deal: take(&mut rest), counter: u64::from_le_bytes(take(&mut rest)) }
    }
}

fn name(counter: u64) -> String {
    format!("{counter:020}.{EXTENSION}")
}

/// The counter of a bundle's file name. A counter has one name: a second would be a second bundle of it.
fn counter_of(file_name: &str) -> Option<u64> {
    let counter = file_name.strip_suffix(EXTENSION)?.strip_suffix('.')?.parse().ok()?;
    (file_name == name(counter)).then_some(counter)
}

/// Writes one bundle into a store.
#[derive(Debug)]
pub struct BundleWriter(SealedWriter);

impl BundleWriter {
    /// Begins the bundle of `header`; the store's folder must exist.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn create(folder: &Path, header: &BundleHeader) -> Result<Self, FileError> {
        let mut writer = SealedWriter::create(&folder.join(name(header.counter)), Kind::Bundle)?;
        writer.append(&header.encode())?;
        Ok(Self(writer))
    }

    /// Where [`halfnet_core::dealer::deal`] writes.
    pub const fn sink(&mut self) -> &mut SealedWriter {
        &mut self.0
    }

    /// Puts the bundle in its place.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn finish(self) -> Result<(), FileError> {
        self.0.finish()
    }
}

/// A folder of bundles.
#[derive(Debug)]
pub struct BundleStore {
    folder: PathBuf,
    agreement: Agreement,
    body_bytes: u64,
    /// Unspent bundles that were there at the last look.
    known: BTreeMap<u64, PathBuf>,
    /// Two processes on one store would use a bundle twice.
    _lock: Lock,
}

/// A bundle that was found whole, of this pairing and plan, and is not burned yet.
#[derive(Debug)]
pub struct Bundle {
    header: BundleHeader,
    file: SealedFile,
    folder: PathBuf,
}

impl BundleStore {
    /// Opens a store of the bundles of one pairing and plan, and keeps every other process from using it for
    /// as long as the value lives.
    ///
    /// # Errors
    /// The folder cannot be read, or is in use.
    pub fn open(folder: &Path, agreement: Agreement, plan: &Plan<'_>) -> Result<Self, StoreError> {
        std::fs::read_dir(folder).map_err(FileError::io("read folder", folder))?;
        let lock = Lock::take_inside(folder)?;
        let mut store = Self {
            folder: folder.to_owned(),
            agreement,
            body_bytes: bundle_bytes(plan),
            known: BTreeMap::new(),
            _lock: lock,
        };
        store.look()?;
        // What a crash left between burning and removing.
        for entry in std::fs::read_dir(folder.join(BURNED)).into_iter().flatten().flatten() {
            let _ = std::fs::remove_file(entry.path());
        }
        Ok(store)
    }

    /// Bytes of a bundle's correlations.
    #[must_use]
    pub const fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    fn look(&mut self) -> Result<(), FileError> {
        self.known.clear();
        let failed = || FileError::io("read folder", &self.folder);
        for entry in std::fs::read_dir(&self.folder).map_err(failed())? {
            let path = entry.map_err(failed())?.path();
            if let Some(counter) = path.file_name().and_then(|name| name.to_str()).and_then(counter_of) {
                self.known.insert(counter, path);
            }
        }
        Ok(())
    }

    /// The unspent bundle of the lowest counter, checked from the first byte to the last. Nothing is burned.
    ///
    /// # Errors
    /// None is left, or it is damaged, cut, extended or of another pairing, plan or provisioning.
    pub fn lowest(&mut self) -> Result<Bundle, StoreError> {
        if self.known.is_empty() {
            self.look()?;
        }
        let (&counter, path) =
            self.known.first_key_value().ok_or_else(|| StoreError::Empty { folder: self.folder.clone() })?;
        if !path.exists() {
            let path = path.clone();
            self.known.remove(&counter);
            return Err(StoreError::Gone { path });
        }
        let file = SealedFile::open(path, Kind::Bundle)?;
        let found = file.length();
        let expected = self.body_bytes;
        let mut bytes = [0; HEADER];
        if found < HEADER as u64 {
            return Err(StoreError::Length { path: path.clone(), expected, found: 0 });
        }
        file.read_at(0, &mut bytes)?;
        let header = BundleHeader::decode(&bytes);
        // A flipped bit of the header is damage, not another pairing.
        file.verify()?;
        if let Some(what) = Part::difference(&self.agreement, &header.agreement) {
            return Err(StoreError::Foreign { path: path.clone(), what });
        }
        if header.counter != counter {
            return Err(StoreError::Renamed { path: path.clone(), found: header.counter });
        }
        if found != HEADER as u64 + expected {
            return Err(StoreError::Length { path: path.clone(), expected, found: found - HEADER as u64 });
        }
        Ok(Bundle { header, file, folder: self.folder.clone() })
    }

    /// Removes a bundle that was burned from what [`BundleStore::lowest`] finds.
    pub fn forget(&mut self, counter: u64) {
        self.known.remove(&counter);
    }

    /// Burns all bundles below `next`, which the peer refuses; returns how many.
    ///
    /// # Errors
    /// One could not be removed.
    pub fn drop_below(&mut self, next: u64) -> Result<usize, StoreError> {
        self.look()?;
        let kept = self.known.split_off(&next);
        let dropped = std::mem::replace(&mut self.known, kept);
        for path in dropped.values() {
            std::fs::remove_file(path).map_err(FileError::io("remove", path))?;
        }
        if !dropped.is_empty() {
            sync_folder(&self.folder)?;
        }
        Ok(dropped.len())
    }
}

impl Bundle {
    /// Whose, of which deal and inference.
    #[must_use]
    pub const fn header(&self) -> &BundleHeader {
        &self.header
    }

    /// Burns the bundle: when this returns, no process can ever find it again, whatever crashes; only the
    /// value in hand reads it.
    ///
    /// # Errors
    /// It is gone, or the disk fails.
    pub fn burn(self, store: &mut BundleStore) -> Result<Windows, StoreError> {
        let path = self.file.path().to_owned();
        let burned = self.folder.join(BURNED);
        if !burned.exists() {
            std::fs::create_dir_all(&burned).map_err(FileError::io("create", &burned))?;
        }
        let target = burned.join(name(self.header.counter));
        store.forget(self.header.counter);
        match std::fs::rename(&path, &target) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(StoreError::Gone { path }),
            Err(e) => return Err(FileError::io("burn", &path)(e).into()),
        }
        sync_folder(&self.folder)?;
        std::fs::remove_file(&target).map_err(FileError::io("remove", &target))?;
        Ok(Windows::new(self.file, HEADER as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_has_one_file_name() {
        for counter in [0, 1, 12, u64::MAX] {
            assert_eq!(counter_of(&name(counter)), Some(counter));
        }
        let one = name(1);
        let plus = format!("+{}", &one[1..]);
        let wider = format!("0{one}");
        for other in [
            "1.bundle",
            "+1.bundle",
            &plus,
            &wider,
            "00000000000000000001",
            &format!("{one}.new"),
            &format!(".{one}.new"),
        ] {
            assert_eq!(counter_of(other), None, "{other}");
        }
    }
}
