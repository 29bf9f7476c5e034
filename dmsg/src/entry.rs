//! DMSG's discovery entries: how a key can be reached, signed by its owner.
//!
//! A client's entry names the servers that it has sessions with; a server's entry has its address.
//! The signature covers the JSON text without its `signature`, so an entry is kept as the text that
//! was received ([`SignedEntry`]) and forwarded unchanged (specification of discovery, §1).

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
/// Maximum length of an entry, in bytes of JSON.
pub const MAX_ENTRY: usize = 64 * 1024;

/// Why an entry is refused. The texts of upstream's rules are upstream's: they are sent in HTTP
/// answers.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// It is not the JSON of an entry.
    #[error("malformed entry: {0}")]
    Malformed(String),
    /// It is longer than [`MAX_ENTRY`].
    #[error("entry of {0} bytes is too long")]
    TooLong(usize),
    /// It has no owner.
    #[error("entry validation error: entry Keys is nil")]
    NoKey,
    /// It has no signature.
    #[error("entry validation error: entry has no signature")]
    NoSignature,
    /// It has no version.
    #[error("entry validation error: entry has no version")]
    NoVersion,
    /// It is neither a client's nor a server's.
    #[error("entry validation error: entry has neither client or server field")]
    NoRole,
    /// It is a server's without an address.
    #[error("entry validation error: server address cannot be empty")]
    NoAddress,
    /// It is a server's with a loopback address.
    #[error(
        "entry validation error: advertising localhost listening address is not allowed in production mode"
    )]
    LoopbackAddress,
    /// It is a server's that is more than a minute old, or more than 5 s in the future.
    #[error("entry validation error: advertised entry has outdated timestamp")]
    Outdated,
    /// Its sequence is not above that of the stored entry.
    #[error("entry validation error: sequence field of new entry is not sequence of old entry + 1")]
    Sequence,
    /// Its timestamp is before that of the stored entry.
    #[error("entry validation error: advertised entry timestamp is not greater than previous")]
    Timestamp,
    /// The signature is not 130 hexadecimal digits.
    #[error("Invalid signature length")]
    SignatureForm,
    /// The signature is not the owner's.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

/// An entry's content, with the fields in the order in which they are signed. Unknown members are
/// ignored, and `null` is the default value, as in Go.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The format version of the entry: [`VERSION`].
    #[serde(default, deserialize_with = "or_default")]
    pub version: String,
    /// Number of the entry among its owner's; each one is higher than the last.
    #[serde(default, deserialize_with = "or_default")]
    pub sequence: u64,
    /// When it was made, in nanoseconds since the Unix epoch.
    #[serde(default, deserialize_with = "or_default")]
    pub timestamp: i64,
    /// The owner.
    #[serde(rename = "static")]
    pub key: PublicKey,
    /// The client's part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientFields>,
    /// The type of client, for instance `visor`; may be empty.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub client_type: String,
    /// The server's part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerFields>,
    /// 130 hexadecimal digits; empty before it is signed.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    signature: String,
    /// The multiplexer, `smux` or empty. Follows the signature in the text.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub protocol: String,
}

/// One part of an entry. One key may be both a client and a server, each a process that publishes
/// its own half (specification of DMSG in 2026, §5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Half {
    /// `client` and `client_type`.
    Client,
    /// `server`.
    Server,
}

/// A client's part of an entry.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct ClientFields {
    /// The servers that it has sessions with. `None` is Go's `null`, which means an empty list.
    #[serde(default)]
    pub delegated_servers: Option<Vec<PublicKey>>,
}

/// A server's part of an entry.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerFields {
    /// Its address, `host:port`.
    #[serde(default, deserialize_with = "or_default")]
    pub address: String,
    /// Its address on IPv6. This field and the next three are later than April 2026.
    #[serde(
        default,
        deserialize_with = "or_default",
        rename = "address_v6",
        skip_serializing_if = "String::is_empty"
    )]
    pub address_v6: String,
    /// Its address over QUIC.
    #[serde(
        default,
        deserialize_with = "or_default",
        rename = "address_udp",
        skip_serializing_if = "String::is_empty"
    )]
    pub address_udp: String,
    /// Its address over QUIC on IPv6.
    #[serde(
        default,
        deserialize_with = "or_default",
        rename = "address_udp_v6",
        skip_serializing_if = "String::is_empty"
    )]
    pub address_udp_v6: String,
    /// Its address over WebSocket.
    #[serde(
        default,
        deserialize_with = "or_default",
        rename = "address_ws",
        skip_serializing_if = "String::is_empty"
    )]
    pub address_ws: String,
    /// How many more sessions it accepts.
    #[serde(default, deserialize_with = "or_default")]
    pub available_sessions: i64,
    /// `official` or `community`. The discovery overwrites it after verifying the signature.
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

/// Reads `null` as the default value, since Go writes empty values as `null`.
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
    /// Creates an entry of `key` without a client's or server's part.
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

    /// Returns the servers that a client has sessions with; empty for any other entry.
    #[must_use]
    pub fn delegated_servers(&self) -> &[PublicKey] {
        let client = self.client.as_ref();
        client
            .and_then(|client| client.delegated_servers.as_deref())
            .unwrap_or_default()
    }

    /// Returns whether the entry has the half other than `half`.
    #[must_use]
    pub fn has_other_half(&self, half: Half) -> bool {
        match half {
            Half::Client => self.server.is_some(),
            Half::Server => self.client.is_some(),
        }
    }

    /// Returns whether it has a member that discoveries of October 2024 do not know. These verify
    /// the signature over the members they know, and so find it wrong.
    #[must_use]
    pub fn has_later_members(&self) -> bool {
        let mut plain = self.clone();
        plain.remove_later_members();
        plain != *self
    }

    /// Removes the members that discoveries of October 2024 do not know.
    pub fn remove_later_members(&mut self) {
        self.protocol.clear();
        // The pattern names every member, so that the compiler asks for a decision about new ones.
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

    /// Signs the entry.
    ///
    /// # Panics
    /// If `secret` is not the owner's.
    #[must_use]
    pub fn sign(self, secret: &SecretKey) -> SignedEntry {
        SignedEntry::sign(self, secret)
    }
}
