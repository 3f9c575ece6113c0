//! The input: shares of A for a third client, E from it, or P0's own picture; what comes before the first
//! layer.
//!
//! * *Moves* W bits an element: E from P0 as the client to P1 tile by tile; or each party's share of A to a
//!   third client and E from it, of which the parties then compare a hash, but in H, where P0 is sent none.
//! * *Section*: P1's share of A, for a third client, in chunks of 64, before the first layer's.
//! * *Arena*: the input wire holds E.

use core::ops::Range;

use super::chunked_bytes;
use super::party::{Party, draw};
use crate::bits::LANES;
use crate::dealer::{Dealing, Sink};
use crate::error::Internal;
use crate::packing::{Packer, Unpacker, packed_len};
use crate::party::ErrorKind;
use crate::party::half::{Half, MaterialError, ModelHalf, Position};
use crate::party::memory::{part_mut, region_mut};
use crate::party::session::Input;
use crate::plan::{Client, Mode, PlanHeader, Role, Section};
use crate::ring::low_mask;
use crate::with_words;

/// Elements of a tile of E; none beyond the last.
pub(crate) fn range(header: &PlanHeader<'_>, tile: usize) -> Range<usize> {
    let (elements, size) = (header.input.elements as usize, header.input_tile as usize);
    let first = tile.saturating_mul(size);
    first.min(elements)..first.saturating_add(size).min(elements)
}

/// Payload bytes of a tile of E.
pub(crate) fn payload(header: &PlanHeader<'_>, tile: usize) -> usize {
    packed_len(range(header, tile).len(), header.input.bits)
}

/// Packed bytes of all of E, or of a share of A.
pub(crate) fn whole(header: &PlanHeader<'_>) -> usize {
    packed_len(header.input.elements as usize, header.input.bits)
}

/// Bytes of P1's share of A in the bundle.
pub(crate) fn section_bytes(header: &PlanHeader<'_>) -> u64 {
    match header.options.client {
        Client::Third => chunked_bytes(header.input.elements as usize, 1, header.input.bits),
        Client::SeedParty => 0,
    }
}

/// E = X − A of up to 64 elements, in place of A.
fn subtract(bits: u8, pixels: &[i32], masks: &mut [u64]) {
    for (slot, &pixel) in masks.iter_mut().zip(pixels) {
        *slot = (i64::from(pixel) as u64).wrapping_sub(*slot) & low_mask(bits);
    }
}

/// A third client's E = X − A_0 − A_1, packed: `memory` holds one party's share of A, `share` the other's, and
/// then `memory` E.
pub(crate) fn mask(
    header: &PlanHeader<'_>,
    input: &mut impl Input,
    share: &[u8],
    memory: &mut [u8],
) -> Result<(), Internal> {
    let (elements, bits) = (header.input.elements as usize, header.input.bits);
    // Elements of a chunk are whole bytes.
    let chunk = packed_len(LANES, bits).max(1);
    let chunks = memory.chunks_mut(chunk).zip(share.chunks(chunk));
    for (first, (masked, share)) in (0..elements).step_by(LANES).zip(chunks) {
        let count = (elements - first).min(LANES);
        let (mut pixels, mut masks, mut others) = ([0_i32; LANES], [0_u64; LANES], [0_u64; LANES]);
        let (pixels, masks) = (part_mut(&mut pixels, ..count)?, part_mut(&mut masks, ..count)?);
        let others = part_mut(&mut others, ..count)?;
        input.read(first, pixels);
        Unpacker::new(masked).take(bits, masks)?;
        Unpacker::new(share).take(bits, others)?;
        for (mask, other) in masks.iter_mut().zip(others) {
            *mask = mask.wrapping_add(*other);
        }
        subtract(bits, pixels, masks);
        let mut packer = Packer::new(masked);
        packer.extend(masks, bits);
        packer.fill()?;
    }
    Ok(())
}

