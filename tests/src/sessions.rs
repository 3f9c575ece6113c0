//! Both parties' sessions without the conversation around them, for tests that call them as no endpoint would:
//! out of turn, with buffers of any length, against their advice.

use std::cell::RefCell;

use halfnet_core::party::SessionError;
use halfnet_core::party::bundle::BundleHalf;
use halfnet_core::party::seed::SeedHalf;
use halfnet_core::party::session::{Parts, Session};
use halfnet_core::plan::{Mode, Plan, Role};

use crate::pair::{Deal, Linear, OwnedSeedModel, Watched};

/// P0's session and P1's.
pub type Pair<'p, 'm> =
    (Session<'p, 'm, SeedHalf, OwnedSeedModel>, Session<'p, 'm, BundleHalf<&'m [u8]>, Watched<'m>>);

/// Both sessions of inference `counter`, each in its arena.
///
/// # Errors
/// An arena is shorter than the plan states.
pub fn sessions<'m>(
    deal: &'m Deal,
    bundle: &'m [u8],
    counter: u64,
    arenas: [&'m mut [u64]; 2],
    log: Option<&'m RefCell<Linear>>,
) -> Result<Pair<'m, 'm>, SessionError> {
    let [arena_0, arena_1] = arenas;
    Ok((
        Session::new(Parts {
            plan: deal.plan(),
            half: deal.seed_half(counter),
            model: deal.seed_model(),
            arena: arena_0,
        })?,
        Session::new(Parts {
            plan: deal.plan(),
            half: deal.bundle_half(bundle),
            model: deal.watched(log),
            arena: arena_1,
        })?,
    ))
}

/// A third client: E, packed, from both shares of A.
///
/// # Errors
/// A session gives no share of A.
pub fn mask_input(pair: &mut Pair<'_, '_>, plan: &Plan<'_>, pixels: &[i32]) -> Result<Vec<u8>, SessionError> {
    use halfnet_core::packing::{Packer, Unpacker, packed_len};
    let wire = plan.header.input;
    let length = packed_len(pixels.len(), wire.bits);
    let mut shares = [vec![0; length], vec![0; length]];
    pair.0.mask_share(&mut shares[0])?;
    pair.1.mask_share(&mut shares[1])?;
    let words = shares.map(|bytes| {
        let mut words = vec![0_u64; pixels.len()];
        Unpacker::new(&bytes).take(wire.bits, &mut words).expect("a whole share");
        words
    });
    let masked: Vec<u64> = pixels
        .iter()
        .zip(words[0].iter().zip(&words[1]))
        .map(|(&x, (&a, &b))| (i64::from(x) as u64).wrapping_sub(a).wrapping_sub(b))
        .collect();
    let mut packed = vec![0; length];
    let mut packer = Packer::new(&mut packed);
    packer.extend(&masked, wire.bits);
    assert_eq!(packer.finish(), length);
    Ok(packed)
}

/// A third client: E to each party that needs it.
///
/// # Errors
/// A session does not take it.
pub fn provide(pair: &mut Pair<'_, '_>, plan: &Plan<'_>, masked: &[u8]) -> Result<(), SessionError> {
    if plan.header.options.mode == Mode::Held {
        pair.0.begin_without_input()?;
    } else {
        pair.0.provide_masked(masked)?;
    }
    pair.1.provide_masked(masked)
}

/// What P0 or P1 has to send now.
///
/// # Errors
/// As the session's.
pub fn transmit(
    pair: &mut Pair<'_, '_>,
    role: Role,
    input: &mut &[i32],
    buffer: &mut [u8],
    third: bool,
) -> Result<Option<usize>, SessionError> {
    match role {
        Role::Seed if !third => match pair.0.transmit_input(input, buffer)? {
            Some(length) => Ok(Some(length)),
            None => pair.0.poll_transmit(buffer),
        },
        Role::Seed => pair.0.poll_transmit(buffer),
        Role::Bundle => pair.1.poll_transmit(buffer),
    }
}

/// Hands a frame to a party.
///
/// # Errors
/// As the session's.
pub fn handle(pair: &mut Pair<'_, '_>, role: Role, frame: &[u8]) -> Result<(), SessionError> {
    match role {
        Role::Seed => pair.0.handle_frame(frame),
        Role::Bundle => pair.1.handle_frame(frame),
    }
}

/// May a frame be handed to a party?
pub fn ready(pair: &Pair<'_, '_>, role: Role) -> bool {
    match role {
        Role::Seed => pair.0.can_receive(),
        Role::Bundle => pair.1.can_receive(),
    }
}
