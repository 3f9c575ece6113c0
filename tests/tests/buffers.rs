//! Both parties send at once, far more than their sockets hold, on one thread each: a blocking write would
//! never end.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use halfnet_core::party::bundle::{BundleHalf, PortableModel};
use halfnet_core::party::half::{Half, ModelHalf};
use halfnet_core::party::seed::{self, SeedHalf};
use halfnet_core::party::session::{Parts, Session, combine_outputs};
use halfnet_core::plan::{Client, Mode, Options, Release, compile, cost};
use halfnet_host::party::link::{Limits, Link, Reactor, Trace, drive};
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

fn party<H: Half, M: ModelHalf>(
    parts: Parts<'_, '_, H, M>,
    stream: TcpStream,
    masked: &[u8],
    output: &mut Vec<u8>,
) {
    let layers = parts.plan.header.layers;
    let mut session = Session::new(parts).unwrap();
    session.provide_masked(masked).unwrap();
    let mut reactor = Reactor::new().unwrap();
    let mut link = Link::new(&mut reactor, mio::net::TcpStream::from_std(stream), "the peer").unwrap();
    let limits = Limits { timeout: Duration::from_secs(20) };
    let mut trace = Trace::new(layers);
    drive(&mut session, None::<&mut &[i32]>, &mut link, &mut reactor, &limits, &mut trace).unwrap();
    output.resize(4096, 0);
    let length = session.output_share(output).unwrap();
    output.truncate(length);
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
    let inference = seed::inference_key(&deal.seed, &pair::agreement(&plan), &DEAL, 0);
    let half = BundleHalf::new(&bundle[..], cost::input_section_bytes(&plan.header));
    let [mut arena_0, mut arena_1] = pair::arenas(&plan);
    let [mut output_0, mut output_1] = [Vec::new(), Vec::new()];
    let zero = Parts {
        plan: plan.clone(),
        half: SeedHalf::new(inference),
        model: deal.seed_model(),
        arena: &mut arena_0,
    };
    let one = Parts { plan: plan.clone(), half, model: PortableModel(&deal.tensors), arena: &mut arena_1 };
    let [near, far] = connection();
    std::thread::scope(|scope| {
        scope.spawn(|| party(zero, near, &expected.masked, &mut output_0));
        party(one, far, &expected.masked, &mut output_1);
    });
    let answer: Vec<i64> = combine_outputs(&plan, [&output_0, &output_1]).unwrap().collect();
    assert_eq!(answer, expected.answer);
}
