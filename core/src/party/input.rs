//! The input of an inference: shares of A for a third client, E from it, or P0's own picture.

use super::half::{Half, MaterialError, ModelHalf, Position};
use super::memory::region_mut;
use super::session::{Phase, Session, frame_payload, write_header};
use super::{ErrorKind, SessionError};
use crate::bits::LANES;
use crate::packing::{Packer, Unpacker, packed_len};
use crate::plan::{Client, Mode, Section};
use crate::ring::low_mask;
use crate::wire::frame::{HEADER, Header};
use crate::wire::message::{self, Code};
use crate::with_words;

/// The picture of P0 as the client, in integers of the input wire.
pub trait Input {
    /// Is there a picture? Where not, the party serves third clients, and what a client does is left out.
    const IS_CLIENT: bool = true;

    /// Fills `out` with elements `first ..`.
    fn read(&mut self, first: usize, out: &mut [i32]);
}

impl Input for &[i32] {
    fn read(&mut self, first: usize, out: &mut [i32]) {
        for (slot, value) in out.iter_mut().zip(self.get(first..).unwrap_or(&[])) {
            *slot = *value;
        }
    }
}

impl<I: Input> Input for &mut I {
    const IS_CLIENT: bool = I::IS_CLIENT;

    fn read(&mut self, first: usize, out: &mut [i32]) {
        (**self).read(first, out);
    }
}

impl<H: Half, M: ModelHalf> Session<'_, '_, H, M> {
    /// This party's share of A, for a third client: packed words of the input wire's bits.
    ///
    /// # Errors
    /// The client is P0, the input has come already, `out` is too short, or the material failed.
    pub fn mask_share(&mut self, out: &mut [u8]) -> Result<usize, SessionError> {
        let input = self.plan.header.input;
        let third = self.plan.header.options.client == Client::Third;
        // Once the layers have begun, the half gives words of theirs.
        if !third
            || !matches!(self.phase, Phase::Input)
            || out.len() < packed_len(input.elements as usize, input.bits)
        {
            return Err(self.error(ErrorKind::Misuse));
        }
        let mut packer = Packer::new(out);
        let mut position = Position::default();
        let mut chunk = [0_u64; LANES];
        for first in (0..input.elements as usize).step_by(LANES) {
            let part = chunk.get_mut(..(input.elements as usize - first).min(LANES)).unwrap_or(&mut []);
            let count = part.len();
            let drawn = input_words(&mut self.half, position, input.bits, part).map_err(|e| self.error(e));
            self.end_on_error(drawn)?;
            packer.extend(part, input.bits);
            position.advance(count, 1, input.bits);
        }
        Ok(packer.finish())
    }

    /// The masked input E from a third client: packed words of the input wire's bits. The same bytes go to
    /// both parties.
    ///
    /// # Errors
    /// Not now, or of the wrong length.
    pub fn provide_masked(&mut self, packed: &[u8]) -> Result<(), SessionError> {
        let input = self.plan.header.input;
        if !matches!(self.phase, Phase::Input) || self.plan.header.options.client != Client::Third {
            return Err(self.error(ErrorKind::Misuse));
        }
        let expected = packed_len(input.elements as usize, input.bits);
        if packed.len() != expected {
            return Err(
                self.error(ErrorKind::Length { expected: expected as u32, found: packed.len() as u32 })
            );
        }
        if !self.is_blind() {
            let mut unpacker = Unpacker::new(packed);
            with_words!(WordsMut, region_mut(self.wires, &input), wire => unpacker.take(input.bits, wire));
        }
        if self.mode() == Mode::Held {
            let begun = self.next_group();
            return self.end_on_error(begun);
        }
        self.input_hash = Some(
            *blake3::Hasher::new_derive_key("halfnet 1 masked input")
                .update(self.plan.hash())
                .update(packed)
                .finalize()
                .as_bytes(),
        );
        self.phase = Phase::InputHash { sent: false, received: false };
        self.rounds += 1;
        Ok(())
    }

