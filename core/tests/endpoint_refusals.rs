//! What the ends of an inference refuse, and that nothing is burned or said for it.

mod small;

use halfnet_core::endpoint::{
    Acceptor, Contradiction, Endpoint, EndpointError, Event, NoPicture, Part, Phase, Proposer, ThirdClient,
    Who, client,
};
use halfnet_core::party::ErrorKind;
use halfnet_core::party::bundle::{BundleHalf, PortableModel};
use halfnet_core::party::seed::{SeedHalf, SeedModel};
use halfnet_core::plan::{Client, Mode, Options, Release, Role, compile};
use halfnet_core::wire::frame::{HEADER, Header};
use halfnet_core::wire::message::{
    self, Acknowledge, Agreement, Code, Hello, MaskHeader, MessageError, Reason, Reply, Verdict,
};
use small::{DEAL, Dealt, nonces};

const PICTURE: [i32; 4] = [1, 2, 3, 4];

/// P0 with a picture, or with none of its own.
type Zero<'a, I> = Acceptor<'a, 'a, SeedHalf, SeedModel<'a>, I>;
/// P1.
type One<'a> = Proposer<'a, 'a, BundleHalf<&'a [u8]>, PortableModel<&'a Dealt>>;

fn dealt(mode: Mode, client: Client) -> Dealt {
    let (release, chunk_bits, memory) = (Release::Label, 4, compile::ample());
    Dealt::new(small::with_relus(), &Options { mode, client, release, chunk_bits, memory })
}

fn frame(code: Code, payload: &[u8]) -> Vec<u8> {
    [&message::header(code, 0, payload.len() as u32).encode()[..], payload].concat()
}

fn sent(end: &mut dyn Endpoint, to: Who) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 4096];
    let length = end.poll_transmit(to, &mut buffer).unwrap()?;
    buffer.truncate(length);
    Some(buffer)
}

fn hello(agreement: Agreement, counter: u64) -> Hello {
    Hello { agreement, deal: DEAL, nonce: [8; 16], request: [5; 16], counter }
}

fn reply_in(frame: &[u8]) -> Reply {
    assert_eq!(frame[2], Code::Reply as u8);
    Reply::decode(&frame[HEADER..]).unwrap()
}

/// P0, which accepts counters from 7 on, is given `proposal`: its error, its reply, and the event after it.
fn propose(proposal: &[u8]) -> (Result<(), EndpointError>, Option<Reply>, Option<Event>) {
    let dealt = dealt(Mode::Shared, Client::SeedParty);
    let (mut memory, mut nonces) = (dealt.memory(Role::Seed), nonces(1));
    let lent = dealt.seed_lent(&mut memory);
    let mut zero = Zero::new(lent, dealt.agreement(), 7, &mut nonces, &PICTURE[..]).unwrap();
    let result = zero.handle_frame(Who::Bundle, proposal);
    if result.is_err() {
        assert_eq!(zero.poll_transmit(Who::Bundle, &mut [0; 512]), Err(EndpointError::Misuse));
        assert_eq!((zero.phase(), zero.spent(), zero.event()), (Phase::Failed, None, None));
        return (result, None, None);
    }
    let reply = sent(&mut zero, Who::Bundle).map(|frame| reply_in(&frame));
    (result, reply, zero.event())
}

