//! P1: one bundle an inference. It proposes counters: for every request of a third client, or whenever P0, as
//! the client, is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use halfnet_core::endpoint::{self, Endpoint, EndpointError, Event, Lent, Nonces, Who};
use halfnet_core::party::bundle::BundleHalf;
use halfnet_core::plan::cost::input_section_bytes;
use halfnet_core::plan::{Client, Plan, Role};
use halfnet_core::wire::frame::{HEADER, Header};
use halfnet_core::wire::message::{Agreement, Code, Identifier, Reason};

use super::clients::{Clients, refuse};
use super::config::PeerSource;
use super::measure::Measure;
use super::report::{self, PartyStats};
use super::usage::peak_rss_bytes;
use super::{ClientError, LOOK, PartyConfig, ProcessError};
use crate::party::entropy::Entropy;
use crate::party::link::{DriveError, End, Limits, Link, Reactor, drive};
use crate::party::material::PartyOne;
use crate::party::model::{self, HostModel, HostWeights};
use crate::party::store::{BundleStore, StoreError, Windows};

/// P1 at work.
struct BundleParty<'a, 'p> {
    config: &'a PartyConfig,
    plan: &'a Plan<'p>,
    agreement: Agreement,
    store: BundleStore,
    nonces: Nonces,
    model: HostModel,
    weight_bytes: u64,
    arena: Vec<u64>,
    reactor: Reactor,
}

/// P1, for P0 as the client or for third clients.
///
/// # Errors
/// See [`ProcessError`].
pub fn run_bundle_party(
    config: &PartyConfig,
    shutdown: &AtomicBool,
    report: &mut dyn FnMut(report::Event),
) -> Result<(), ProcessError> {
    let material = PartyOne::open(&config.material)?;
    let plan = material.public.plan(&config.material)?;
    let third = plan.header.options.client == Client::Third;
    if third != config.clients.is_some() {
        return Err(if third { ClientError::NoAddress } else { ClientError::Nobody }.into());
    }
    config.check_addresses(material.public.test)?;
    let agreement = material.public.agreement(&plan);
    let weights = HostWeights::of_bundle_party(&plan, &material)?;
    let mut party = BundleParty {
        config,
        plan: &plan,
        agreement,
        store: BundleStore::open(&config.bundles(), agreement, &plan)?,
        nonces: Entropy::from_flag(config.test_seed.as_deref())?
            .part("halfnet 1 nonces of P1", 0)
            .nonces()?,
        weight_bytes: weights.bytes() as u64,
        model: HostModel::new(Arc::new(weights)),
        arena: vec![0; plan.arena_words(Role::Bundle)],
        reactor: Reactor::new()?,
    };
    let mut clients = config
        .clients
        .map(|address| Clients::listen(&mut party.reactor, address, config.timeout))
        .transpose()?;
    let mut source = PeerSource::new(&mut party.reactor, &config.peer)?;
    let client_address = clients.as_ref().map(Clients::address).transpose()?;
    report(report::Event::Listening { peer: source.address()?, clients: client_address });
    let mut done = 0;
    while !shutdown.load(Ordering::Relaxed) {
        let Some(mut peer) = source.next(&mut party.reactor, config.timeout, "P0")? else { continue };
        let served = match &mut clients {
            Some(clients) => party.serve_clients(&mut peer, clients, shutdown, &mut done, report),
            None => party.serve_seed_party(&mut peer, shutdown, &mut done, report),
        };
        match served {
            Ok(()) => break,
            // P0 left between two inferences.
            Err(ProcessError::Link(e)) if e.is_end() => match (config.inferences, source.address()?) {
                (Some(wanted), _) => return Err(ProcessError::TooFew { done, wanted }),
                (None, Some(_)) => {}
                (None, None) => break,
            },
            Err(e) if config.keep_going => {
                report(report::Event::Failed { reason: e.to_string() });
                source.pause();
            }
            Err(e) => return Err(e),
        }
    }
    report(report::Event::Finished(party.stats()));
    Ok(())
}

impl BundleParty<'_, '_> {
    fn stats(&self) -> PartyStats {
        PartyStats {
            arena_bytes: 8 * self.arena.len() as u64,
            bundle_bytes: self.store.body_bytes(),
            weight_bytes: self.weight_bytes,
            peak_rss_bytes: peak_rss_bytes(),
        }
    }

