//! A stream in whole blocks where it can, in parts of one where it must.

use halfnet_core::prg::{Exhausted, Key, Keystream};
use zeroize::Zeroize;

use super::arm::State;

/// Bytes of a block.
const BLOCK: usize = 64;
/// Bytes of a stream: 2^32 blocks.
const LENGTH: u64 = 1 << 38;
/// "expand 32-byte k".
const CONSTANT: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

/// One stream of a key.
pub struct Generator {
    state: State,
    /// The last block of which a part was wanted, and its number.
    block: [u32; 16],
    number: Option<u64>,
}

impl core::fmt::Debug for Generator {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Generator(..)")
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.block.zeroize();
        self.state.words.zeroize();
        self.state.second_row.zeroize();
    }
}

impl Generator {
    /// Blocks `number ..`, as many as fill `out`.
    fn blocks(&mut self, number: u64, out: &mut [u32]) {
        if let Some(counter) = self.state.words.get_mut(12) {
            *counter = number as u32;
        }
        super::arm::fill(&mut self.state, out);
    }
}

impl Keystream for Generator {
    fn open(key: &Key, kind: u64) -> Self {
        let mut words = [0; 16];
        let key = key
            .expose()
            .chunks_exact(4)
            .map(|chunk| chunk.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte)));
        let nonce = [0, kind as u32, (kind >> 32) as u32, 0];
        for (slot, word) in words.iter_mut().zip(CONSTANT.into_iter().chain(key).chain(nonce)) {
            *slot = word;
        }
        let [_, _, _, _, a, b, c, d, _, _, _, _, _, x, y, z] = words;
        let second_row = [a, b, c, d].map(|word: u32| word.rotate_right(7));
        let fourth_row = [x, y, z].map(|word: u32| word.rotate_right(8));
        Self { state: State { words, second_row, fourth_row }, block: [0; 16], number: None }
    }

    fn fill_bytes(&mut self, mut position: u64, out: &mut [u8]) -> Result<(), Exhausted> {
        if position.checked_add(out.len() as u64).is_none_or(|end| end > LENGTH) {
            return Err(Exhausted);
        }
        let mut rest = out;
        while !rest.is_empty() {
            let (number, skipped) = (position / BLOCK as u64, position as usize % BLOCK);
            let whole = rest.len() / BLOCK * BLOCK;
            let done = if skipped == 0
                && whole > 0
                && let Some(Ok(words)) = rest.get_mut(..whole).map(bytemuck::try_cast_slice_mut::<u8, u32>)
            {
                self.blocks(number, words);
                whole
            } else {
                if self.number != Some(number) {
                    let mut block = core::mem::take(&mut self.block);
                    self.blocks(number, &mut block);
                    self.block = block;
                    self.number = Some(number);
                }
                let part = bytemuck::cast_slice::<u32, u8>(&self.block).get(skipped..).unwrap_or(&[]);
                for (slot, byte) in rest.iter_mut().zip(part) {
                    *slot = *byte;
                }
                part.len().min(rest.len())
            };
            position += done as u64;
            rest = rest.get_mut(done..).unwrap_or(&mut []);
        }
        Ok(())
    }
}
