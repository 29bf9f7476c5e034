//! Lies of a full node in reconciliation: the frames of an honest node, altered.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use skydht_core::Seed;
use skydht_core::wire::Method;

use crate::network::faults::below;

/// Length of a frame's length and method.
const HEADER: usize = 5;
/// Length of the message length in a body.
const LENGTH: usize = 4;

/// Alters the frames of reconciliation at random.
pub(crate) struct Lies {
    random: ChaCha8Rng,
}

impl Lies {
    pub(crate) fn new(seed: Seed) -> Self {
        Self {
            random: ChaCha8Rng::from_seed(seed.0),
        }
    }

    /// Alters a frame of reconciliation, rarely enough that sessions progress.
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
            // Any bit is flipped.
            0 | 1 => {
                let mut said = message.to_vec();
                if !said.is_empty() {
                    let at = below(&mut self.random, said.len() as u64) as usize;
                    said[at] ^= 1 << below(&mut self.random, 8);
                }
                said
            }
            // Claims that both have the same entries.
            2 if !is_request => vec![1, 0, 1, 1],
            // Claims to have no entries.
            3 if !is_request => vec![1, 0, 1, 4, 0],
            // Claims to have answered one part, with nothing.
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
