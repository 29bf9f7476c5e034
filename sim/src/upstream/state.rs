//! State of a node of upstream: streams, timers, tasks and items. Numbers of defects refer to
//! `spec/dht.md` §14.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use skydht_core::id::{NodeId, Target};
use skydht_core::item::{Item, Salt};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{OpenFailure, OperationId, Output, Path, StreamId};
use skydht_core::time::{Mono, Time};
use skydht_core::wire::{Method, Response};

use super::config::{Counters, UpstreamConfig};
use super::frame::FrameReader;
use super::store::Store;
use super::table::{Contact, Table};
use super::task::{Own, Task, TaskId};
use super::timers::Timers;

/// A request in progress.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) task: TaskId,
    pub(super) peer: Contact,
    pub(super) method: Method,
    pub(super) request: Arc<[u8]>,
    /// Set when the stream is open.
    pub(super) path: Option<Path>,
    pub(super) reader: FrameReader,
    pub(super) started: Mono,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) response: Response,
    pub(super) path: Path,
    pub(super) elapsed: Duration,
}

/// Reason why there was no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CallFailure {
    /// No stream was opened, or the dial was not even tried.
    Dial(OpenFailure),
    /// A stream was opened, but there was no usable answer.
    NoAnswer,
}

/// A request that ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) task: TaskId,
    pub(super) peer: Contact,
    pub(super) result: Result<Reply, CallFailure>,
}

/// A stream that a peer opened.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) peer: PublicKey,
    pub(super) reader: FrameReader,
    /// Whether a handler has the stream; there are [`HANDLERS`](super::config::HANDLERS). The
    /// handler keeps it until the request is complete, however long that takes (defect 25).
    pub(super) handled: bool,
}

impl Served {
    pub(super) const fn is_handled(&self) -> bool {
        self.handled
    }
}

/// A timer of the node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Timer {
    Call(StreamId),
    Task(TaskId),
    Bootstrap,
    /// Expired entries are removed.
    Tick,
    Republish,
    Mirror,
    /// The node announces that it is a full node.
    Advert,
    Reconcile,
}

/// A stream in either direction.
#[derive(Debug)]
pub(super) enum Stream {
    Call(Box<Call>),
    Served(Box<Served>),
}

/// A Go node of late April 2026.
#[derive(Debug)]
pub struct UpstreamNode {
    pub(super) config: Arc<UpstreamConfig>,
    /// `None` if it cannot sign, which is enough if only its answers matter.
    pub(super) secret: Option<SecretKey>,
    pub(super) key: PublicKey,
    pub(super) id: NodeId,
    pub(super) now: Time,
    pub(super) table: Table,
    pub(super) store: Store,
    pub(super) streams: BTreeMap<StreamId, Stream>,
    pub(super) next_stream: u64,
    /// Number of handlers that have a stream.
    pub(super) handlers: usize,
    /// Accepted streams that wait for a handler.
    pub(super) backlog: VecDeque<StreamId>,
    /// Keys that could not be dialled, and until when they are not dialled again.
    pub(super) no_dht: BTreeMap<PublicKey, Mono>,
    pub(super) tasks: BTreeMap<TaskId, Task>,
    pub(super) next_task: u64,
    pub(super) operations: BTreeMap<OperationId, TaskId>,
    /// Requests that ended but whose tasks have not been notified yet.
    pub(super) ended: VecDeque<Ended>,
    /// The items that this node publishes.
    pub(super) own: BTreeMap<Salt, Own>,
    /// Remaining items of this round of publishing.
    pub(super) to_republish: VecDeque<Salt>,
    /// When this round of publishing began.
    pub(super) republish_due: Mono,
    /// Set when a round of publishing begins and when one of its puts ends; cleared when the next
    /// item is published.
    pub(super) republishing: bool,
    /// Remaining targets of this round of mirroring.
    pub(super) to_mirror: VecDeque<Target>,
    /// The item that is written to all targets of the round.
    pub(super) mirror_item: Option<Arc<Item>>,
    /// Time limit of the round.
    pub(super) mirror_until: Mono,
    /// Set when a round of mirroring begins and when one of its writes ends; cleared when the next
    /// target is written.
    pub(super) mirroring: bool,
    pub(super) timers: Timers<Timer>,
    pub(super) outputs: VecDeque<Output>,
    pub(super) counters: Counters,
    pub(super) crashed: bool,
    pub(super) stopped: bool,
}
