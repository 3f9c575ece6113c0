//! The whole exchange between the ends of an inference, and what each of them refuses.

mod small;

use std::collections::VecDeque;

use halfnet_core::endpoint::{
    self, Acceptor, Account, Endpoint, EndpointError, Event, NoPicture, Phase, Proposer, ThirdClient, Who,
    client,
};
use halfnet_core::plan::cost::plan_cost;
use halfnet_core::plan::{Client, Mode, Options, Release, Role, compile};
use halfnet_core::wire::message::Code;
use small::{DEAL, Dealt, nonces};

const PICTURE: [i32; 4] = [10, 20, 30, 40];

/// Frames on their way.
#[derive(Default)]
struct Wires {
    waiting: Vec<(Who, Who, VecDeque<Vec<u8>>)>,
    /// Sender, receiver and step of every frame, in the order of sending.
    log: Vec<(Who, Who, u8)>,
}

impl Wires {
    fn queue(&mut self, from: Who, to: Who) -> &mut VecDeque<Vec<u8>> {
        let at = self.waiting.iter().position(|(a, b, _)| (*a, *b) == (from, to));
        let at = at.unwrap_or_else(|| {
            self.waiting.push((from, to, VecDeque::new()));
            self.waiting.len() - 1
        });
        &mut self.waiting[at].2
    }

    /// Moves frames until none moves any more.
    fn pump(&mut self, ends: &mut [(Who, &mut dyn Endpoint)]) -> Result<(), EndpointError> {
        let mut buffer = vec![0; 4096];
        loop {
            let mut moved = false;
            for (own, end) in &mut *ends {
                let own = *own;
                for other in [Who::Seed, Who::Bundle, Who::Client].into_iter().filter(|&other| other != own) {
                    while let Some(length) = end.poll_transmit(other, &mut buffer)? {
                        self.log.push((own, other, buffer[2]));
                        self.queue(own, other).push_back(buffer[..length].to_vec());
                        moved = true;
                    }
                    let ready = end.can_receive(other);
                    if let Some(frame) = ready.then(|| self.queue(other, own).pop_front()).flatten() {
                        assert!(frame.len() <= end.longest_frame(other));
                        end.handle_frame(other, &frame)?;
                        moved = true;
                    }
                }
            }
            if !moved {
                return Ok(());
            }
        }
    }

    fn are_empty(&self) -> bool {
        self.waiting.iter().all(|(_, _, queue)| queue.is_empty())
    }
}

/// P0 as the client: the answer, and what moved.
fn infer_own(dealt: &Dealt) -> (Vec<i64>, Wires) {
    let [mut memory_0, mut memory_1] = [Role::Seed, Role::Bundle].map(|role| dealt.memory(role));
    let [mut nonces_0, mut nonces_1] = [nonces(1), nonces(2)];
    let bundle = dealt.bundle(4);
    let (lent, agreement) = (dealt.seed_lent(&mut memory_0), dealt.agreement());
    let mut zero = Acceptor::new(lent, agreement, 3, &mut nonces_0, &PICTURE[..]).unwrap();
    let lent = dealt.bundle_lent(&mut memory_1);
    let mut one = Proposer::new(lent, agreement, [0; 16], &mut nonces_1).unwrap();
    let mut wires = Wires::default();
    // P1 proposes a burned counter first.
    assert_eq!(one.event(), Some(Event::Propose { below: None }));
    one.propose(DEAL, 2).unwrap();
    wires.pump(&mut [(Who::Seed, &mut zero), (Who::Bundle, &mut one)]).unwrap();
    assert_eq!(one.event(), Some(Event::Propose { below: Some(3) }));
    assert_eq!(one.propose(DEAL, 2), Err(EndpointError::Misuse));
    one.propose(DEAL, 4).unwrap();
    wires.pump(&mut [(Who::Seed, &mut zero), (Who::Bundle, &mut one)]).unwrap();
    let burn = Some(Event::Burn { deal: DEAL, counter: 4 });
    assert_eq!((zero.event(), one.event(), zero.phase()), (burn, None, Phase::Caller));
    // Nothing is said before the counter is burned.
    let said = wires.log.len();
    assert_eq!((zero.spent(), zero.account()), (None, None));
    zero.burned(5, dealt.seed_half(4)).unwrap();
    wires.pump(&mut [(Who::Seed, &mut zero), (Who::Bundle, &mut one)]).unwrap();
    assert_eq!((one.event(), one.spent()), (burn, None));
    // P0 has said that it burned, and waits: not a byte of E has left.
    let codes: Vec<_> = wires.log[said..].iter().map(|(from, _, code)| (*from, *code)).collect();
    assert_eq!(codes, [(Who::Seed, Code::Reply as u8), (Who::Seed, Code::Acknowledge as u8)]);
    assert_eq!(zero.phase(), Phase::Acknowledge);
    one.burned(dealt.bundle_half(&bundle)).unwrap();
    wires.pump(&mut [(Who::Seed, &mut zero), (Who::Bundle, &mut one)]).unwrap();
    assert_eq!((zero.event(), one.event()), (Some(Event::Done), Some(Event::Done)));
    check_accounts(dealt, zero.account().unwrap(), one.account().unwrap());
    assert!(wires.are_empty());
    (zero.answer().collect(), wires)
}

