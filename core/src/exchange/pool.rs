//! Opening 2 of pooled windows: sums of activated values, or of a linear layer, over each window.
//!
//! * *Moves* W bits a window where a party answers or both send, the window's own L where P0's whole share
//!   goes: W, and f_c more where a polynomial is in it. A frame a tile of windows, after the layer's last
//!   group; nothing of a linear sum in H, which P1 knows.
//! * *Section*: the windows' masks, in chunks of 64 of mixed widths.
//! * *Waits* for every activated value of the last group; by turns P1 answers.
//! * *Arena*: a region of this party's shares of the windows (P0 has it in every mode), and the output wire.

use core::ops::Range;

use super::linear::sum;
use super::opening::Turn;
use super::party::{Group, Party};
use super::{Exchange, Known, Order, Place};
use crate::bits::LANES;
use crate::dealer::{Dealing, NO_MASK, Sink};
use crate::error::Internal;
use crate::packing::{Packer, Unpacker, packed_len};
use crate::party::ErrorKind;
use crate::party::half::{Half, MaterialError, ModelHalf, Position};
use crate::party::memory::{add_run, part, part_mut, region, region_mut, window_as};
use crate::plan::{GroupPlan, LayerPlan, Mode, Region, Role, Section, StepPlan, Work};
use crate::ring::{Word, low_mask};
use crate::shape::{Pool, Shape};
use crate::{with_kind, with_words};

/// Where the windows' section stands.
#[derive(Default)]
pub(crate) struct Course {
    /// The masks of the 64 windows in progress.
    masks: Option<Masks>,
    /// The packed bytes behind them.
    bytes: u64,
}

struct Masks([u64; LANES]);

impl Drop for Masks {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Windows;

const fn is_rescaled(layer: &LayerPlan<'_>) -> bool {
    matches!(layer.step, StepPlan::Rescale { .. })
}

/// Frames of windows, of a tile's size each.
fn frames(layer: &LayerPlan<'_>) -> usize {
    layer.windows().div_ceil((layer.tile as usize).max(1))
}

impl Exchange for Windows {
    const ORDER: Order = Order::Opening;
    const IN_EVERY_GROUP: bool = false;

    fn after(self, layer: &LayerPlan<'_>) -> Known {
        if is_rescaled(layer) { Known::Before } else { Known::Activated }
    }

    fn frames(self, group: &GroupPlan<'_, '_>) -> usize {
        frames(group.layer)
    }

    fn payload(self, at: &Place<'_, '_>, _role: Role, turn: Turn) -> usize {
        let (layer, work, windows) = (at.group.layer, at.group.work, at.group.layer.window_range(at.tile));
        if is_rescaled(layer) {
            return packed_len(windows.len(), turn.bits_of_sum(work.ring_bits, work.wire_bits));
        }
        windows_bytes(windows, |window| turn.bits(layer.window_bits(work, window), work.wire_bits)) as usize
    }

    fn write<H: Half, M: ModelHalf>(
        self,
        party: &mut Party<'_, H, M>,
        group: &mut Group<'_>,
        tile: usize,
        payload: &mut [u8],
    ) -> Result<(), ErrorKind> {
        let (output, wire_bits) = (group.layer.output, group.work.wire_bits);
        let mut packer = Packer::new(payload);
        match party.turn() {
            Turn::Answer => {
                let windows = group.layer.window_range(tile);
                let output = region(party.wires, &output)?;
                with_words!(Words, output, output => packer.extend(part(output, windows)?, wire_bits));
            }
            Turn::Mutual => shares(party, group, tile, |wires, window, bits, share| {
                let high = share >> (bits - wire_bits) & low_mask(wire_bits);
                packer.extend(&[high], wire_bits);
                region_mut(wires, &output)?.set(window, high)
            })?,
            Turn::Ask | Turn::Blind => shares(party, group, tile, |_, _, bits, share| {
                packer.extend(&[share], bits);
                Ok(())
            })?,
            // P1 tells P0 nothing of a window in H.
            Turn::Alone => return Err(Internal.into()),
        }
        Ok(packer.fill()?)
    }

