//! Both parties, and a third client, in one process, in lock step: every phase drains what either party can
//! send, then delivers it, so that the number of phases is the longest chain of dependent messages.

mod material;

use std::cell::RefCell;
use std::collections::VecDeque;

use halfnet_core::endpoint::{
    self, Acceptor, Account, Endpoint, EndpointError, Event, NoPicture, Nonces, Proposer, ThirdClient, Who,
    client,
};
use halfnet_core::party::half::{Half, ModelHalf};
use halfnet_core::party::input::Input;
use halfnet_core::plan::{Client, Plan, Role};
use halfnet_core::prg::Key;
use halfnet_core::wire::frame::HEADER;
use halfnet_core::wire::message;

pub use material::{DEAL, Deal, Linear, One, OwnedSeedModel, REQUEST, Split, Watched, Zero, agreement};

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// The label, or the released logits.
    pub answer: Vec<i64>,
    /// Phases with any delivery, the acknowledgements' and the client's included.
    pub flights: u32,
    /// What each end counted.
    pub rounds: [u32; 2],
    /// Bytes sent, acknowledgements and words to a client included.
    pub bytes: [u64; 2],
    /// Every frame, in the order of sending.
    pub frames: Vec<(Role, Vec<u8>)>,
    /// E as a third client sent it, packed; empty where P0 is the client.
    pub masked: Vec<u8>,
    /// What P1's linear layers saw and made.
    pub linear: Linear,
}

/// An arena for each party, as long as the plan states.
pub fn arenas(plan: &Plan<'_>) -> [Vec<u64>; 2] {
    [Role::Seed, Role::Bundle].map(|role| vec![0; plan.arena_words(role)])
}

/// Bytes that hold any frame of either party.
pub fn frame_buffer(plan: &Plan<'_>) -> Vec<u8> {
    vec![0; plan.header.longest_frame.into_iter().max().unwrap_or(0) as usize]
}

/// Nonces of both parties.
pub fn nonces() -> [Nonces; 2] {
    [1, 2].map(|byte| Nonces::new(Key::new([byte; 32]), "halfnet 1 nonce"))
}

/// Both parties' ends, whatever their client.
pub type Parties<'e> = [(Role, &'e mut dyn Endpoint); 2];

/// What both parties have to say to a third client.
fn answer(
    parties: &mut Parties<'_>,
    client: &mut dyn Endpoint,
    buffer: &mut [u8],
) -> Result<(), EndpointError> {
    for (role, party) in parties {
        while let Some(length) = party.poll_transmit(Who::Client, buffer)? {
            client.handle_frame(Who::party(*role), &buffer[..length])?;
        }
    }
    Ok(())
}

/// The handshake, from the proposal to both acknowledgements.
///
/// # Errors
/// As the ends'.
pub fn shake_hands<I: Input, H: Half, K: Half, M: ModelHalf, N: ModelHalf>(
    zero: &mut Acceptor<'_, '_, H, M, I>,
    one: &mut Proposer<'_, '_, K, N>,
    counter: u64,
    halves: (H, K),
) -> Result<(), EndpointError> {
    let mut buffer = [0; HEADER + message::LONGEST];
    one.propose(DEAL, counter)?;
    let length = one.poll_transmit(Who::Seed, &mut buffer)?.expect("a proposal");
    zero.handle_frame(Who::Bundle, &buffer[..length])?;
    if let Some(Event::Request(_)) = zero.event() {
        zero.answer_request(true)?;
    }
    let burn = Some(Event::Burn { deal: DEAL, counter });
    assert_eq!(zero.event(), burn, "P0 is asked to burn first");
    zero.burned(counter + 1, halves.0)?;
    let length = zero.poll_transmit(Who::Bundle, &mut buffer)?.expect("P0's acceptance");
    one.handle_frame(Who::Seed, &buffer[..length])?;
    assert_eq!(one.event(), burn, "then P1");
    one.burned(halves.1)?;
    let length = zero.poll_transmit(Who::Bundle, &mut buffer)?.expect("P0's acknowledgement");
    one.handle_frame(Who::Seed, &buffer[..length])?;
    let length = one.poll_transmit(Who::Seed, &mut buffer)?.expect("P1's acknowledgement");
    zero.handle_frame(Who::Bundle, &buffer[..length])
}

/// What passes between a third client and both parties before the layers; gives E, packed.
///
/// # Errors
/// As the ends'.
pub fn ask<I: Input>(
    parties: &mut Parties<'_>,
    client: &mut ThirdClient<'_, '_, I>,
    plan: &Plan<'_>,
) -> Result<Vec<u8>, EndpointError> {
    let mut buffer = vec![0; endpoint::longest_to_client(plan).max(endpoint::longest_from_client(plan))];
    for who in [Who::Seed, Who::Bundle] {
        let length = client.poll_transmit(who, &mut buffer)?.expect("a request");
        assert_eq!(endpoint::read_request(&buffer[..length]), Ok(REQUEST));
    }
    answer(parties, client, &mut buffer)?;
    assert!(matches!(client.event(), Some(Event::Masked { .. })), "{:?}", client.event());
    client.send_masked()?;
    let mut masked = Vec::new();
    for (role, party) in parties {
        while let Some(length) = client.poll_transmit(Who::party(*role), &mut buffer)? {
            party.handle_frame(Who::Client, &buffer[..length])?;
            masked = buffer[HEADER..length].to_vec();
        }
    }
    Ok(masked)
}

