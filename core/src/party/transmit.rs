//! What a step sends: this party's shares, opened bits or masked operands.

use super::ErrorKind;
use super::half::{Half, ModelHalf};
use super::memory::{Selected, region, region_mut, store_run, window_as};
use super::session::Session;
use super::walk::Group;
use crate::bits::LANES;
use crate::packing::Packer;
use crate::plan::{Mode, Role, Step};
use crate::ring::{Word, WordKind, low_mask};
use crate::{with_kind, with_words};

impl<'p, H: Half, M: ModelHalf> Session<'p, '_, H, M> {
    /// Writes the payload of a frame.
    pub(super) fn transmit_step(
        &mut self,
        group: &mut Group<'p>,
        step: Step,
        tile: usize,
        payload: &mut [u8],
    ) -> Result<(), ErrorKind> {
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
                match (self.mode(), H::ROLE) {
                    (Mode::Shared, Role::Bundle) => {
                        let opened = region(self.wires, &group.layer.opened);
                        with_words!(Words, opened, opened => packer.extend(opened.get(range).unwrap_or(&[]), work.opened_bits));
                    }
                    (Mode::Shared, Role::Seed) => {
                        self.sum(group, range.clone(), true)?;
                        with_kind!(work.word, W => packer.extend(window_as::<W>(self.window, range.len()), work.ring_bits));
                    }
                    (mode, role) if role == Role::Bundle || self.is_mutual() => {
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
                    // P0 in mode H opens nothing.
                    _ => {}
                }
            }
            Step::OpenLinear => {
                let range = group.layer.tile_range(group.group, tile);
                if self.mode() == Mode::Shared && H::ROLE == Role::Bundle {
                    let output = region(self.wires, &group.layer.output);
                    with_words!(Words, output, output => packer.extend(output.get(range).unwrap_or(&[]), work.wire_bits));
                } else {
                    self.sum(group, range.clone(), true)?;
                    let mutual = self.is_mutual();
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
                if self.mode() == Mode::Shared && H::ROLE == Role::Bundle {
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
                    let (mutual, output) = (self.is_mutual(), group.layer.output);
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
                if self.mode() == Mode::Shared && H::ROLE == Role::Bundle {
                    let output = region(self.wires, &group.layer.output);
                    with_words!(Words, output, output => {
                        packer.extend(output.get(group.layer.window_range(tile)).unwrap_or(&[]), work.wire_bits);
                    });
                } else {
                    let mutual = self.is_mutual();
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
            Step::Tree(_)
            | Step::Sign
            | Step::TournamentOpen(_)
            | Step::TournamentTree(..)
            | Step::TournamentSign(_) => {}
        }
        let _ = packer.finish();
        Ok(())
    }
}