#[test]
fn a_proposal_that_is_refused_burns_nothing() {
    let agreement = dealt(Mode::Shared, Client::SeedParty).agreement();
    let given = |hello: Hello| propose(&frame(Code::Hello, &hello.encode()));
    // An old counter: P1 is told what is next, and may propose again.
    let (_, reply, event) = given(hello(agreement, 6));
    let reply = reply.unwrap();
    assert_eq!((reply.verdict, reply.next, event), (Verdict::OldCounter, 7, None));
    // Another pairing, provisioning or plan: told, and over.
    for (other, what) in [
        (Agreement { pairing: [0; 16], ..agreement }, Part::Pairing),
        (Agreement { provisioning: [0; 16], ..agreement }, Part::Provisioning),
        (Agreement { plan: [0; 32], ..agreement }, Part::Plan),
    ] {
        let (_, reply, event) = given(hello(other, 9));
        assert_eq!(reply.unwrap().verdict, Verdict::Disagreement);
        assert_eq!(event, Some(Event::Refused(EndpointError::Disagreement { what })));
    }
    // Another version: told, and over.
    let mut other = hello(agreement, 9).encode();
    other[0] ^= 1;
    let (_, reply, event) = propose(&frame(Code::Hello, &other));
    assert_eq!(reply.unwrap().verdict, Verdict::Version);
    assert_eq!(event, Some(Event::Refused(EndpointError::Version)));
    // The last counter has no successor.
    let (result, ..) = given(hello(agreement, u64::MAX));
    assert_eq!(result, Err(EndpointError::Contradiction(Contradiction::LastCounter)));
    // Cut, extended, misnamed, or of a layer.
    let whole = frame(Code::Hello, &hello(agreement, 9).encode());
    assert!(matches!(propose(&whole[..whole.len() - 1]).0, Err(EndpointError::Length { .. })));
    assert!(matches!(propose(&whole[..3]).0, Err(EndpointError::Length { .. })));
    let cut = frame(Code::Hello, &hello(agreement, 9).encode()[..40]);
    let malformed = EndpointError::Malformed { from: Who::Bundle, source: MessageError::Length };
    assert_eq!(propose(&cut).0, Err(malformed));
    let misnamed = frame(Code::Reply, &hello(agreement, 9).encode());
    assert!(matches!(propose(&misnamed).0, Err(EndpointError::Unexpected { expected: Code::Hello, .. })));
    let of_a_layer = [&Header { layer: 0, step: 1, tile: 0, length: 0 }.encode()[..]].concat();
    assert!(matches!(propose(&of_a_layer).0, Err(EndpointError::Unexpected { .. })));
}

#[test]
fn a_burn_that_did_not_stick_is_not_spoken_of() {
    let dealt = dealt(Mode::Shared, Client::SeedParty);
    for kept in [7, 9, u64::MAX, 0] {
        let (mut memory, mut nonces) = (dealt.memory(Role::Seed), nonces(1));
        let lent = dealt.seed_lent(&mut memory);
        let mut zero = Zero::new(lent, dealt.agreement(), 7, &mut nonces, &PICTURE[..]).unwrap();
        let proposal = frame(Code::Hello, &hello(dealt.agreement(), 7).encode());
        zero.handle_frame(Who::Bundle, &proposal).unwrap();
        assert_eq!(zero.event(), Some(Event::Burn { deal: DEAL, counter: 7 }));
        assert_eq!(sent(&mut zero, Who::Bundle), None, "nothing is said before the burn");
        let not_burned = EndpointError::NotBurned { burned: 7, next: kept };
        assert_eq!(zero.burned(kept, dealt.seed_half(7)), Err(not_burned));
        assert_eq!(zero.poll_transmit(Who::Bundle, &mut [0; 512]), Err(EndpointError::Misuse));
        assert_eq!(zero.burned(8, dealt.seed_half(7)), Err(EndpointError::Misuse), "there is one try");
        assert_eq!(zero.spent(), Some(7));
    }
}

/// P1 proposes counter 3 and is given a reply.
fn answer(reply: impl Fn(Reply) -> Vec<u8>) -> (Result<(), EndpointError>, Option<Event>) {
    let dealt = dealt(Mode::Shared, Client::SeedParty);
    let (mut memory, mut nonces) = (dealt.memory(Role::Bundle), nonces(2));
    let lent = dealt.bundle_lent(&mut memory);
    let mut one = One::new(lent, dealt.agreement(), [0; 16], &mut nonces).unwrap();
    one.propose(DEAL, 3).unwrap();
    let hello = Hello::decode(&sent(&mut one, Who::Seed).unwrap()[HEADER..]).unwrap();
    assert_eq!((hello.counter, hello.deal), (3, DEAL));
    let accepted =
        Reply { agreement: dealt.agreement(), nonce: [9; 16], verdict: Verdict::Accepted, next: 3 };
    let result = one.handle_frame(Who::Seed, &reply(accepted));
    assert_eq!(one.spent(), None);
    (result, one.event())
}

