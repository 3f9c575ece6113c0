//! Elements of a ring in whichever word keeps them.

use core::ops::Range;

use super::{Word, WordKind};
use crate::error::Internal;
use crate::with_words;

/// Elements of a ring in whichever word keeps them, borrowed.
#[derive(Clone, Copy)]
pub enum Words<'a> {
    /// Elements in 16-bit words.
    U16(&'a [u16]),
    /// Elements in 32-bit words.
    U32(&'a [u32]),
    /// Elements in 64-bit words.
    #[cfg(feature = "wide-rings")]
    U64(&'a [u64]),
}

/// Elements of a ring in whichever word keeps them, borrowed mutably.
pub enum WordsMut<'a> {
    /// Elements in 16-bit words.
    U16(&'a mut [u16]),
    /// Elements in 32-bit words.
    U32(&'a mut [u32]),
    /// Elements in 64-bit words.
    #[cfg(feature = "wide-rings")]
    U64(&'a mut [u64]),
}

impl<'a> Words<'a> {
    /// The elements of `words`.
    #[must_use]
    pub fn new<W: Word>(words: &'a [W]) -> Self {
        let bytes = bytemuck::cast_slice::<W, u8>(words);
        match W::BITS {
            16 => Self::U16(bytemuck::cast_slice(bytes)),
            32 => Self::U32(bytemuck::cast_slice(bytes)),
            // No session of a build without `wide-rings` comes here.
            #[cfg(not(feature = "wide-rings"))]
            _ => Self::U32(&[]),
            #[cfg(feature = "wide-rings")]
            _ => Self::U64(bytemuck::cast_slice(bytes)),
        }
    }

    /// As many elements in words of `kind` as `memory` has room for.
    #[must_use]
    pub fn of(kind: WordKind, memory: &'a [u64]) -> Self {
        match kind {
            WordKind::U16 => Self::U16(bytemuck::cast_slice(memory)),
            WordKind::U32 => Self::U32(bytemuck::cast_slice(memory)),
            #[cfg(feature = "wide-rings")]
            WordKind::U64 => Self::U64(memory),
        }
    }

    /// Elements `range`, unless it reaches beyond the end.
    #[must_use]
    pub fn slice(self, range: Range<usize>) -> Option<Self> {
        Some(match self {
            Self::U16(s) => Self::U16(s.get(range)?),
            Self::U32(s) => Self::U32(s.get(range)?),
            #[cfg(feature = "wide-rings")]
            Self::U64(s) => Self::U64(s.get(range)?),
        })
    }

    /// Which words they are.
    #[must_use]
    pub const fn kind(&self) -> WordKind {
        match self {
            Self::U16(_) => WordKind::U16,
            Self::U32(_) => WordKind::U32,
            #[cfg(feature = "wide-rings")]
            Self::U64(_) => WordKind::U64,
        }
    }

    /// The elements' bytes, as they lie in memory.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        with_words!(Words, *self, s => bytemuck::cast_slice(s))
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        with_words!(Words, self, s => s.len())
    }

    /// True when there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element `index`, unless it lies beyond the end.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<u64> {
        with_words!(Words, self, s => s.get(index).map(|v| v.to_u64()))
    }
}

impl<'a> WordsMut<'a> {
    /// The elements of `words`.
    #[must_use]
    pub fn new<W: Word>(words: &'a mut [W]) -> Self {
        let bytes = bytemuck::cast_slice_mut::<W, u8>(words);
        match W::BITS {
            16 => Self::U16(bytemuck::cast_slice_mut(bytes)),
            32 => Self::U32(bytemuck::cast_slice_mut(bytes)),
            // No session of a build without `wide-rings` comes here.
            #[cfg(not(feature = "wide-rings"))]
            _ => Self::U32(&mut []),
            #[cfg(feature = "wide-rings")]
            _ => Self::U64(bytemuck::cast_slice_mut(bytes)),
        }
    }

    /// As many elements in words of `kind` as `memory` has room for.
    #[must_use]
    pub fn of(kind: WordKind, memory: &'a mut [u64]) -> Self {
        match kind {
            WordKind::U16 => Self::U16(bytemuck::cast_slice_mut(memory)),
            WordKind::U32 => Self::U32(bytemuck::cast_slice_mut(memory)),
            #[cfg(feature = "wide-rings")]
            WordKind::U64 => Self::U64(memory),
        }
    }

    /// The same elements for a while.
    #[must_use]
    pub fn reborrow(&mut self) -> WordsMut<'_> {
        match self {
            Self::U16(s) => WordsMut::U16(s),
            Self::U32(s) => WordsMut::U32(s),
            #[cfg(feature = "wide-rings")]
            Self::U64(s) => WordsMut::U64(s),
        }
    }

    /// Elements `range`, unless it reaches beyond the end.
    #[must_use]
    pub fn slice(self, range: Range<usize>) -> Option<Self> {
        Some(match self {
            Self::U16(s) => Self::U16(s.get_mut(range)?),
            Self::U32(s) => Self::U32(s.get_mut(range)?),
            #[cfg(feature = "wide-rings")]
            Self::U64(s) => Self::U64(s.get_mut(range)?),
        })
    }

    /// Which words they are.
    #[must_use]
    pub const fn kind(&self) -> WordKind {
        match self {
            Self::U16(_) => WordKind::U16,
            Self::U32(_) => WordKind::U32,
            #[cfg(feature = "wide-rings")]
            Self::U64(_) => WordKind::U64,
        }
    }

    /// The elements' bytes, as they lie in memory.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        with_words!(WordsMut, self, s => bytemuck::cast_slice_mut(s))
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        with_words!(WordsMut, self, s => s.len())
    }

    /// True when there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Stores element `index` modulo the word.
    ///
    /// # Errors
    /// It lies beyond the end.
    pub fn set(&mut self, index: usize, value: u64) -> Result<(), Internal> {
        with_words!(WordsMut, self, s => *s.get_mut(index).ok_or(Internal)? = Word::from_u64(value));
        Ok(())
    }

    /// The same elements, read-only.
    #[must_use]
    pub fn as_words(&self) -> Words<'_> {
        match self {
            Self::U16(s) => Words::U16(s),
            Self::U32(s) => Words::U32(s),
            #[cfg(feature = "wide-rings")]
            Self::U64(s) => Words::U64(s),
        }
    }
}
