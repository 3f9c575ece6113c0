//! P0: everything from its seed. It answers P1's proposals, with pictures of its own or for third clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use halfnet_core::party::seed::{SeedHalf, inference_key};
use halfnet_core::plan::{Client, Plan, Role};
use halfnet_core::wire::message::{Agreement, Code, Hello, Identifier};

use super::clients::{Clients, refuse};
use super::config::PeerSource;
use super::handshake::{Acceptor, Answer, Burned};
use super::inference::{Desk, Outcome};
use super::pixels::integers;
use super::report::{Event, PartyStats};
use super::usage::peak_rss_bytes;
use super::{ClientError, PartyConfig, ProcessError, Reason};
use crate::party::entropy::Entropy;
use crate::party::link::{Link, LinkError, Reactor};
use crate::party::material::PartyZero;
use crate::party::model::{HostModel, HostWeights};
use crate::party::store::Counter;

/// How long a proposal may be ahead of its client's own request.
const GRACE: Duration = Duration::from_secs(2);
/// Between looks at the flag that stops the process.
const LOOK: Duration = Duration::from_millis(100);

/// P0 at work.
struct SeedParty<'a, 'p> {
    config: &'a PartyConfig,
    material: &'a PartyZero,
    plan: &'a Plan<'p>,
    agreement: Agreement,
    counter: Counter,
    entropy: Entropy,
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
            entropy: Entropy::from_flag(config.test_seed.as_deref())?.part("halfnet 1 nonces of P0", 0),
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

    fn answer(&mut self, link: &mut Link, hello: &Hello, known: bool) -> Result<Answer, ProcessError> {
        let Self { agreement, counter, entropy, .. } = self;
        Acceptor { link, agreement, counter, entropy }.answer(hello, known)
    }

    fn read_hello(&mut self, link: &mut Link, payload: &[u8]) -> Result<Hello, ProcessError> {
        let Self { agreement, counter, entropy, .. } = self;
        Acceptor { link, agreement, counter, entropy }.read(payload)
    }

    fn run(
        &mut self,
        peer: &mut Link,
        client: Option<&mut Link>,
        burned: &Burned,
        input: Option<&[i32]>,
    ) -> Result<Outcome, ProcessError> {
        let key = inference_key(&self.material.seed, &self.agreement, &burned.deal, burned.counter);
        let limits = self.config.limits();
        let desk = Desk {
            plan: self.plan,
            reactor: &mut self.reactor,
            peer,
            client,
            model: &mut self.model,
            arena: &mut self.arena,
            limits: &limits,
        };
        desk.run(burned, SeedHalf::new(key), input)
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
    report: &mut dyn FnMut(Event),
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
    report(Event::Listening { peer: source.address()?, clients: None });
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
        let burned = loop {
            let payload = peer.receive_message(&mut party.reactor, Code::Hello, config.timeout)?;
            let hello = party.read_hello(&mut peer, &payload)?;
            if let Answer::Burned(burned) = party.answer(&mut peer, &hello, true)? {
                break burned;
            }
        };
        let outcome = party.run(&mut peer, None, &burned, Some(&integers))?;
        report(Event::Inference(outcome.stats));
        report(Event::Answer { values: outcome.answer.clone() });
        answers.push(outcome.answer);
    }
    report(Event::Finished(party.stats()));
    Ok(answers)
}

/// P0 for third clients.
///
/// # Errors
/// See [`ProcessError`].
pub fn run_seed_party(
    config: &PartyConfig,
    shutdown: &AtomicBool,
    report: &mut dyn FnMut(Event),
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
    report(Event::Listening { peer: source.address()?, clients: Some(clients.address()?) });
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
                report(Event::Failed { reason: e.to_string() });
                source.pause();
            }
            Err(e) => return Err(e),
        }
    }
    report(Event::Finished(party.stats()));
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
    report: &mut dyn FnMut(Event),
) -> Result<(), ProcessError> {
    let mut pending: Option<(Hello, Instant)> = None;
    while !shutdown.load(Ordering::Relaxed) {
        clients.poll(&mut party.reactor)?;
        peer.flush()?;
        peer.fill()?;
        if pending.is_none()
            && let Some(payload) = peer.take_message(Code::Hello)?
        {
            pending = Some((party.read_hello(peer, &payload)?, Instant::now()));
        }
        let Some((hello, since)) = pending else {
            party.reactor.wait(LOOK)?;
            continue;
        };
        // P1's client asked both of us; its request may still be on its way here.
        let known = clients.knows(&hello.request);
        if !known && since.elapsed() < GRACE && hello.counter >= party.counter.next() {
            party.reactor.wait(LOOK)?;
            continue;
        }
        pending = None;
        let Answer::Burned(burned) = party.answer(peer, &hello, known)? else { continue };
        run_for_client(party, peer, clients, &burned, report)?;
        *done += 1;
        if party.config.inferences == Some(*done) {
            return Ok(());
        }
    }
    Ok(())
}

fn run_for_client(
    party: &mut SeedParty<'_, '_>,
    peer: &mut Link,
    clients: &mut Clients,
    burned: &Burned,
    report: &mut dyn FnMut(Event),
) -> Result<(), ProcessError> {
    let request: Identifier = burned.request;
    let Some(client) = clients.take(&request) else { return Err(ProcessError::UnknownRequest) };
    let outcome = party.run(peer, Some(client), burned, None);
    if outcome.is_err() {
        refuse(client, Reason::Aborted);
    }
    clients.restrict();
    report(Event::Inference(outcome?.stats));
    Ok(())
}
