//! What a node of upstream's keeps: its streams, what is due, what it holds and has to do.

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

/// A request on its way.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) task: TaskId,
    pub(super) peer: Contact,
    pub(super) method: Method,
    pub(super) request: Arc<[u8]>,
    /// Once the stream is open.
    pub(super) path: Option<Path>,
    pub(super) reader: FrameReader,
    pub(super) started: Mono,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) response: Response,
    pub(super) path: Path,
    pub(super) elapsed: Duration,
}

/// Why nothing came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CallFailure {
    /// No stream, or not even tried.
    Dial(OpenFailure),
    /// A stream, but no usable answer.
    NoAnswer,
}

/// A request that ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) task: TaskId,
    pub(super) peer: Contact,
    pub(super) result: Result<Reply, CallFailure>,
}

/// A peer's stream.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) peer: PublicKey,
    pub(super) reader: FrameReader,
    /// Whether one of the 128 handlers has it. It keeps it until the request is whole, however
    /// long that takes (defect 25).
    pub(super) handled: bool,
}

impl Served {
    pub(super) const fn is_handled(&self) -> bool {
        self.handled
    }
}

/// What is due.
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

/// A stream, either way.
#[derive(Debug)]
pub(super) enum Stream {
    Call(Box<Call>),
    Served(Box<Served>),
}

/// A late Go node.
#[derive(Debug)]
pub struct UpstreamNode {
    pub(super) config: Arc<UpstreamConfig>,
    /// None: it cannot sign, as when only its answers matter.
    pub(super) secret: Option<SecretKey>,
    pub(super) key: PublicKey,
    pub(super) id: NodeId,
    pub(super) now: Time,
    pub(super) table: Table,
    pub(super) store: Store,
    pub(super) streams: BTreeMap<StreamId, Stream>,
    pub(super) next_stream: u64,
    /// Handlers that have a stream.
    pub(super) handlers: usize,
    /// Accepted streams that wait for one.
    pub(super) backlog: VecDeque<StreamId>,
    /// Keys that could not be dialled, and until when that is believed.
    pub(super) no_dht: BTreeMap<PublicKey, Mono>,
    pub(super) tasks: BTreeMap<TaskId, Task>,
    pub(super) next_task: u64,
    pub(super) operations: BTreeMap<OperationId, TaskId>,
    /// Requests that ended and whose tasks were not told yet.
    pub(super) ended: VecDeque<Ended>,
    pub(super) own: BTreeMap<Salt, Own>,
    pub(super) to_republish: VecDeque<Salt>,
    pub(super) republish_due: Mono,
    /// Whether the next of them may go.
    pub(super) republishing: bool,
    /// Targets left in this round of mirroring, the item, and when the round is over.
    pub(super) to_mirror: VecDeque<Target>,
    pub(super) mirror_item: Option<Arc<Item>>,
    pub(super) mirror_until: Mono,
    /// Whether the next of them may go.
    pub(super) mirroring: bool,
    pub(super) timers: Timers<Timer>,
    pub(super) outputs: VecDeque<Output>,
    pub(super) counters: Counters,
    pub(super) crashed: bool,
    pub(super) stopped: bool,
}
