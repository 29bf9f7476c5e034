//! A transport: a link of some type between two visors.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use skydht_core::key::{PublicKey, SecretKey, Signature};

use super::lenient::{is_empty, or_default};
use super::{ElementError, TransportId, go_json};

/// Longest text of a type or label, in bytes.
pub(super) const MOST_TEXT: usize = 64;

/// A transport (upstream's `Entry`), with Go's order of members.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Transport {
    /// Identifier, derived from edges and type.
    #[serde(rename = "t_id")]
    pub id: TransportId,
    /// The visors at both ends, in ascending order.
    pub edges: [PublicKey; 2],
    /// Type: `stcpr`, `sudph`, `stcp`, `dmsg`, or a later one.
    #[serde(rename = "type")]
    pub kind: String,
    /// `user`, `automatic` or `skycoin`; signatures do not cover it.
    #[serde(default, deserialize_with = "or_default")]
    pub label: String,
}

/// Returns two keys in ascending order.
pub(super) fn in_order(one: PublicKey, other: PublicKey) -> [PublicKey; 2] {
    if one <= other {
        [one, other]
    } else {
        [other, one]
    }
}

impl Transport {
    /// Creates a transport between two visors, given in any order.
    #[must_use]
    pub fn new(one: PublicKey, other: PublicKey, kind: &str, label: &str) -> Self {
        Self {
            id: TransportId::of(&one, &other, kind),
            edges: in_order(one, other),
            kind: kind.to_owned(),
            label: label.to_owned(),
        }
    }

    /// Returns the other edge than `edge`.
    #[must_use]
    pub fn remote(&self, edge: &PublicKey) -> PublicKey {
        let [first, second] = self.edges;
        if *edge == first { second } else { first }
    }

    /// Returns the bytes that edges sign: id (16 bytes) ‖ smaller edge (33) ‖ larger edge (33) ‖
    /// type. The signature is over their SHA-256.
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

    /// Encodes the transport as JSON in Go's format.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        go_json::text(self)
    }

    /// Validates the id, the order of the edges, and the lengths of texts.
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

/// A transport with the signatures of its edges, in their order; a missing signature is all zeros.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SignedTransport {
    /// The transport; `None` for Go's zero value.
    pub entry: Option<Transport>,
    /// Signatures of the first and the second edge.
    pub signatures: [Signature; 2],
    /// Time of the registration, in seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub registered: i64,
}

/// Number of edges that have signed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Signed {
    /// No edge: the transport is only a claim of the key that published it.
    Neither,
    /// One edge.
    One,
    /// Both edges, which proves the transport.
    Both,
}

impl SignedTransport {
    /// Creates one without signatures.
    #[must_use]
    pub fn new(entry: Transport) -> Self {
        Self {
            entry: Some(entry),
            signatures: [Signature::default(); 2],
            registered: 0,
        }
    }

    /// Signs it as one of its edges. For a transport of a key with itself, both signatures are set.
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

    /// Verifies the signatures that are present.
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

    /// Encodes it as JSON in Go's format.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        go_json::text(self)
    }
}

fn digest(entry: &Transport) -> [u8; 32] {
    Sha256::digest(entry.signed_bytes()).into()
}
