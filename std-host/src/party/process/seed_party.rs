//! P0: everything from its seed. It answers P1's proposals, with pictures of its own or for third clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use halfnet_core::endpoint::{Acceptor, Endpoint, Event, Lent, NoPicture, Nonces};
use halfnet_core::party::input::Input;
use halfnet_core::party::seed::{SeedHalf, inference_key};
use halfnet_core::plan::{Client, Plan, Role};
use halfnet_core::prg::Key;
use halfnet_core::wire::message::{Agreement, Identifier, Reason};

use super::clients::{Clients, refuse};
use super::config::PeerSource;
use super::measure::Measure;
use super::pixels::integers;
use super::report::{self, InferenceStats, PartyStats};
use super::usage::peak_rss_bytes;
use super::{ClientError, LOOK, PartyConfig, ProcessError};
use crate::party::entropy::Entropy;
use crate::party::link::{DriveError, End, Link, LinkError, Reactor, advance, drive};
use crate::party::material::PartyZero;
use crate::party::model::{self, HostModel, HostWeights};
use crate::party::store::Counter;

/// How long a proposal may be ahead of its client's own request.
const GRACE: Duration = Duration::from_secs(2);

/// P0 at work.
struct SeedParty<'a, 'p> {
    config: &'a PartyConfig,
    material: &'a PartyZero,
    plan: &'a Plan<'p>,
    agreement: Agreement,
    counter: Counter,
    nonces: Nonces,
    model: HostModel,
    weight_bytes: u64,
    arena: Vec<u64>,
    reactor: Reactor,
}

impl<'a, 'p> SeedParty<'a, 'p> {
    fn new(
        config: &'a PartyConfig,
        material: &'a PartyZero,
        plan: &'a Plan<'p>,
    ) -> Result<Self, ProcessError> {
        config.check_addresses(material.public.test)?;
        let weights = HostWeights::of_seed_party(plan, material)?;
        Ok(Self {
            config,
            material,
            plan,
            agreement: material.public.agreement(plan),
            counter: Counter::open(&config.counter(), material.public.pairing)?,
            nonces: Entropy::from_flag(config.test_seed.as_deref())?
                .part("halfnet 1 nonces of P0", 0)
                .nonces()?,
            weight_bytes: weights.bytes() as u64,
            model: HostModel::new(Arc::new(weights)),
            arena: vec![0; plan.arena_words(Role::Seed)],
            reactor: Reactor::new()?,
        })
    }

    fn stats(&self) -> PartyStats {
        PartyStats {
            arena_bytes: 8 * self.arena.len() as u64,
            bundle_bytes: 0,
            weight_bytes: self.weight_bytes,
            peak_rss_bytes: peak_rss_bytes(),
        }
    }

    /// As the client: refuses what P1 proposes until it can accept, and runs that inference.
    fn classify(
        &mut self,
        peer: &mut Link,
        picture: &[i32],
    ) -> Result<(InferenceStats, Vec<i64>), ProcessError> {
        let (plan, limits) = (self.plan, self.config.limits());
        let lent = Lent { plan: plan.clone(), model: model::Lent(&mut self.model), arena: &mut self.arena };
        let mut endpoint =
            Acceptor::new(lent, self.agreement, self.counter.next(), &mut self.nonces, picture)?;
        let mut ends = [End::peer(plan, Role::Seed, peer)];
        let handshake = drive(&mut endpoint, &mut ends, &mut self.reactor, &limits, None);
        let (deal, number) = proposed(handshake.map_err(ProcessError::ended(None))?)?;
        burn(&mut endpoint, &mut self.counter, &self.material.seed, &self.agreement, &deal, number)?;
        let mut measure = Measure::new(plan);
        let run = drive(&mut endpoint, &mut ends, &mut self.reactor, &limits, Some(&mut measure.trace));
        let stats = finished(&endpoint, run, &measure)?;
        Ok((stats, endpoint.answer().collect()))
    }