    /// P0 in H with a third client, which sends E to P1 alone: nothing to wait for. Call after
    /// [`Session::mask_share`].
    ///
    /// # Errors
    /// Any other party or mode.
    pub fn begin_without_input(&mut self) -> Result<(), SessionError> {
        let blind = self.is_blind() && self.plan.header.options.client == Client::Third;
        if !blind || !matches!(self.phase, Phase::Input) {
            return Err(self.error(ErrorKind::Misuse));
        }
        let begun = self.next_group();
        self.end_on_error(begun)
    }

    fn input_range(&self, tile: usize) -> core::ops::Range<usize> {
        let (elements, size) =
            (self.plan.header.input.elements as usize, self.plan.header.input_tile as usize);
        let first = tile * size;
        first.min(elements)..(first + size).min(elements)
    }

    /// P0 as the client: the next tile of E = X − A, as a frame for P1; `None` when all of E has left.
    ///
    /// # Errors
    /// Not the client, `out` is too short, or the material failed.
    pub fn transmit_input(
        &mut self,
        input: &mut impl Input,
        out: &mut [u8],
    ) -> Result<Option<usize>, SessionError> {
        let result = self.next_input(input, out);
        self.end_on_error(result)
    }

    fn next_input(&mut self, input: &mut impl Input, out: &mut [u8]) -> Result<Option<usize>, SessionError> {
        if !self.is_seed() || self.plan.header.options.client != Client::SeedParty {
            return Err(self.error(ErrorKind::Misuse));
        }
        if !matches!(self.phase, Phase::Input) {
            return Ok(None);
        }
        let wire = self.plan.header.input;
        let range = self.input_range(self.input_tiles);
        let length = packed_len(range.len(), wire.bits);
        let payload = frame_payload(out, length, self.at())?;
        let mut packer = Packer::new(payload);
        for first in range.clone().step_by(LANES) {
            let count = (range.end - first).min(LANES);
            let (mut pixels, mut masked) = ([0_i32; LANES], [0_u64; LANES]);
            let masked = masked.get_mut(..count).unwrap_or(&mut []);
            input.read(first, pixels.get_mut(..count).unwrap_or(&mut []));
            let position = Position { words: first as u64, bytes: 0 };
            input_words(&mut self.half, position, wire.bits, masked)
                .map_err(|e| SessionError { at: None, kind: e.into() })?;
            for (slot, &pixel) in masked.iter_mut().zip(&pixels) {
                *slot = (i64::from(pixel) as u64).wrapping_sub(*slot) & low_mask(wire.bits);
            }
            packer.extend(masked, wire.bits);
            if self.plan.keeps_wires(H::ROLE) {
                let mut kept = region_mut(self.wires, &wire);
                for (offset, value) in masked.iter().enumerate() {
                    kept.set(first + offset, *value);
                }
            }
        }
        let _ = packer.finish();
        let header = message::header(Code::Input, self.input_tiles as u16, length as u32);
        write_header(out, &header);
        self.input_tiles += 1;
        if self.input_range(self.input_tiles).is_empty() {
            self.rounds += 1;
            self.next_group()?;
        }
        Ok(Some(HEADER + length))
    }

    pub(super) fn receive_input(&mut self, header: &Header, payload: &[u8]) -> Result<(), SessionError> {
        let wire = self.plan.header.input;
        let range = self.input_range(self.input_tiles);
        let expected =
            message::header(Code::Input, self.input_tiles as u16, packed_len(range.len(), wire.bits) as u32);
        self.check(header, &expected)?;
        let mut unpacker = Unpacker::new(payload);
        with_words!(WordsMut, region_mut(self.wires, &wire), kept => {
            unpacker.take(wire.bits, kept.get_mut(range).unwrap_or(&mut []));
        });
        self.input_tiles += 1;
        if self.input_range(self.input_tiles).is_empty() {
            self.rounds += 1;
            self.next_group()?;
        }
        Ok(())
    }
}

/// This party's words of A.
fn input_words<H: Half>(
    half: &mut H,
    position: Position,
    bits: u8,
    out: &mut [u64],
) -> Result<(), MaterialError> {
    half.words(Section::Sum, position, bits, out)?;
    for word in out {
        *word &= low_mask(bits);
    }
    Ok(())
}
