//! Both parties send at once, far more than their sockets hold, on one thread each: a blocking write would
//! never end.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use halfnet_core::endpoint::{
    Acceptor, Endpoint, Event, Lent, NoPicture, Nonces, Proposer, ThirdClient, client, read_request,
};
use halfnet_core::party::bundle::{BundleHalf, PortableModel};
use halfnet_core::party::seed::{self, SeedHalf};
use halfnet_core::plan::{Client, Mode, Options, Plan, Release, Role, compile, cost};
use halfnet_core::prg::Key;
use halfnet_host::party::link::{End, Limits, Link, Reactor, drive};
use halfnet_tests::network::picture;
use halfnet_tests::pair::{self, DEAL, Deal};
use halfnet_tests::residual::Residual;
use rustix::net::sockopt::{
    set_socket_recv_buffer_size, set_socket_send_buffer_size, socket_recv_buffer_size,
};

/// Bytes of a socket's buffer.
const BUFFER: usize = 4096;

/// A connection whose ends have small buffers from before it is made, so that no large window is ever
/// offered.
fn connection() -> [TcpStream; 2] {
    use rustix::net::{AddressFamily, SocketType, connect, socket};
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let near = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    for end in [std::os::fd::AsFd::as_fd(&listener), std::os::fd::AsFd::as_fd(&near)] {
        set_socket_recv_buffer_size(end, BUFFER).unwrap();
        set_socket_send_buffer_size(end, BUFFER).unwrap();
    }
    connect(&near, &listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    let ends = [TcpStream::from(near), far];
    for end in &ends {
        // The kernel doubles what it is asked for.
        assert!(socket_recv_buffer_size(end).unwrap() <= 2 * BUFFER);
        end.set_nonblocking(true).unwrap();
    }
    ends
}

/// A client's name for its request.
const REQUEST: [u8; 16] = [6; 16];

fn link(reactor: &mut Reactor, stream: TcpStream, peer: &str) -> Link {
    Link::new(reactor, mio::net::TcpStream::from_std(stream), peer).unwrap()
}

/// Moves an endpoint's frames to its end; `answer` deals with what it asks for.
fn run<E: Endpoint>(
    endpoint: &mut E,
    ends: &mut [End<'_>],
    reactor: &mut Reactor,
    answer: impl Fn(&mut E, Event),
) {
    let limits = Limits { timeout: Duration::from_secs(20) };
    loop {
        match drive(endpoint, ends, reactor, &limits, None).unwrap() {
            Event::Done => return,
            event => answer(endpoint, event),
        }
    }
}

/// A party between its peer and a client that asks it.
fn party<E: Endpoint>(
    plan: &Plan<'_>,
    role: Role,
    [peer, client]: [TcpStream; 2],
    endpoint: &mut E,
    answer: impl Fn(&mut E, Event),
) {
    let mut reactor = Reactor::new().unwrap();
    let mut peer = link(&mut reactor, peer, "the peer");
    let mut client = link(&mut reactor, client, "the client");
    let asked = loop {
        if let Some(frame) = client.frame().unwrap() {
            break (read_request(frame).unwrap(), frame.len());
        }
        client.fill().unwrap();
        reactor.wait(Duration::from_millis(10)).unwrap();
    };
    assert_eq!(asked.0, REQUEST);
    client.consume(asked.1);
    let mut ends = [End::peer(plan, role, &mut peer), End::client(plan, &mut client)];
    run(endpoint, &mut ends, &mut reactor, answer);
}

#[test]
fn openings_far_larger_than_the_buffers_pass() {
    let model = Residual { ring_bits: 20, relus: Some(|elements| elements / 4) }.resnet20();
    let options = Options {
        mode: Mode::TwoServers,
        client: Client::Third,
        release: Release::Logits { bits: 8 },
        chunk_bits: 4,
        memory: compile::ample(),
    };
    let deal = Deal::new(&model, &options);
    let bundle = deal.bundle(&model, 0);
    let pixels: Vec<i32> = picture(model.header.input, 0).iter().map(|&p| p as i32).collect();
    let expected = pair::run(&deal, &bundle, 0, &pixels);
    let longest = expected.frames.iter().map(|(_, frame)| frame.len()).max().unwrap();
    assert!(longest > 4 * BUFFER, "no frame is larger than what both buffers hold: {longest} bytes");

    let plan = deal.plan();
    let agreement = pair::agreement(&plan);
    let inference = || seed::inference_key(&deal.seed, &agreement, &DEAL, 0);
    let half = || BundleHalf::new(&bundle[..], cost::input_section_bytes(&plan.header));
    let [mut arena_0, mut arena_1] = pair::arenas(&plan);
    let [mut nonces_0, mut nonces_1] = [1, 2].map(|k| Nonces::new(Key::new([k; 32]), "halfnet 1 nonce"));
    let zero = Lent { plan: plan.clone(), model: deal.seed_model(), arena: &mut arena_0 };
    let one = Lent { plan: plan.clone(), model: PortableModel(&deal.tensors), arena: &mut arena_1 };
    let mut zero = Acceptor::new(zero, agreement, 0, &mut nonces_0, NoPicture).unwrap();
    let mut one = Proposer::new(one, agreement, REQUEST, &mut nonces_1).unwrap();
    let mut memory = vec![0; client::memory_bytes(&plan)];
    let mut asking = ThirdClient::new(&plan, REQUEST, &pixels[..], &mut memory).unwrap();
    let [[near, far], [from_zero, to_zero], [from_one, to_one]] = [(); 3].map(|()| connection());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            party(&plan, Role::Seed, [near, from_zero], &mut zero, |zero, event| match event {
                Event::Request(REQUEST) => zero.answer_request(true).unwrap(),
                Event::Burn { .. } => zero.burned(1, SeedHalf::new(inference())).unwrap(),
                other => panic!("{other:?}"),
            });
        });
        scope.spawn(|| {
            party(&plan, Role::Bundle, [far, from_one], &mut one, |one, event| match event {
                Event::Propose { below: None } => one.propose(DEAL, 0).unwrap(),
                Event::Burn { .. } => one.burned(half()).unwrap(),
                other => panic!("{other:?}"),
            });
        });
        let mut reactor = Reactor::new().unwrap();
        let [mut to_zero, mut to_one] = [to_zero, to_one].map(|end| link(&mut reactor, end, "a party"));
        let mut ends = [
            End::of_client(&plan, Role::Seed, &mut to_zero),
            End::of_client(&plan, Role::Bundle, &mut to_one),
        ];
        run(&mut asking, &mut ends, &mut reactor, |asking, event| match event {
            Event::Masked { counter: 0, .. } => asking.send_masked().unwrap(),
            other => panic!("{other:?}"),
        });
    });
    assert_eq!(asking.answer().collect::<Vec<_>>(), expected.answer);
}