/// Runs one inference.
pub fn run(deal: &Deal, bundle: &[u8], counter: u64, pixels: &[i32]) -> Run {
    let [mut arena_0, mut arena_1] = arenas(&deal.plan());
    run_in(deal, bundle, counter, pixels, [&mut arena_0, &mut arena_1]).expect("an inference")
}

/// Runs one inference in memory of the caller's.
///
/// # Errors
/// An arena is shorter than the plan states.
pub fn run_in(
    deal: &Deal,
    bundle: &[u8],
    counter: u64,
    pixels: &[i32],
    arenas: [&mut [u64]; 2],
) -> Result<Run, EndpointError> {
    let plan = deal.plan();
    let log = RefCell::default();
    let ([arena_0, arena_1], [mut nonces_0, mut nonces_1]) = (arenas, nonces());
    let halves = (deal.seed_half(counter), deal.bundle_half(bundle));
    let mut run = Run { flights: 1, ..Run::default() };
    let mut one = deal.one(arena_1, &mut nonces_1, Some(&log))?;
    if plan.header.options.client == Client::Third {
        let mut zero = deal.zero(counter, arena_0, &mut nonces_0, NoPicture)?;
        let mut memory = vec![0; client::memory_bytes(&plan)];
        let mut client = ThirdClient::new(&plan, REQUEST, pixels, &mut memory)?;
        shake_hands(&mut zero, &mut one, counter, halves)?;
        let mut parties: Parties<'_> = [(Role::Seed, &mut zero), (Role::Bundle, &mut one)];
        run.masked = ask(&mut parties, &mut client, &plan)?;
        run.flights += 2;
        lock_step(&mut parties, &plan, &mut run)?;
        answer(&mut parties, &mut client, &mut vec![0; endpoint::longest_to_client(&plan)])?;
        run.flights += 1;
        assert_eq!([zero.event(), one.event(), client.event()], [Some(Event::Done); 3]);
        run.count([zero.account(), one.account()]);
        run.answer = client.answer().collect();
    } else {
        let mut zero = deal.zero(counter, arena_0, &mut nonces_0, pixels)?;
        shake_hands(&mut zero, &mut one, counter, halves)?;
        lock_step(&mut [(Role::Seed, &mut zero), (Role::Bundle, &mut one)], &plan, &mut run)?;
        assert_eq!([zero.event(), one.event()], [Some(Event::Done); 2]);
        run.count([zero.account(), one.account()]);
        run.answer = zero.answer().collect();
    }
    drop(one);
    run.linear = log.into_inner();
    Ok(run)
}

impl Run {
    fn count(&mut self, accounts: [Option<Account>; 2]) {
        let accounts = accounts.map(|account| account.expect("both have burned"));
        self.rounds = accounts.map(|account| account.rounds);
        self.bytes = accounts.map(|account| account.bytes_sent);
    }
}

/// The layers, phase by phase.
fn lock_step(parties: &mut Parties<'_>, plan: &Plan<'_>, run: &mut Run) -> Result<(), EndpointError> {
    let mut queues: [VecDeque<Vec<u8>>; 2] = Default::default();
    let mut buffer = frame_buffer(plan);
    loop {
        let mut next: [VecDeque<Vec<u8>>; 2] = Default::default();
        let mut progress = false;
        // Deliver what the last phase sent; what a delivery makes possible goes into the next phase.
        for (role, end) in &mut *parties {
            let role = *role;
            let peer = Who::party(role.peer());
            loop {
                if let Some(length) = end.poll_transmit(peer, &mut buffer)? {
                    assert!(
                        length <= plan.header.longest_frame[role.index()] as usize,
                        "the plan bounds every frame"
                    );
                    run.frames.push((role, buffer[..length].to_vec()));
                    next[role.peer().index()].push_back(buffer[..length].to_vec());
                    progress = true;
                    continue;
                }
                let ready = end.can_receive(peer);
                let Some(frame) = ready.then(|| queues[role.index()].pop_front()).flatten() else { break };
                progress = true;
                end.handle_frame(peer, &frame)?;
            }
            assert!(queues[role.index()].is_empty(), "{role:?} leaves frames unread at {:?}", end.at());
        }
        if next.iter().any(|q| !q.is_empty()) {
            run.flights += 1;
        }
        queues = next;
        if !progress {
            return Ok(());
        }
    }
}
