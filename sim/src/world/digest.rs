//! The running digest of a run. The same seed and program give the same digest.

use std::fmt;

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use skydht_core::node::Input;

use crate::clock::SimTime;
use crate::network::HostId;

/// Number of bytes collected before they are hashed.
const BLOCK: usize = 8192;

/// SHA-256 over all inputs of hosts and all events, in order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct WorldDigest([u8; 32]);

impl WorldDigest {
    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for WorldDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for WorldDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorldDigest({self})")
    }
}

impl Serialize for WorldDigest {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// The digest so far.
#[derive(Default)]
pub(super) struct Running {
    hash: Sha256,
    buffer: Vec<u8>,
}

impl Running {
    pub(super) fn value(&self) -> WorldDigest {
        let mut hash = self.hash.clone();
        hash.update(&self.buffer);
        WorldDigest(hash.finalize().into())
    }

    fn number(&mut self, number: u64) {
        self.buffer.extend_from_slice(&number.to_le_bytes());
    }

    fn flush(&mut self) {
        if self.buffer.len() >= BLOCK {
            self.hash.update(&self.buffer);
            self.buffer.clear();
        }
    }

    /// Adds an input of a host. Frequent inputs have a compact encoding, the others are JSON. Of
    /// bytes, the length and a 64-bit hash are included.
    pub(super) fn input(&mut self, now: SimTime, host: HostId, input: &Input<'_>) {
        self.number(now.0);
        let (kind, number) = match input {
            Input::StreamOpened { stream, .. } => (1, stream.0),
            Input::StreamAccepted { stream, peer, .. } => {
                self.buffer.extend_from_slice(peer.as_bytes());
                (2, stream.0)
            }
            Input::Bytes { stream, bytes } => {
                self.number(fold(bytes));
                self.number(bytes.len() as u64);
                (3, stream.0)
            }
            Input::Sent { stream } => (4, stream.0),
            Input::TimerFired => (5, 0),
            Input::Verified { job, verdict } => (6 + u64::from(verdict.is_ok()), job.0),
            other => {
                self.json(other);
                (8, 0)
            }
        };
        self.number(u64::from(host.0) << 8 | kind);
        self.number(number);
        self.flush();
    }

    /// Adds an event.
    pub(super) fn event(&mut self, now: SimTime, what: &impl Serialize) {
        self.number(now.0);
        self.json(what);
        self.flush();
    }

    fn json(&mut self, what: &impl Serialize) {
        // Writing to a vector does not fail. A value that JSON cannot represent becomes this text.
        if serde_json::to_writer(&mut self.buffer, what).is_err() {
            self.buffer.extend_from_slice(b"not JSON");
        }
    }
}

/// A hash of bytes that is the same on every platform. It has four lanes, because each
/// multiplication must wait for the previous one in its lane.
fn fold(bytes: &[u8]) -> u64 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let step = |hash: u64, word: u64| (hash ^ word).wrapping_mul(K).rotate_left(29);
    let (blocks, rest) = bytes.as_chunks::<32>();
    let lanes = blocks
        .iter()
        .fold([K, !K, K >> 1, K << 1], |mut lanes, block| {
            for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<8>().0) {
                *lane = step(*lane, u64::from_le_bytes(*word));
            }
            lanes
        });
    let hash = lanes.into_iter().fold(bytes.len() as u64, step);
    let (words, rest) = rest.as_chunks::<8>();
    let hash = words
        .iter()
        .fold(hash, |hash, word| step(hash, u64::from_le_bytes(*word)));
    rest.iter()
        .fold(hash, |hash, byte| step(hash, u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skydht_core::node::StreamId;

    fn digest(inputs: &[(u64, u32, Input<'_>)]) -> WorldDigest {
        let mut running = Running::default();
        for (at, host, input) in inputs {
            running.input(SimTime(*at), HostId(*host), input);
        }
        running.value()
    }

    #[test]
    fn order_time_host_and_content_count() {
        let bytes = |n: u64, bytes: &'static [u8]| Input::Bytes {
            stream: StreamId(n),
            bytes: bytes.into(),
        };
        let (a, b) = ((1, 1, bytes(1, b"abcdefghij")), (1, 1, Input::TimerFired));
        let base = digest(&[a.clone(), b.clone()]);
        assert_eq!(base, digest(&[a.clone(), b.clone()]));
        let others = [
            [b.clone(), a.clone()],
            [a.clone(), (2, 1, Input::TimerFired)],
            [a.clone(), (1, 2, Input::TimerFired)],
            [(1, 1, bytes(3, b"abcdefghij")), b.clone()],
            [(1, 1, bytes(1, b"abcdefghik")), b.clone()],
            [(1, 1, bytes(1, b"Abcdefghij")), b],
        ];
        for other in &others {
            assert_ne!(base, digest(other));
        }
    }

    #[test]
    fn every_byte_and_the_length_count() {
        for len in [0, 7, 8, 31, 32, 33, 100] {
            let bytes = vec![7; len];
            assert_ne!(fold(&bytes), fold(&vec![7; len + 1]));
            for i in 0..len {
                let mut other = bytes.clone();
                other[i] ^= 0x80;
                assert_ne!(fold(&bytes), fold(&other), "{i} of {len}");
            }
        }
    }
}
