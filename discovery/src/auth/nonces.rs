//! The service's side: the expected nonce of each key.

use std::collections::{BTreeMap, BTreeSet};

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use skydht_core::key::PublicKey;

use super::{AuthError, Claim};
use crate::dmsg::Caller;
use crate::web::{self, Request, Response};

/// Path prefix for requesting a key's nonce; the key follows.
const PATH: &str = "/security/nonces/";

/// Response with a nonce.
#[derive(Serialize, Deserialize)]
pub(super) struct NextNonce {
    edge: PublicKey,
    pub(super) next_nonce: u64,
}

/// Builds the request for a key's nonce.
pub(super) fn question(key: &PublicKey) -> Request {
    web::request(Method::GET, &format!("{PATH}{key}"), Vec::new())
}

#[derive(Clone, Copy)]
struct Count {
    next: u64,
    /// Value of [`Nonces::raised`] when this count was last incremented.
    raised: u64,
}

/// The next nonces of keys.
///
/// The number of keys is bounded: at the limit, the key whose nonce was incremented least recently
/// is removed. Unknown keys start above the nonces of all removed ones, so that no request that has
/// been answered is accepted again.
#[derive(Debug)]
pub struct Nonces {
    most: usize,
    counts: BTreeMap<PublicKey, Count>,
    by_age: BTreeSet<(u64, PublicKey)>,
    raised: u64,
    /// Next nonce of unknown keys.
    floor: u64,
}

impl std::fmt::Debug for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.next.fmt(f)
    }
}

impl Nonces {
    /// Creates an empty table for at most `most` keys, at least one.
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

    /// Returns the number of keys with a nonce of their own.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Returns whether no key has a nonce of its own.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    #[cfg(test)]
    pub(super) fn by_age_len(&self) -> usize {
        self.by_age.len()
    }

    /// Returns the next nonce of a key.
    #[must_use]
    pub fn next(&self, key: &PublicKey) -> u64 {
        self.counts.get(key).map_or(self.floor, |count| count.next)
    }

    /// Returns whether a path is that of requests for a nonce.
    #[must_use]
    pub fn has_path(path: &str) -> bool {
        path.starts_with(PATH)
    }

    /// Answers a request for a nonce; `None` if `request` is a different one.
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

    /// Authenticates the sender of a request. Over DMSG, that is the stream's key; otherwise the
    /// headers must prove a key, with its next nonce. The nonce is compared first, because
    /// verifying the signature is expensive.
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

    /// Records that a request was answered. Over plain HTTP, exactly status 200 increments the
    /// caller's nonce, as in upstream's clients and services.
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