impl<H: Half, M: ModelHalf> Party<'_, H, M> {
    /// P0 as the client: it has the picture.
    pub(crate) fn sends_input(&self) -> bool {
        H::ROLE == Role::Seed && self.options.client == Client::SeedParty
    }

    /// P1 of such a client.
    pub(crate) fn takes_input(&self) -> bool {
        H::ROLE == Role::Bundle && self.options.client == Client::SeedParty
    }

    /// A third client gives E to this party and its peer, who compare what they were given.
    pub(crate) fn compares_input(&self) -> bool {
        self.options.client == Client::Third && self.options.mode != Mode::Held
    }

    /// A third client gives E to the peer alone.
    pub(crate) fn begins_without_input(&self) -> bool {
        self.options.client == Client::Third && self.is_blind()
    }

    /// This party's share of A, packed; gives its length.
    pub(crate) fn mask_share(&mut self, header: &PlanHeader<'_>, out: &mut [u8]) -> Result<usize, ErrorKind> {
        let wire = header.input;
        let out = out.get_mut(..whole(header)).ok_or(ErrorKind::Misuse)?;
        let (length, elements) = (out.len(), wire.elements as usize);
        let mut packer = Packer::new(out);
        let mut position = Position::default();
        let mut chunk = [0_u64; LANES];
        for first in (0..elements).step_by(LANES) {
            let words = part_mut(&mut chunk, ..(elements - first).min(LANES))?;
            draw(&mut self.half, Section::Sum, &mut position, wire.bits, words)?;
            packer.extend(words, wire.bits);
        }
        packer.fill()?;
        Ok(length)
    }

    /// Keeps a third client's E, of the right length, where this party keeps wires.
    pub(crate) fn take_masked(&mut self, header: &PlanHeader<'_>, packed: &[u8]) -> Result<(), ErrorKind> {
        if !self.is_blind() {
            let mut unpacker = Unpacker::new(packed);
            let wire = region_mut(self.wires, &header.input)?;
            with_words!(WordsMut, wire, wire => unpacker.take(header.input.bits, wire))?;
        }
        Ok(())
    }

    /// Writes a tile of E = X − A, and keeps it where this party keeps wires.
    pub(crate) fn write_input(
        &mut self,
        header: &PlanHeader<'_>,
        tile: usize,
        input: &mut impl Input,
        payload: &mut [u8],
    ) -> Result<(), ErrorKind> {
        let (wire, range) = (header.input, range(header, tile));
        let mut packer = Packer::new(payload);
        for first in range.clone().step_by(LANES) {
            let count = (range.end - first).min(LANES);
            let (mut pixels, mut masked) = ([0_i32; LANES], [0_u64; LANES]);
            let (pixels, masked) = (part_mut(&mut pixels, ..count)?, part_mut(&mut masked, ..count)?);
            input.read(first, pixels);
            let mut position = Position { words: first as u64, bytes: 0 };
            draw(&mut self.half, Section::Sum, &mut position, wire.bits, masked)?;
            subtract(wire.bits, pixels, masked);
            packer.extend(masked, wire.bits);
            if !self.is_blind() {
                let mut kept = region_mut(self.wires, &wire)?;
                for (index, value) in (first..).zip(masked.iter()) {
                    kept.set(index, *value)?;
                }
            }
        }
        Ok(packer.fill()?)
    }

    /// Keeps a tile of E.
    pub(crate) fn read_input(
        &mut self,
        header: &PlanHeader<'_>,
        tile: usize,
        payload: &[u8],
    ) -> Result<(), ErrorKind> {
        let mut unpacker = Unpacker::new(payload);
        let wire = region_mut(self.wires, &header.input)?;
        with_words!(WordsMut, wire, wire => {
            unpacker.take(header.input.bits, part_mut(wire, range(header, tile))?)?;
        });
        Ok(())
    }
}

/// A, which is kept, and of a third client's P1's share.
pub(crate) fn deal<M: ModelHalf, S: Sink>(dealing: &mut Dealing<'_, '_, M, S>) -> Result<(), MaterialError> {
    let wire = dealing.plan.header.input;
    let elements = wire.elements as usize;
    let mut position = Position::default();
    for first in (0..elements).step_by(LANES) {
        let mut mask = [0_u64; LANES];
        let mask = part_mut(&mut mask, ..(elements - first).min(LANES))?;
        dealing.secrets.input_mask(dealing.plan, first, mask)?;
        let mut kept = region_mut(dealing.wires, &wire)?;
        for (index, value) in (first..).zip(mask.iter_mut()) {
            *value &= low_mask(wire.bits);
            kept.set(index, *value)?;
        }
        if dealing.options().client == Client::Third {
            // P0 reads A's share as 64-bit words.
            dealing.put64(Section::Sum, &mut position, wire.bits, mask)?;
        }
    }
    Ok(())
}