#[test]
fn a_reply_counts_only_from_the_party_that_the_bundles_are_for() {
    let encoded = |reply: Reply| frame(Code::Reply, &reply.encode());
    let burn = Some(Event::Burn { deal: DEAL, counter: 3 });
    assert_eq!(answer(encoded), (Ok(()), burn));
    assert_eq!(answer(|accepted| encoded(Reply { next: 0, ..accepted })), (Ok(()), burn));
    let old = |next: u64| answer(|r| encoded(Reply { verdict: Verdict::OldCounter, next, ..r }));
    assert_eq!(old(4), (Ok(()), Some(Event::Propose { below: Some(4) })));
    let contradiction = |what| (Err(EndpointError::Contradiction(what)), None);
    assert_eq!(old(3), contradiction(Contradiction::OldCounter));
    let later = answer(|accepted| encoded(Reply { next: 4, ..accepted }));
    assert_eq!(later, contradiction(Contradiction::Accepted));
    // A stranger has no bundle dropped and none burned.
    for verdict in [Verdict::OldCounter, Verdict::Accepted, Verdict::UnknownRequest, Verdict::Disagreement] {
        let stranger = answer(|accepted| {
            let agreement = Agreement { pairing: [0; 16], ..accepted.agreement };
            encoded(Reply { agreement, verdict, next: u64::MAX, ..accepted })
        });
        assert_eq!(stranger, (Err(EndpointError::Disagreement { what: Part::Pairing }), None));
    }
    let verdict = |verdict| answer(|accepted| encoded(Reply { verdict, ..accepted }));
    assert_eq!(verdict(Verdict::UnknownRequest), (Err(EndpointError::UnknownRequest), None));
    assert_eq!(verdict(Verdict::Version), (Err(EndpointError::Version), None));
    assert_eq!(verdict(Verdict::Idle), contradiction(Contradiction::Idle));
    assert_eq!(verdict(Verdict::Disagreement), contradiction(Contradiction::Disagreement));
    let mut other = [0; message::REPLY];
    let version = answer(|accepted| {
        let mut bytes = accepted.encode();
        bytes[0] ^= 1;
        encoded_bytes(&bytes)
    });
    assert_eq!(version, (Err(EndpointError::Version), None));
    other[message::REPLY - 9] = 77;
    other[..2].copy_from_slice(&message::VERSION.to_le_bytes());
    let malformed = EndpointError::Malformed { from: Who::Seed, source: MessageError::Field };
    assert_eq!(answer(|_| encoded_bytes(&other)), (Err(malformed), None));
}

fn encoded_bytes(reply: &[u8]) -> Vec<u8> {
    frame(Code::Reply, reply)
}

/// Both parties of a third client's inference, burned: their frames to each other are in the test's hands.
fn burned_pair(dealt: &Dealt, check: impl FnOnce(&mut dyn Endpoint, &mut dyn Endpoint, [Vec<u8>; 2])) {
    let [mut memory_0, mut memory_1] = [Role::Seed, Role::Bundle].map(|role| dealt.memory(role));
    let [mut nonces_0, mut nonces_1] = [nonces(1), nonces(2)];
    let bundle = dealt.bundle(0);
    let lent = dealt.seed_lent(&mut memory_0);
    let mut zero = Zero::new(lent, dealt.agreement(), 0, &mut nonces_0, NoPicture).unwrap();
    let lent = dealt.bundle_lent(&mut memory_1);
    let mut one = One::new(lent, dealt.agreement(), [5; 16], &mut nonces_1).unwrap();
    one.propose(DEAL, 0).unwrap();
    zero.handle_frame(Who::Bundle, &sent(&mut one, Who::Seed).unwrap()).unwrap();
    zero.answer_request(true).unwrap();
    zero.burned(1, dealt.seed_half(0)).unwrap();
    one.handle_frame(Who::Seed, &sent(&mut zero, Who::Bundle).unwrap()).unwrap();
    one.burned(dealt.bundle_half(&bundle)).unwrap();
    let acknowledgements = [sent(&mut zero, Who::Bundle).unwrap(), sent(&mut one, Who::Seed).unwrap()];
    check(&mut zero, &mut one, acknowledgements);
}

