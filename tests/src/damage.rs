//! What somebody on a line can do to one frame.

use halfnet_core::wire::frame::{HEADER, Header};

use crate::network::Random;

/// What happens to one frame on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Only so many bytes of it arrive (fewer than there are).
    Cut(usize),
    /// So many bytes more arrive (at least one).
    Extend(usize),
    /// As [`Damage::Extend`], with the header's length changed to match.
    Restate(usize),
    /// A bit of the header is flipped.
    FlipHeader(usize),
    /// A bit of the payload is flipped.
    FlipPayload(usize),
    /// It arrives twice.
    Repeat,
    /// The sender's frame so many before it arrives once more, ahead of it.
    Replay(usize),
    /// It arrives after the sender's next one.
    Swap,
    /// It does not arrive.
    Drop,
    /// A frame of this seed, with a name and length of its own, arrives ahead of it.
    Invent(u64),
    /// A frame with its header and a payload of this seed arrives ahead of it.
    Forge(u64),
}

impl Damage {
    /// One of each kind, the parameters drawn.
    pub fn all(random: &mut Random) -> [Self; 11] {
        let mut draw = || random.word();
        [
            Self::Cut(draw() as usize),
            Self::Extend(1 + draw() as usize % 9),
            Self::Restate(1 + draw() as usize % 9),
            Self::FlipHeader(draw() as usize),
            Self::FlipPayload(draw() as usize),
            Self::Repeat,
            Self::Replay(1 + draw() as usize % 3),
            Self::Swap,
            Self::Drop,
            Self::Invent(draw()),
            Self::Forge(draw()),
        ]
    }

    /// What arrives instead of `frame`: frames now, and one to be kept back until the sender's next.
    pub(crate) fn apply(self, frame: &[u8], earlier: &[Vec<u8>]) -> (Vec<Vec<u8>>, Option<Vec<u8>>) {
        let whole = frame.to_vec();
        let now = match self {
            Self::Cut(length) => vec![frame[..length % frame.len()].to_vec()],
            Self::Extend(more) | Self::Restate(more) => {
                let mut longer = whole;
                longer.resize(frame.len() + more, 0);
                if let (Self::Restate(_), Some(head)) = (self, longer.first_chunk_mut::<HEADER>()) {
                    let header = Header::decode(head);
                    *head = Header { length: header.length + more as u32, ..header }.encode();
                }
                vec![longer]
            }
            Self::FlipHeader(bit) => vec![flipped(frame, bit % (8 * HEADER))],
            Self::FlipPayload(bit) => vec![flipped(frame, 8 * HEADER + bit % (8 * (frame.len() - HEADER)))],
            Self::Repeat => vec![whole.clone(), whole],
            Self::Replay(back) => {
                earlier.iter().rev().nth(back - 1).cloned().into_iter().chain([whole]).collect()
            }
            Self::Swap => return (Vec::new(), Some(whole)),
            Self::Drop => Vec::new(),
            Self::Invent(seed) => vec![invented(seed), whole],
            Self::Forge(seed) => {
                let mut random = Random(seed);
                let mut forged = whole.clone();
                forged[HEADER..].fill_with(|| random.word() as u8);
                vec![forged, whole]
            }
        };
        (now, None)
    }
}

fn flipped(frame: &[u8], bit: usize) -> Vec<u8> {
    let mut out = frame.to_vec();
    out[bit / 8] ^= 1 << (bit % 8);
    out
}

/// A frame that is well-formed in itself.
pub fn invented(seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let length = random.below(40) as u32;
    let layer = if random.one_in(4) { u16::MAX } else { random.below(9) as u16 };
    let header = Header { layer, step: random.below(60) as u8, tile: random.below(3) as u16, length };
    let mut frame = header.encode().to_vec();
    frame.extend((0..length).map(|_| random.word() as u8));
    frame
}
