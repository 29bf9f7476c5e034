//! Contents of the objects that open a stream, as plain data: see [`crate::object`].

use skydht_core::key::PUBLIC_KEY_LEN;

/// An address in an object: any 33 bytes, any port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawAddress {
    /// The key's bytes; all zero if there is none.
    pub key: [u8; PUBLIC_KEY_LEN],
    /// The port; 0 if there is none.
    pub port: u16,
}

impl Default for RawAddress {
    fn default() -> Self {
        Self {
            key: [0; PUBLIC_KEY_LEN],
            port: 0,
        }
    }
}

/// The content of a server's announcement, unverified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerAnnounce {
    /// When it was made, in nanoseconds since the Unix epoch.
    pub timestamp: i64,
    /// Key of the server; all zero if the object is not an announcement but a stream request.
    pub source: [u8; PUBLIC_KEY_LEN],
}

impl Default for PeerAnnounce {
    fn default() -> Self {
        Self {
            timestamp: 0,
            source: [0; PUBLIC_KEY_LEN],
        }
    }
}

/// The content of a stream request, unverified.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct StreamRequest {
    /// When it was made, in nanoseconds since the Unix epoch.
    pub timestamp: i64,
    /// The address that opens the stream.
    pub source: RawAddress,
    /// The address to which the stream is opened.
    pub destination: RawAddress,
    /// Whether it asks the server for the public address of the source.
    pub ip_info: bool,
    /// The first message of the KK handshake.
    pub noise: Vec<u8>,
}

/// The content of a response to a stream request.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct StreamResponse {
    /// The hash of the request.
    pub request_hash: [u8; 32],
    /// Whether the stream was accepted.
    pub accepted: bool,
    /// The requested public address: 4 or 16 bytes, or empty.
    pub ip: Vec<u8>,
    /// Code of the refusal; 0 if it was accepted, or refused without a reason.
    pub error_code: u16,
    /// The second message of the KK handshake.
    pub noise: Vec<u8>,
}