#[test]
fn no_share_of_a_leaves_before_both_have_acknowledged_this_session() {
    let dealt = dealt(Mode::Shared, Client::Third);
    burned_pair(&dealt, |zero, one, [from_zero, _]| {
        assert_eq!((sent(zero, Who::Client), sent(one, Who::Client)), (None, None));
        // Another session, and another counter.
        let own = Acknowledge::decode(&from_zero[HEADER..]).unwrap();
        let other = Acknowledge { session: [0; 16], ..own };
        let refused = zero.handle_frame(Who::Bundle, &frame(Code::Acknowledge, &other.encode()));
        assert_eq!(refused, Err(EndpointError::Acknowledge { expected: 0, found: 0 }));
        let other = Acknowledge { counter: 1, ..own };
        let refused = one.handle_frame(Who::Seed, &frame(Code::Acknowledge, &other.encode()));
        assert_eq!(refused, Err(EndpointError::Acknowledge { expected: 0, found: 1 }));
        let silent = Err(EndpointError::Misuse);
        assert_eq!((zero.poll_transmit(Who::Client, &mut [0; 512]), zero.phase()), (silent, Phase::Failed));
        assert_eq!((one.poll_transmit(Who::Client, &mut [0; 512]), one.phase()), (silent, Phase::Failed));
    });
    // A client's E before the acknowledgements waits, and pushed in it ends the inference.
    burned_pair(&dealt, |zero, _, _| {
        assert!(!zero.can_receive(Who::Client));
        let masked = frame(Code::Masked, &[0; 8]);
        assert_eq!(zero.handle_frame(Who::Client, &masked), Err(EndpointError::Misuse));
    });
    burned_pair(&dealt, |zero, one, [from_zero, from_one]| {
        zero.handle_frame(Who::Bundle, &from_one).unwrap();
        one.handle_frame(Who::Seed, &from_zero).unwrap();
        let shares = [sent(zero, Who::Client).unwrap(), sent(one, Who::Client).unwrap()];
        assert_ne!(shares[0][HEADER + message::MASK..], shares[1][HEADER + message::MASK..]);
        let longer = frame(Code::Masked, &vec![0; shares[0].len()]);
        let refused = zero.handle_frame(Who::Client, &longer);
        assert!(matches!(refused, Err(EndpointError::Length { from: Who::Client, .. })));
        // Of the peer, where the client's E is due.
        assert!(!one.can_receive(Who::Seed));
        assert_eq!(one.handle_frame(Who::Seed, &from_zero), Err(EndpointError::Misuse));
    });
}

