//! What a board is flashed with, from P0's material.

use std::path::PathBuf;

use halfnet_core::board::{Board, BoardError, Body};
use halfnet_core::model::blob::{ENVELOPE_BYTES, Kind};
use halfnet_core::plan::{Client, Mode, Role};
use serde::Serialize;

use super::ProcessError;
use crate::party::material::PartyZero;
use crate::party::material::file::write_sealed;
use crate::party::store::Counter;

/// What to provision.
#[derive(Clone, Debug)]
pub struct ProvisionRequest {
    /// `party0.postcard`, with its counter beside it.
    pub material: PathBuf,
    /// The blob.
    pub out: PathBuf,
    /// Pictures that the board classifies: pixels in (channel, row, column) order.
    pub pictures: Vec<Vec<u8>>,
}

/// What was provisioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ProvisionReport {
    /// Bytes of the blob.
    pub bytes: u64,
    /// Of them, the plan.
    pub plan_bytes: u64,
    /// Of them, the pictures.
    pub picture_bytes: u64,
    /// Pictures.
    pub pictures: u64,
    /// Who holds the weights: `s` or `h`.
    pub mode: char,
    /// Is the board the client?
    pub is_client: bool,
    /// Bytes of the arena that the board lends the session.
    pub arena_bytes: u64,
    /// Longest frame that the board sends and receives.
    pub longest_frames: [u32; 2],
    /// The first counter that the board accepts.
    pub next: u64,
    /// Dealt under a test seed.
    pub insecure_test_seed: bool,
}

/// Writes what a board is flashed with.
///
/// # Errors
/// The material cannot be read or is not for a board, a picture is of the wrong size, or the blob cannot be
/// written.
pub fn provision(request: &ProvisionRequest) -> Result<ProvisionReport, ProcessError> {
    let material = PartyZero::read(&request.material)?;
    let public = &material.public;
    let counter = Counter::open(&Counter::path_beside(&request.material), public.pairing)?;
    let expected = public.plan(&request.material)?.header.model.input.elements();
    if let Some(wrong) = request.pictures.iter().find(|picture| picture.len() != expected) {
        return Err(ProcessError::Picture { expected, found: wrong.len() });
    }
    let pictures = request.pictures.concat();
    let body = Body {
        pairing: public.pairing,
        provisioning: public.provisioning,
        test: public.test,
        next: counter.next(),
        seed: *material.seed.expose(),
        plan: &public.plan,
        pictures: &pictures,
    };
    // What a board would refuse is not written.
    let board = Board::from_body(&body).map_err(refused)?;
    let header = &board.plan.header;
    let next = counter.next();
    // A board and a host on one seed would use a mask twice. Under a test seed they may be compared.
    if !public.test {
        counter.retire()?;
    }
    write_sealed(&request.out, Kind::Board, &body)?;
    let body_bytes =
        postcard::experimental::serialized_size(&body).map_err(|e| ProcessError::Internal(e.to_string()))?;
    Ok(ProvisionReport {
        bytes: (ENVELOPE_BYTES + body_bytes) as u64,
        plan_bytes: public.plan.len() as u64,
        picture_bytes: pictures.len() as u64,
        pictures: request.pictures.len() as u64,
        mode: if header.options.mode == Mode::Held { 'h' } else { 's' },
        is_client: header.options.client == Client::SeedParty,
        arena_bytes: 8 * board.plan.arena_words(Role::Seed) as u64,
        longest_frames: header.longest_frame,
        next,
        insecure_test_seed: public.test,
    })
}

fn refused(error: BoardError) -> ProcessError {
    match error {
        BoardError::Plan(error) => ProcessError::Plan(error),
        error => ProcessError::Board(error),
    }
}
