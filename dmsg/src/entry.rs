//! DMSG's discovery entries: who is where, signed by its owner.
//!
//! A client's entry names the servers that it has sessions with; a server's entry says where to
//! connect. The signature covers the JSON text without its `signature`, so an entry is kept as
//! the text that came ([`SignedEntry`]) and is handed on unchanged (specification of discovery,
//! §1).

mod rules;
mod signed;
mod text;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Deserializer, Serialize};
use skydht_core::key::{PublicKey, SecretKey, SignatureError};

pub use signed::SignedEntry;

/// The version that entries carry.
pub const VERSION: &str = "0.0.1";
/// The longest entry that is read, in bytes of JSON.
pub const MAX_ENTRY: usize = 64 * 1024;

/// Why an entry is refused. The texts of the rules are upstream's: they travel in HTTP answers.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// Not the JSON of an entry.
    #[error("malformed entry: {0}")]
    Malformed(String),
    /// Longer than [`MAX_ENTRY`].
    #[error("entry of {0} bytes is too long")]
    TooLong(usize),
    /// No owner.
    #[error("entry validation error: entry Keys is nil")]
    NoKey,
    /// No signature.
    #[error("entry validation error: entry has no signature")]
    NoSignature,
    /// No version.
    #[error("entry validation error: entry has no version")]
    NoVersion,
    /// Neither a client's nor a server's.
    #[error("entry validation error: entry has neither client or server field")]
    NoRole,
    /// A server's without an address.
    #[error("entry validation error: server address cannot be empty")]
    NoAddress,
    /// A server's with an address that only its own host can reach.
    #[error(
        "entry validation error: advertising localhost listening address is not allowed in production mode"
    )]
    LoopbackAddress,
    /// A server's that is more than a minute old, or more than 5 s ahead.
    #[error("entry validation error: advertised entry has outdated timestamp")]
    Outdated,
    /// Its sequence is not above the last one's.
    #[error("entry validation error: sequence field of new entry is not sequence of old entry + 1")]
    Sequence,
    /// Its timestamp is before the last one's.
    #[error("entry validation error: advertised entry timestamp is not greater than previous")]
    Timestamp,
    /// Not 130 hexadecimal digits.
    #[error("Invalid signature length")]
    SignatureForm,
    /// Not the owner's signature.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

/// An entry's content, in the order in which it is signed. Unknown members are ignored, and
/// `null` is nothing, as in Go.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The form of the entry: [`VERSION`].
    #[serde(default, deserialize_with = "or_default")]
    pub version: String,
    /// Counts the entries of this owner.
    #[serde(default, deserialize_with = "or_default")]
    pub sequence: u64,
    /// When it was made, in nanoseconds since 1970.
    #[serde(default, deserialize_with = "or_default")]
    pub timestamp: i64,
    /// The owner.
    #[serde(rename = "static")]
    pub key: PublicKey,
    /// What a client says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientFields>,
    /// What kind of client, for instance `visor`; may be empty.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub client_type: String,
    /// What a server says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerFields>,
    /// 130 hexadecimal digits, or nothing.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    signature: String,
    /// The multiplexer, `smux` or nothing. Behind the signature in the text.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub protocol: String,
}

/// A part of an entry: one key may be a client and a server, each with a process of its own that
/// publishes its half (specification of DMSG in 2026, §5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Half {
    /// `client` and `client_type`.
    Client,
    /// `server`.
    Server,
}

/// What a client says of itself.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct ClientFields {
    /// The servers that it has sessions with. None is Go's `null`, with the meaning of an empty
    /// list.
    #[serde(default)]
    pub delegated_servers: Option<Vec<PublicKey>>,
}

/// What a server says of itself.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerFields {
    /// Where it listens: `host:port`.
    #[serde(default, deserialize_with = "or_default")]
    pub address: String,
    /// The same on IPv6; later than April 2026, as the next three.
    #[serde(
        default,
        deserialize_with = "or_default",
        rename = "address_v6",
        skip_serializing_if = "String::is_empty"
    )]
    pub address_v6: String,
    /// Over QUIC.
    #[serde(
        default,
        deserialize_with = "or_default",
        rename = "address_udp",
        skip_serializing_if = "String::is_empty"
    )]
    pub address_udp: String,
    /// Over QUIC on IPv6.
    #[serde(
        default,
        deserialize_with = "or_default",
        rename = "address_udp_v6",
        skip_serializing_if = "String::is_empty"
    )]
    pub address_udp_v6: String,
    /// Over WebSocket.
    #[serde(
        default,
        deserialize_with = "or_default",
        rename = "address_ws",
        skip_serializing_if = "String::is_empty"
    )]
    pub address_ws: String,
    /// How many more clients it takes.
    #[serde(default, deserialize_with = "or_default")]
    pub available_sessions: i64,
    /// `official` or `community`, rewritten by the discovery after it checked the signature.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub server_type: String,
    /// Whether it is a bootstrap node of the DHT.
    #[serde(
        default,
        deserialize_with = "or_default",
        rename = "dht_bootstrap",
        skip_serializing_if = "is_false"
    )]
    pub dht_bootstrap: bool,
}

/// Go leaves out what is `null`.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    value: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for this form"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

impl Entry {
    /// An entry of `key` that says nothing yet.
    #[must_use]
    pub fn new(key: PublicKey, sequence: u64, timestamp: i64) -> Self {
        Self {
            version: VERSION.to_owned(),
            sequence,
            timestamp,
            key,
            client: None,
            client_type: String::new(),
            server: None,
            signature: String::new(),
            protocol: String::new(),
        }
    }

    /// The servers that a client has sessions with; none for an entry that is not a client's.
    #[must_use]
    pub fn delegated_servers(&self) -> &[PublicKey] {
        let client = self.client.as_ref();
        client
            .and_then(|client| client.delegated_servers.as_deref())
            .unwrap_or_default()
    }

    /// Whether it has the half that is not this one.
    #[must_use]
    pub fn has_other_half(&self, half: Half) -> bool {
        match half {
            Half::Client => self.server.is_some(),
            Half::Server => self.client.is_some(),
        }
    }

    /// Whether it has a member that discoveries of October 2024 do not know. They sign what they
    /// know of an entry anew, and so find its signature wrong.
    #[must_use]
    pub fn has_later_members(&self) -> bool {
        let mut plain = self.clone();
        plain.remove_later_members();
        plain != *self
    }

    /// Leaves out what discoveries of October 2024 do not know.
    pub fn remove_later_members(&mut self) {
        self.protocol.clear();
        // Every member by its name, so that a new one is thought of here.
        if let Some(ServerFields {
            address: _,
            address_v6,
            address_udp,
            address_udp_v6,
            address_ws,
            available_sessions: _,
            server_type: _,
            dht_bootstrap,
        }) = &mut self.server
        {
            address_v6.clear();
            address_udp.clear();
            address_udp_v6.clear();
            address_ws.clear();
            *dht_bootstrap = false;
        }
    }

    /// Signs it.
    ///
    /// # Panics
    /// When the secret key is not the owner's.
    #[must_use]
    pub fn sign(self, secret: &SecretKey) -> SignedEntry {
        SignedEntry::sign(self, secret)
    }
}