#[test]
fn a_third_client_masks_only_under_one_inference_of_both() {
    let dealt = dealt(Mode::Shared, Client::Third);
    let plan = dealt.plan();
    let packed = client::packed_input(&plan);
    let of = |change: &dyn Fn(&mut MaskHeader)| {
        let acknowledge = Acknowledge { counter: 4, session: [6; 16] };
        let mut header = MaskHeader { acknowledge, deal: DEAL, request: [5; 16] };
        change(&mut header);
        frame(Code::Mask, &[&header.encode()[..], &vec![0; packed]].concat())
    };
    let ask = |frames: &[(Who, Vec<u8>)]| {
        let mut memory = vec![0; client::memory_bytes(&plan)];
        let mut client = ThirdClient::new(&plan, [5; 16], &PICTURE[..], &mut memory).unwrap();
        for party in [Who::Seed, Who::Bundle] {
            assert_eq!(sent(&mut client, party).unwrap()[HEADER..], [5; 16]);
        }
        let taken = frames.iter().try_for_each(|(from, frame)| client.handle_frame(*from, frame));
        taken.map(|()| client.event())
    };
    let fine = of(&|_| {});
    let event = ask(&[(Who::Bundle, fine.clone()), (Who::Seed, fine.clone())]).unwrap();
    assert!(matches!(event, Some(Event::Masked { deal: DEAL, counter: 4, .. })));
    assert_eq!(ask(&[(Who::Bundle, fine.clone())]), Ok(None));
    for (changed, contradiction) in [
        (of(&|h| h.request = [0; 16]), Contradiction::Request),
        (of(&|h| h.deal = [0; 16]), Contradiction::Deal),
        (of(&|h| h.acknowledge.counter = 5), Contradiction::Counter),
        (of(&|h| h.acknowledge.session = [0; 16]), Contradiction::Session),
    ] {
        let refused = ask(&[(Who::Seed, fine.clone()), (Who::Bundle, changed)]);
        assert_eq!(refused, Err(EndpointError::Contradiction(contradiction)));
    }
    // One party's share twice is not both parties' shares.
    let twice = ask(&[(Who::Seed, fine.clone()), (Who::Seed, fine.clone())]);
    assert!(matches!(twice, Err(EndpointError::Unexpected { from: Who::Seed, .. })));
    let short = frame(Code::Mask, &fine[HEADER..fine.len() - 1]);
    assert!(matches!(ask(&[(Who::Seed, short)]), Err(EndpointError::Length { .. })));
    let refusal = frame(Code::Failed, &[Reason::NoBundle as u8]);
    let (by, reason) = (Who::Bundle, Some(Reason::NoBundle));
    let refused = Err(EndpointError::Refused { by, reason });
    assert_eq!(ask(&[(Who::Bundle, refusal.clone())]), refused);
    assert_eq!(ask(&[(Who::Bundle, fine.clone()), (Who::Bundle, refusal)]), refused);
    let odd = frame(Code::Failed, &[99]);
    let refused = Err(EndpointError::Refused { by: Who::Seed, reason: None });
    assert_eq!(ask(&[(Who::Seed, odd)]), refused);
    // The output before E has left.
    let early = frame(Code::Output, &[0; 2]);
    assert!(matches!(ask(&[(Who::Seed, fine), (Who::Seed, early)]), Err(EndpointError::Unexpected { .. })));
}

#[test]
fn what_cannot_run_is_refused_before_anything_is_said() {
    let own = dealt(Mode::Shared, Client::SeedParty);
    let third = dealt(Mode::Shared, Client::Third);
    let mut nonces = nonces(1);
    let mut memory = third.memory(Role::Seed);
    let lent = third.seed_lent(&mut memory);
    let refused = Zero::new(lent, third.agreement(), 0, &mut nonces, &PICTURE[..]).map(drop);
    assert_eq!(refused, Err(EndpointError::Client));
    let mut memory = own.memory(Role::Seed);
    let lent = own.seed_lent(&mut memory);
    let refused = Zero::new(lent, own.agreement(), 0, &mut nonces, NoPicture).map(drop);
    assert_eq!(refused, Err(EndpointError::Client));
    let mut memory = own.memory(Role::Seed);
    memory.arena.pop();
    let lent = own.seed_lent(&mut memory);
    let refused = Zero::new(lent, own.agreement(), 0, &mut nonces, &PICTURE[..]).map(drop);
    assert!(matches!(refused, Err(EndpointError::Session(e)) if e.kind == ErrorKind::Memory));
    let mut memory = own.memory(Role::Seed);
    for wrong in [3, 5] {
        let lent = own.seed_lent(&mut memory);
        let refused = Zero::new(lent, own.agreement(), 0, &mut nonces, &[0; 5][..wrong]).map(drop);
        assert_eq!(refused, Err(EndpointError::Picture { expected: 4, found: wrong as u32 }));
        let plan = third.plan();
        let refused = ThirdClient::new(&plan, [5; 16], &[0; 5][..wrong], &mut [0; 4096]).map(drop);
        assert_eq!(refused, Err(EndpointError::Picture { expected: 4, found: wrong as u32 }));
    }
    let plan = own.plan();
    let refused = ThirdClient::new(&plan, [5; 16], &PICTURE[..], &mut [0; 4096]).map(drop);
    assert_eq!(refused, Err(EndpointError::Client));
    let plan = third.plan();
    let refused = ThirdClient::new(&plan, [5; 16], &PICTURE[..], &mut []).map(drop);
    assert_eq!(refused, Err(EndpointError::Memory));
}
