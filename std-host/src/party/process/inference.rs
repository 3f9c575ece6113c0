//! One inference at one party, from the burn to the last byte.

use std::time::Instant;

use halfnet_core::packing::packed_len;
use halfnet_core::party::half::Half;
use halfnet_core::party::session::{Parts, Session, output_shape};
use halfnet_core::plan::{Client, Mode, Plan, Role};
use halfnet_core::wire::frame::HEADER;
use halfnet_core::wire::message::{Code, MASK, MaskHeader};

use super::error::{ProcessError, Stage};
use super::handshake::{Burned, acknowledge};
use super::report::InferenceStats;
use super::usage::thread_seconds;
use crate::party::link::{Limits, Link, Reactor, Trace, drive};
use crate::party::model::{HostModel, Lent};

/// What an inference runs on.
pub(super) struct Desk<'a, 'p> {
    pub(super) plan: &'a Plan<'p>,
    pub(super) reactor: &'a mut Reactor,
    pub(super) peer: &'a mut Link,
    /// The third client's own connection to this party.
    pub(super) client: Option<&'a mut Link>,
    pub(super) model: &'a mut HostModel,
    pub(super) arena: &'a mut [u64],
    pub(super) limits: &'a Limits,
}

/// What came of it.
pub(super) struct Outcome {
    pub(super) stats: InferenceStats,
    /// P0 as the client: the answer.
    pub(super) answer: Vec<i64>,
}

impl Desk<'_, '_> {
    /// Runs the inference that both parties have burned. `input`: the picture, where P0 is the client.
    ///
    /// # Errors
    /// Anything; the counter is spent, and the error says so.
    pub(super) fn run<H: Half>(
        mut self,
        burned: &Burned,
        half: H,
        input: Option<&[i32]>,
    ) -> Result<Outcome, ProcessError> {
        let counter = burned.counter;
        let mut stage = Stage::Acknowledge;
        let done = self.run_inner(burned, half, input, &mut stage);
        done.map_err(ProcessError::after_burn(counter, stage))
    }

    fn run_inner<H: Half>(
        &mut self,
        burned: &Burned,
        half: H,
        input: Option<&[i32]>,
        stage: &mut Stage,
    ) -> Result<Outcome, ProcessError> {
        let Self { plan, reactor, peer, client, model, arena, limits } = self;
        let plan = *plan;
        let (began, processor) = (Instant::now(), thread_seconds());
        let sent = |peer: &Link, client: &Option<&mut Link>| {
            peer.bytes_sent() + client.as_ref().map_or(0, |c| c.bytes_sent())
        };
        let sent_before = sent(peer, client);
        let mut trace = Trace::new(plan.header.layers);
        acknowledge(peer, reactor, burned, limits)?;
        *stage = Stage::Input;

        let parts = Parts { plan: plan.clone(), half, model: Lent(model), arena };
        let mut session = Session::new(parts)?;
        if let Some(client) = client {
            let shape = plan.header.input;
            let packed = packed_len(shape.elements as usize, shape.bits);
            let mut mask = vec![0; MASK + packed];
            let header =
                MaskHeader { acknowledge: burned.acknowledge(), deal: burned.deal, request: burned.request };
            mask[..MASK].copy_from_slice(&header.encode());
            session.mask_share(&mut mask[MASK..])?;
            client.queue_message(Code::Mask, &mask);
            if plan.header.options.mode == Mode::Held && H::ROLE == Role::Seed {
                client.flush_all(reactor, limits.timeout).map_err(ProcessError::ClientLink)?;
                session.begin_without_input()?;
            } else {
                client.set_limit(HEADER + packed);
                let masked = client
                    .receive_message(reactor, Code::Masked, limits.timeout)
                    .map_err(ProcessError::ClientLink)?;
                session.provide_masked(&masked)?;
            }
        }
        let mut input = input;
        *stage = Stage::Layers;
        drive(&mut session, input.as_mut(), peer, reactor, limits, &mut trace)?;
        *stage = Stage::Output;
        let mut answer = Vec::new();
        if let Some(client) = client {
            let (words, bits) = output_shape(plan);
            let mut output = vec![0; packed_len(words, bits)];
            session.output_share(&mut output)?;
            client.queue_message(Code::Output, &output);
            client.flush_all(reactor, limits.timeout).map_err(ProcessError::ClientLink)?;
        } else if plan.header.options.client == Client::SeedParty {
            answer.extend(session.answer());
        }
        let stats = InferenceStats {
            counter: burned.counter,
            session: hex(&burned.session),
            bytes_sent: sent(peer, client) - sent_before,
            rounds: session.rounds(),
            wall_s: began.elapsed().as_secs_f64(),
            cpu_s: thread_seconds() - processor,
            layers: trace.layers().to_vec(),
            outside: trace.outside(),
        };
        Ok(Outcome { stats, answer })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
