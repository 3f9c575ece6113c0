//! P0's counter: the next inference that it accepts, on disk before it says so.

use std::path::{Path, PathBuf};

use halfnet_core::model::blob::Kind;
use halfnet_core::wire::message::Identifier;
use serde::{Deserialize, Serialize};

use crate::party::material::file::{folder_of, read_sealed, sync_folder, write_sealed};
use crate::party::material::{FileError, Lock};

#[derive(Serialize, Deserialize)]
struct Body {
    pairing: Identifier,
    next: u64,
}

/// The counter file. It is made with the material and never anew: a party that lost its state never resumes.
#[derive(Debug)]
pub struct Counter {
    path: PathBuf,
    pairing: Identifier,
    next: u64,
    /// Two processes on one seed would use a mask twice.
    _lock: Lock,
}

impl Counter {
    /// Where the counter of a material file lies: beside it, with the extension `counter`.
    #[must_use]
    pub fn path_beside(material: &Path) -> PathBuf {
        material.with_extension("counter")
    }

    /// Makes the counter of a new pairing.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn create(path: &Path, pairing: Identifier) -> Result<(), FileError> {
        write_sealed(path, Kind::State, &Body { pairing, next: 0 })
    }

    /// Reads the counter and keeps every other process from it for as long as the value lives.
    ///
    /// # Errors
    /// It is missing, damaged, of another pairing, or in use.
    pub fn open(path: &Path, pairing: Identifier) -> Result<Self, FileError> {
        // Not found before the lock is made beside it.
        Self::read(path, pairing)?;
        let lock = Lock::take(path)?;
        Ok(Self { path: path.to_owned(), pairing, next: Self::read(path, pairing)?, _lock: lock })
    }

    /// What stands in the file: the next counter that may be accepted. Whoever uses the seed asks
    /// [`Counter::open`] instead.
    ///
    /// # Errors
    /// It is missing, damaged or of another pairing.
    pub fn read(path: &Path, pairing: Identifier) -> Result<u64, FileError> {
        if !path.exists() {
            return Err(FileError::content(
                path,
                "the counter beside the seed is missing (after `provision` the seed is the board's), and without it a mask could be used twice: \
                 deal a new pairing",
            ));
        }
        let body: Body = read_sealed(path, Kind::State)?;
        if body.pairing != pairing {
            return Err(FileError::content(
                path,
                "this counter belongs to another pairing than the material beside it",
            ));
        }
        Ok(body.next)
    }

    /// Takes the counter out of use, durably: its seed goes elsewhere, and no process here is to start with
    /// it again.
    ///
    /// # Errors
    /// The disk fails.
    pub fn retire(self) -> Result<(), FileError> {
        let retired = self.path.with_extension("counter.provisioned");
        std::fs::rename(&self.path, &retired).map_err(|e| FileError::content(&self.path, e.to_string()))?;
        sync_folder(folder_of(&self.path))
    }

    /// The next counter that may be accepted.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Burns `counter` and all below it, durably.
    ///
    /// # Errors
    /// It is burned already, or the disk fails: then nothing may be sent.
    pub fn burn(&mut self, counter: u64) -> Result<(), FileError> {
        // Nobody else writes the file, unless it was put back or replaced; never below what is known of it
        // here.
        self.next = self.next.max(Self::read(&self.path, self.pairing)?);
        let next = counter.checked_add(1).filter(|_| counter >= self.next);
        let next = next
            .ok_or_else(|| FileError::content(&self.path, format!("counter {counter} is burned already")))?;
        write_sealed(&self.path, Kind::State, &Body { pairing: self.pairing, next })?;
        self.next = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_never_goes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = Counter::path_beside(&folder.path().join("party0.postcard"));
        assert!(Counter::open(&path, [1; 16]).unwrap_err().to_string().contains("missing"));
        Counter::create(&path, [1; 16]).unwrap();
        assert!(Counter::open(&path, [2; 16]).unwrap_err().to_string().contains("another pairing"));
        let mut counter = Counter::open(&path, [1; 16]).unwrap();
        counter.burn(0).unwrap();
        counter.burn(7).unwrap();
        assert!(counter.burn(7).unwrap_err().to_string().contains("burned already"));
        assert!(counter.burn(3).is_err());
        drop(counter);
        let mut counter = Counter::open(&path, [1; 16]).unwrap();
        assert_eq!(counter.next(), 8);
        assert!(counter.burn(7).is_err());
        assert!(counter.burn(u64::MAX).is_err());
    }

    #[test]
    fn a_counter_has_one_user_and_is_read_again_before_it_is_burned() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("party0.counter");
        Counter::create(&path, [1; 16]).unwrap();
        let mut counter = Counter::open(&path, [1; 16]).unwrap();
        assert!(matches!(Counter::open(&path, [1; 16]), Err(FileError::InUse { .. })));
        assert_eq!(Counter::read(&path, [1; 16]).unwrap(), 0);
        // Somebody who knows nothing of locks.
        write_sealed(&path, Kind::State, &Body { pairing: [1; 16], next: 5 }).unwrap();
        assert!(counter.burn(4).unwrap_err().to_string().contains("burned already"));
        counter.burn(5).unwrap();
        // A file put back from a backup.
        Counter::create(&path, [1; 16]).unwrap();
        assert!(counter.burn(5).is_err());
        drop(counter);
        Counter::open(&path, [1; 16]).unwrap().retire().unwrap();
        assert!(Counter::open(&path, [1; 16]).unwrap_err().to_string().contains("the board's"));
    }
}
