//! Extensions to upstream's protocol: one key `ext` at the end of a message, which Go ignores.
//!
//! Every field may be absent. An `ext` that does not parse counts as absent and never invalidates
//! the message.

use core::fmt;
use core::net::SocketAddr;
use core::str::FromStr;
use core::time::Duration;

use crate::address::canonical;
use crate::item::{Life, Seq};
use crate::key::Signature;
use crate::wire::error::WireError;
use crate::wire::json::{Reader, Result, Writer};
use crate::wire::key::read_signature;
use crate::wire::peer::PeerList;

/// The version of the extensions written here, in `"v"`.
pub const EXT_VERSION: u8 = 2;
/// From this version on, callers can read [`ResponseExt::compact`] peers.
pub const COMPACT_SINCE: u8 = 2;

/// The extension of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestExt {
    /// `"v"`: the extensions that the caller knows; without it there is no extension.
    pub version: u8,
    /// `"serve"`: the caller serves requests itself, so it may enter routing tables.
    pub serves: bool,
    /// `"addr"`: the address at which the caller listens.
    pub addr: Option<Advertised>,
    /// `"life"`: lifetime of the item sent.
    pub life: Option<Life>,
    /// `"bind"`: a mirror's signature over target and payload hash.
    pub bind: Option<Signature>,
    /// `"want"`: the desired content of the answer.
    pub want: Want,
    /// `"wait"` and `"after"`: how long the answer to a request for an item may wait.
    pub poll: Option<LongPoll>,
}

impl Default for RequestExt {
    fn default() -> Self {
        Self {
            version: EXT_VERSION,
            serves: false,
            addr: None,
            life: None,
            bind: None,
            want: Want::All,
            poll: None,
        }
    }
}

/// Time for which an answer to a [`Request::GetValue`](crate::wire::Request::GetValue) may wait for
/// a newer item. A server that is at its limit of waiting requests, or does not know this, answers
/// immediately.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LongPoll {
    /// `"wait"`: maximum time, in whole milliseconds.
    pub time: Duration,
    /// `"after"`: wait for a higher sequence than this; if absent, for any item.
    pub after: Option<Seq>,
}

/// The extension of a response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResponseExt {
    /// `"v"`: the extensions that the server knows; without it there is no extension.
    pub version: u8,
    /// `"keep"`: the stream stays open for another request.
    pub keep: bool,
    /// `"addr"`: the address at which the server listens.
    pub addr: Option<Advertised>,
    /// `"life"`: lifetime of the item sent.
    pub life: Option<Life>,
    /// `"bind"`: binding signature of the item sent.
    pub bind: Option<Signature>,
    /// `"closest"`: the peers that a put with [`Want::Peers`] asked for.
    pub closest: PeerList,
    /// `"held"`: the sequence that the server has, sent with a refusal.
    pub held: Option<Seq>,
    /// `"full"`: the server is a full node, and knows
    /// [`Method::Reconcile`](crate::wire::Method::Reconcile).
    pub full_node: bool,
    /// Whether the peers of the response, or those in `closest`, are sent as `"near"`, see
    /// [`PeerList`]: a fifth of the bytes. Only to callers whose request had version
    /// [`COMPACT_SINCE`] or later.
    pub compact: bool,
}

impl Default for ResponseExt {
    fn default() -> Self {
        Self {
            version: EXT_VERSION,
            keep: false,
            addr: None,
            life: None,
            bind: None,
            closest: PeerList::default(),
            held: None,
            full_node: false,
            compact: false,
        }
    }
}

/// An address that a peer advertises for itself. The port is never 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advertised {
    /// `"ip:port"`, `"[ip]:port"`.
    At(SocketAddr),
    /// `":port"`: this port, at the address that the other side sees.
    Port(u16),
}

/// The desired content of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Want {
    /// What upstream would answer; absent on the wire.
    #[default]
    All,
    /// `"item"`: the item without peers.
    Item,
    /// `"peers"`: peers without the item; for a put also the peers closest to the item's target, in
    /// the answer's [`ResponseExt::closest`].
    Peers,
}

/// The fields that requests and responses have in common.
#[derive(Default)]
struct CommonFields {
    version: u8,
    addr: Option<Advertised>,
    life: Option<Life>,
    bind: Option<Signature>,
}

