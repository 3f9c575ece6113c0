//! P1: one bundle an inference. It proposes counters: for every request of a third client, or whenever P0, as
//! the client, is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use halfnet_core::party::bundle::BundleHalf;
use halfnet_core::plan::cost::input_section_bytes;
use halfnet_core::plan::{Client, Plan, Role};
use halfnet_core::wire::message::{Agreement, Identifier};

use super::clients::{Clients, refuse};
use super::config::PeerSource;
use super::handshake::{Burned, Proposer};
use super::inference::Desk;
use super::report::{Event, PartyStats};
use super::usage::peak_rss_bytes;
use super::{ClientError, PartyConfig, ProcessError, Reason};
use crate::party::entropy::Entropy;
use crate::party::link::{Link, Reactor};
use crate::party::material::PartyOne;
use crate::party::model::{HostModel, HostWeights};
use crate::party::store::{BundleStore, StoreError, Windows};

/// Between looks at the flag that stops the process.
const LOOK: Duration = Duration::from_millis(100);

/// P1 at work.
struct BundleParty<'a, 'p> {
    config: &'a PartyConfig,
    plan: &'a Plan<'p>,
    agreement: Agreement,
    store: BundleStore,
    entropy: Entropy,
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
    report: &mut dyn FnMut(Event),
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
        entropy: Entropy::from_flag(config.test_seed.as_deref())?.part("halfnet 1 nonces of P1", 0),
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
    report(Event::Listening { peer: source.address()?, clients: client_address });
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
                report(Event::Failed { reason: e.to_string() });
                source.pause();
            }
            Err(e) => return Err(e),
        }
    }
    report(Event::Finished(party.stats()));
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

    fn propose(
        &mut self,
        peer: &mut Link,
        request: Identifier,
        report: &mut dyn FnMut(Event),
    ) -> Result<(Burned, Windows), ProcessError> {
        let limits = self.config.limits();
        let Self { agreement, store, entropy, reactor, .. } = self;
        Proposer { reactor, link: peer, agreement, store, entropy, limits: &limits }.propose(request, report)
    }

    fn run(
        &mut self,
        peer: &mut Link,
        client: Option<&mut Link>,
        burned: &Burned,
        windows: Windows,
        report: &mut dyn FnMut(Event),
    ) -> Result<(), ProcessError> {
        let limits = self.config.limits();
        let half = BundleHalf::new(windows, input_section_bytes(&self.plan.header));
        let desk = Desk {
            plan: self.plan,
            reactor: &mut self.reactor,
            peer,
            client,
            model: &mut self.model,
            arena: &mut self.arena,
            limits: &limits,
        };
        report(Event::Inference(desk.run(burned, half, None)?.stats));
        Ok(())
    }

    /// P0 is the client: it is there because it has a question.
    fn serve_seed_party(
        &mut self,
        peer: &mut Link,
        shutdown: &AtomicBool,
        done: &mut u64,
        report: &mut dyn FnMut(Event),
    ) -> Result<(), ProcessError> {
        while !shutdown.load(Ordering::Relaxed) {
            let (burned, windows) = self.propose(peer, [0; 16], report)?;
            self.run(peer, None, &burned, windows, report)?;
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
        report: &mut dyn FnMut(Event),
    ) -> Result<(), ProcessError> {
        while !shutdown.load(Ordering::Relaxed) {
            clients.poll(&mut self.reactor)?;
            let Some(request) = clients.first_request() else {
                // Notice that P0 left.
                peer.fill()?;
                if let Some((header, _)) = peer.take_any()? {
                    let found = halfnet_core::wire::message::Code::Hello;
                    return Err(crate::party::link::LinkError::Unexpected {
                        peer: peer.peer().to_owned(),
                        found: header,
                        expected: found,
                    }
                    .into());
                }
                self.reactor.wait(LOOK)?;
                continue;
            };
            let (burned, windows) = match self.propose(peer, request, report) {
                Ok(proposed) => proposed,
                Err(ProcessError::UnknownRequest) => {
                    clients.refuse(&request, Reason::UnknownRequest);
                    continue;
                }
                Err(e) => {
                    let empty = matches!(
                        e,
                        ProcessError::Store(StoreError::Empty { .. }) | ProcessError::OldCounter { .. }
                    );
                    clients.refuse(&request, if empty { Reason::NoBundle } else { Reason::Parties });
                    return Err(e);
                }
            };
            let Some(client) = clients.take(&request) else { return Err(ProcessError::UnknownRequest) };
            let outcome = self.run(peer, Some(client), &burned, windows, report);
            if outcome.is_err() {
                refuse(client, Reason::Aborted);
            }
            clients.restrict();
            outcome?;
            *done += 1;
            if self.config.inferences == Some(*done) {
                return Ok(());
            }
        }
        Ok(())
    }
}
