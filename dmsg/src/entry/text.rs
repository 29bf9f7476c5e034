//! Edits an entry's text member by member: unknown members stay verbatim.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::value::RawValue;

use super::Half;

/// The member that the discovery sets.
const SERVER_TYPE: &str = "serverType";
/// The member before it, in Go's order.
const BEFORE_TYPE: &str = "availableSessions";

/// A JSON object's members, in their order.
struct Members<'a>(Vec<(Cow<'a, str>, Cow<'a, RawValue>)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((Cow::Owned(name), Cow::Borrowed(value)));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// The members of an entry, in Go's order.
const ORDER: [&str; 9] = [
    "version",
    "sequence",
    "timestamp",
    "static",
    "client",
    "client_type",
    "server",
    SIGNATURE,
    "protocol",
];
const SIGNATURE: &str = "signature";
/// The members of each half of an entry.
const CLIENT: [&str; 2] = ["client", "client_type"];
const SERVER: [&str; 1] = ["server"];

impl<'a> Members<'a> {
    fn remove(&mut self, name: &str) {
        self.0.retain(|(it, _)| it != name);
    }

    /// Replaces a member, or inserts it at its position in Go's order.
    fn set(&mut self, name: &'static str, value: Cow<'a, RawValue>) {
        if let Some((_, before)) = self.0.iter_mut().find(|(it, _)| it == name) {
            *before = value;
            return;
        }
        let earlier = ORDER.iter().take_while(|it| **it != name);
        let earlier: Vec<_> = earlier.collect();
        let last = self.0.iter().rposition(|(it, _)| earlier.contains(&&&**it));
        let at = last.map_or(0, |last| last + 1);
        self.0.insert(at, (Cow::Borrowed(name), value));
    }
}

/// Returns the text `stored` with one half, the version, the sequence and the timestamp taken from
/// `own`, and with a signature made by `sign`. Neither text has a signature.
pub(super) fn replace_half(
    stored: &[u8],
    own: &[u8],
    half: Half,
    sign: impl FnOnce(&[u8]) -> String,
) -> serde_json::Result<Vec<u8>> {
    let mut entry: Members<'_> = serde_json::from_slice(stored)?;
    let own: Members<'_> = serde_json::from_slice(own)?;
    let replaced: &[&'static str] = match half {
        Half::Client => &CLIENT,
        Half::Server => &SERVER,
    };
    for name in replaced.iter().chain(&ORDER[..3]) {
        match own.0.iter().find(|(it, _)| it == name) {
            Some((_, value)) => entry.set(name, value.clone()),
            None => entry.remove(name),
        }
    }
    let signature = sign(&serde_json::to_vec(&entry)?);
    let signature = serde_json::value::to_raw_value(&signature)?;
    entry.set(SIGNATURE, Cow::Owned(signature));
    serde_json::to_vec(&entry)
}

/// Applies `change` to the entry's `server`, and returns the new text.
fn with_server(json: &[u8], change: impl FnOnce(&mut Members<'_>)) -> serde_json::Result<Vec<u8>> {
    let mut entry: Members<'_> = serde_json::from_slice(json)?;
    let server = entry.0.iter_mut().find(|(name, _)| name == "server");
    if let Some((_, value)) = server {
        let text = value.get().to_owned();
        let mut members: Members<'_> = serde_json::from_str(&text)?;
        change(&mut members);
        *value = Cow::Owned(serde_json::value::to_raw_value(&members)?);
    }
    serde_json::to_vec(&entry)
}

/// Returns the text with another server type.
pub(super) fn with_server_type(json: &[u8], kind: &str) -> serde_json::Result<Vec<u8>> {
    let kind = serde_json::value::to_raw_value(kind)?;
    with_server(json, |server| {
        server.remove(SERVER_TYPE);
        let before = server.0.iter().position(|(name, _)| name == BEFORE_TYPE);
        let at = before.map_or(server.0.len(), |at| at + 1);
        let member = (Cow::Borrowed(SERVER_TYPE), Cow::Owned(kind));
        server.0.insert(at, member);
    })
}

/// Returns the text without the server type and without the signature.
pub(super) fn without_server_type(json: &[u8]) -> serde_json::Result<Vec<u8>> {
    let text = with_server(json, |server| server.remove(SERVER_TYPE))?;
    let mut entry: Members<'_> = serde_json::from_slice(&text)?;
    entry.remove(SIGNATURE);
    serde_json::to_vec(&entry)
}
