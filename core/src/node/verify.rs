//! Verification as jobs: a signature costs a hundred times a routing step, so the driver runs them.

use alloc::sync::Arc;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::id::Target;
use crate::item::{Item, ItemError};
use crate::key::Signature;

/// The result of a verification job.
pub type Verdict = Result<(), ItemError>;

/// Checks one item's signature, and a mirror's binding to its target if there is one.
///
/// A job is plain data and can run on any thread. The result depends on the data alone, so it can
/// be cached.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct VerifyJob {
    item: Arc<Item>,
    bind: Option<(Target, Signature)>,
}

impl VerifyJob {
    /// Creates a job for `item`, and for its binding to another target if it has one.
    #[must_use]
    pub fn new(item: Arc<Item>, bind: Option<(Target, Signature)>) -> Self {
        Self { item, bind }
    }

    /// Returns a digest of the job. Jobs with the same digest have the same verdict, so verdicts
    /// can be cached by it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.item.key.as_bytes());
        hash.update(self.item.signature.as_bytes());
        hash.update(self.item.seq.0.to_be_bytes());
        for part in [self.item.salt.as_bytes(), self.item.value.as_bytes()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update([u8::from(self.item.value.is_null())]);
        if let Some((target, signature)) = &self.bind {
            hash.update(target.as_bytes());
            hash.update(signature.as_bytes());
        }
        hash.finalize().into()
    }

    /// Checks the signatures, at some 60 µs each.
    ///
    /// # Errors
    /// The item, or its binding, is invalid.
    pub fn run(&self) -> Verdict {
        self.item.check()?;
        if let Some((target, signature)) = &self.bind {
            self.item
                .key
                .verify(&self.item.bind_digest(target), signature)?;
        }
        Ok(())
    }
}

const _: () = {
    const fn is_send<T: Send + 'static>() {}
    is_send::<VerifyJob>();
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{Salt, Seq, Value};
    use crate::key::SecretKey;

    #[test]
    fn jobs_that_differ_in_anything_have_different_digests() {
        let secret = SecretKey::from_entropy(&[1; 32]);
        let item = |seq, value: &[u8], salt: &str| {
            Item::sign(&secret, Seq(seq), Value::new(value), Salt::from(salt))
        };
        let base = item(1, b"value", "salt");
        let job = |item: Item| VerifyJob::new(Arc::new(item), None);
        let bind = (base.target(), base.signature);
        let other_key = SecretKey::from_entropy(&[2; 32]).public();
        let other_signature = item(2, b"value", "salt").signature;
        let mut jobs = alloc::vec![
            job(base.clone()),
            job(Item {
                seq: Seq(2),
                ..base.clone()
            }),
            job(Item {
                value: Value::new(b"valu"),
                salt: Salt::from("esalt"),
                ..base.clone()
            }),
            job(Item {
                value: Value::new(b""),
                ..base.clone()
            }),
            job(Item {
                value: Value::null(),
                ..base.clone()
            }),
            job(Item {
                key: other_key,
                ..base.clone()
            }),
            job(Item {
                signature: other_signature,
                ..base.clone()
            }),
            VerifyJob::new(Arc::new(base.clone()), Some(bind)),
        ];
        assert_eq!(jobs[0].digest(), job(base).digest());
        let all = jobs.len();
        jobs.sort_by_key(VerifyJob::digest);
        jobs.dedup_by_key(|job| job.digest());
        assert_eq!(jobs.len(), all);
    }
}