    /// For third clients: refuses what P1 proposes until it can accept, and runs that inference. `None`: told
    /// to stop before it could.
    fn serve(
        &mut self,
        peer: &mut Link,
        clients: &mut Clients,
        shutdown: &AtomicBool,
    ) -> Result<Option<InferenceStats>, ProcessError> {
        let (plan, limits, reactor) = (self.plan, self.config.limits(), &mut self.reactor);
        let lent = Lent { plan: plan.clone(), model: model::Lent(&mut self.model), arena: &mut self.arena };
        let mut endpoint =
            Acceptor::new(lent, self.agreement, self.counter.next(), &mut self.nonces, NoPicture)?;
        let (mut request, mut asked) = (Identifier::default(), None);
        let (deal, number) = loop {
            if shutdown.load(Ordering::Relaxed) {
                return Ok(None);
            }
            clients.poll(reactor)?;
            let ends = &mut [End::peer(plan, Role::Seed, peer)];
            match advance(&mut endpoint, ends, None).map_err(ProcessError::ended(None))? {
                None => reactor.wait(LOOK)?,
                Some(Event::Request(name)) => {
                    request = name;
                    let known = clients.knows(&request);
                    // P1's client asked both of us; its request may still be on its way here.
                    if !known && asked.get_or_insert_with(Instant::now).elapsed() < GRACE {
                        reactor.wait(LOOK)?;
                        continue;
                    }
                    asked = None;
                    endpoint.answer_request(known)?;
                }
                Some(event) => break proposed(event)?,
            }
        };
        burn(&mut endpoint, &mut self.counter, &self.material.seed, &self.agreement, &deal, number)?;
        let mut measure = Measure::new(plan);
        let Some(client) = clients.take(&request) else { return Err(ProcessError::out_of_turn()) };
        let ends = &mut [End::peer(plan, Role::Seed, peer), End::client(plan, client)];
        let run = drive(&mut endpoint, ends, reactor, &limits, Some(&mut measure.trace));
        let stats = finished(&endpoint, run, &measure);
        if stats.is_err() {
            refuse(client, Reason::Aborted);
        }
        clients.restrict();
        stats.map(Some)
    }
}

/// Deal and counter of the proposal that can be accepted.
fn proposed(event: Event) -> Result<(Identifier, u64), ProcessError> {
    match event {
        Event::Burn { deal, counter } => Ok((deal, counter)),
        Event::Refused(error) => Err(error.into()),
        _ => Err(ProcessError::out_of_turn()),
    }
}

/// Burns a proposed counter, durably; until that is done, P1 hears nothing.
fn burn<I: Input>(
    endpoint: &mut Acceptor<'_, '_, SeedHalf, model::Lent<'_>, I>,
    counter: &mut Counter,
    seed: &Key,
    agreement: &Agreement,
    deal: &Identifier,
    number: u64,
) -> Result<(), ProcessError> {
    counter.burn(number)?;
    let half = SeedHalf::new(inference_key(seed, agreement, deal, number));
    endpoint.burned(counter.next(), half).map_err(|source| {
        ProcessError::ended(Some(number))(DriveError::Endpoint { phase: endpoint.phase(), source })
    })
}

/// The figures of an inference, if it came to its end.
fn finished<I: Input>(
    endpoint: &Acceptor<'_, '_, SeedHalf, model::Lent<'_>, I>,
    run: Result<Event, DriveError>,
    measure: &Measure,
) -> Result<InferenceStats, ProcessError> {
    match (run.map_err(ProcessError::ended(endpoint.spent()))?, endpoint.account()) {
        (Event::Done, Some(account)) => Ok(measure.stats(&account)),
        _ => Err(ProcessError::out_of_turn()),
    }
}

