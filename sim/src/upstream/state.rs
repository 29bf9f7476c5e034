//! State of a node of upstream: streams, timers, tasks and items.

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
    /// Whether one of the 128 handlers has the stream. The handler keeps it until the request is
    /// complete, however long that takes (defect 25).
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
    Tick,
    Republish,
    Mirror,
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
    pub(super) own: BTreeMap<Salt, Own>,
    pub(super) to_republish: VecDeque<Salt>,
    pub(super) republish_due: Mono,
    /// Whether the next item may be published.
    pub(super) republishing: bool,
    /// Remaining targets of this round of mirroring, the item, and the end of the round.
    pub(super) to_mirror: VecDeque<Target>,
    pub(super) mirror_item: Option<Arc<Item>>,
    pub(super) mirror_until: Mono,
    /// Whether the next target may be written.
    pub(super) mirroring: bool,
    pub(super) timers: Timers<Timer>,
    pub(super) outputs: VecDeque<Output>,
    pub(super) counters: Counters,
    pub(super) crashed: bool,
    pub(super) stopped: bool,
}
