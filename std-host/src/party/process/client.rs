//! A third client: it talks to each party over a connection of its own, and nothing of it passes through the
//! other.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use halfnet_core::packing::{Packer, Unpacker, packed_len};
use halfnet_core::party::session::{combine_outputs, output_shape};
use halfnet_core::plan::{Client, Mode, Plan};
use halfnet_core::ring::low_mask;
use halfnet_core::wire::frame::HEADER;
use halfnet_core::wire::message::{Code, Identifier, MASK, MaskHeader};

use super::pixels::integers;
use super::{ClientError, ProcessError, Reason, check_address};
use crate::party::entropy::Entropy;
use crate::party::link::{Link, LinkError, Reactor, connect, is_message};
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

/// Deal and counter: what names a mask.
type MaskKey = (Identifier, u64);

/// A client with a connection to each party.
pub struct ThirdClient<'p> {
    plan: &'p Plan<'p>,
    links: [Link; 2],
    reactor: Reactor,
    entropy: Entropy,
    timeout: Duration,
    /// Hash of the E sent under each mask, by deal and counter.
    masked: HashMap<MaskKey, blake3::Hash>,
    counter: u64,
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
        let shape = plan.header.input;
        let (words, bits) = output_shape(plan);
        let longest = (MASK + packed_len(shape.elements as usize, shape.bits)).max(packed_len(words, bits));
        let mut open = |address: SocketAddr, who: &'static str| {
            let stream = connect(address, config.timeout).map_err(|source| ProcessError::Connect {
                who,
                address,
                source,
            })?;
            let mut link = Link::new(&mut reactor, stream, who)?;
            link.set_limit(HEADER + longest);
            Ok::<_, ProcessError>(link)
        };
        let links = [open(config.parties[0], "P0")?, open(config.parties[1], "P1")?];
        let entropy =
            Entropy::from_flag(config.test_seed.as_deref())?.part("halfnet 1 requests of a client", 0);
        Ok(Self {
            plan,
            links,
            reactor,
            entropy,
            timeout: config.timeout,
            masked: HashMap::new(),
            counter: 0,
        })
    }

    /// Classifies one picture: a label alone, or the logits.
    ///
    /// # Shapes
    /// `picture`: the model's input, bytes in (channel, row, column) order.
    ///
    /// # Errors
    /// The picture has another size, a party refused, left or contradicted the other.
    pub fn infer(&mut self, picture: &[u8]) -> Result<Vec<i64>, ProcessError> {
        let header = &self.plan.header;
        let shape = header.model.input;
        if picture.len() != shape.elements() {
            return Err(ProcessError::Picture { expected: shape.elements(), found: picture.len() });
        }
        let integers = integers(&header.model, picture)?;
        let request: Identifier = *self.entropy.bytes()?;
        for link in &mut self.links {
            link.queue_message(Code::Request, &request);
        }
        let masks = self.receive(Code::Mask)?;
        let packed = packed_len(header.input.elements as usize, header.input.bits);
        let (key, words) = self.agreed(&masks, &request, packed)?;
        let masked = mask(self.plan, &integers, words);
        self.counter = key.1;
        // One E under one A, ever: the same bytes may go again, anything else needs a fresh counter.
        let hash = blake3::hash(&masked);
        if *self.masked.entry(key).or_insert(hash) != hash {
            return Err(ProcessError::MaskReused { counter: key.1 });
        }
        let held = header.options.mode == Mode::Held;
        for (index, link) in self.links.iter_mut().enumerate() {
            if index == 1 || !held {
                link.queue_message(Code::Masked, &masked);
            }
        }
        let outputs = self.receive(Code::Output)?;
        let (words, bits) = output_shape(self.plan);
        let expected = packed_len(words, bits);
        for (output, link) in outputs.iter().zip(&self.links) {
            if output.len() != expected {
                return Err(ProcessError::WrongLength {
                    who: link.peer().into(),
                    what: "output",
                    expected,
                    found: output.len(),
                });
            }
        }
        Ok(combine_outputs(self.plan, [&outputs[0], &outputs[1]])?.collect())
    }

    /// The counter of the last inference.
    #[must_use]
    pub const fn counter(&self) -> u64 {
        self.counter
    }

    /// Do both parties speak of this request, and of one counter in one session?
    fn agreed<'m>(
        &self,
        masks: &'m [Vec<u8>; 2],
        request: &Identifier,
        packed: usize,
    ) -> Result<(MaskKey, [&'m [u8]; 2]), ProcessError> {
        let mut read = Vec::with_capacity(2);
        for (mask, link) in masks.iter().zip(&self.links) {
            let who = || link.peer().to_owned();
            let (header, words) =
                MaskHeader::decode(mask).map_err(|source| ProcessError::Message { peer: who(), source })?;
            if words.len() != packed {
                return Err(ProcessError::WrongLength {
                    who: who(),
                    what: "mask",
                    expected: packed,
                    found: words.len(),
                });
            }
            read.push((header, words));
        }
        let [(a, first), (b, second)] = read[..] else {
            return Err(ProcessError::PartiesDiffer { what: "their number" });
        };
        let checks = [
            (a.request != *request || b.request != *request, "the request"),
            (a.deal != b.deal, "the deal"),
            (a.acknowledge.counter != b.acknowledge.counter, "the counter"),
            (a.acknowledge.session != b.acknowledge.session, "the session"),
        ];
        match checks.into_iter().find(|(differs, _)| *differs) {
            Some((_, what)) => Err(ProcessError::PartiesDiffer { what }),
            None => Ok(((a.deal, a.acknowledge.counter), [first, second])),
        }
    }

    /// One message of each party.
    fn receive(&mut self, code: Code) -> Result<[Vec<u8>; 2], ProcessError> {
        let mut found = [None, None];
        self.links.iter_mut().for_each(Link::touch);
        loop {
            for (link, found) in self.links.iter_mut().zip(&mut found) {
                link.flush()?;
                if found.is_some() {
                    continue;
                }
                link.fill()?;
                match link.take_any()? {
                    None => {}
                    Some((header, payload)) if is_message(&header, code) => *found = Some(payload),
                    Some((header, payload)) if is_message(&header, Code::Failed) => {
                        let reason = payload.first().and_then(|&byte| Reason::of(byte));
                        return Err(ProcessError::Refused { who: link.peer().to_owned(), reason });
                    }
                    Some((header, _)) => {
                        return Err(LinkError::Unexpected {
                            peer: link.peer().to_owned(),
                            found: header,
                            expected: code,
                        }
                        .into());
                    }
                }
            }
            if let [Some(_), Some(_)] = found {
                return Ok(found.map(Option::unwrap_or_default));
            }
            let waits_for = usize::from(found[0].is_some());
            self.links[waits_for].wait(&mut self.reactor, self.timeout)?;
        }
    }
}

/// E = X − (A_0 + A_1) in the input wire's ring, packed.
pub(crate) fn mask(plan: &Plan<'_>, integers: &[i32], shares: [&[u8]; 2]) -> Vec<u8> {
    let input = plan.header.input;
    let mut unpackers = shares.map(Unpacker::new);
    let mut packed = vec![0; packed_len(integers.len(), input.bits)];
    let mut packer = Packer::new(&mut packed);
    for integer in integers {
        let mut value = i64::from(*integer) as u64;
        for unpacker in &mut unpackers {
            value = value.wrapping_sub(unpacker.next(input.bits).expect("the shares' length was checked"));
        }
        packer.extend(&[value & low_mask(input.bits)], input.bits);
    }
    packer.fill().expect("as many bytes as the elements take");
    packed
}
