//! A third client's end: it talks to each party over a stream of its own, and nothing of it passes through the
//! other.
//!
//! It asks both under one name, gets from each its share of A with its word that the counter is burned, checks
//! that both speak of one inference, sends E = X − A, and adds up the words of the output.

use zeroize::Zeroize;

use super::inference::check_picture;
use super::{Contradiction, Endpoint, EndpointError, Event, Phase, Who, read_message, split, write_message};
use crate::exchange::input;
use crate::packing::packed_len;
use crate::party::input::Input;
use crate::party::session::{combine_outputs, output_shape};
use crate::plan::{Client, Mode, Plan, Role, Step};
use crate::wire::message::{self, Code, Identifier, MaskHeader, Reason};

/// Bytes of E, or of a share of A, packed.
#[must_use]
pub fn packed_input(plan: &Plan<'_>) -> usize {
    input::whole(&plan.header)
}

/// Bytes of a party's words of the output, packed.
#[must_use]
pub fn packed_output(plan: &Plan<'_>) -> usize {
    let (words, bits) = output_shape(plan);
    packed_len(words, bits)
}

/// Bytes of the memory that a third client's end works in.
#[must_use]
pub fn memory_bytes(plan: &Plan<'_>) -> usize {
    packed_input(plan).max(2 * packed_output(plan))
}

/// Where the conversation stands; what is there by party stands in the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Requests leave, shares of A come.
    Masks,
    /// E is made, and the caller says whether it may leave.
    Masked,
    /// E leaves.
    Sending,
    /// Words of the output come.
    Outputs,
    /// The answer is there.
    Finished,
    /// An error ended it.
    Failed,
}

/// A third client's end of one inference.
pub struct ThirdClient<'p, 'm, I> {
    plan: &'p Plan<'p>,
    request: Identifier,
    picture: I,
    memory: &'m mut [u8],
    state: State,
    /// Has the message of this state left for, or come from, [P0, P1]?
    asked: [bool; 2],
    done: [bool; 2],
    /// What the first share of A came with.
    first: Option<MaskHeader>,
    hash: [u8; 32],
}

impl<I> core::fmt::Debug for ThirdClient<'_, '_, I> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ThirdClient").field("state", &self.state).finish_non_exhaustive()
    }
}

impl<I> Drop for ThirdClient<'_, '_, I> {
    // A share of A and E together are the picture.
    fn drop(&mut self) {
        self.memory.zeroize();
    }
}

/// Which of both parties, if it is one.
const fn index(who: Who) -> Option<usize> {
    match who {
        Who::Seed => Some(0),
        Who::Bundle => Some(1),
        Who::Client => None,
    }
}

impl<'p, 'm, I: Input> ThirdClient<'p, 'm, I> {
    /// A client that asks under the name `request`, which must be new. `memory` has [`memory_bytes`] bytes, and is
    /// wiped when the endpoint is dropped.
    ///
    /// # Errors
    /// The plan's client is P0, or `memory` is too short.
    pub fn new(
        plan: &'p Plan<'p>,
        request: Identifier,
        picture: I,
        memory: &'m mut [u8],
    ) -> Result<Self, EndpointError> {
        if plan.header.options.client != Client::Third {
            return Err(EndpointError::Client);
        }
        check_picture(plan, &picture)?;
        if memory.len() < memory_bytes(plan) {
            return Err(EndpointError::Memory);
        }
        Ok(Self {
            plan,
            request,
            picture,
            memory,
            state: State::Masks,
            asked: [false; 2],
            done: [false; 2],
            first: None,
            hash: [0; 32],
        })
    }

    /// The counter of the inference, once both parties have named it.
    #[must_use]
    pub fn counter(&self) -> Option<u64> {
        self.first.filter(|_| self.state != State::Masks).map(|mask| mask.acknowledge.counter)
    }

    /// Answers [`Event::Masked`]: no other E has left under this mask, and none will.
    ///
    /// # Errors
    /// Nothing was asked.
    pub fn send_masked(&mut self) -> Result<(), EndpointError> {
        if self.state != State::Masked {
            return Err(EndpointError::Misuse);
        }
        // In H, P0 has no use for E.
        let held = self.plan.header.options.mode == Mode::Held;
        (self.state, self.asked) = (State::Sending, [held, false]);
        Ok(())
    }

    fn handle(&mut self, from: Who, frame: &[u8]) -> Result<(), EndpointError> {
        let role = match from {
            Who::Seed => Role::Seed,
            Who::Bundle => Role::Bundle,
            Who::Client => return Err(EndpointError::Misuse),
        };
        let (header, payload) = split(from, frame)?;
        if header == message::header(Code::Failed, 0, header.length) {
            let reason = payload.first().and_then(|&byte| Reason::of(byte));
            return Err(EndpointError::Refused { by: from, reason });
        }
        let done = self.done.get_mut(role.index()).ok_or(EndpointError::Misuse)?;
        match self.state {
            State::Masks if !*done => {
                *done = true;
                let payload = read_message(from, Code::Mask, frame)?;
                self.mask(from, payload)
            }
            State::Outputs if !*done => {
                *done = true;
                let payload = read_message(from, Code::Output, frame)?;
                self.output(from, role, payload)
            }
            State::Outputs => Err(EndpointError::Unexpected { from, found: header, expected: Code::Output }),
            _ => Err(EndpointError::Unexpected { from, found: header, expected: Code::Mask }),
        }
    }

