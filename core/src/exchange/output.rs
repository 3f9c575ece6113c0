//! The end: P0's share of the logits where P1 cuts them, each party's words of the output, and the answer.
//!
//! * *Moves* b bits a logit from P0 to P1 where they are released by turns (S); then, where P0 is the client,
//!   the released bits a word from P1 to P0: a word of the label's index, or of every logit. A third client
//!   gets the words of both.
//! * *Section*: R of every released logit, in chunks of 64. A label's index needs none.
//! * *Waits* for what makes the words: P1's, for P0's share or the tournament.
//! * *Arena*: the window holds the sums, the front of the state the words.

use super::linear::sum;
use super::opening::Turn;
use super::party::{Group, Party, draw};
use super::{Exchange, Known, Order, Place, chunked_bytes};
use crate::bits::LANES;
use crate::dealer::{Dealing, NO_MASK, Sink};
use crate::error::Internal;
use crate::packing::{Packer, Unpacker, packed_len};
use crate::party::half::{Half, MaterialError, ModelHalf, Position};
use crate::party::memory::{part, part_mut, window_as};
use crate::party::{ErrorKind, SessionError};
use crate::plan::{
    Client, GroupPlan, LayerPlan, Options, Plan, Release, Role, Section, Step, StepPlan, Work,
};
use crate::ring::{Word, low_mask, signed};
use crate::with_kind;

/// P0's share of the logits (S).
#[derive(Clone, Copy)]
pub(crate) struct Logits;

impl Exchange for Logits {
    const ORDER: Order = Order::OneWay;
    const IN_EVERY_GROUP: bool = false;

    fn after(self, _layer: &LayerPlan<'_>) -> Known {
        Known::Before
    }

    fn gives(self) -> &'static [Known] {
        &[Known::Link]
    }

    fn frames(self, _group: &GroupPlan<'_, '_>) -> usize {
        1
    }

    fn payload(self, at: &Place<'_, '_>, _role: Role, turn: Turn) -> usize {
        packed_len(at.group.layer.elements(), if turn == Turn::Ask { at.group.work.ring_bits } else { 0 })
    }

    fn write<H: Half, M: ModelHalf>(
        self,
        party: &mut Party<'_, H, M>,
        group: &mut Group<'_>,
        _tile: usize,
        payload: &mut [u8],
    ) -> Result<(), ErrorKind> {
        let elements = group.layer.elements();
        sum(party, group, 0..elements, true)?;
        let mut packer = Packer::new(payload);
        let bits = group.work.ring_bits;
        with_kind!(group.work.word, W => packer.extend(window_as::<W>(party.window, elements)?, bits));
        Ok(packer.fill()?)
    }

    fn read<H: Half, M: ModelHalf>(
        self,
        party: &mut Party<'_, H, M>,
        group: &mut Group<'_>,
        _tile: usize,
        payload: &[u8],
    ) -> Result<(), ErrorKind> {
        let mut unpacker = Unpacker::new(payload);
        sum(party, group, 0..group.layer.elements(), true)?;
        words(party, group, |bits| unpacker.next(bits))
    }
}

/// P1's words of the output, to P0 as the client.
#[derive(Clone, Copy)]
pub(crate) struct Words;

impl Exchange for Words {
    const ORDER: Order = Order::OneWay;
    const IN_EVERY_GROUP: bool = false;

    fn after(self, _layer: &LayerPlan<'_>) -> Known {
        Known::Link
    }

    fn frames(self, _group: &GroupPlan<'_, '_>) -> usize {
        1
    }

    fn payload(self, at: &Place<'_, '_>, role: Role, _turn: Turn) -> usize {
        let bits = if role == Role::Seed { 0 } else { at.group.work.opened_bits };
        packed_len(at.group.layer.output_words(at.group.options), bits)
    }

    fn write<H: Half, M: ModelHalf>(
        self,
        party: &mut Party<'_, H, M>,
        group: &mut Group<'_>,
        _tile: usize,
        payload: &mut [u8],
    ) -> Result<(), ErrorKind> {
        let count = group.layer.output_words(&party.options);
        Ok(pack(party.state, count, group.work.opened_bits, payload)?)
    }

    fn read<H: Half, M: ModelHalf>(
        self,
        party: &mut Party<'_, H, M>,
        group: &mut Group<'_>,
        _tile: usize,
        payload: &[u8],
    ) -> Result<(), ErrorKind> {
        let (count, bits) = (group.layer.output_words(&party.options), group.work.opened_bits);
        let mut unpacker = Unpacker::new(payload);
        for slot in part_mut(party.state, ..count)? {
            *slot = slot.wrapping_add(unpacker.next(bits)?) & low_mask(bits);
        }
        Ok(())
    }
}

fn pack(state: &[u64], count: usize, bits: u8, out: &mut [u8]) -> Result<(), Internal> {
    let mut packer = Packer::new(out);
    packer.extend(part(state, ..count)?, bits);
    packer.fill()
}

/// Words of the released logits that need no message.
pub(crate) fn begin<H: Half, M: ModelHalf>(
    party: &mut Party<'_, H, M>,
    group: &mut Group<'_>,
) -> Result<(), ErrorKind> {
    match party.turn() {
        // P1 waits for P0's share.
        Turn::Answer => return Ok(()),
        // P0's words are of its stream alone.
        Turn::Ask | Turn::Blind => {}
        Turn::Mutual | Turn::Alone => sum(party, group, 0..group.layer.elements(), true)?,
    }
    words(party, group, |_| Ok(0))
}