    fn read<H: Half, M: ModelHalf>(
        self,
        party: &mut Party<'_, H, M>,
        group: &mut Group<'_>,
        tile: usize,
        payload: &[u8],
    ) -> Result<(), ErrorKind> {
        let mut unpacker = Unpacker::new(payload);
        match party.turn() {
            Turn::Answer | Turn::Alone => values(party, group, tile, |bits| unpacker.next(bits)),
            turn @ (Turn::Mutual | Turn::Ask) => {
                let (windows, bits) = (group.layer.window_range(tile), group.work.wire_bits);
                let output = region_mut(party.wires, &group.layer.output)?;
                Ok(add_run(output, windows, &mut unpacker, bits, turn == Turn::Mutual)?)
            }
            // P0 is told nothing of a window in H.
            Turn::Blind => Err(Internal.into()),
        }
    }
}

/// Sums of a linear layer flow into its windows without a message; in H P1 knows them.
pub(crate) fn begin<H: Half, M: ModelHalf>(
    party: &mut Party<'_, H, M>,
    group: &mut Group<'_>,
    pool: &Pool,
) -> Result<(), ErrorKind> {
    let pooled = group.layer.pooled[H::ROLE.index()];
    if !party.is_blind() {
        for tile in 0..group.tiles() {
            let range = group.range(tile);
            sum(party, group, range.clone(), false)?;
            with_kind!(group.work.word, W => {
                let sums = window_as::<W>(party.window, range.len())?;
                for (index, sum) in range.zip(sums) {
                    add(party.wires, &pooled, pool, group.layer.sum, index, |_| sum.to_u64())?;
                }
            });
        }
    }
    if party.turn() == Turn::Alone && group.index + 1 == group.layer.groups() {
        for tile in 0..frames(&group.layer) {
            values(party, group, tile, |_| Ok(0))?;
        }
    }
    Ok(())
}

/// Adds an element to every window that it belongs to, `value` for each.
pub(crate) fn add(
    wires: &mut [u64],
    pooled: &Region,
    pool: &Pool,
    shape: Shape,
    index: usize,
    value: impl Fn(usize) -> u64,
) -> Result<(), Internal> {
    let mut windows = region_mut(wires, pooled)?;
    let mut added = Ok(());
    pool.windows_of(shape, index, |window| {
        let sum = windows.as_words().get(window).ok_or(Internal);
        let sum = sum.and_then(|sum| windows.set(window, sum.wrapping_add(value(window))));
        added = added.and(sum);
    });
    added
}

/// This party's masked shares of a tile's windows, each with its width, for `take`.
fn shares<H: Half, M: ModelHalf>(
    party: &mut Party<'_, H, M>,
    group: &mut Group<'_>,
    tile: usize,
    mut take: impl FnMut(&mut [u64], usize, u8, u64) -> Result<(), Internal>,
) -> Result<(), ErrorKind> {
    let (layer, work, course) = (&group.layer, &group.work, &mut group.course.windows);
    let pooled = layer.pooled[H::ROLE.index()];
    // Chunks of 64 windows are packed by themselves; a tile is not always a multiple of 64 of them.
    for window in layer.window_range(tile) {
        let masks = match &mut course.masks {
            Some(masks) if window % LANES != 0 => masks,
            masks => {
                let first = window - window % LANES;
                let count = (layer.windows() - first).min(LANES);
                let mut bits = [0_u8; LANES];
                let bits = part_mut(&mut bits, ..count)?;
                for (slot, window) in bits.iter_mut().zip(first..) {
                    *slot = layer.window_bits(work, window);
                }
                let masks = masks.insert(Masks([0; LANES]));
                let at = Position { words: first as u64, bytes: course.bytes };
                party.half.mixed_words(Section::Window, at, bits, part_mut(&mut masks.0, ..count)?)?;
                course.bytes += bits.iter().map(|&b| u64::from(b)).sum::<u64>().div_ceil(8);
                masks
            }
        };
        let mask = part(&masks.0, window % LANES)?;
        let bits = layer.window_bits(work, window);
        let sum = region(party.wires, &pooled)?.get(window).ok_or(Internal)?;
        take(party.wires, window, bits, sum.wrapping_add(*mask) & low_mask(bits))?;
    }
    Ok(())
}

/// P1 by turns: E of a tile's windows from its own shares and P0's, which `peer` gives.
fn values<H: Half, M: ModelHalf>(
    party: &mut Party<'_, H, M>,
    group: &mut Group<'_>,
    tile: usize,
    mut peer: impl FnMut(u8) -> Result<u64, Internal>,
) -> Result<(), ErrorKind> {
    let (output, wire_bits) = (group.layer.output, group.work.wire_bits);
    shares(party, group, tile, |wires, window, bits, share| {
        let sum = share.wrapping_add(peer(bits)?) & low_mask(bits);
        region_mut(wires, &output)?.set(window, sum >> (bits - wire_bits))
    })
}

/// Bytes of windows, each at its own width.
fn windows_bytes(windows: Range<usize>, bits: impl Fn(usize) -> u8) -> u64 {
    windows.map(|window| u64::from(bits(window))).sum::<u64>().div_ceil(8)
}

/// Bytes of the windows' masks: chunks of 64 windows.
pub(crate) fn section_bytes(layer: &LayerPlan<'_>, work: &Work) -> u64 {
    if layer.pool().is_none() {
        return 0;
    }
    let chunk = |first: usize| first..(first + LANES).min(layer.windows());
    let bytes = |first| windows_bytes(chunk(first), |window| layer.window_bits(work, window));
    (0..layer.windows()).step_by(LANES).map(bytes).sum()
}

/// The mask of every window, and, of a linear sum, the window's sum itself.
pub(crate) fn deal<M: ModelHalf, S: Sink>(
    dealing: &mut Dealing<'_, '_, M, S>,
    layer: &LayerPlan<'_>,
    work: &Work,
) -> Result<(), MaterialError> {
    let rescaled = is_rescaled(layer);
    // In H the windows of a linear sum are P1's alone.
    let shared = !(rescaled && dealing.options().mode == Mode::Held);
    for first in (0..layer.windows()).step_by(LANES) {
        let count = (layer.windows() - first).min(LANES);
        let mut own = [0_u64; LANES];
        let own = part_mut(&mut own, ..count)?;
        if shared {
            let at = Position { words: first as u64, bytes: 0 };
            dealing.half.mixed_words(Section::Window, at, &[], own)?;
        }
        let mut bytes = [0; LANES * 8];
        let mut packer = Packer::new(&mut bytes);
        for (window, own) in (first..).zip(own.iter()) {
            let bits = layer.window_bits(work, window);
            let mut mask = [NO_MASK];
            dealing.next_masks(layer, bits - work.wire_bits, window, &mut mask)?;
            region_mut(dealing.wires, &layer.output)?
                .set(window, mask[0].high.wrapping_neg() & low_mask(work.wire_bits))?;
            let sum = if rescaled {
                region(dealing.wires, &layer.pooled[1])?.get(window).ok_or(Internal)?
            } else {
                0
            };
            packer.extend(&[sum.wrapping_add(mask[0].added).wrapping_sub(*own)], bits);
        }
        let length = packer.finish();
        dealing.sink.write(part(&bytes, ..length)?)?;
    }
    Ok(())
}