    /// A party's share of A. The first is kept, with the second E follows.
    fn mask(&mut self, from: Who, payload: &[u8]) -> Result<(), EndpointError> {
        let (header, share) =
            MaskHeader::decode(payload).map_err(|source| EndpointError::Malformed { from, source })?;
        let memory = self.memory.get_mut(..packed_input(self.plan)).ok_or(EndpointError::Memory)?;
        if share.len() != memory.len() {
            let (expected, found) = (memory.len() as u32, share.len() as u32);
            return Err(EndpointError::Length { from, expected, found });
        }
        if header.request != self.request {
            return Err(EndpointError::Contradiction(Contradiction::Request));
        }
        let Some(first) = self.first else {
            memory.copy_from_slice(share);
            self.first = Some(header);
            return Ok(());
        };
        let contradiction = if first.deal != header.deal {
            Some(Contradiction::Deal)
        } else if first.acknowledge.counter != header.acknowledge.counter {
            Some(Contradiction::Counter)
        } else if first.acknowledge.session != header.acknowledge.session {
            Some(Contradiction::Session)
        } else {
            None
        };
        if let Some(contradiction) = contradiction {
            return Err(EndpointError::Contradiction(contradiction));
        }
        input::mask(&self.plan.header, &mut self.picture, share, memory)
            .map_err(|_| EndpointError::Memory)?;
        self.hash = *blake3::hash(memory).as_bytes();
        self.state = State::Masked;
        Ok(())
    }

    /// A party's words of the output.
    fn output(&mut self, from: Who, role: Role, payload: &[u8]) -> Result<(), EndpointError> {
        let length = packed_output(self.plan);
        if payload.len() != length {
            let (expected, found) = (length as u32, payload.len() as u32);
            return Err(EndpointError::Length { from, expected, found });
        }
        let first = role.index() * length;
        self.memory.get_mut(first..first + length).ok_or(EndpointError::Memory)?.copy_from_slice(payload);
        if self.done == [true; 2] {
            combine_outputs(self.plan, self.outputs()?).map(drop).map_err(|_| EndpointError::Memory)?;
            self.state = State::Finished;
        }
        Ok(())
    }

    /// The words of the output that have come, P0's and P1's.
    fn outputs(&self) -> Result<[&[u8]; 2], EndpointError> {
        let length = packed_output(self.plan);
        let (zero, rest) = self.memory.split_at_checked(length).ok_or(EndpointError::Memory)?;
        Ok([zero, rest.get(..length).ok_or(EndpointError::Memory)?])
    }

    /// The answer, once [`Event::Done`] stands: the label as one number, or the released logits in order, each
    /// the model's divided by 2^(b − the bits released). Empty otherwise.
    pub fn answer(&self) -> impl Iterator<Item = i64> + '_ {
        let finished = (self.state == State::Finished).then(|| self.outputs().ok()).flatten();
        // They were found whole when the second came.
        finished.and_then(|words| combine_outputs(self.plan, words).ok()).into_iter().flatten()
    }
}

impl<I: Input> Endpoint for ThirdClient<'_, '_, I> {
    fn event(&self) -> Option<Event> {
        match (self.state, &self.first) {
            (State::Masked, Some(mask)) => {
                Some(Event::Masked { deal: mask.deal, counter: mask.acknowledge.counter, hash: self.hash })
            }
            (State::Finished, _) => Some(Event::Done),
            _ => None,
        }
    }

    fn phase(&self) -> Phase {
        match self.state {
            State::Masks => Phase::Handshake,
            State::Masked => Phase::Caller,
            State::Sending => Phase::Input,
            State::Outputs => Phase::Layers,
            State::Finished => Phase::Finished,
            State::Failed => Phase::Failed,
        }
    }

    fn poll_transmit(&mut self, to: Who, out: &mut [u8]) -> Result<Option<usize>, EndpointError> {
        if self.state == State::Failed {
            return Err(EndpointError::Misuse);
        }
        let Some(asked) = index(to).and_then(|r| self.asked.get_mut(r)).filter(|asked| !**asked) else {
            return Ok(None);
        };
        let length = match self.state {
            State::Masks => write_message(Code::Request, &self.request, out)?,
            State::Sending => {
                let masked = self.memory.get(..packed_input(self.plan)).ok_or(EndpointError::Memory)?;
                write_message(Code::Masked, masked, out)?
            }
            _ => return Ok(None),
        };
        *asked = true;
        if self.state == State::Sending && self.asked == [true; 2] {
            (self.state, self.done) = (State::Outputs, [false; 2]);
        }
        Ok(Some(length))
    }

    // A party that has sent its message may leave, or be ahead, while the other's is to come.
    fn can_receive(&self, from: Who) -> bool {
        let owes = index(from).and_then(|r| self.done.get(r)).is_some_and(|done| !done);
        // In H P0 may be done before E has left for P1: its words wait.
        owes && matches!(self.state, State::Masks | State::Outputs)
    }

    fn longest_frame(&self, _from: Who) -> usize {
        super::longest_to_client(self.plan)
    }

    fn handle_frame(&mut self, from: Who, frame: &[u8]) -> Result<(), EndpointError> {
        let result = self.handle(from, frame);
        if result.is_err() {
            self.state = State::Failed;
        }
        result
    }

    fn at(&self) -> Option<(u16, Step)> {
        None
    }
}
