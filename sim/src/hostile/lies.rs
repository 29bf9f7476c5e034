//! Lies of a full node in reconciliation: its frames are those of a good node, twisted.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use skydht_core::Seed;
use skydht_core::wire::Method;

use crate::network::faults::below;

/// Length and method of a frame.
const HEADER: usize = 5;
/// Length of the message in its body.
const LENGTH: usize = 4;

/// What it says next.
pub(crate) struct Lies {
    random: ChaCha8Rng,
}

impl Lies {
    pub(crate) fn new(seed: Seed) -> Self {
        Self {
            random: ChaCha8Rng::from_seed(seed.0),
        }
    }

    /// Twists a frame, if it is one of a reconciliation: often enough that sessions get far.
    pub(crate) fn twist(&mut self, is_request: bool, frame: &mut Arc<[u8]>) {
        if frame.len() <= HEADER + LENGTH || frame[HEADER - 1] != Method::Reconcile as u8 {
            return;
        }
        let lie = below(&mut self.random, 8);
        let mut body = frame[HEADER..].to_vec();
        let (len, rest) = body.split_at(LENGTH);
        let len = u32::from_be_bytes([len[0], len[1], len[2], len[3]]) as usize;
        if len > rest.len() {
            return; // the first part of a long one
        }
        let (message, extension) = rest.split_at(len);
        let said = match lie {
            // Any byte of it is another.
            0 | 1 => {
                let mut said = message.to_vec();
                if !said.is_empty() {
                    let at = below(&mut self.random, said.len() as u64) as usize;
                    said[at] ^= 1 << below(&mut self.random, 8);
                }
                said
            }
            // Both hold the same.
            2 if !is_request => vec![1, 0, 1, 1],
            // It has nothing at all.
            3 if !is_request => vec![1, 0, 1, 4, 0],
            // A little was answered, with nothing.
            4 if !is_request => vec![1, 0, 1],
            5 => {
                let mut said = vec![0; below(&mut self.random, 400) as usize];
                self.random.fill_bytes(&mut said);
                said
            }
            _ => return,
        };
        let mut whole = (said.len() as u32).to_be_bytes().to_vec();
        whole.extend(said);
        whole.extend_from_slice(extension);
        body = ((whole.len() + 1) as u32).to_be_bytes().to_vec();
        body.push(Method::Reconcile as u8);
        body.extend(whole);
        *frame = body.into();
    }
}