impl RequestExt {
    /// Parses an extension; `None` if it is invalid.
    pub(super) fn read(json: &[u8]) -> Option<Self> {
        let (mut serves, mut want) = (false, Want::All);
        let (mut wait, mut after) = (None, None);
        let shared = CommonFields::read(json, |reader, name| {
            match name {
                "serve" => serves = reader.boolean()?.unwrap_or_default(),
                "want" => {
                    want = reader
                        .string()?
                        .map_or(Want::All, |text| Want::parse(&text))
                }
                "wait" => wait = reader.unsigned()?.map(Duration::from_millis),
                "after" => after = reader.unsigned()?.map(Seq),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        Some(Self {
            version: shared.version,
            serves,
            addr: shared.addr,
            life: shared.life,
            bind: shared.bind,
            want,
            poll: wait.map(|time| LongPoll { time, after }),
        })
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.raw("{");
        out.field("v").display(self.version);
        if self.serves {
            out.field("serve").raw("true");
        }
        write_shared(out, self.addr, self.life, self.bind.as_ref());
        match self.want {
            Want::All => {}
            Want::Item => out.field("want").quote("item"),
            Want::Peers => out.field("want").quote("peers"),
        }
        if let Some(LongPoll { time, after }) = self.poll {
            out.field("wait").display(time.as_millis());
            if let Some(after) = after {
                out.field("after").display(after);
            }
        }
        out.raw("}");
    }
}

impl ResponseExt {
    /// Parses an extension; `None` if it is invalid. Compact peers are in `closest`, wherever they
    /// belong.
    pub(super) fn read(json: &[u8]) -> Option<Self> {
        let (mut keep, mut closest, mut held) = (false, PeerList::default(), None);
        let mut full_node = false;
        let mut near: Option<PeerList> = None;
        let shared = CommonFields::read(json, |reader, name| {
            match name {
                "keep" => keep = reader.boolean()?.unwrap_or_default(),
                "closest" => closest.read(reader)?,
                "near" => near = PeerList::read_compact(reader)?,
                "held" => held = reader.unsigned()?.map(Seq),
                "full" => full_node = reader.boolean()?.unwrap_or_default(),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        Some(Self {
            version: shared.version,
            keep,
            addr: shared.addr,
            life: shared.life,
            bind: shared.bind,
            compact: near.is_some(),
            closest: near.unwrap_or(closest),
            held,
            full_node,
        })
    }

    /// Writes the extension; `own` are the peers of the response itself, if it has any.
    pub(super) fn write(&self, out: &mut Writer, own: Option<&PeerList>) {
        out.raw("{");
        out.field("v").display(self.version);
        if self.keep {
            out.field("keep").raw("true");
        }
        write_shared(out, self.addr, self.life, self.bind.as_ref());
        if self.compact {
            let peers = own.unwrap_or(&self.closest);
            peers.write_compact(out.field("near"));
        } else if !self.closest.peers.is_empty() {
            self.closest.write(out.field("closest"));
        }
        if let Some(held) = self.held {
            out.field("held").display(held);
        }
        if self.full_node {
            out.field("full").raw("true");
        }
        out.raw("}");
    }
}

impl CommonFields {
    /// Parses the common fields; `own` reads all others. `None` if a field is invalid or the
    /// version is absent.
    fn read(json: &[u8], mut own: impl FnMut(&mut Reader<'_>, &str) -> Result<()>) -> Option<Self> {
        let mut shared = Self::default();
        let mut reader = Reader::new(json);
        let read = reader.object(|reader, name| {
            match name {
                "v" => shared.version = read_version(reader)?,
                "addr" => shared.addr = read_addr(reader)?,
                // As everywhere, `null` counts as absent.
                "life" | "bind" if reader.null()? => {}
                "life" => shared.life = Some(Life::read(reader)?),
                "bind" => {
                    let mut bind = Signature::default();
                    read_signature(reader, &mut bind)?;
                    shared.bind = Some(bind);
                }
                _ => own(reader, name)?,
            }
            Ok(())
        });
        read.and_then(|()| reader.end()).ok()?;
        (shared.version > 0).then_some(shared)
    }
}

fn write_shared(
    out: &mut Writer,
    addr: Option<Advertised>,
    life: Option<Life>,
    bind: Option<&Signature>,
) {
    if let Some(addr) = addr {
        out.field("addr").quote(addr);
    }
    if let Some(life) = life {
        out.field("life").raw("{");
        out.field("age").display(millis(life.age));
        out.field("left").display(millis(life.left));
        out.raw("}");
    }
    if let Some(bind) = bind {
        out.field("bind").hex(bind.as_bytes());
    }
}

fn read_version(reader: &mut Reader<'_>) -> Result<u8> {
    let at = reader.position();
    let version = reader.unsigned()?.unwrap_or_default();
    u8::try_from(version).map_err(|_| WireError::Value { at })
}

fn read_addr(reader: &mut Reader<'_>) -> Result<Option<Advertised>> {
    let at = reader.position();
    let Some(text) = reader.string()? else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| WireError::Value { at })
}

impl Life {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let mut life = Self::default();
        reader.object(|reader, name| {
            match name {
                "age" => life.age = read_millis(reader)?,
                "left" => life.left = read_millis(reader)?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        Ok(life)
    }
}

/// Whole milliseconds, at most what a reader accepts.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn read_millis(reader: &mut Reader<'_>) -> Result<Duration> {
    Ok(Duration::from_millis(
        reader.unsigned()?.unwrap_or_default(),
    ))
}

impl Want {
    /// A value of a later version counts as [`Want::All`].
    fn parse(text: &str) -> Self {
        match text {
            "item" => Self::Item,
            "peers" => Self::Peers,
            _ => Self::All,
        }
    }
}

/// Text that is neither an address with a port nor a colon and a port, or has port 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected ip:port, [ip]:port or :port")]
pub struct ParseAdvertisedError;

impl FromStr for Advertised {
    type Err = ParseAdvertisedError;

    fn from_str(text: &str) -> Result<Self, ParseAdvertisedError> {
        let (address, port) = match text.strip_prefix(':') {
            // Rust would also accept a plus sign.
            Some(port) if port.starts_with(|c: char| c.is_ascii_digit()) => {
                let port = port.parse().map_err(|_| ParseAdvertisedError)?;
                (Self::Port(port), port)
            }
            _ => {
                let address: SocketAddr = text.parse().map_err(|_| ParseAdvertisedError)?;
                (Self::At(canonical(address)), address.port())
            }
        };
        (port != 0).then_some(address).ok_or(ParseAdvertisedError)
    }
}

impl fmt::Display for Advertised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address) => address.fmt(f),
            Self::Port(port) => write!(f, ":{port}"),
        }
    }
}
