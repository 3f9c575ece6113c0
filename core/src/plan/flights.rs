//! The longest chain of dependent messages, from what each exchange says that it waits for and makes known.

use super::{Client, GroupPlan, Mode, Plan, Role};
use crate::exchange::opening::Turn;
use crate::exchange::{Known, Order};

/// The longest chain of dependent messages, followed step by step.
///
/// A message is delivered in some flight; what depends on it is delivered in the next, and a direction keeps
/// its order.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// Flight after which each party can begin the next group.
    base: [u32; 2],
    /// Flight of each party's last message.
    sent: [u32; 2],
    /// Flight in which each party took the last message.
    taken: [u32; 2],
}

impl Clock {
    /// One step: who sends, and the flight that each sender's message depends on, `None` where it answers the
    /// other's.
    fn step(&mut self, sends: [bool; 2], depends: [Option<u32>; 2]) -> [u32; 2] {
        let mut arrives = [0; 2];
        // An answer comes second.
        let order = if depends[0].is_none() { [1, 0] } else { [0, 1] };
        for r in order {
            if sends[r] {
                let after = depends[r].unwrap_or(arrives[r]);
                self.sent[r] = self.sent[r].max(after + 1);
                arrives[1 - r] = self.sent[r];
            }
        }
        for r in 0..2 {
            if sends[1 - r] {
                // A party takes a message of a mutual step after it has sent its own.
                let own = if sends[r] && depends[r].is_some() { self.sent[r] - 1 } else { 0 };
                self.taken[r] = self.taken[r].max(arrives[r]).max(own);
                arrives[r] = self.taken[r];
            }
        }
        arrives
    }

    fn group(&mut self, group: &GroupPlan<'_, '_>) {
        let GroupPlan { layer, options, .. } = *group;
        // Flights after which each party knows C, the step before in a chain, every activated value.
        let (mut opened, mut link, mut activated) = (self.base, self.base, self.base);
        for step in group.steps() {
            let sends = [Role::Seed, Role::Bundle]
                .map(|role| group.payloads(step, role).any(|(payload, _)| payload > 0));
            if sends == [false, false] {
                continue;
            }
            let after = match step.after(layer) {
                Known::Before => self.base,
                Known::Opened => opened,
                Known::Link => link,
                Known::Activated => activated,
            };
            // By turns P1 answers.
            let answers =
                step.order() == Order::Opening && Turn::of(options.mode, Role::Bundle) == Turn::Answer;
            let depends = [Some(after[0]), (!answers).then_some(after[1])];
            let arrives = self.step(sends, depends);
            for r in 0..2 {
                if !sends[1 - r] {
                    continue;
                }
                for known in step.gives() {
                    match known {
                        Known::Before => {}
                        Known::Opened => opened[r] = arrives[r],
                        Known::Link => link[r] = arrives[r],
                        Known::Activated => activated[r] = arrives[r],
                    }
                }
            }
        }
        for r in 0..2 {
            self.base[r] = self.base[r].max(self.taken[r]).max(self.sent[r].saturating_sub(1));
        }
    }
}

/// The longest chain of dependent messages of an inference, the acknowledgements and the client's messages
/// included.
#[must_use]
pub fn flights(plan: &Plan<'_>) -> u32 {
    let options = &plan.header.options;
    let mut clock = Clock { base: [1; 2], sent: [1; 2], taken: [1; 2] };
    match options.client {
        // P0 goes on while its input travels.
        Client::SeedParty => {
            let arrives = clock.step([true, false], [Some(1), Some(1)]);
            clock.base = [1, arrives[1]];
        }
        // Shares of A to the client, E from it.
        Client::Third => {
            clock = Clock { base: [3; 2], sent: [3; 2], taken: [3; 2] };
            if options.mode == Mode::Held {
                clock.base[0] = 2;
            } else {
                clock.step([true, true], [Some(3), Some(3)]);
                clock.base = clock.taken;
            }
        }
    }
    for layer in plan.layers() {
        let work = layer.work(options);
        for group in 0..layer.groups() {
            clock.group(&GroupPlan::new(&layer, options, &work, group));
        }
    }
    let last = clock.taken[0].max(clock.taken[1]).max(clock.base[0]).max(clock.base[1]);
    last + u32::from(options.client == Client::Third)
}