/// P0 as the client: classifies pictures, one inference each, over one connection to P1.
///
/// `pictures`: bytes in (channel, row, column) order. The answers come in order: a label alone, or the
/// logits.
///
/// # Errors
/// See [`ProcessError`]; a picture of the wrong size is refused before anything is sent.
pub fn infer_as_seed_party(
    config: &PartyConfig,
    pictures: &[Vec<u8>],
    shutdown: &AtomicBool,
    report: &mut dyn FnMut(report::Event),
) -> Result<Vec<Vec<i64>>, ProcessError> {
    let material = PartyZero::read(&config.material)?;
    let plan = material.public.plan(&config.material)?;
    if plan.header.options.client != Client::SeedParty {
        return Err(ClientError::Third.into());
    }
    let shape = plan.header.model.input;
    if let Some(wrong) = pictures.iter().find(|p| p.len() != shape.elements()) {
        return Err(ProcessError::Picture { expected: shape.elements(), found: wrong.len() });
    }
    let mut party = SeedParty::new(config, &material, &plan)?;
    let mut source = PeerSource::new(&mut party.reactor, &config.peer)?;
    report(report::Event::Listening { peer: source.address()?, clients: None });
    let waiting = Instant::now();
    let mut peer = loop {
        match source.next(&mut party.reactor, config.timeout, "P1")? {
            Some(link) => break link,
            None if shutdown.load(Ordering::Relaxed) => return Err(ProcessError::Stopped),
            None if waiting.elapsed() > config.timeout => {
                return Err(LinkError::Silent { peer: "P1".into(), after: waiting.elapsed() }.into());
            }
            None => {}
        }
    };
    let mut answers = Vec::with_capacity(pictures.len());
    for picture in pictures {
        if shutdown.load(Ordering::Relaxed) {
            return Err(ProcessError::Stopped);
        }
        let integers = integers(&plan.header.model, picture)?;
        let (stats, answer) = party.classify(&mut peer, &integers)?;
        report(report::Event::Inference(stats));
        report(report::Event::Answer { values: answer.clone() });
        answers.push(answer);
    }
    report(report::Event::Finished(party.stats()));
    Ok(answers)
}

/// P0 for third clients.
///
/// # Errors
/// See [`ProcessError`].
pub fn run_seed_party(
    config: &PartyConfig,
    shutdown: &AtomicBool,
    report: &mut dyn FnMut(report::Event),
) -> Result<(), ProcessError> {
    let material = PartyZero::read(&config.material)?;
    let plan = material.public.plan(&config.material)?;
    if plan.header.options.client != Client::Third {
        return Err(ClientError::SeedParty.into());
    }
    let Some(address) = config.clients else {
        return Err(ClientError::NoAddress.into());
    };
    let mut party = SeedParty::new(config, &material, &plan)?;
    let mut clients = Clients::listen(&mut party.reactor, address, config.timeout)?;
    let mut source = PeerSource::new(&mut party.reactor, &config.peer)?;
    report(report::Event::Listening { peer: source.address()?, clients: Some(clients.address()?) });
    let mut done = 0;
    while !shutdown.load(Ordering::Relaxed) {
        let Some(mut peer) = source.next(&mut party.reactor, config.timeout, "P1")? else { continue };
        let served = serve(&mut party, &mut peer, &mut clients, shutdown, &mut done, report);
        let wanted = config.inferences;
        match served {
            Ok(()) => break,
            Err(e) if matches!(&e, ProcessError::Link(l) if l.is_end()) => {
                if let Some(wanted) = wanted {
                    return Err(ProcessError::TooFew { done, wanted });
                }
                source.pause();
            }
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

/// Answers P1's proposals until P1 leaves (an error), the process is to stop, or the wanted number of
/// inferences is done.
fn serve(
    party: &mut SeedParty<'_, '_>,
    peer: &mut Link,
    clients: &mut Clients,
    shutdown: &AtomicBool,
    done: &mut u64,
    report: &mut dyn FnMut(report::Event),
) -> Result<(), ProcessError> {
    while !shutdown.load(Ordering::Relaxed) {
        let Some(stats) = party.serve(peer, clients, shutdown)? else { break };
        report(report::Event::Inference(stats));
        *done += 1;
        if party.config.inferences == Some(*done) {
            break;
        }
    }
    Ok(())
}
