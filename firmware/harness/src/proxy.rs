//! Stands between the parties and keeps what passes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

/// What passed, whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    /// From P0.
    pub(crate) zero: Vec<u8>,
    /// From P1.
    pub(crate) one: Vec<u8>,
}

/// One connection of P1 to P0, recorded.
pub(crate) struct Proxy {
    /// Where P1 goes to.
    pub(crate) address: SocketAddr,
    thread: JoinHandle<Result<Passed>>,
}

impl Proxy {
    /// Waits for P1 and leads it to P0 at `zero`.
    pub(crate) fn start(zero: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let thread = std::thread::spawn(move || {
            let (one, _) = listener.accept()?;
            let zero = connect(zero)?;
            for stream in [&one, &zero] {
                stream.set_nodelay(true)?;
            }
            let (from_one, to_zero) = (one.try_clone()?, zero.try_clone()?);
            let upstream = std::thread::spawn(move || pass(from_one, to_zero));
            let zero = pass(zero, one)?;
            let one = upstream.join().map_err(|_| anyhow!("a recorder failed"))??;
            Ok(Passed { zero, one })
        });
        Ok(Self { address, thread })
    }

    /// What passed, when both have left.
    pub(crate) fn finish(self) -> Result<Passed> {
        self.thread.join().map_err(|_| anyhow!("a recorder failed"))?
    }
}

/// A port of this machine that nobody listens on.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > end => return Err(error).context("P0 does not listen"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Passes bytes on until either end is gone.
fn pass(mut from: TcpStream, mut to: TcpStream) -> Result<Vec<u8>> {
    let mut passed = Vec::new();
    let mut bytes = vec![0; 1 << 16];
    loop {
        match from.read(&mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(count) => {
                let part = bytes.get(..count).unwrap_or(&[]);
                if to.write_all(part).is_err() {
                    break;
                }
                passed.extend_from_slice(part);
            }
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    Ok(passed)
}
