//! The input of an inference: shares of A for a third client, E from it, or P0's own picture.

use super::half::{Half, ModelHalf};
use super::session::{Phase, Session, frame_payload, write_header};
use super::{ErrorKind, SessionError};
use crate::exchange::input;
use crate::plan::Client;
use crate::wire::frame::{HEADER, Header};
use crate::wire::message::{self, Code};

/// The picture of P0 as the client, in integers of the input wire.
pub trait Input {
    /// Is there a picture? Where not, the party serves third clients, and what a client does is left out.
    const IS_CLIENT: bool = true;

    /// How many elements it has; compared with the plan's input before a counter is burned.
    fn elements(&self) -> usize;

    /// Fills `out` with elements `first ..`, which there are.
    fn read(&mut self, first: usize, out: &mut [i32]);
}

impl Input for &[i32] {
    fn elements(&self) -> usize {
        self.len()
    }

    fn read(&mut self, first: usize, out: &mut [i32]) {
        for (slot, value) in out.iter_mut().zip(self.iter().skip(first)) {
            *slot = *value;
        }
    }
}

impl<I: Input> Input for &mut I {
    const IS_CLIENT: bool = I::IS_CLIENT;

    fn elements(&self) -> usize {
        (**self).elements()
    }

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
        let third = self.plan.header.options.client == Client::Third;
        // Once the layers have begun, the half gives words of theirs.
        if !third || !matches!(self.phase, Phase::Input) || out.len() < input::whole(&self.plan.header) {
            return Err(self.error(ErrorKind::Misuse));
        }
        let written = self.party.mask_share(&self.plan.header, out).map_err(|kind| self.error(kind));
        self.end_on_error(written)
    }

    /// The masked input E from a third client: packed words of the input wire's bits. The same bytes go to
    /// both parties.
    ///
    /// # Errors
    /// Not now, or of the wrong length.
    pub fn provide_masked(&mut self, packed: &[u8]) -> Result<(), SessionError> {
        if !matches!(self.phase, Phase::Input) || self.plan.header.options.client != Client::Third {
            return Err(self.error(ErrorKind::Misuse));
        }
        let expected = input::whole(&self.plan.header);
        if packed.len() != expected {
            return Err(
                self.error(ErrorKind::Length { expected: expected as u32, found: packed.len() as u32 })
            );
        }
        let taken = self.party.take_masked(&self.plan.header, packed).map_err(|kind| self.error(kind));
        self.end_on_error(taken)?;
        if !self.party.compares_input() {
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
        if !self.party.begins_without_input() || !matches!(self.phase, Phase::Input) {
            return Err(self.error(ErrorKind::Misuse));
        }
        let begun = self.next_group();
        self.end_on_error(begun)
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

    fn next_input(
        &mut self,
        picture: &mut impl Input,
        out: &mut [u8],
    ) -> Result<Option<usize>, SessionError> {
        if !self.party.sends_input() {
            return Err(self.error(ErrorKind::Misuse));
        }
        if !matches!(self.phase, Phase::Input) {
            return Ok(None);
        }
        let (tile, length) = (self.input_tiles, input::payload(&self.plan.header, self.input_tiles));
        let payload = frame_payload(out, length, self.at())?;
        self.party
            .write_input(&self.plan.header, tile, picture, payload)
            .map_err(|kind| SessionError { at: None, kind })?;
        let header = message::header(Code::Input, self.input_tiles as u16, length as u32);
        write_header(out, &header);
        self.input_passed()?;
        Ok(Some(HEADER + length))
    }

    pub(super) fn receive_input(&mut self, header: &Header, payload: &[u8]) -> Result<(), SessionError> {
        let (tile, length) = (self.input_tiles, input::payload(&self.plan.header, self.input_tiles));
        self.check(header, &message::header(Code::Input, tile as u16, length as u32))?;
        self.party.read_input(&self.plan.header, tile, payload).map_err(|kind| self.error(kind))?;
        self.input_passed()
    }

    /// A tile of the input has passed; after the last come the layers.
    fn input_passed(&mut self) -> Result<(), SessionError> {
        self.input_tiles += 1;
        if input::range(&self.plan.header, self.input_tiles).is_empty() {
            self.rounds += 1;
            self.next_group()?;
        }
        Ok(())
    }
}
