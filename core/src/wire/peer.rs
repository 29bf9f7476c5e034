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

/// Peers kept of one list; upstream sends 20 at most. More are dropped and counted.
pub const MAX_PEERS: usize = 64;
/// What a peer with an IPv4 address takes in a compact list.
const COMPACT_LEN: usize = PUBLIC_KEY_LEN + 8 + 1 + 6;

/// A peer in an answer. Hearsay: neither its id nor its key is proven.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WirePeer {
    /// As told; compute it from the key instead.
    pub id: NodeId,
    /// None is upstream's zero key.
    pub key: Option<PublicKey>,
    /// As told; receivers ignore it.
    pub last_seen: Timestamp,
    /// Where it can be reached directly (ours); left out when not known.
    pub addr: Option<SocketAddr>,
}

impl WirePeer {
    /// The honest one for `key`.
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

/// The peers of an answer, and what was dropped from it.
///
/// In JSON it is a list of objects, as upstream's. Compact, which is ours alone, it is one base64
/// text of some 50 bytes a peer: the key (33 bytes), when it was last seen (nanoseconds since the
/// Unix epoch, u64, 0 if that is not known), how long its address is (one byte: 0, 6 or 18), and
/// the address (4 or 16 bytes, then the port, u16). Numbers are big-endian. Ids are not told: they
/// follow from the keys.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PeerList {
    /// At most [`MAX_PEERS`] when decoded.
    pub peers: Vec<WirePeer>,
    /// Entries dropped because of their key. Upstream drops the whole message.
    pub bad_keys: u32,
    /// Entries dropped beyond [`MAX_PEERS`].
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
    /// A peer exactly as Go and [`WirePeer::write`] print it, and the bytes it takes: nearly all
    /// that is ever read. None is not yet an error.
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
            // What is no address may be text that has to be unescaped.
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

    /// The outer result is about the JSON, the inner one about the key.
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

    /// One of a compact list, none if its key is none, and what follows.
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

    /// None for `null`.
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

    /// Peers without a key cannot be told so, and are left out.
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

/// Reads a peer by itself.
///
/// # Errors
/// [`WireError`].
pub fn decode_peer(json: &[u8]) -> Result<WirePeer, WireError> {
    let mut reader = Reader::new(json);
    let peer = WirePeer::read(&mut reader)?;
    reader.end()?;
    peer
}

/// A peer by itself.
#[must_use]
pub fn encode_peer(peer: &WirePeer) -> Vec<u8> {
    let mut out = Writer::new(Vec::new());
    peer.write(&mut out);
    out.finish()
}

/// Short text up to a quote, and what follows the quote.
fn until_quote(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().take(64).position(|byte| *byte == b'"')?;
    Some((&text[..end], &text[end + 1..]))
}

/// Upstream ignores the field, so nothing in it is an error.
fn read_addr(json: &[u8]) -> Option<SocketAddr> {
    parse_addr(Reader::new(json).string().ok()??.as_bytes())
}

/// An address that a peer may be dialled at, in its canonical form. Both ways of reading a peer
/// end here.
fn parse_addr(text: &[u8]) -> Option<SocketAddr> {
    dialled(str::from_utf8(text).ok()?.parse().ok()?)
}

/// The canonical form of an address that a peer may be dialled at.
fn dialled(addr: SocketAddr) -> Option<SocketAddr> {
    (addr.port() != 0).then(|| canonical(addr))
}
