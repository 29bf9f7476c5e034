//! What stands in the objects that open a stream, as plain data: see [`crate::object`].

use skydht_core::key::PUBLIC_KEY_LEN;

/// An address as it stands in an object: any 33 bytes, any port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawAddress {
    /// The key's bytes; all zero when there is none.
    pub key: [u8; PUBLIC_KEY_LEN],
    /// The port; 0 when there is none.
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

/// An announcement as it stands in an object. Nothing about it is checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerAnnounce {
    /// When it was made, in nanoseconds since 1970.
    pub timestamp: i64,
    /// Whose it is; all zero when the object names none, as a request for a stream does.
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

/// A request as it stands in an object. Nothing about it is checked.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct StreamRequest {
    /// When it was made, in nanoseconds since 1970.
    pub timestamp: i64,
    /// Who asks.
    pub source: RawAddress,
    /// Who is asked.
    pub destination: RawAddress,
    /// Ask the server for the public address that it sees us at.
    pub ip_info: bool,
    /// The first message of the KK handshake.
    pub noise: Vec<u8>,
}

/// A response as it stands in an object.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct StreamResponse {
    /// The hash of the request.
    pub request_hash: [u8; 32],
    /// Whether the stream is open.
    pub accepted: bool,
    /// The public address asked for: 4 or 16 bytes, or none.
    pub ip: Vec<u8>,
    /// Why it was refused; 0 when it was not, or for no reason.
    pub error_code: u16,
    /// The second message of the KK handshake.
    pub noise: Vec<u8>,
}
