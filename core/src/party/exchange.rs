//! What each step of a session computes: the bodies behind the walk of [`super::session`].

use super::ErrorKind;
use super::half::{Half, MaterialError, ModelHalf, Position, TermId};
use super::memory::{Chunk, Selected, region, region_mut, window_as};
use super::session::{Group, Session};
use super::tournament::planes_at;
use crate::bits::{LANES, bits_from, transpose};
use crate::gate::{comparison, linear, polynomial, relu};
use crate::packing::{Packer, Unpacker};
use crate::plan::{LinearPlan, Mode, Region, Release, Role, Section, Step, StepPlan};
use crate::ring::{Word, WordKind, WordsMut, low_mask};
use crate::shape::{Pool, Shape};
use crate::{with_kind, with_words};

impl<'p, H: Half, M: ModelHalf> Session<'p, '_, H, M> {
    // ---- Linear sums ------------------------------------------------------------------------------------------------------------

    /// This party's share of the sum for elements `range`, into the window; with U if `masked`.
    pub(super) fn sum(&mut self, group: &Group<'_>, range: core::ops::Range<usize>, masked: bool) -> Result<(), ErrorKind> {
        Ok(with_kind!(group.work.word, W => self.sum_words::<W>(group, range, masked))?)
    }

    fn sum_words<W: Word>(&mut self, group: &Group<'_>, range: core::ops::Range<usize>, masked: bool) -> Result<(), MaterialError> {
        let (layer, work) = (&group.layer, &group.work);
        let count = range.len();
        let sums: &mut [W] = bytemuck::cast_slice_mut(self.window).get_mut(..count).ok_or(MaterialError::Weights)?;
        // In H the opened value is P1's alone and U has no share of P0's, except under a tournament.
        let tournament = matches!((layer.step, self.plan.header.options.release), (StepPlan::Release { .. }, Release::Label));
        let shared = self.role == Role::Bundle || self.plan.header.options.mode != Mode::Held || tournament;
        if masked && shared {
            self.half.words(Section::Sum, self.positions.sum, work.ring_bits, sums)?;
            self.positions.sum.advance(count, 1, work.ring_bits);
        } else {
            sums.fill(W::default());
        }
        if !self.plan.keeps_wires(self.role) {
            return Ok(());
        }
        for (index, term) in layer.terms.iter().enumerate() {
            let id = TermId { layer: layer.index, term: index as u8 };
            let input = region(self.wires, &term.source);
            match &term.linear {
                LinearPlan::Convolution(geometry) => self.model.convolve(id, geometry, input, range.clone(), wrap(sums))?,
                LinearPlan::JoinShift { geometry, shift } => {
                    // E' is public: one party adds it. A' is inside U.
                    if self.role == Role::Bundle {
                        with_words!(Words, input, input => linear::join_shift(geometry, *shift, input, range.clone(), sums));
                    }
                }
                LinearPlan::JoinScaled { geometry } => {
                    let tile = linear::join_tile(geometry, &range);
                    if tile.is_empty() {
                        continue;
                    }
                    let first = usize::from(geometry.channel_offset) * geometry.output.plane() + tile.start - range.start;
                    let part = sums.get_mut(first..first + tile.len()).ok_or(MaterialError::Weights)?;
                    self.model.convolve(id, &linear::join_convolution(geometry), input, tile, wrap(part))?;
                }
            }
        }
        Ok(())
    }

    // ---- Sending and receiving a step -------------------------------------------------------------------------------------------

    /// Writes the payload of a frame.
    pub(super) fn transmit_step(&mut self, group: &mut Group<'p>, step: Step, tile: usize, payload: &mut [u8]) -> Result<(), ErrorKind> {
        let work = group.work;
        match step {
            Step::Tree(level) => {
                self.transmit_planes(group, tile, work.layout.opened_planes(usize::from(level)), payload);
                return Ok(());
            }
            Step::Sign => {
                self.transmit_planes(group, tile, 1, payload);
                return Ok(());
            }
            Step::TournamentOpen(_) | Step::TournamentTree(..) | Step::TournamentSign(_) => {
                self.tournament.transmit(&work, step, self.state, payload);
                return Ok(());
            }
            _ => {}
        }
        let mut packer = Packer::new(payload);
        match step {
            Step::Open => {
                let range = group.layer.tile_range(group.group, tile);
                match (self.mode(), self.role) {
                    (Mode::Shared, Role::Bundle) => {
                        let opened = region(self.wires, &group.layer.opened);
                        with_words!(Words, opened, opened => packer.extend(opened.get(range).unwrap_or(&[]), work.opened_bits));
                    }
                    (Mode::Shared, Role::Seed) => {
                        self.sum(group, range.clone(), true)?;
                        with_kind!(work.word, W => packer.extend(window_as::<W>(self.window, range.len()), work.ring_bits));
                    }
                    (mode, _) => {
                        self.sum(group, range.clone(), true)?;
                        with_kind!(work.word, W => {
                            let sums: &mut [W] = bytemuck::cast_slice_mut(self.window);
                            let sums = sums.get_mut(..range.len()).unwrap_or(&mut []);
                            for sum in sums.iter_mut() {
                                *sum = sum.reduce(work.ring_bits).shr(work.shift);
                            }
                            packer.extend(sums, work.opened_bits);
                            store_run(region_mut(self.wires, &group.layer.opened), range, sums);
                        });
                        if mode == Mode::Held {
                            self.opened(group, tile)?;
                        }
                    }
                }
            }
            Step::OpenLinear => {
                let range = group.layer.tile_range(group.group, tile);
                if self.mode() == Mode::Shared && self.role == Role::Bundle {
                    let output = region(self.wires, &group.layer.output);
                    with_words!(Words, output, output => packer.extend(output.get(range).unwrap_or(&[]), work.wire_bits));
                } else {
                    self.sum(group, range.clone(), true)?;
                    let mutual = self.mode() == Mode::TwoServers;
                    with_kind!(work.word, W => {
                        let sums: &mut [W] = bytemuck::cast_slice_mut(self.window);
                        let sums = sums.get_mut(..range.len()).unwrap_or(&mut []);
                        if mutual {
                            for sum in sums.iter_mut() {
                                *sum = sum.reduce(work.ring_bits).shr(work.shift);
                            }
                            store_run(region_mut(self.wires, &group.layer.output), range, sums);
                            packer.extend(sums, work.wire_bits);
                        } else {
                            packer.extend(sums, work.ring_bits);
                        }
                    });
                }
            }
            Step::OpenPolynomial | Step::OpenRelu => {
                let relus = step == Step::OpenRelu;
                let range = group.layer.tile_range(group.group, tile);
                if self.mode() == Mode::Shared && self.role == Role::Bundle {
                    let output = region(self.wires, &group.layer.output);
                    with_kind!(group.layer.output.word(), W => {
                        for chunk in Selected::new(group.layer.relu(), relus, range) {
                            let mut values = [W::default(); LANES];
                            let values = values.get_mut(..chunk.indices().len()).unwrap_or(&mut []);
                            chunk.gather(output, 0, values);
                            packer.extend(values, work.wire_bits);
                        }
                    });
                } else {
                    let bits = work.wire_bits + if relus { 0 } else { work.frac_bits };
                    let (mutual, output) = (self.mode() == Mode::TwoServers, group.layer.output);
                    with_kind!(WordKind::for_bits(bits), W => {
                        self.selected_shares::<W>(group, range, relus, |wires, chunk, shares| {
                            if mutual {
                                for share in shares.iter_mut() {
                                    *share = share.reduce(bits).shr(bits - work.wire_bits);
                                }
                                chunk.scatter(region_mut(wires, &output), shares);
                                packer.extend(shares, work.wire_bits);
                            } else {
                                packer.extend(shares, bits);
                            }
                        })?;
                    });
                    if !relus && group.pending == Some(tile) {
                        group.pending = None;
                    }
                }
            }
            Step::OpenPool => {
                if self.mode() == Mode::Shared && self.role == Role::Bundle {
                    let output = region(self.wires, &group.layer.output);
                    with_words!(Words, output, output => {
                        packer.extend(output.get(group.layer.window_range(tile)).unwrap_or(&[]), work.wire_bits);
                    });
                } else {
                    let mutual = self.mode() == Mode::TwoServers;
                    let output = group.layer.output;
                    self.pooled_shares(group, tile, |wires, window, bits, share| {
                        if mutual {
                            let high = share >> (bits - work.wire_bits) & low_mask(work.wire_bits);
                            region_mut(wires, &output).set(window, high);
                            packer.extend(&[high], work.wire_bits);
                        } else {
                            packer.extend(&[share], bits);
                        }
                    })?;
                }
            }
            Step::Release => {
                self.sum(group, 0..group.layer.elements(), true)?;
                with_kind!(work.word, W => packer.extend(window_as::<W>(self.window, group.layer.elements()), work.ring_bits));
            }
            Step::Output => {
                let words = group.layer.output_words(&self.plan.header.options);
                packer.extend(self.state.get(..words).unwrap_or(&[]), work.opened_bits);
            }
            // Written above.
            Step::Tree(_) | Step::Sign | Step::TournamentOpen(_) | Step::TournamentTree(..) | Step::TournamentSign(_) => {}
        }
        let _ = packer.finish();
        Ok(())
    }

    /// Takes the payload of a frame, whose length was checked.
    pub(super) fn receive_step(&mut self, group: &mut Group<'p>, step: Step, tile: usize, payload: &[u8]) -> Result<(), ErrorKind> {
        let work = group.work;
        let mut unpacker = Unpacker::new(payload);
        let answered = self.mode() != Mode::TwoServers && self.role == Role::Bundle;
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
                    let mutual = self.mode() == Mode::TwoServers;
                    add_run(region_mut(self.wires, &group.layer.opened), range, &mut unpacker, work.opened_bits, mutual);
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
                    let mutual = self.mode() == Mode::TwoServers;
                    add_run(region_mut(self.wires, &group.layer.output), range, &mut unpacker, work.wire_bits, mutual);
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
                    let mutual = self.mode() == Mode::TwoServers;
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
                    let mutual = self.mode() == Mode::TwoServers;
                    add_run(region_mut(self.wires, &group.layer.output), windows, &mut unpacker, work.wire_bits, mutual);
                }
            }
            Step::Tree(level) => {
                let (records, mut reader, first) = self.plane_records(group, tile, payload);
                let level = usize::from(level);
                let size = work.layout.state_words();
                for (word, record) in records.clone().enumerate() {
                    let (mut peer, mut masks) = ([0; comparison::MAX_PLANES_16], [0; comparison::MAX_PLANES_16]);
                    let peer = peer.get_mut(..work.layout.opened_planes(level)).ok_or(MaterialError::Bundle)?;
                    reader.take(peer);
                    let masks = masks.get_mut(..work.layout.tree_planes(level)).ok_or(MaterialError::Bundle)?;
                    let at = planes_at(self.positions.comparisons as usize + first + word, masks.len());
                    self.half.words(Section::Tree(level as u8), at, 64, masks)?;
                    let record = self.state.get_mut(record..record + size).ok_or(MaterialError::Bundle)?;
                    comparison::join_tree(work.layout, level, self.role == Role::Bundle, masks, peer, record);
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
    pub(super) fn received_step(&mut self, group: &mut Group<'p>, step: Step, index: usize) -> Result<(), ErrorKind> {
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

    // ---- Activations ------------------------------------------------------------------------------------------------------------

    /// C of a tile is known: polynomials of a pool add up, P0 in H puts ReLUs' C aside, and the last tile starts the comparisons.
    fn opened(&mut self, group: &mut Group<'p>, tile: usize) -> Result<(), ErrorKind> {
        group.opened = tile + 1;
        let range = group.layer.tile_range(group.group, tile);
        let blind = self.is_blind();
        if let Some(pool) = group.layer.pool() {
            self.add_selected(group, tile, false, &pool)?;
        }
        if blind {
            for chunk in Selected::new(group.layer.relu(), true, range.clone()) {
                let mut opened = [0_u16; LANES];
                let opened = opened.get_mut(..chunk.indices().len()).unwrap_or(&mut []);
                chunk.gather(super::ring_words_u16(window_as(self.window, range.len())), range.start, opened);
                let kept = kept_opened(self.state, group);
                for (slot, value) in kept.iter_mut().skip(self.positions.kept).zip(opened.iter()) {
                    *slot = *value;
                }
                self.positions.kept += opened.len();
            }
            if group.layer.pool().is_none() && group.layer.relu().count(range.clone()) < range.len() {
                group.pending = Some(tile);
            }
        }
        if group.opened == group.layer.group_tiles(group.group) && group.layer.group_relus(group.group) > 0 {
            self.begin_comparison(group)?;
        }
        Ok(())
    }

    /// Evaluates every leaf of the group and masks the first level.
    fn begin_comparison(&mut self, group: &mut Group<'p>) -> Result<(), ErrorKind> {
        let layout = group.work.layout;
        let size = layout.state_words();
        let blind = self.is_blind();
        let relus = group.layer.group_relus(group.group);
        let mut chunks = Selected::new(group.layer.relu(), true, group.layer.group_range(group.group));
        for word in 0..relus.div_ceil(LANES) {
            let mut opened = [0_u16; LANES];
            if blind {
                let kept = kept_opened(self.state, group);
                for (slot, value) in opened.iter_mut().zip(kept.get(word * LANES..relus.min((word + 1) * LANES)).unwrap_or(&[])) {
                    *slot = *value;
                }
            } else if let Some(chunk) = chunks.next() {
                chunk.gather(region(self.wires, &group.layer.opened), 0, &mut opened);
            }
            let mut planes = [0; 16];
            transpose(&opened, &mut planes);
            let mut leaves = [0; comparison::MAX_PLANES_16];
            let leaves = leaves.get_mut(..layout.leaf_planes()).ok_or(MaterialError::Bundle)?;
            let at = planes_at(self.positions.comparisons as usize + word, leaves.len());
            self.half.words(Section::Leaf, at, 64, leaves)?;
            let record = self.state.get_mut(word * size..(word + 1) * size).ok_or(MaterialError::Bundle)?;
            comparison::evaluate_leaves(layout, self.role == Role::Bundle, &planes, leaves, record);
        }
        self.mask_level(group, 0)
    }

    /// Masks the operands of a level of the tree, or, after the last, takes this party's share of t.
    fn mask_level(&mut self, group: &mut Group<'p>, level: usize) -> Result<(), ErrorKind> {
        let layout = group.work.layout;
        let size = layout.state_words();
        for word in 0..group.layer.group_relus(group.group).div_ceil(LANES) {
            let record = self.state.get_mut(word * size..(word + 1) * size).ok_or(MaterialError::Bundle)?;
            if level == layout.levels() {
                comparison::open_sign(layout, record);
                continue;
            }
            let mut masks = [0; comparison::MAX_PLANES_16];
            let masks = masks.get_mut(..layout.tree_planes(level)).ok_or(MaterialError::Bundle)?;
            let at = planes_at(self.positions.comparisons as usize + word, masks.len());
            self.half.words(Section::Tree(level as u8), at, 64, masks)?;
            comparison::open_tree(layout, level, masks, record);
        }
        group.level = Some(level);
        Ok(())
    }

    fn transmit_planes(&self, group: &Group<'_>, tile: usize, planes: usize, payload: &mut [u8]) {
        let layout = group.work.layout;
        let first = tile * group.layer.words_a_frame();
        let lanes = self.frame_lanes(group, tile);
        let records = self.state.get(first * layout.state_words()..).unwrap_or(&[]);
        comparison::write_planes(layout, planes, lanes, records, payload);
    }

    /// Comparisons of a frame of a bit step.
    fn frame_lanes(&self, group: &Group<'_>, tile: usize) -> usize {
        let words = group.layer.words_a_frame();
        group.layer.group_relus(group.group).saturating_sub(tile * words * LANES).min(words * LANES)
    }

    /// Offsets of a frame's records in the state, a reader of its planes, and the first record's number.
    fn plane_records<'f>(
        &self,
        group: &Group<'_>,
        tile: usize,
        payload: &'f [u8],
    ) -> (impl Iterator<Item = usize> + Clone + use<'f, 'p, H, M>, comparison::PlaneReader<'f>, usize) {
        let size = group.work.layout.state_words();
        let first = tile * group.layer.words_a_frame();
        let lanes = self.frame_lanes(group, tile);
        let records = (first..first + lanes.div_ceil(LANES)).map(move |word| word * size);
        (records, comparison::PlaneReader::new(payload, lanes), first)
    }

    /// This party's shares of the activated values of a tile's polynomial (or ReLU) elements, in runs of up to 64, for `take`.
    fn selected_shares<W: Word>(
        &mut self,
        group: &Group<'p>,
        range: core::ops::Range<usize>,
        relus: bool,
        mut take: impl FnMut(&mut [u64], &Chunk, &mut [W]),
    ) -> Result<(), ErrorKind> {
        let (layer, work) = (&group.layer, group.work);
        let pooled = layer.pool().is_some();
        let plane = layer.sum.plane().max(1);
        let blind = self.is_blind();
        let bits = work.wire_bits + if relus { 0 } else { work.frac_bits };
        let kinds = match (relus, pooled) {
            (false, _) => polynomial::WORDS,
            (true, false) => relu::WORDS,
            (true, true) => relu::WORDS_POOLED,
        };
        let mut channel_share = None;
        for chunk in Selected::new(layer.relu(), relus, range.clone()) {
            let count = chunk.indices().len();
            let mut opened = [0_u16; LANES];
            let opened = opened.get_mut(..count).unwrap_or(&mut []);
            match (blind, relus) {
                (true, true) => {
                    let kept = kept_opened(self.state, group);
                    for (slot, value) in opened.iter_mut().zip(kept.iter().skip(self.positions.selected)) {
                        *slot = *value;
                    }
                }
                (true, false) => chunk.gather(super::ring_words_u16(window_as(self.window, range.len())), range.start, opened),
                (false, _) => chunk.gather(region(self.wires, &layer.opened), 0, opened),
            }
            let mut words = [W::default(); relu::WORDS * LANES];
            let words = words.get_mut(..kinds * count).unwrap_or(&mut []);
            let mut shares = [W::default(); LANES];
            let shares = shares.get_mut(..count).unwrap_or(&mut []);
            if relus {
                self.half.words(Section::Relu, self.positions.relu, bits, words)?;
                self.positions.relu.advance(count, kinds, bits);
                let signs = self.signs(group, self.positions.selected);
                self.positions.selected += count;
                relu::evaluate(work.opened_bits, self.role == Role::Bundle, opened, signs, words, shares);
            } else {
                self.half.words(Section::Polynomial, self.positions.polynomial, bits, words)?;
                self.positions.polynomial.advance(count, kinds, bits);
                let mut quadratic = [W::default(); LANES];
                for (slot, &index) in quadratic.iter_mut().zip(chunk.indices()) {
                    let channel = (index as usize / plane) as u16;
                    let share = match channel_share {
                        Some((known, share)) if known == channel => share,
                        _ => {
                            let share = W::from_u64(self.model.quadratic(layer.index, channel)?);
                            channel_share = Some((channel, share));
                            share
                        }
                    };
                    *slot = share;
                }
                polynomial::evaluate(work.opened_bits, opened, &quadratic, words, shares);
            }
            take(self.wires, &chunk, shares);
        }
        Ok(())
    }

    /// t of 64 ReLUs of the group, from ReLU `first` on.
    fn signs(&self, group: &Group<'_>, first: usize) -> u64 {
        let size = group.work.layout.state_words();
        let at = |word: usize| self.state.get(word * size).copied().unwrap_or(0);
        bits_from(&[at(first / LANES), at(first / LANES + 1)], first % LANES)
    }

    // ---- Pools and output -------------------------------------------------------------------------------------------------------

    /// Adds this party's shares of a tile's polynomial (or ReLU) elements to their windows.
    fn add_selected(&mut self, group: &Group<'p>, tile: usize, relus: bool, pool: &Pool) -> Result<(), ErrorKind> {
        let range = group.layer.tile_range(group.group, tile);
        let (work, layer) = (group.work, &group.layer);
        let pooled = layer.pooled[self.role.index()];
        let bits = work.wire_bits + if relus { 0 } else { work.frac_bits };
        with_kind!(WordKind::for_bits(bits), W => {
            self.selected_shares::<W>(group, range, relus, |wires, chunk, shares| {
                for (&index, share) in chunk.indices().iter().zip(shares) {
                    pool.windows_of(layer.sum, index as usize, |window| {
                        // A ReLU's share modulo 2^W, shifted, is one modulo 2^(W + f_c).
                        let shift = if relus && layer.window_is_cut(window) { work.frac_bits } else { 0 };
                        add_to_window(wires, &pooled, window, share.to_u64() << shift);
                    });
                }
            })
        })
    }

    /// This party's masked shares of a tile's windows, each with its width, for `take`.
    fn pooled_shares(&mut self, group: &Group<'p>, tile: usize, mut take: impl FnMut(&mut [u64], usize, u8, u64)) -> Result<(), ErrorKind> {
        let (layer, work) = (&group.layer, &group.work);
        let pooled = layer.pooled[self.role.index()];
        let range = layer.window_range(tile);
        // Chunks of 64 windows are packed by themselves; a tile is not always a multiple of 64 of them.
        for window in range {
            if window % LANES == 0 || self.positions.windows.is_none() {
                let first = window - window % LANES;
                let count = (layer.windows() - first).min(LANES);
                let mut bits = [0_u8; LANES];
                let bits = bits.get_mut(..count).unwrap_or(&mut []);
                for (slot, window) in bits.iter_mut().zip(first..) {
                    *slot = layer.window_bits(work, window);
                }
                let mut masks = [0_u64; LANES];
                let part = masks.get_mut(..count).unwrap_or(&mut []);
                let at = Position { words: first as u64, bytes: self.positions.window_bytes };
                self.half.mixed_words(Section::Window, at, bits, part)?;
                self.positions.window_bytes += bits.iter().map(|&b| u64::from(b)).sum::<u64>().div_ceil(8);
                self.positions.windows = Some(masks);
            }
            let mask = self.positions.windows.as_ref().and_then(|m| m.get(window % LANES)).copied().unwrap_or(0);
            let bits = layer.window_bits(work, window);
            let share = region(self.wires, &pooled).get(window).wrapping_add(mask) & low_mask(bits);
            take(self.wires, window, bits, share);
        }
        Ok(())
    }

    /// P1 by turns: E of a tile's windows from its own shares and P0's, which `peer` gives.
    pub(super) fn pool_values(&mut self, group: &Group<'p>, tile: usize, mut peer: impl FnMut(u8) -> u64) -> Result<(), ErrorKind> {
        let (output, wire_bits) = (group.layer.output, group.work.wire_bits);
        self.pooled_shares(group, tile, |wires, window, bits, share| {
            let sum = share.wrapping_add(peer(bits)) & low_mask(bits);
            region_mut(wires, &output).set(window, sum >> (bits - wire_bits));
        })
    }

    /// This party's words of the released logits; P1 by turns takes P0's shares from `peer`.
    pub(super) fn output_words(&mut self, group: &Group<'p>, mut peer: impl FnMut(u8) -> u64) -> Result<(), ErrorKind> {
        let (work, elements) = (group.work, group.layer.elements());
        let alone = self.is_seed() && self.mode() != Mode::TwoServers;
        let mut position = Position::default();
        for first in (0..elements).step_by(LANES) {
            let count = (elements - first).min(LANES);
            let mut masks = [0_u64; LANES];
            let masks = masks.get_mut(..count).unwrap_or(&mut []);
            self.half.words(Section::Output, position, work.opened_bits, masks)?;
            position.advance(count, 1, work.opened_bits);
            for (index, mask) in (first..).zip(masks) {
                let own = if alone {
                    0
                } else {
                    let sum = with_kind!(work.word, W => window_as::<W>(self.window, elements).get(index).map_or(0, |v| v.to_u64()));
                    (sum.wrapping_add(peer(work.ring_bits)) & low_mask(work.ring_bits)) >> work.shift
                };
                if let Some(slot) = self.state.get_mut(index) {
                    *slot = own.wrapping_sub(*mask) & low_mask(work.opened_bits);
                }
            }
        }
        self.output_ready = true;
        Ok(())
    }
}

/// C of the group's ReLUs, which P0 in H keeps behind the comparison records.
fn kept_opened<'s>(state: &'s mut [u64], group: &Group<'_>) -> &'s mut [u16] {
    let relus = group.layer.group_relus(group.group);
    let records = relus.div_ceil(LANES) * group.work.layout.state_words();
    bytemuck::cast_slice_mut(state.get_mut(records..).unwrap_or(&mut [])).get_mut(..relus).unwrap_or(&mut [])
}

/// shares ← ((shares + the peer's) mod 2^bits) >> shift.
fn join<W: Word>(unpacker: &mut Unpacker<'_>, bits: u8, shift: u8, shares: &mut [W]) {
    let mut peer = [W::default(); LANES];
    for part in shares.chunks_mut(LANES) {
        let peer = peer.get_mut(..part.len()).unwrap_or(&mut []);
        unpacker.take(bits, peer);
        for (slot, peer) in part.iter_mut().zip(peer) {
            *slot = slot.add(*peer).reduce(bits).shr(shift);
        }
    }
}

/// Stores a run of values.
pub(super) fn store_run<W: Word>(target: WordsMut<'_>, range: core::ops::Range<usize>, values: &[W]) {
    with_words!(WordsMut, target, target => {
        for (slot, value) in target.get_mut(range).unwrap_or(&mut []).iter_mut().zip(values) {
            *slot = Word::from_u64(value.to_u64());
        }
    });
}

/// Stores the peer's values, or adds them to this party's own.
fn add_run(target: WordsMut<'_>, range: core::ops::Range<usize>, unpacker: &mut Unpacker<'_>, bits: u8, mutual: bool) {
    with_words!(WordsMut, target, target => {
        let target = target.get_mut(range).unwrap_or(&mut []);
        if mutual {
            join(unpacker, bits, 0, target);
        } else {
            unpacker.take(bits, target);
        }
    });
}

/// Adds a value to every window that an element belongs to.
pub(crate) fn add_to_windows(wires: &mut [u64], pooled: &Region, pool: &Pool, shape: Shape, index: usize, value: u64) {
    pool.windows_of(shape, index, |window| add_to_window(wires, pooled, window, value));
}

fn add_to_window(wires: &mut [u64], pooled: &Region, window: usize, value: u64) {
    let mut windows = region_mut(wires, pooled);
    let sum = windows.as_words().get(window).wrapping_add(value);
    windows.set(window, sum);
}

/// A slice as [`WordsMut`].
pub(crate) fn wrap<W: Word>(words: &mut [W]) -> WordsMut<'_> {
    let bytes = bytemuck::cast_slice_mut::<W, u8>(words);
    match WordKind::for_bits(W::BITS) {
        WordKind::U16 => WordsMut::U16(bytemuck::cast_slice_mut(bytes)),
        WordKind::U32 => WordsMut::U32(bytemuck::cast_slice_mut(bytes)),
        WordKind::U64 => WordsMut::U64(bytemuck::cast_slice_mut(bytes)),
    }
}
