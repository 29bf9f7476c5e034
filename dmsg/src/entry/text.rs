//! An entry's text, member by member: what is not understood stays as it came.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::value::RawValue;

/// What the discovery fills in.
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

impl Members<'_> {
    fn remove(&mut self, name: &str) {
        self.0.retain(|(it, _)| it != name);
    }
}

/// Writes the text anew after `change` has had its `server`.
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

/// The text with another type of the server.
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

/// The text without the type of the server and without the signature.
pub(super) fn without_server_type(json: &[u8]) -> serde_json::Result<Vec<u8>> {
    let text = with_server(json, |server| server.remove(SERVER_TYPE))?;
    let mut entry: Members<'_> = serde_json::from_slice(&text)?;
    entry.remove("signature");
    serde_json::to_vec(&entry)
}
