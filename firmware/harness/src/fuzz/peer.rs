//! A hostile P1's connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use halfnet_core::wire::frame::{HEADER, Header};
use halfnet_core::wire::message::{self, Code, Hello, Reply};

/// How long the board may take for an answer of the handshake.
const ANSWER: Duration = Duration::from_secs(5);

/// A message of the handshake, or what claims to be one.
pub(super) fn framed(code: Code, payload: &[u8]) -> Vec<u8> {
    let mut bytes = message::header(code, 0, payload.len() as u32).encode().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

/// Cuts what a party sent into its frames.
pub(super) fn frames(mut bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let head = bytes.first_chunk::<HEADER>().context("a recorded frame is cut")?;
        let (frame, rest) = bytes
            .split_at_checked(HEADER + Header::decode(head).length as usize)
            .context("a recorded frame is cut")?;
        frames.push(frame.to_vec());
        bytes = rest;
    }
    Ok(frames)
}

/// The connection.
pub(super) struct Peer(TcpStream);

impl Peer {
    pub(super) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).context("the emulator does not listen")?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(ANSWER))?;
        Ok(Self(stream))
    }

    /// Sends as much as the board takes; says whether it took all. A board that has heard enough ends the
    /// connection.
    pub(super) fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// Says hello and reads the answer; none if the board ends the connection.
    pub(super) fn propose(&mut self, hello: &[u8]) -> Result<Option<Reply>> {
        if !self.send(&framed(Code::Hello, hello)) {
            return Ok(None);
        }
        self.reply()
    }

    /// Reads an answer; none if the board ends the connection or gives none.
    pub(super) fn reply(&mut self) -> Result<Option<Reply>> {
        let Some(frame) = self.frame()? else { return Ok(None) };
        let payload = frame.get(HEADER..).unwrap_or(&[]);
        let expected = message::header(Code::Reply, 0, payload.len() as u32).encode();
        anyhow::ensure!(
            frame.starts_with(&expected),
            "the board answers a hello with {:?}",
            frame.get(..HEADER)
        );
        Ok(Some(Reply::decode(payload)?))
    }

    fn frame(&mut self) -> Result<Option<Vec<u8>>> {
        let mut frame = vec![0; HEADER];
        if !self.read(&mut frame)? {
            return Ok(None);
        }
        let length = frame.first_chunk().map_or(0, |head| Header::decode(head).length) as usize;
        frame.resize(HEADER + length, 0);
        Ok(self.read(&mut frame[HEADER..])?.then_some(frame))
    }

    fn read(&mut self, mut out: &mut [u8]) -> Result<bool> {
        self.0.set_read_timeout(Some(ANSWER))?;
        while !out.is_empty() {
            match self.0.read(out) {
                Ok(0) => return Ok(false),
                Ok(count) => out = &mut out[count..],
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionReset | ErrorKind::WouldBlock | ErrorKind::TimedOut
                    ) =>
                {
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Leaves in good order: nothing more is sent, and what still comes is read for a moment.
    pub(super) fn leave(mut self) {
        let _ = self.0.shutdown(Shutdown::Write);
        self.listen(Duration::from_millis(300));
    }

    /// Reads what comes, until the board ends the connection or `limit` has passed.
    pub(super) fn listen(&mut self, limit: Duration) {
        let end = Instant::now() + limit;
        let mut bytes = [0; 4096];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero()
                || self.0.set_read_timeout(Some(left)).is_err()
                || !matches!(self.0.read(&mut bytes), Ok(1..))
            {
                return;
            }
        }
    }

    /// Ends the connection with a reset.
    pub(super) fn reset(self) {
        // A connection that is closed within no time is not closed but reset.
        let _ = socket2::SockRef::from(&self.0).set_linger(Some(Duration::ZERO));
    }
}

/// A hello with one field spoiled.
pub(super) fn spoiled(hello: &Hello, field: usize, by: u8) -> Hello {
    let mut hello = *hello;
    let field = match field % 3 {
        0 => &mut hello.agreement.pairing[..],
        1 => &mut hello.agreement.plan[..],
        _ => &mut hello.agreement.provisioning[..],
    };
    let at = usize::from(by) % field.len();
    field[at] ^= 1 << (by % 8);
    hello
}
