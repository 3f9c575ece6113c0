//! A third client: it talks to each party over a connection of its own, and nothing of it passes through the
//! other.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use halfnet_core::endpoint::client::memory_bytes;
use halfnet_core::endpoint::{self, Event};
use halfnet_core::plan::{Client, Plan, Role};
use halfnet_core::wire::message::Identifier;

use super::pixels::integers;
use super::{ClientError, ProcessError, check_address};
use crate::party::entropy::Entropy;
use crate::party::link::{End, Limits, Link, Reactor, connect, drive};
use crate::party::material::Public;

/// What a third client is told.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// `plan.postcard`.
    pub plan: PathBuf,
    /// P0's and P1's addresses for clients.
    pub parties: [SocketAddr; 2],
    /// Allow addresses that are not loopback.
    pub insecure_plaintext: bool,
    /// Names of requests from a test seed, for repeatable runs.
    pub test_seed: Option<String>,
    /// How long a party may be silent.
    pub timeout: Duration,
}

/// A client with a connection to each party.
pub struct ThirdClient<'p> {
    plan: &'p Plan<'p>,
    links: [Link; 2],
    reactor: Reactor,
    entropy: Entropy,
    limits: Limits,
    /// What an endpoint works in.
    memory: Vec<u8>,
    /// Hash of the E sent under each mask, by deal and counter.
    masked: HashMap<(Identifier, u64), [u8; 32]>,
    counter: u64,
    /// An inference ended early: what the parties still say of it may be on its way.
    ended: bool,
}

impl core::fmt::Debug for ThirdClient<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "ThirdClient({:?})", self.links)
    }
}

impl<'p> ThirdClient<'p> {
    /// Connects to both parties.
    ///
    /// # Errors
    /// An address is not allowed or cannot be reached, or the plan's client is P0.
    pub fn connect(config: &ClientConfig, public: &Public, plan: &'p Plan<'p>) -> Result<Self, ProcessError> {
        if plan.header.options.client != Client::Third {
            return Err(ClientError::SeedParty.into());
        }
        for address in config.parties {
            check_address(address, config.insecure_plaintext, public.test || config.test_seed.is_some())?;
        }
        let mut reactor = Reactor::new()?;
        let mut open = |address: SocketAddr, who: &'static str| {
            let stream = connect(address, config.timeout).map_err(|source| ProcessError::Connect {
                who,
                address,
                source,
            })?;
            Ok::<_, ProcessError>(Link::new(&mut reactor, stream, who)?)
        };
        let links = [open(config.parties[0], "P0")?, open(config.parties[1], "P1")?];
        let entropy =
            Entropy::from_flag(config.test_seed.as_deref())?.part("halfnet 1 requests of a client", 0);
        Ok(Self {
            plan,
            links,
            reactor,
            entropy,
            limits: Limits { timeout: config.timeout },
            memory: vec![0; memory_bytes(plan)],
            masked: HashMap::new(),
            counter: 0,
            ended: false,
        })
    }

    /// Classifies one picture: a label alone, or the logits.
    ///
    /// # Shapes
    /// `picture`: the model's input, bytes in (channel, row, column) order.
    ///
    /// # Errors
    /// The picture has another size, a party refused, left or contradicted the other. After any error but the
    /// first, connect anew.
    pub fn infer(&mut self, picture: &[u8]) -> Result<Vec<i64>, ProcessError> {
        let Self { plan, links, reactor, entropy, limits, memory, masked, counter, ended } = self;
        if *ended {
            return Err(ProcessError::ClientEnded);
        }
        let shape = plan.header.model.input;
        if picture.len() != shape.elements() {
            return Err(ProcessError::Picture { expected: shape.elements(), found: picture.len() });
        }
        let integers = integers(&plan.header.model, picture)?;
        let request: Identifier = *entropy.bytes()?;
        *ended = true;
        let mut endpoint = endpoint::ThirdClient::new(plan, request, &integers[..], memory)?;
        let [zero, one] = links;
        let mut ends = [End::of_client(plan, Role::Seed, zero), End::of_client(plan, Role::Bundle, one)];
        loop {
            let event = drive(&mut endpoint, &mut ends, reactor, limits, None);
            match event.map_err(ProcessError::ended(None))? {
                Event::Masked { deal, counter: number, hash } => {
                    *counter = number;
                    // One E under one A, ever: the same bytes may go again, anything else needs a fresh counter.
                    if *masked.entry((deal, number)).or_insert(hash) != hash {
                        return Err(ProcessError::MaskReused { counter: number });
                    }
                    endpoint.send_masked()?;
                }
                Event::Done => {
                    *ended = false;
                    return Ok(endpoint.answer().collect());
                }
                _ => return Err(ProcessError::out_of_turn()),
            }
        }
    }

    /// The counter of the last inference.
    #[must_use]
    pub const fn counter(&self) -> u64 {
        self.counter
    }
}
