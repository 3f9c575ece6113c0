//! What must not outlive this process, even when a signal ends it: working folders with secrets, and
//! processes that write into them.

use std::io;
use std::ops::DerefMut;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// Between looks at a process that is waited for.
const LOOK: Duration = Duration::from_millis(5);
/// Attempts to remove a folder that another thread still writes into.
const ATTEMPTS: u32 = 200;

struct Held {
    folders: Vec<PathBuf>,
    children: Vec<Weak<Mutex<Child>>>,
}

static HELD: Mutex<Held> = Mutex::new(Held { folders: Vec::new(), children: Vec::new() });

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills the processes that this one started and removes its working folders. What begins or ends either of
/// them waits from here on, so the caller must end the process.
pub fn clean_up() {
    let held = lock(&HELD);
    for child in held.children.iter().filter_map(Weak::upgrade) {
        let mut child = lock(&child);
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
    held.folders.iter().for_each(|folder| remove(folder));
    std::mem::forget(held);
}

fn remove(folder: &Path) {
    for _ in 0..ATTEMPTS {
        match std::fs::remove_dir_all(folder) {
            Ok(()) => return,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return,
            Err(_) => std::thread::sleep(LOOK),
        }
    }
}

/// Makes a folder with `make` and remembers it in the same step.
pub(crate) fn hold_folder(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let mut held = lock(&HELD);
    make(path)?;
    held.folders.push(path.to_owned());
    Ok(())
}

/// Removes a folder and forgets it.
pub(crate) fn release_folder(path: &Path) {
    let mut held = lock(&HELD);
    // Nobody is left to tell.
    let _ = std::fs::remove_dir_all(path);
    held.folders.retain(|folder| folder != path);
}

/// A process that ends with this one. Killed when dropped.
#[derive(Debug)]
pub(crate) struct OwnChild(Arc<Mutex<Child>>);

impl OwnChild {
    pub(crate) fn spawn(command: &mut Command) -> io::Result<Self> {
        let mut held = lock(&HELD);
        let child = Arc::new(Mutex::new(command.spawn()?));
        held.children.retain(|child| child.strong_count() > 0);
        held.children.push(Arc::downgrade(&child));
        Ok(Self(child))
    }

    /// The process, to take its ends of pipes; never to wait for it.
    pub(crate) fn get(&self) -> impl DerefMut<Target = Child> + '_ {
        lock(&self.0)
    }

    pub(crate) fn wait(&self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.get().try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for OwnChild {
    fn drop(&mut self) {
        let mut child = self.get();
        if let Ok(None) = child.try_wait() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