/// A third client: the answer, and what moved.
fn infer_third(dealt: &Dealt) -> (Vec<i64>, Wires) {
    let plan = dealt.plan();
    let [mut memory_0, mut memory_1] = [Role::Seed, Role::Bundle].map(|role| dealt.memory(role));
    let [mut nonces_0, mut nonces_1] = [nonces(1), nonces(2)];
    let (bundle, request) = (dealt.bundle(4), [5; 16]);
    let mut memory = vec![0; client::memory_bytes(&plan)];
    let mut asking = ThirdClient::new(&plan, request, &PICTURE[..], &mut memory).unwrap();
    let mut wires = Wires::default();
    wires.pump(&mut [(Who::Client, &mut asking)]).unwrap();
    // A party reads requests itself, for it has many clients.
    for party in [Who::Seed, Who::Bundle] {
        let frame = wires.queue(Who::Client, party).pop_front().unwrap();
        assert_eq!(endpoint::read_request(&frame), Ok(request));
    }
    let (lent, agreement) = (dealt.seed_lent(&mut memory_0), dealt.agreement());
    let mut zero = Acceptor::new(lent, agreement, 0, &mut nonces_0, NoPicture).unwrap();
    let lent = dealt.bundle_lent(&mut memory_1);
    let mut one = Proposer::new(lent, agreement, request, &mut nonces_1).unwrap();
    one.propose(DEAL, 4).unwrap();
    wires.pump(&mut [(Who::Seed, &mut zero), (Who::Bundle, &mut one)]).unwrap();
    assert_eq!(zero.event(), Some(Event::Request(request)));
    zero.answer_request(true).unwrap();
    assert_eq!(zero.event(), Some(Event::Burn { deal: DEAL, counter: 4 }));
    zero.burned(5, dealt.seed_half(4)).unwrap();
    let mut pump = |zero: &mut dyn Endpoint, one: &mut dyn Endpoint, asking: &mut dyn Endpoint| {
        wires.pump(&mut [(Who::Seed, zero), (Who::Bundle, one), (Who::Client, asking)]).unwrap();
    };
    pump(&mut zero, &mut one, &mut asking);
    // One party's share of A alone: the other has not burned.
    assert_eq!((asking.event(), asking.phase()), (None, Phase::Handshake));
    one.burned(dealt.bundle_half(&bundle)).unwrap();
    pump(&mut zero, &mut one, &mut asking);
    let Some(Event::Masked { deal: DEAL, counter: 4, hash }) = asking.event() else {
        panic!("{:?}", asking.event())
    };
    assert_ne!(hash, [0; 32]);
    assert_eq!(asking.phase(), Phase::Caller);
    asking.send_masked().unwrap();
    pump(&mut zero, &mut one, &mut asking);
    let done = Some(Event::Done);
    assert_eq!((zero.event(), one.event(), asking.event()), (done, done, done));
    assert_eq!((asking.counter(), zero.answer().count()), (Some(4), 0));
    check_accounts(dealt, zero.account().unwrap(), one.account().unwrap());
    assert!(wires.are_empty());
    (asking.answer().collect(), wires)
}

/// What moved is what the plan states.
fn check_accounts(dealt: &Dealt, zero: Account, one: Account) {
    let cost = plan_cost(&dealt.plan());
    assert_eq!([zero.bytes_sent, one.bytes_sent], cost.bytes_sent);
    assert_eq!([zero.rounds, one.rounds], [cost.rounds; 2]);
    assert_eq!((zero.counter, zero.session, zero.request), (one.counter, one.session, one.request));
}

#[test]
fn every_mode_client_and_release_from_the_first_byte_to_the_answer() {
    for (mode, client) in [
        (Mode::Shared, Client::SeedParty),
        (Mode::Held, Client::SeedParty),
        (Mode::TwoServers, Client::Third),
        (Mode::Shared, Client::Third),
        (Mode::Held, Client::Third),
    ] {
        for release in [Release::Label, Release::Logits { bits: 14 }] {
            for model in [small::model(), small::with_relus()] {
                let options = Options { mode, client, release, chunk_bits: 4, memory: compile::ample() };
                let dealt = Dealt::new(model, &options);
                let (answer, _) =
                    if client == Client::Third { infer_third(&dealt) } else { infer_own(&dealt) };
                // 10, 20, 30, 40 by rows of weights; the second row is nine times the sum.
                let layers = dealt.plan().header.layers;
                match (release, layers) {
                    (Release::Label, 1) => assert_eq!(answer, [1]),
                    (Release::Label, _) => assert_eq!(answer.len(), 1),
                    (Release::Logits { .. }, 1) => {
                        for (value, exact) in answer.iter().zip([300.0, 900.0, 40.0]) {
                            assert!((*value as f64 - exact / 4.0).abs() <= 1.0, "{answer:?}");
                        }
                    }
                    (Release::Logits { .. }, _) => assert_eq!(answer.len(), 3),
                }
            }
        }
    }
}
