//! A bundle read by window: a few pieces of it are in memory, never the whole.

use halfnet_core::party::bundle::BundleSource;
use halfnet_core::party::half::MaterialError;
use zeroize::Zeroizing;

use crate::party::material::SealedFile;

/// Bytes of a window.
const BYTES: usize = 1 << 16;
/// Windows: the sections that a layer reads side by side, with one to spare.
const COUNT: usize = 8;

struct Window {
    /// Its first byte in the body; a multiple of [`BYTES`].
    start: u64,
    length: usize,
    used: u64,
    bytes: Zeroizing<Vec<u8>>,
}

/// The body of a bundle behind its header.
pub struct Windows {
    file: SealedFile,
    /// Bytes of the body before the correlations.
    header: u64,
    windows: Vec<Window>,
    clock: u64,
}

impl core::fmt::Debug for Windows {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Windows({})", self.file.path().display())
    }
}

impl Windows {
    /// Reads `file` from byte `header` of its body on.
    #[must_use]
    pub const fn new(file: SealedFile, header: u64) -> Self {
        Self { file, header, windows: Vec::new(), clock: 0 }
    }

    /// The window that starts at `start`.
    fn window(&mut self, start: u64) -> Result<&Window, MaterialError> {
        self.clock += 1;
        let found = match self.windows.iter().position(|w| w.start == start) {
            Some(found) => found,
            None => {
                let index = if self.windows.len() < COUNT {
                    self.windows.push(Window {
                        start,
                        length: 0,
                        used: 0,
                        bytes: Zeroizing::new(vec![0; BYTES]),
                    });
                    self.windows.len() - 1
                } else {
                    self.windows.iter().enumerate().min_by_key(|(_, w)| w.used).map_or(0, |(index, _)| index)
                };
                let length =
                    self.file.length().checked_sub(start).ok_or(MaterialError::Bundle)?.min(BYTES as u64)
                        as usize;
                let window = &mut self.windows[index];
                (window.start, window.length) = (start, 0);
                self.file.read_at(start, &mut window.bytes[..length]).map_err(|_| MaterialError::Bundle)?;
                window.length = length;
                index
            }
        };
        let window = &mut self.windows[found];
        window.used = self.clock;
        Ok(window)
    }
}

impl BundleSource for Windows {
    fn read_at(&mut self, offset: u64, out: &mut [u8]) -> Result<(), MaterialError> {
        let mut at = self.header.checked_add(offset).ok_or(MaterialError::Bundle)?;
        let mut rest = out;
        while !rest.is_empty() {
            let within = (at % BYTES as u64) as usize;
            let window = self.window(at - within as u64)?;
            let present = window.bytes[..window.length]
                .get(within..)
                .filter(|p| !p.is_empty())
                .ok_or(MaterialError::Bundle)?;
            let count = present.len().min(rest.len());
            let (now, later) = rest.split_at_mut(count);
            now.copy_from_slice(&present[..count]);
            rest = later;
            at += count as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::party::material::SealedWriter;
    use halfnet_core::model::blob::Kind;

    #[test]
    fn any_piece_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let body: Vec<u8> = (0..20 * BYTES + 77).map(|i| (i * 7 + i / 251) as u8).collect();
        let mut writer = SealedWriter::create(&path, Kind::Bundle).unwrap();
        writer.append(&body).unwrap();
        writer.finish().unwrap();
        let mut windows = Windows::new(SealedFile::open(&path, Kind::Bundle).unwrap(), 5);
        let mut at = 1_usize;
        for step in 0..300 {
            at = (at * 48271 + step) % (body.len() - 5);
            let mut piece = vec![0; (step * 37 % 4096).min(body.len() - 5 - at)];
            windows.read_at(at as u64, &mut piece).unwrap();
            assert_eq!(piece, body[at + 5..][..piece.len()]);
        }
        assert_eq!(windows.windows.len(), COUNT);
        let end = body.len() as u64 - 5;
        assert_eq!(windows.read_at(end, &mut [0]), Err(MaterialError::Bundle));
        assert_eq!(windows.read_at(end - 1, &mut [0, 0]), Err(MaterialError::Bundle));
        assert_eq!(windows.read_at(u64::MAX, &mut [0]), Err(MaterialError::Bundle));
    }
}
