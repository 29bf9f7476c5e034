//! What upstream does not know: one key `ext` at the end of a message, ignored by Go.
//!
//! Anything in it may be left out. An `ext` that does not parse counts as absent and never
//! fails the message.

use core::net::SocketAddr;
use core::time::Duration;

use crate::item::Seq;
use crate::key::Signature;
use crate::wire::message::PeerList;

/// The version of the extensions written here, `"v"`.
pub const EXT_VERSION: u8 = 1;

/// What comes along with a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestExt {
    /// `"v"`: which extensions the caller knows; without it there is no extension.
    pub version: u8,
    /// `"serve"`: the caller serves requests itself, so it may enter routing tables.
    pub serves: bool,
    /// `"addr"`: where the caller listens.
    pub addr: Option<Advertised>,
    /// `"life"`: of the item sent.
    pub life: Option<Life>,
    /// `"bind"`: a mirror's signature over target and payload hash.
    pub bind: Option<Signature>,
    /// `"want"`: what the answer shall hold.
    pub want: Want,
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
        }
    }
}

/// What comes along with a response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResponseExt {
    /// `"v"`: which extensions the server knows; without it there is no extension.
    pub version: u8,
    /// `"keep"`: the stream stays open for another request.
    pub keep: bool,
    /// `"addr"`: where the server listens.
    pub addr: Option<Advertised>,
    /// `"life"`: of the item sent.
    pub life: Option<Life>,
    /// `"bind"`: of the item sent.
    pub bind: Option<Signature>,
    /// `"closest"`: what a put with [`Want::Peers`] asked for.
    pub closest: PeerList,
    /// `"held"`: the sequence held, told with a refusal.
    pub held: Option<Seq>,
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
        }
    }
}

/// An address that a peer gives for itself. The port is never 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advertised {
    /// `"ip:port"`, `"[ip]:port"`.
    At(SocketAddr),
    /// `":port"`: this port, on whatever address the other side sees.
    Port(u16),
}

/// How long ago an item's signer vouched for it and how long it is to be kept. Whole
/// milliseconds on the wire, rounded down: `{"age":…,"left":…}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Life {
    /// Since the signer last vouched for it.
    pub age: Duration,
    /// Until it expires.
    pub left: Duration,
}

/// What an answer shall hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Want {
    /// What upstream would answer; left out on the wire.
    #[default]
    All,
    /// `"item"`: no peers.
    Item,
    /// `"peers"`: no item; for a put also the peers closest to the item's target, in the
    /// answer's [`ResponseExt::closest`].
    Peers,
}