    /// Proposes counters until P0 accepts one, and runs that inference, for P0 or for a third client's request.
    fn infer(
        &mut self,
        peer: &mut Link,
        mut asked: Option<(&mut Clients, Identifier)>,
        report: &mut dyn FnMut(report::Event),
    ) -> Result<(), ProcessError> {
        let (plan, limits, reactor) = (self.plan, self.config.limits(), &mut self.reactor);
        let lent = Lent { plan: plan.clone(), model: model::Lent(&mut self.model), arena: &mut self.arena };
        let request = asked.as_ref().map_or(Identifier::default(), |(_, request)| *request);
        let mut endpoint = Proposer::new(lent, self.agreement, request, &mut self.nonces)?;
        let agreed = agree(&mut endpoint, plan, peer, reactor, &mut self.store, &limits, report);
        if let (Err(error), Some((clients, request))) = (&agreed, &mut asked) {
            clients.refuse(request, reason(error));
        }
        agreed?;
        let mut measure = Measure::new(plan);
        let mut ends = vec![End::peer(plan, Role::Bundle, peer)];
        let mut client = match &mut asked {
            Some((clients, request)) => Some(clients.take(request).ok_or_else(ProcessError::out_of_turn)?),
            None => None,
        };
        ends.extend(client.as_deref_mut().map(|client| End::client(plan, client)));
        let run = drive(&mut endpoint, &mut ends, reactor, &limits, Some(&mut measure.trace));
        let run = run.map_err(ProcessError::ended(endpoint.spent()));
        if let (Err(_), Some(client)) = (&run, client) {
            refuse(client, Reason::Aborted);
        }
        if let Some((clients, _)) = asked {
            clients.restrict();
        }
        match (run?, endpoint.account()) {
            (Event::Done, Some(account)) => report(report::Event::Inference(measure.stats(&account))),
            _ => return Err(ProcessError::out_of_turn()),
        }
        Ok(())
    }

    /// P0 is the client: it is there because it has a question.
    fn serve_seed_party(
        &mut self,
        peer: &mut Link,
        shutdown: &AtomicBool,
        done: &mut u64,
        report: &mut dyn FnMut(report::Event),
    ) -> Result<(), ProcessError> {
        while !shutdown.load(Ordering::Relaxed) {
            self.infer(peer, None, report)?;
            *done += 1;
            if self.config.inferences == Some(*done) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Proposes a counter for every request of a third client.
    fn serve_clients(
        &mut self,
        peer: &mut Link,
        clients: &mut Clients,
        shutdown: &AtomicBool,
        done: &mut u64,
        report: &mut dyn FnMut(report::Event),
    ) -> Result<(), ProcessError> {
        while !shutdown.load(Ordering::Relaxed) {
            clients.poll(&mut self.reactor)?;
            let Some(request) = clients.first_request() else {
                // Notice that P0 left.
                peer.fill()?;
                if let Some(frame) = peer.frame()? {
                    let found = frame.first_chunk::<HEADER>().map(Header::decode);
                    let found = found.ok_or_else(ProcessError::out_of_turn)?;
                    // It has nothing to say before a proposal.
                    let (from, expected) = (Who::Seed, Code::Hello);
                    return Err(EndpointError::Unexpected { from, found, expected }.into());
                }
                self.reactor.wait(LOOK)?;
                continue;
            };
            match self.infer(peer, Some((&mut *clients, request)), report) {
                // Its client has been told, and may have been faster than its other request.
                Err(error) if error.endpoint() == Some(EndpointError::UnknownRequest) => continue,
                outcome => outcome?,
            }
            *done += 1;
            if self.config.inferences == Some(*done) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// P1's end, over a bundle on disk.
type Proposer<'p, 'm> = endpoint::Proposer<'p, 'm, BundleHalf<Windows>, model::Lent<'m>>;

/// Proposes the lowest counter that there is a bundle for until P0 accepts one, and burns that bundle.
fn agree(
    endpoint: &mut Proposer<'_, '_>,
    plan: &Plan<'_>,
    peer: &mut Link,
    reactor: &mut Reactor,
    store: &mut BundleStore,
    limits: &Limits,
    report: &mut dyn FnMut(report::Event),
) -> Result<(), ProcessError> {
    let (mut proposed, mut dropped) = (None, None);
    let mut ends = [End::peer(plan, Role::Bundle, peer)];
    loop {
        let event = drive(endpoint, &mut ends, reactor, limits, None);
        match event.map_err(ProcessError::ended(None))? {
            Event::Propose { below } => {
                if let Some(next) = below {
                    let bundles = store.drop_below(next)?;
                    report(report::Event::Dropped { next, bundles });
                    dropped = Some((next, bundles));
                }
                let bundle = match (store.lowest(), dropped) {
                    (Err(StoreError::Empty { .. }), Some((next, dropped))) => {
                        return Err(ProcessError::OldCounter { next, dropped });
                    }
                    (bundle, _) => bundle?,
                };
                endpoint.propose(bundle.header().deal, bundle.header().counter)?;
                proposed = Some(bundle);
            }
            Event::Burn { counter, .. } => {
                let bundle = proposed.take().ok_or_else(ProcessError::out_of_turn)?;
                let half = BundleHalf::new(bundle.burn(store)?, input_section_bytes(&plan.header));
                return endpoint.burned(half).map_err(|source| {
                    ProcessError::ended(Some(counter))(DriveError::Endpoint {
                        phase: endpoint.phase(),
                        source,
                    })
                });
            }
            _ => return Err(ProcessError::out_of_turn()),
        }
    }
}

/// What a client is told of a handshake that failed.
fn reason(error: &ProcessError) -> Reason {
    match error {
        ProcessError::Store(StoreError::Empty { .. }) | ProcessError::OldCounter { .. } => Reason::NoBundle,
        error if error.endpoint() == Some(EndpointError::UnknownRequest) => Reason::UnknownRequest,
        _ => Reason::Parties,
    }
}
