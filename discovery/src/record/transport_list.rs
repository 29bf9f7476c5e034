//! Transports of a visor: salts `tp`, `tp:1`, `tp:2`, … (specification of discovery, §7.1).

use std::collections::BTreeSet;

use serde::Deserialize;
use skydht_core::item::MAX_VALUE_LEN;
use skydht_core::key::{PublicKey, Signature};

use super::at_most::AtMost;
use super::lenient::Object;
use super::transport::MOST_TEXT;
use super::{
    ElementError, Record, RecordError, SignedTransport, Transport, TransportId, go_json, malformed,
};

/// Maximum number of transports in a written value, as in upstream.
pub const CHUNK: usize = 200;
/// Maximum number of transports in a value that is read. The shortest format fits some 780 into the
/// largest value.
pub const MOST_TRANSPORTS: usize = 1024;

/// Format of a list, among those that upstream has written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// `[Entry, …]`, which is also the format written here.
    Bare,
    /// `[SignedEntry, …]`.
    Signed,
    /// `{"s": …, "ts": [compact, …]}`.
    Envelope,
    /// `[{"r": remote, "t": type, "l": label}, …]`.
    Compact,
}

/// A transport in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedTransport {
    /// The transport; the owner of the list is one of its edges.
    pub transport: Transport,
    /// Whether both edges signed it, so that the other edge's list is not needed as evidence.
    pub is_proven: bool,
}

/// A list, or a chunk of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transports {
    /// Format of the list.
    pub shape: Shape,
    /// The transports in the order of the value, without duplicates.
    pub list: Vec<ListedTransport>,
}

/// An element in any format; members that the format lacks are `None`.
#[derive(Deserialize)]
struct Element {
    #[serde(default)]
    t_id: Option<TransportId>,
    #[serde(default)]
    edges: Option<[PublicKey; 2]>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    label: Option<String>,
    #[serde(default)]
    entry: Option<Object<Transport>>,
    #[serde(default)]
    signatures: Option<[Signature; 2]>,
    #[serde(default)]
    r: Option<PublicKey>,
    #[serde(default)]
    t: Option<String>,
    #[serde(default)]
    l: Option<String>,
}

#[derive(Deserialize)]
struct Envelope {
    ts: Option<AtMost<Object<Element>, MOST_TRANSPORTS>>,
}

impl Element {
    fn bare(self) -> Result<ListedTransport, ElementError> {
        Ok(ListedTransport {
            transport: Transport {
                id: self.t_id.ok_or(ElementError::Missing("t_id"))?,
                edges: self.edges.ok_or(ElementError::Missing("edges"))?,
                kind: self.kind.ok_or(ElementError::Missing("type"))?,
                label: self.label.unwrap_or_default(),
            },
            is_proven: false,
        })
    }

    fn signed(self) -> Result<ListedTransport, ElementError> {
        let signed = SignedTransport {
            entry: self.entry.map(|Object(entry)| entry),
            signatures: self.signatures.unwrap_or_default(),
            registered: 0,
        };
        let is_proven = signed.verify()? == super::Signed::Both;
        let transport = signed.entry.ok_or(ElementError::Missing("entry"))?;
        Ok(ListedTransport {
            transport,
            is_proven,
        })
    }

    fn compact(self, owner: &PublicKey) -> Result<ListedTransport, ElementError> {
        let remote = self.r.ok_or(ElementError::Missing("r"))?;
        let kind = self.t.ok_or(ElementError::Missing("t"))?;
        if kind.len() > MOST_TEXT {
            return Err(ElementError::TooLong("t"));
        }
        let label = self.l.unwrap_or_default();
        Ok(ListedTransport {
            transport: Transport::new(*owner, remote, &kind, &label),
            is_proven: false,
        })
    }
}

/// Parses the value of one chunk.
pub(super) fn read(owner: &PublicKey, value: &[u8]) -> Result<Record, RecordError> {
    let is_object = value.trim_ascii_start().first() == Some(&b'{');
    let (shape, elements) = if is_object {
        let envelope: Envelope =
            serde_json::from_slice(value).map_err(|error| malformed(&error))?;
        let elements = envelope.ts.ok_or(RecordError::UnknownShape)?;
        (Shape::Envelope, elements.0)
    } else {
        let elements = serde_json::from_slice(value);
        let AtMost::<Object<Element>, MOST_TRANSPORTS>(elements) =
            elements.map_err(|error| malformed(&error))?;
        let has_id = |it: &Element| it.t_id.is_some_and(|id| !id.is_null());
        let shape = if elements.iter().any(|it| has_id(&it.0)) {
            Shape::Bare
        } else if elements.iter().any(|it| it.0.entry.is_some()) {
            Shape::Signed
        } else if elements.iter().any(|it| it.0.r.is_some()) {
            Shape::Compact
        } else {
            return Err(RecordError::UnknownShape);
        };
        (shape, elements)
    };
    let mut list = Vec::with_capacity(elements.len());
    let mut seen = BTreeSet::new();
    for (index, Object(element)) in elements.into_iter().enumerate() {
        let listed = match shape {
            Shape::Bare => element.bare(),
            Shape::Signed => element.signed(),
            Shape::Envelope | Shape::Compact => element.compact(owner),
        };
        let listed = listed.map_err(|why| why.at(index))?;
        let transport = &listed.transport;
        transport.validate().map_err(|why| why.at(index))?;
        if !transport.edges.contains(owner) {
            return Err(ElementError::ForeignEdge.at(index));
        }
        if !seen.insert(transport.id) {
            return Err(ElementError::Twice.at(index));
        }
        list.push(listed);
    }
    Ok(Record::Transports(Transports { shape, list }))
}

/// Encodes a visor's list for `tp`, `tp:1` and so on: at least one value, each with at most
/// [`CHUNK`] transports and within the largest value.
#[must_use]
pub fn chunks(transports: &[Transport]) -> Vec<Vec<u8>> {
    let mut chunks = vec![Vec::new()];
    let (mut count, mut last) = (0, 0);
    for transport in transports {
        let text = go_json::text(transport);
        let chunk: &Vec<u8> = &chunks[last];
        if count == CHUNK || (count > 0 && chunk.len() + text.len() + 2 > MAX_VALUE_LEN) {
            chunks.push(Vec::new());
            (count, last) = (0, last + 1);
        }
        let chunk = &mut chunks[last];
        chunk.push(if count == 0 { b'[' } else { b',' });
        chunk.extend_from_slice(&text);
        count += 1;
    }
    for chunk in &mut chunks {
        if chunk.is_empty() {
            chunk.push(b'[');
        }
        chunk.push(b']');
    }
    chunks
}
