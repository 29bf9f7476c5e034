//! One transport: a link between two visors, of some type.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use skydht_core::key::{PublicKey, SecretKey, Signature};

use super::lenient::{is_empty, or_default};
use super::{ElementError, TransportId, go_json};

/// The longest text of a type or label that is read.
pub(super) const MOST_TEXT: usize = 64;

/// What upstream calls an entry, in the order of its members.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Transport {
    /// Made of the other two.
    #[serde(rename = "t_id")]
    pub id: TransportId,
    /// The visors, in ascending order.
    pub edges: [PublicKey; 2],
    /// `stcpr`, `sudph`, `stcp`, `dmsg`, or what came later.
    #[serde(rename = "type")]
    pub kind: String,
    /// `user`, `automatic` or `skycoin`; no signature covers it.
    #[serde(default, deserialize_with = "or_default")]
    pub label: String,
}

/// Two keys, the smaller one first.
pub(super) fn in_order(one: PublicKey, other: PublicKey) -> [PublicKey; 2] {
    if one <= other {
        [one, other]
    } else {
        [other, one]
    }
}

impl Transport {
    /// One between two visors, in any order.
    #[must_use]
    pub fn new(one: PublicKey, other: PublicKey, kind: &str, label: &str) -> Self {
        Self {
            id: TransportId::of(&one, &other, kind),
            edges: in_order(one, other),
            kind: kind.to_owned(),
            label: label.to_owned(),
        }
    }

    /// The other end.
    #[must_use]
    pub fn remote(&self, edge: &PublicKey) -> PublicKey {
        let [first, second] = self.edges;
        if *edge == first { second } else { first }
    }

    /// What its edges sign: id (16 bytes) ‖ smaller edge (33) ‖ larger edge (33) ‖ type. The
    /// signature is over its SHA-256.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        let [first, second] = &self.edges;
        let parts: [&[u8]; 4] = [
            self.id.as_bytes(),
            first.as_bytes(),
            second.as_bytes(),
            self.kind.as_bytes(),
        ];
        parts.concat()
    }

    /// Its JSON, as Go writes it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        go_json::text(self)
    }

    /// Checks that its id is that of its edges and type, and that its texts are short.
    ///
    /// # Errors
    /// [`ElementError`].
    pub fn validate(&self) -> Result<(), ElementError> {
        let [first, second] = &self.edges;
        if self.kind.len() > MOST_TEXT {
            return Err(ElementError::TooLong("type"));
        }
        if self.label.len() > MOST_TEXT {
            return Err(ElementError::TooLong("label"));
        }
        if first > second {
            return Err(ElementError::EdgeOrder);
        }
        if self.id != TransportId::of(first, second, &self.kind) {
            return Err(ElementError::WrongId);
        }
        Ok(())
    }
}

/// A transport with the signatures of its edges, in their order; zeros for one that is missing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SignedTransport {
    /// The transport; Go's zero value has none.
    pub entry: Option<Transport>,
    /// Of the first and of the second edge.
    pub signatures: [Signature; 2],
    /// When it was registered, in seconds since 1970.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub registered: i64,
}

/// Which edges have signed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Signed {
    /// None: it is a claim of the key that published it.
    Neither,
    /// One of them.
    One,
    /// Both: it is there.
    Both,
}

impl SignedTransport {
    /// One without signatures.
    #[must_use]
    pub fn new(entry: Transport) -> Self {
        Self {
            entry: Some(entry),
            signatures: [Signature::default(); 2],
            registered: 0,
        }
    }

    /// Signs it as one of its edges; of a transport of a key with itself both signatures are set.
    ///
    /// # Errors
    /// [`ElementError::Missing`] without a transport, or [`ElementError::ForeignEdge`].
    pub fn sign(&mut self, secret: &SecretKey) -> Result<(), ElementError> {
        let entry = self.entry.as_ref().ok_or(ElementError::Missing("entry"))?;
        let edge = secret.public();
        if !entry.edges.contains(&edge) {
            return Err(ElementError::ForeignEdge);
        }
        let signature = secret.sign(&digest(entry));
        for (key, place) in entry.edges.iter().zip(&mut self.signatures) {
            if *key == edge {
                *place = signature;
            }
        }
        Ok(())
    }

    /// Checks the signatures that are there.
    ///
    /// # Errors
    /// [`ElementError::Missing`] without a transport, or [`ElementError::Signature`].
    pub fn verify(&self) -> Result<Signed, ElementError> {
        let entry = self.entry.as_ref().ok_or(ElementError::Missing("entry"))?;
        let digest = digest(entry);
        let mut signed = 0;
        for (index, (edge, signature)) in entry.edges.iter().zip(&self.signatures).enumerate() {
            if *signature == Signature::default() {
                continue;
            }
            let holds = edge.verify(&digest, signature);
            holds.map_err(|_| ElementError::Signature(index))?;
            signed += 1;
        }
        Ok([Signed::Neither, Signed::One, Signed::Both][signed])
    }

    /// Its JSON, as Go writes it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        go_json::text(self)
    }
}

fn digest(entry: &Transport) -> [u8; 32] {
    Sha256::digest(entry.signed_bytes()).into()
}
