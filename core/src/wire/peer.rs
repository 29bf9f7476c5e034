//! Peers in answers.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use crate::address::canonical;
use crate::id::NodeId;
use crate::key::{PUBLIC_KEY_LEN, PublicKey, parse_hex};
use crate::time::Unix;
use crate::wire::error::WireError;
use crate::wire::json::{Reader, Result, Writer, plain_array32};
use crate::wire::key::{read_key, write_key};
use crate::wire::timestamp::Timestamp;

/// Maximum number of peers kept of one list; upstream sends at most 20. Excess ones are dropped and
/// counted.
pub const MAX_PEERS: usize = 64;
/// Size of a peer with an IPv4 address in a compact list, in bytes.
const COMPACT_LEN: usize = PUBLIC_KEY_LEN + 8 + 1 + 6;

/// A peer that an answer names. Neither its id nor its key is proven.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WirePeer {
    /// The id as stated; compute it from the key instead.
    pub id: NodeId,
    /// The key; `None` is upstream's zero key.
    pub key: Option<PublicKey>,
    /// The time as stated; receivers ignore it.
    pub last_seen: Timestamp,
    /// Address at which it can be dialled directly (an extension); absent if unknown.
    pub addr: Option<SocketAddr>,
}

impl WirePeer {
    /// A peer with the correct id of `key`.
    #[must_use]
    pub fn new(key: &PublicKey, last_seen: Timestamp, addr: Option<SocketAddr>) -> Self {
        Self {
            id: key.id(),
            key: Some(*key),
            last_seen,
            addr,
        }
    }
}

/// The peers of an answer, and the numbers of entries dropped from it.
///
/// In JSON it is a list of objects, as in upstream. The compact form, an extension, is one base64
/// text of some 50 bytes per peer: the key (33 bytes), the time when it was last seen (nanoseconds
/// since the Unix epoch, u64, 0 if unknown), the length of its address (one byte: 0, 6 or 18), and
/// the address (4 or 16 bytes, then the port, u16). Numbers are big-endian. Ids are not sent: they
/// follow from the keys.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PeerList {
    /// The peers; at most [`MAX_PEERS`] when decoded.
    pub peers: Vec<WirePeer>,
    /// Number of entries dropped because of their key. Upstream drops the whole message.
    pub bad_keys: u32,
    /// Number of entries dropped beyond [`MAX_PEERS`].
    pub excess: u32,
}

impl From<Vec<WirePeer>> for PeerList {
    fn from(peers: Vec<WirePeer>) -> Self {
        Self {
            peers,
            bad_keys: 0,
            excess: 0,
        }
    }
}

impl WirePeer {
    /// Reads a peer exactly as Go and [`WirePeer::write`] print it, which is almost always, and
    /// returns it with its length. `None` is not an error yet.
    fn plain(text: &[u8]) -> Option<(Self, usize)> {
        let (id, len) = plain_array32(text.strip_prefix(b"{\"id\":")?)?;
        let rest = text[6 + len..].strip_prefix(b",\"pk\":\"")?;
        let (key, rest) = rest.split_at_checked(2 * PUBLIC_KEY_LEN)?;
        let key = parse_hex::<PUBLIC_KEY_LEN>(key)?;
        let rest = rest.strip_prefix(b"\",\"last_seen\":\"")?;
        let (last_seen, mut rest) = until_quote(rest)?;
        let mut addr = None;
        if let Some(field) = rest.strip_prefix(b",\"addr\":\"") {
            let (text, after) = until_quote(field)?;
            // Text that does not parse as an address may contain escapes.
            addr = Some(parse_addr(text)?);
            rest = after;
        }
        let rest = rest.strip_prefix(b"}")?;
        let peer = Self {
            id: NodeId::from_bytes(id),
            key: Some(PublicKey::from_bytes(&key).ok()?),
            last_seen: Timestamp::parse(last_seen)?,
            addr,
        };
        Some((peer, text.len() - rest.len()))
    }

