//! Reconciliation compared with naive sets, and against peers that lie.

mod hostile;
mod messages;
mod pages;
mod sessions;
mod tree;

use alloc::sync::Arc;
use alloc::vec::Vec;

use sha2::{Digest, Sha256};

use super::*;
use crate::item::{Item, Salt, Seq, Value};
use crate::key::{PublicKey, Signature};

/// The item of publisher `number`, with a value of this length. Its key is not a real one, so it
/// cannot be signed.
pub(super) fn item(number: u64, seq: u64, len: usize) -> Arc<Item> {
    let mut key = [2; 33];
    key[1..].copy_from_slice(&Sha256::digest(number.to_be_bytes()));
    Arc::new(Item {
        key: PublicKey::from_bytes(&key).unwrap(),
        seq: Seq(seq),
        signature: Signature::default(),
        value: Value::new(&alloc::vec![seq as u8; len]),
        salt: Salt::from("sync"),
    })
}

pub(super) fn set(numbers: impl Iterator<Item = u64>, seq: u64) -> ItemSet {
    let mut set = ItemSet::default();
    for number in numbers {
        set.insert(item(number, seq, 10));
    }
    set
}

/// Runs both sides of a session to its end. Returns its cost and the maximum work of one answer.
pub(super) fn reconcile(
    a: &mut ItemSet,
    b: &mut ItemSet,
    salt: u64,
) -> Result<(Summary, usize), SessionError> {
    let limits = SessionLimits::default();
    let mut session = Session::start(a, salt.to_be_bytes(), limits)?;
    let mut most = 0;
    loop {
        let mut answers = Vec::new();
        let mut finished = None;
        while let Some(output) = session.poll_output() {
            match output {
                SessionOutput::Send(bytes) => {
                    let request = SyncRequest::decode(&bytes).unwrap();
                    assert_eq!(request.encode(), bytes);
                    let reply = respond(b, request);
                    most = most.max(reply.work);
                    for (item, _) in reply.given {
                        b.insert(item);
                    }
                    let bytes = reply.response.encode();
                    assert!(bytes.len() <= MAX_SYNC_MESSAGE);
                    answers.push(bytes);
                }
                SessionOutput::Item(received) => {
                    a.insert(received.item);
                }
                SessionOutput::Finished(summary) => finished = Some(summary),
            }
        }
        if let Some(summary) = finished {
            return Ok((summary, most));
        }
        for answer in answers {
            session.handle(a, &answer)?;
        }
    }
}

pub(super) fn equal(a: &ItemSet, b: &ItemSet) -> bool {
    a.tree() == b.tree() && a.items().eq(b.items())
}
