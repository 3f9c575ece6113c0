//! SIGINT and SIGTERM: a party ends between two inferences, everything else at once; no secret is left in a
//! temporary folder.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::check::interrupt::clean_up;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::exit::STOPPED;

/// Set when a process is to end between two inferences.
pub(super) static SHUTDOWN: AtomicBool = AtomicBool::new(false);
/// Set when the process is about to end, whatever it is doing.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Begins to listen. `patient`: is the command one that looks at [`SHUTDOWN`]? A second signal ends it too.
pub(super) fn listen(patient: bool) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let thread = std::thread::Builder::new().name("signals".into());
    let wait = move || {
        for nth in 0.. {
            if signals.forever().next().is_none() {
                return;
            }
            if patient && nth == 0 {
                SHUTDOWN.store(true, Ordering::Relaxed);
                continue;
            }
            ENDING.store(true, Ordering::SeqCst);
            clean_up();
            std::process::exit(STOPPED.into());
        }
    };
    thread.spawn(wait).map(drop)
}

/// If a signal is ending the process, its exit code is the signal's: waits for that instead of telling what
/// the end has broken.
pub(super) fn give_way() {
    while ENDING.load(Ordering::SeqCst) {
        std::thread::park();
    }
}