    /// Reads a peer. The outer result refers to the JSON, the inner one to the key.
    fn read(reader: &mut Reader<'_>) -> Result<Result<Self>> {
        if let Some(peer) = reader.plain(Self::plain) {
            return Ok(Ok(peer));
        }
        let mut id = [0; 32];
        let mut peer = Self::default();
        let mut bad_key = None;
        reader.object(|reader, name| {
            match name {
                "id" => reader.array32(&mut id)?,
                "pk" => match read_key(reader, &mut peer.key) {
                    Err(error @ WireError::BadKey { .. }) => bad_key = Some(error),
                    other => other?,
                },
                "last_seen" => {
                    let at = reader.position();
                    if let Some(text) = reader.raw_string()? {
                        let time = Timestamp::parse(text);
                        peer.last_seen = time.ok_or(WireError::Value { at })?;
                    }
                }
                "addr" => peer.addr = read_addr(reader.raw_value()?),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        peer.id = NodeId::from_bytes(id);
        Ok(bad_key.map_or(Ok(peer), Err))
    }

    /// Reads a peer of a compact list, `None` if its key is invalid, and returns the rest of the
    /// bytes.
    fn compact(bytes: &[u8]) -> Option<(Option<Self>, &[u8])> {
        let (key, rest) = bytes.split_first_chunk::<PUBLIC_KEY_LEN>()?;
        let (last_seen, rest) = rest.split_first_chunk()?;
        let (len, rest) = rest.split_first()?;
        let (addr, rest) = rest.split_at_checked((*len).into())?;
        let addr = match addr.split_last_chunk() {
            None if addr.is_empty() => None,
            Some((ip, port)) => {
                let ip = match ip.len() {
                    4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
                    _ => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
                };
                dialled((ip, u16::from_be_bytes(*port)).into())
            }
            None => return None,
        };
        let last_seen = match u64::from_be_bytes(*last_seen) {
            0 => Timestamp::default(),
            nanos => Unix(nanos).into(),
        };
        let peer = PublicKey::from_bytes(key)
            .ok()
            .map(|key| Self::new(&key, last_seen, addr));
        Some((peer, rest))
    }

    fn write_compact(&self, out: &mut Vec<u8>) {
        let Some(key) = &self.key else {
            return;
        };
        out.extend_from_slice(key.as_bytes());
        let last_seen = self.last_seen.unix().unwrap_or_default();
        out.extend_from_slice(&last_seen.0.to_be_bytes());
        let Some(addr) = self.addr else {
            return out.push(0);
        };
        match addr.ip() {
            IpAddr::V4(ip) => {
                out.push(6);
                out.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.push(18);
                out.extend_from_slice(&ip.octets());
            }
        }
        out.extend_from_slice(&addr.port().to_be_bytes());
    }

    fn write(&self, out: &mut Writer) {
        out.raw("{");
        out.field("id").array32(self.id.as_bytes());
        write_key(out.field("pk"), self.key.as_ref());
        out.field("last_seen").quote(self.last_seen);
        if let Some(addr) = self.addr {
            out.field("addr").quote(addr);
        }
        out.raw("}");
    }
}

impl PeerList {
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        *self = Self::default();
        reader.array(|reader| {
            match WirePeer::read(reader)? {
                Err(_) => self.bad_keys += 1,
                Ok(_) if self.peers.len() == MAX_PEERS => self.excess += 1,
                Ok(peer) => self.peers.push(peer),
            }
            Ok(())
        })
    }

    /// Reads a compact list; `None` for `null`.
    pub(super) fn read_compact(reader: &mut Reader<'_>) -> Result<Option<Self>> {
        let at = reader.position();
        let Some(bytes) = reader.blob()? else {
            return Ok(None);
        };
        let mut list = Self::default();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (peer, after) = WirePeer::compact(rest).ok_or(WireError::Value { at })?;
            rest = after;
            match peer {
                None => list.bad_keys += 1,
                Some(_) if list.peers.len() == MAX_PEERS => list.excess += 1,
                Some(peer) => list.peers.push(peer),
            }
        }
        Ok(Some(list))
    }

    /// Writes a compact list. Peers without a key cannot be represented, and are left out.
    pub(super) fn write_compact(&self, out: &mut Writer) {
        let mut bytes = Vec::with_capacity(self.peers.len() * COMPACT_LEN);
        for peer in &self.peers {
            peer.write_compact(&mut bytes);
        }
        out.base64(&bytes);
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.array(&self.peers, |out, peer| peer.write(out));
    }
}

/// Decodes a single peer.
///
/// # Errors
/// [`WireError`].
pub fn decode_peer(json: &[u8]) -> Result<WirePeer, WireError> {
    let mut reader = Reader::new(json);
    let peer = WirePeer::read(&mut reader)?;
    reader.end()?;
    peer
}

/// Encodes a single peer.
#[must_use]
pub fn encode_peer(peer: &WirePeer) -> Vec<u8> {
    let mut out = Writer::new(Vec::new());
    peer.write(&mut out);
    out.finish()
}

/// Splits short text at the first quote, which is dropped.
fn until_quote(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().take(64).position(|byte| *byte == b'"')?;
    Some((&text[..end], &text[end + 1..]))
}

/// Reads an address. Upstream ignores the field, so no content of it is an error.
fn read_addr(json: &[u8]) -> Option<SocketAddr> {
    parse_addr(Reader::new(json).string().ok()??.as_bytes())
}

/// Parses an address at which a peer may be dialled, and returns its canonical form. Both ways of
/// reading a peer use it.
fn parse_addr(text: &[u8]) -> Option<SocketAddr> {
    dialled(str::from_utf8(text).ok()?.parse().ok()?)
}

/// The canonical form of an address at which a peer may be dialled; `None` if the port is 0.
fn dialled(addr: SocketAddr) -> Option<SocketAddr> {
    (addr.port() != 0).then(|| canonical(addr))
}