/// This party's words of the released logits; P1 by turns takes P0's shares from `peer`.
fn words<H: Half, M: ModelHalf>(
    party: &mut Party<'_, H, M>,
    group: &mut Group<'_>,
    mut peer: impl FnMut(u8) -> Result<u64, Internal>,
) -> Result<(), ErrorKind> {
    let (work, elements) = (&group.work, group.layer.elements());
    let of_stream = matches!(party.turn(), Turn::Ask | Turn::Blind);
    let mut position = Position::default();
    for first in (0..elements).step_by(LANES) {
        let mut masks = [0_u64; LANES];
        let masks = part_mut(&mut masks, ..(elements - first).min(LANES))?;
        draw(&mut party.half, Section::Output, &mut position, work.opened_bits, masks)?;
        for (index, mask) in (first..).zip(masks) {
            let own = if of_stream {
                0
            } else {
                let sum = with_kind!(work.word, W => part(window_as::<W>(party.window, elements)?, index)?.to_u64());
                (sum.wrapping_add(peer(work.ring_bits)?) & low_mask(work.ring_bits)) >> work.shift
            };
            *part_mut(party.state, index)? = own.wrapping_sub(*mask) & low_mask(work.opened_bits);
        }
    }
    group.ready = Some(Step::Output);
    Ok(())
}

impl<H: Half, M: ModelHalf> Party<'_, H, M> {
    /// This party's words for a third client, packed; gives their length.
    pub(crate) fn output_share(&self, plan: &Plan<'_>, out: &mut [u8]) -> Result<usize, ErrorKind> {
        let (words, bits) = output_shape(plan);
        let length = packed_len(words, bits);
        let out = out.get_mut(..length).ok_or(ErrorKind::Misuse)?;
        if self.options.client != Client::Third {
            return Err(ErrorKind::Misuse);
        }
        pack(self.state, words, bits, out)?;
        Ok(length)
    }

    /// The answer, for P0 as the client.
    pub(crate) fn answer(&self, plan: &Plan<'_>) -> impl Iterator<Item = i64> + '_ {
        let (words, bits) = output_shape(plan);
        let mine = H::ROLE == Role::Seed && self.options.client == Client::SeedParty;
        let label = self.options.release == Release::Label;
        self.state
            .iter()
            .take(if mine { words } else { 0 })
            .map(move |&word| if label { word as i64 } else { signed(word, bits) })
    }
}

/// Words that each party gives to the client, and their bits.
#[must_use]
pub fn output_shape(plan: &Plan<'_>) -> (usize, u8) {
    let options = &plan.header.options;
    plan.layers()
        .last()
        .map_or((0, 1), |layer| (layer.output_words(options), layer.work(options).opened_bits))
}

/// The answer from both parties' output words, for a third client: the label, or the released logits in
/// order.
///
/// # Errors
/// A share has not the length that [`output_shape`] states.
pub fn combine_outputs<'a>(
    plan: &Plan<'_>,
    shares: [&'a [u8]; 2],
) -> Result<impl Iterator<Item = i64> + use<'a>, SessionError> {
    let (words, bits) = output_shape(plan);
    let expected = packed_len(words, bits);
    if let Some(other) = shares.iter().find(|share| share.len() != expected) {
        let kind = ErrorKind::Length { expected: expected as u32, found: other.len() as u32 };
        return Err(SessionError { at: None, kind });
    }
    let label = plan.header.options.release == Release::Label;
    let mut unpackers = shares.map(Unpacker::new);
    Ok((0..words).map_while(move |_| {
        let mut sum = 0_u64;
        for unpacker in &mut unpackers {
            sum = sum.wrapping_add(unpacker.next(bits).ok()?);
        }
        Some(if label { (sum & low_mask(bits)) as i64 } else { signed(sum, bits) })
    }))
}

/// Bytes of R of the released logits.
pub(crate) fn section_bytes(layer: &LayerPlan<'_>, options: &Options, work: &Work) -> u64 {
    match (layer.step, options.release) {
        (StepPlan::Release { .. }, Release::Logits { .. }) => {
            chunked_bytes(layer.elements(), 1, work.opened_bits)
        }
        _ => 0,
    }
}

/// R of every released logit.
pub(crate) fn deal<M: ModelHalf, S: Sink>(
    dealing: &mut Dealing<'_, '_, M, S>,
    layer: &LayerPlan<'_>,
    work: &Work,
) -> Result<(), MaterialError> {
    let mut position = Position::default();
    for first in (0..layer.elements()).step_by(LANES) {
        let mut masks = [NO_MASK; LANES];
        let masks = part_mut(&mut masks, ..(layer.elements() - first).min(LANES))?;
        dealing.open_masks(work, first, masks)?;
        let mut values = [0; LANES];
        let values = part_mut(&mut values, ..masks.len())?;
        for (value, mask) in values.iter_mut().zip(masks) {
            *value = mask.high;
        }
        dealing.put64(Section::Output, &mut position, work.opened_bits, values)?;
    }
    Ok(())
}
