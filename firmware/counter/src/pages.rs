//! Pages before the first record is read: which are in use, and finishing erases that were cut.

use core::ops::Range;

use embedded_storage_async::nor_flash::NorFlash;

/// Zero bits from which the first or last bytes of a page count as a mark; sequential-storage's own rule.
const MARK: u32 = 4;
/// Bytes read at a time.
const PIECE: usize = 64;

/// What the marks at a page's ends say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No mark at the start: nothing was written yet, or an erase was cut.
    Unmarked,
    /// The page that is written to.
    Open,
    /// Full.
    Closed,
}

/// The pages of a region.
struct Pages<'f, S> {
    flash: &'f mut S,
    region: Range<u32>,
}

/// Erases every page whose erasing was cut. Is a page of the region full?
///
/// # Errors
/// The driver's.
pub(crate) async fn finish_erases<S: NorFlash>(flash: &mut S, region: Range<u32>) -> Result<bool, S::Error> {
    let mut pages = Pages { flash, region };
    let count = pages.count();
    let mut closed = false;
    for page in 0..count {
        match pages.state(page).await? {
            State::Unmarked if !pages.is_blank(page).await? => pages.erase(page).await?,
            State::Unmarked => {}
            State::Closed => closed = true,
            // Its records had moved to the page before, which is the one that is written to.
            State::Open if pages.state((page + count - 1) % count).await? == State::Open => {
                pages.erase(page).await?
            }
            State::Open => {}
        }
    }
    Ok(closed)
}

impl<S: NorFlash> Pages<'_, S> {
    fn count(&self) -> u32 {
        (self.region.end - self.region.start) / S::ERASE_SIZE as u32
    }

    const fn start(&self, page: u32) -> u32 {
        self.region.start + page * S::ERASE_SIZE as u32
    }

    async fn is_marked(&mut self, address: u32) -> Result<bool, S::Error> {
        let mut bytes = [0xFF; PIECE];
        let bytes = &mut bytes[..S::READ_SIZE];
        self.flash.read(address, bytes).await?;
        Ok(bytes.iter().map(|byte| byte.count_zeros()).sum::<u32>() >= MARK)
    }

    async fn state(&mut self, page: u32) -> Result<State, S::Error> {
        let start = self.start(page);
        if !self.is_marked(start).await? {
            return Ok(State::Unmarked);
        }
        let closed = self.is_marked(start + (S::ERASE_SIZE - S::READ_SIZE) as u32).await?;
        Ok(if closed { State::Closed } else { State::Open })
    }

    async fn is_blank(&mut self, page: u32) -> Result<bool, S::Error> {
        let mut bytes = [0; PIECE];
        let (mut address, end) = (self.start(page), self.start(page + 1));
        while address < end {
            let piece = &mut bytes[..PIECE.min((end - address) as usize)];
            self.flash.read(address, piece).await?;
            if piece.iter().any(|&byte| byte != 0xFF) {
                return Ok(false);
            }
            address += piece.len() as u32;
        }
        Ok(true)
    }

    async fn erase(&mut self, page: u32) -> Result<(), S::Error> {
        let (from, to) = (self.start(page), self.start(page + 1));
        self.flash.erase(from, to).await
    }
}
