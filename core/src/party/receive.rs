//! What a step receives, and what that makes possible.

use super::ErrorKind;
use super::half::{Half, MaterialError, ModelHalf};
use super::memory::{Selected, add_run, join, region, region_mut, store_run};
use super::session::Session;
use super::tournament::planes_at;
use super::walk::Group;
use crate::bits::LANES;
use crate::gate::comparison;
use crate::packing::Unpacker;
use crate::plan::{Role, Section, Step};
use crate::ring::{Word, WordKind, low_mask};
use crate::with_kind;

impl<'p, H: Half, M: ModelHalf> Session<'p, '_, H, M> {
    /// Takes the payload of a frame, whose length was checked.
    pub(super) fn receive_step(
        &mut self,
        group: &mut Group<'p>,
        step: Step,
        tile: usize,
        payload: &[u8],
    ) -> Result<(), ErrorKind> {
        let work = group.work;
        let mut unpacker = Unpacker::new(payload);
        let answered = !self.is_mutual() && H::ROLE == Role::Bundle;
        match step {
            Step::Open => {
                let range = group.layer.tile_range(group.group, tile);
                if answered {
                    // S: P0's whole share; P1 keeps c to itself.
                    self.sum(group, range.clone(), true)?;
                    with_kind!(work.word, W => {
                        let sums: &mut [W] = bytemuck::cast_slice_mut(self.window);
                        let sums = sums.get_mut(..range.len()).unwrap_or(&mut []);
                        join(&mut unpacker, work.ring_bits, work.shift, sums);
                        store_run(region_mut(self.wires, &group.layer.opened), range, sums);
                    });
                } else if self.is_blind() {
                    let window: &mut [u16] = bytemuck::cast_slice_mut(self.window);
                    unpacker.take(work.opened_bits, window.get_mut(..range.len()).unwrap_or(&mut []));
                } else {
                    let mutual = self.is_mutual();
                    add_run(
                        region_mut(self.wires, &group.layer.opened),
                        range,
                        &mut unpacker,
                        work.opened_bits,
                        mutual,
                    );
                }
                self.opened(group, tile)?;
            }
            Step::OpenLinear => {
                let range = group.layer.tile_range(group.group, tile);
                if answered {
                    self.sum(group, range.clone(), true)?;
                    with_kind!(work.word, W => {
                        let sums: &mut [W] = bytemuck::cast_slice_mut(self.window);
                        let sums = sums.get_mut(..range.len()).unwrap_or(&mut []);
                        join(&mut unpacker, work.ring_bits, work.shift, sums);
                        store_run(region_mut(self.wires, &group.layer.output), range, sums);
                    });
                } else {
                    let mutual = self.is_mutual();
                    add_run(
                        region_mut(self.wires, &group.layer.output),
                        range,
                        &mut unpacker,
                        work.wire_bits,
                        mutual,
                    );
                }
            }
            Step::OpenPolynomial | Step::OpenRelu => {
                let relus = step == Step::OpenRelu;
                let range = group.layer.tile_range(group.group, tile);
                let output = group.layer.output;
                if answered {
                    let bits = work.wire_bits + if relus { 0 } else { work.frac_bits };
                    with_kind!(WordKind::for_bits(bits), W => {
                        self.selected_shares::<W>(group, range, relus, |wires, chunk, shares| {
                            join(&mut unpacker, bits, bits - work.wire_bits, shares);
                            chunk.scatter(region_mut(wires, &output), shares);
                        })?;
                    });
                } else {
                    let mutual = self.is_mutual();
                    with_kind!(output.word(), W => {
                        for chunk in Selected::new(group.layer.relu(), relus, range) {
                            let count = chunk.indices().len();
                            let (mut own, mut peer) = ([W::default(); LANES], [W::default(); LANES]);
                            let peer = peer.get_mut(..count).unwrap_or(&mut []);
                            unpacker.take(work.wire_bits, peer);
                            if mutual {
                                chunk.gather(region(self.wires, &output), 0, own.get_mut(..count).unwrap_or(&mut []));
                                for (slot, own) in peer.iter_mut().zip(own) {
                                    *slot = slot.add(own).reduce(work.wire_bits);
                                }
                            }
                            chunk.scatter(region_mut(self.wires, &output), peer);
                        }
                    });
                }
            }
            Step::OpenPool => {
                let windows = group.layer.window_range(tile);
                if answered {
                    self.pool_values(group, tile, |bits| {
                        let mut share = [0_u64];
                        unpacker.take(bits, &mut share);
                        share[0]
                    })?;
                } else {
                    let mutual = self.is_mutual();
                    add_run(
                        region_mut(self.wires, &group.layer.output),
                        windows,
                        &mut unpacker,
                        work.wire_bits,
                        mutual,
                    );
                }
            }
            Step::Tree(level) => {
                let (records, mut reader, first) = self.plane_records(group, tile, payload);
                let level = usize::from(level);
                let size = work.layout.state_words();
                for (word, record) in records.clone().enumerate() {
                    let (mut peer, mut masks) =
                        ([0; comparison::MAX_OPENED_PLANES], [0; comparison::MAX_TREE_PLANES]);
                    let peer =
                        peer.get_mut(..work.layout.opened_planes(level)).ok_or(MaterialError::Bundle)?;
                    reader.take(peer);
                    let masks =
                        masks.get_mut(..work.layout.tree_planes(level)).ok_or(MaterialError::Bundle)?;
                    let at = planes_at(self.positions.comparisons as usize + first + word, masks.len());
                    self.half.words(Section::Tree(level as u8), at, 64, masks)?;
                    let record = self.state.get_mut(record..record + size).ok_or(MaterialError::Bundle)?;
                    comparison::join_tree(work.layout, level, H::ROLE == Role::Bundle, masks, peer, record);
                }
            }
            Step::Sign => {
                let (records, mut reader, _) = self.plane_records(group, tile, payload);
                let own = work.layout.own_planes();
                for record in records {
                    let mut peer = [0];
                    reader.take(&mut peer);
                    let opened = self.state.get(record + own).copied().unwrap_or(0) ^ peer[0];
                    // t takes lt's place.
                    if let Some(slot) = self.state.get_mut(record) {
                        *slot = opened;
                    }
                }
            }
            Step::Release => {
                let elements = group.layer.elements();
                self.sum(group, 0..elements, true)?;
                self.output_words(group, |bits| {
                    let mut share = [0_u64];
                    unpacker.take(bits, &mut share);
                    share[0]
                })?;
            }
            Step::TournamentOpen(_) | Step::TournamentTree(..) | Step::TournamentSign(_) => {
                if self.tournament.receive(&work, &mut self.half, step, self.state, payload)? {
                    self.output_ready = true;
                }
            }
            Step::Output => {
                let words = group.layer.output_words(&self.plan.header.options);
                for slot in self.state.iter_mut().take(words) {
                    let mut peer = [0_u64];
                    unpacker.take(work.opened_bits, &mut peer);
                    *slot = slot.wrapping_add(peer[0]) & low_mask(work.opened_bits);
                }
            }
        }
        Ok(())
    }

    /// After the last frame of a step has come: what it makes possible.
    pub(super) fn received_step(
        &mut self,
        group: &mut Group<'p>,
        step: Step,
        index: usize,
    ) -> Result<(), ErrorKind> {
        if group.received.0 == index {
            return Ok(());
        }
        match step {
            Step::Tree(level) => self.mask_level(group, usize::from(level) + 1)?,
            Step::Sign => {
                group.signed = true;
                if let Some(pool) = group.layer.pool() {
                    for tile in 0..group.layer.group_tiles(group.group) {
                        self.add_selected(group, tile, true, &pool)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
