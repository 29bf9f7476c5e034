//! A service's numbers, one for each key.

use std::collections::{BTreeMap, BTreeSet};

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use skydht_core::key::PublicKey;

use super::{AuthError, Claim};
use crate::dmsg::Caller;
use crate::web::{self, Request, Response};

/// Where a key's next number is asked for; the key follows.
const PATH: &str = "/security/nonces/";

/// What is answered there.
#[derive(Serialize, Deserialize)]
pub(super) struct NextNonce {
    edge: PublicKey,
    pub(super) next_nonce: u64,
}

/// A request for a key's next number.
pub(super) fn question(key: &PublicKey) -> Request {
    web::request(Method::GET, &format!("{PATH}{key}"), Vec::new())
}

#[derive(Clone, Copy)]
struct Count {
    next: u64,
    /// When it was raised last, by a count of all.
    raised: u64,
}

/// The numbers of the keys that were answered. Bounded: of too many the one that was raised longest
/// ago goes, and every key that is not known begins above all that went, so that no request that was
/// answered once is taken again.
#[derive(Debug)]
pub struct Nonces {
    most: usize,
    counts: BTreeMap<PublicKey, Count>,
    by_age: BTreeSet<(u64, PublicKey)>,
    raised: u64,
    /// Where keys begin that are not known.
    floor: u64,
}

impl std::fmt::Debug for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.next.fmt(f)
    }
}

impl Nonces {
    /// For at most so many keys, at least one.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            counts: BTreeMap::new(),
            by_age: BTreeSet::new(),
            raised: 0,
            floor: 0,
        }
    }

    /// How many keys are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    #[cfg(test)]
    pub(super) fn by_age_len(&self) -> usize {
        self.by_age.len()
    }

    /// The next number of a key.
    #[must_use]
    pub fn next(&self, key: &PublicKey) -> u64 {
        self.counts.get(key).map_or(self.floor, |count| count.next)
    }

    /// Whether numbers are asked for at a path.
    #[must_use]
    pub fn has_path(path: &str) -> bool {
        path.starts_with(PATH)
    }

    /// The answer to a question for a number, if a request is one.
    #[must_use]
    pub fn answer(&self, request: &Request) -> Option<Response> {
        let key = request.uri().path().strip_prefix(PATH)?;
        if request.method() != Method::GET {
            return Some(web::method_not_allowed("GET"));
        }
        let Ok(edge) = key.parse::<PublicKey>() else {
            return Some(web::plain(StatusCode::BAD_REQUEST, "Invalid public key"));
        };
        let next_nonce = self.next(&edge);
        Some(web::json(StatusCode::OK, &NextNonce { edge, next_nonce }))
    }

    /// Who a request is from. Over DMSG that is known; else its headers must prove it, with the next
    /// number. The number is compared before the signature is checked, which costs more.
    ///
    /// # Errors
    /// [`AuthError`].
    pub fn caller(&self, caller: Caller, request: &Request) -> Result<PublicKey, AuthError> {
        if let Caller::Key(key) = caller {
            return Ok(key);
        }
        let claim = Claim::read(request)?;
        if claim.nonce != self.next(&claim.key) {
            return Err(AuthError::Nonce);
        }
        claim.verify(request.body())?;
        Ok(claim.key)
    }

    /// A request was answered: the number of a caller in clear goes up if that was with exactly 200,
    /// as both sides have it upstream.
    pub fn answered(&mut self, caller: Caller, key: &PublicKey, status: StatusCode) {
        if matches!(caller, Caller::Key(_)) || status != StatusCode::OK {
            return;
        }
        let next = self.next(key).saturating_add(1);
        if let Some(before) = self.counts.remove(key) {
            self.by_age.remove(&(before.raised, *key));
        }
        if self.counts.len() >= self.most
            && let Some((_, oldest)) = self.by_age.pop_first()
            && let Some(gone) = self.counts.remove(&oldest)
        {
            self.floor = self.floor.max(gone.next);
        }
        self.raised += 1;
        let raised = self.raised;
        self.counts.insert(*key, Count { next, raised });
        self.by_age.insert((raised, *key));
    }
}
