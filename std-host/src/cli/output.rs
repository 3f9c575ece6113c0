//! Where results and progress go.

use std::io::Write;

use crate::network::progress::Progress;
use serde::Serialize;

use super::exit::Failure;

/// Standard output as the user wants it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Progress goes to standard error, in either form.
    pub(crate) const fn progress(&self) -> Progress {
        Progress::Shown
    }

    /// Prints the one result of a command: an object for machines, or the text that `table` makes of it.
    pub(crate) fn print<T: Serialize>(
        &self,
        result: &T,
        table: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let mut text = if self.json {
            serde_json::to_string(result).map_err(|e| Failure::Machine(Box::new(e)))?
        } else {
            table(result)
        };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // A reader that has seen enough, as `head`.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(|e| Failure::write("standard output", e)),
        }
    }
}
