//! The node, and what its driver must remember about it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use skydht_core::id::Target;
use skydht_core::journal::{Header, Recorder, Replay, Step};
use skydht_core::key::PublicKey;
use skydht_core::mark::{MarkChange, StoredMark};
use skydht_core::node::{
    ChangeId, Config, Event, Identity, Input, JobId, Misuse, OperationId, Output, Path, ProbeId,
    StoreChange, StreamId, VerifyJob,
};
use skydht_core::record::StoredRecord;
use skydht_core::time::{Mono, Time, Unix};
use skydht_core::wire::Frame;
use skydht_core::{Node, Seed};

use super::cast::{CAST, START};
use super::invariants;

/// A stream as the transport sees it.
pub(super) struct Stream {
    pub(super) peer: PublicKey,
    /// Not open yet, for streams that the node requested.
    pub(super) open: bool,
    /// Requests of the node that have not been answered.
    pub(super) sent: Vec<Frame>,
}

/// Counts of outputs.
#[derive(Default, PartialEq, Debug)]
pub(super) struct Tally {
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) jobs: u64,
    pub(super) probes: u64,
    pub(super) commands: u64,
    pub(super) added: u64,
    pub(super) removed: u64,
}

/// The node and everything outside it.
pub(super) struct World {
    pub(super) node: Node,
    pub(super) config: Config,
    pub(super) now: Time,
    pub(super) streams: BTreeMap<StreamId, Stream>,
    pub(super) jobs: BTreeMap<JobId, VerifyJob>,
    pub(super) probes: BTreeSet<ProbeId>,
    pub(super) changes: BTreeSet<ChangeId>,
    /// Operations, and whether they have finished.
    pub(super) operations: BTreeMap<OperationId, bool>,
    /// Contents of storage.
    pub(super) storage: BTreeMap<Target, StoredRecord>,
    /// Targets of loaded records that the node has not reported on since: it holds them, or is
    /// verifying their signatures, or had no room to verify them.
    pub(super) given: BTreeSet<Target>,
    /// Peers whose key a transport proved and that answered on a stream of ours.
    pub(super) answered: BTreeSet<PublicKey>,
    pub(super) tally: Tally,
    pub(super) stopped: bool,
    /// Number of puts that users requested.
    pub(super) puts: usize,
    /// Verified signatures: digest and signature.
    pub(super) authentic: BTreeSet<([u8; 32], [u8; 65])>,
    /// Sent data leaves immediately.
    pub(super) auto_sent: bool,
    unsent: Vec<StreamId>,
    header: Header,
    recorder: Recorder,
    steps: Vec<Step<'static>>,
}

impl World {
    pub(super) fn new(config: Config) -> Self {
        let now = Time {
            mono: Mono(1_000_000_000),
            unix: START,
        };
        let (seed, identity) = (Seed::from_number(1), Identity::Keyed(CAST.own.clone()));
        let header = Header::new(config.clone(), CAST.own_key, seed, now);
        let mut node = Node::new(config.clone(), identity, seed, now).unwrap();
        let recorder = Recorder::new(&mut node);
        Self {
            node,
            config,
            now,
            streams: BTreeMap::new(),
            jobs: BTreeMap::new(),
            probes: BTreeSet::new(),
            changes: BTreeSet::new(),
            operations: BTreeMap::new(),
            storage: BTreeMap::new(),
            given: BTreeSet::new(),
            answered: BTreeSet::new(),
            tally: Tally::default(),
            stopped: false,
            puts: 0,
            authentic: BTreeSet::new(),
            auto_sent: true,
            unsent: Vec::new(),
            header,
            recorder,
            steps: Vec::new(),
        }
    }

    /// Handles an input and all its outputs, then checks the invariants.
    pub(super) fn input(&mut self, input: Input<'static>) {
        self.try_input(input).unwrap();
        while let Some(stream) = self.unsent.pop().filter(|_| self.auto_sent) {
            self.try_input(Input::Sent { stream }).unwrap();
        }
        self.unsent.clear();
    }

    /// Bytes arrive from a peer.
    pub(super) fn bytes(&mut self, stream: StreamId, bytes: &[u8]) {
        if let (false, Some(known)) = (bytes.is_empty(), self.streams.get(&stream)) {
            if stream.is_ours() {
                self.answered.insert(known.peer);
            }
            self.tally.bytes_in += bytes.len() as u64;
            let bytes = Cow::Owned(bytes.to_vec());
            self.input(Input::Bytes { stream, bytes });
        }
    }

    /// A stream that the node requested is open.
    pub(super) fn open(&mut self, stream: StreamId, path: Path) {
        if let Some(known) = self.streams.get_mut(&stream) {
            known.open = true;
            self.input(Input::StreamOpened { stream, path });
        }
    }

    /// A job has ended.
    pub(super) fn verified(&mut self, job: JobId) {
        if let Some(work) = self.jobs.remove(&job) {
            let verdict = work.run();
            self.input(Input::Verified { job, verdict });
        }
    }

    /// Handles an input that may violate the contract.
    pub(super) fn try_input(&mut self, input: Input<'static>) -> Result<(), Misuse> {
        let result = self.node.handle(self.now, input.clone());
        let (mut outputs, mut answers) = (0, 0);
        while let Some(output) = self.node.poll_output() {
            outputs += 1;
            let is_answer = |stream: &StreamId| !stream.is_ours();
            answers +=
                usize::from(matches!(&output, Output::Send { stream, .. } if is_answer(stream)));
            self.recorder.output(&output);
            self.note(output);
        }
        if result.is_err() {
            // A refused input may still cause outputs that were due, but none of its own.
            outputs = outputs.min(1);
        }
        let most = invariants::most_outputs(&self.config.limits);
        assert!(outputs <= most, "{outputs} outputs of {input:?}");
        assert!(answers <= MOST_ANSWERS, "{answers} answers to {input:?}");
        self.steps
            .push(self.recorder.step(&mut self.node, self.now, input));
        invariants::check(self);
        result
    }

    fn note(&mut self, output: Output) {
        match output {
            Output::OpenStream { stream, peer, .. } => {
                assert!(stream.is_ours());
                let stream_of = Stream {
                    peer,
                    open: false,
                    sent: Vec::new(),
                };
                assert!(
                    self.streams.insert(stream, stream_of).is_none(),
                    "{stream} again"
                );
            }
            Output::Send { stream, bytes } => {
                self.tally.bytes_out += bytes.len() as u64;
                let frame = invariants::sent(self, stream, &bytes);
                let to = self.streams.get_mut(&stream).expect("sent on no stream");
                assert!(to.open, "sent before it was open");
                to.sent.push(frame);
                self.unsent.push(stream);
            }
            Output::CloseStream { stream, .. } => {
                assert!(
                    self.streams.remove(&stream).is_some(),
                    "closed {stream}, which is not open"
                );
            }
            Output::PauseReading { stream } | Output::ResumeReading { stream } => {
                assert!(self.streams.contains_key(&stream));
            }
            Output::Probe { probe, .. } => {
                self.tally.probes += 1;
                assert!(self.probes.insert(probe));
            }
            Output::Verify { job, work } => {
                self.tally.jobs += 1;
                assert!(self.jobs.insert(job, work).is_none());
            }
            Output::PersistMark { change } => {
                assert!(self.config.storage);
                if let MarkChange::Keep(mark) = change {
                    assert_eq!(StoredMark::decode(&mark.encode()), Some(mark));
                }
            }
            Output::LoadTarget { target } => panic!("nobody has more to give at {target}"),
            Output::Persist {
                change,
                what,
                acknowledge,
            } => {
                assert!(self.config.storage);
                if acknowledge {
                    assert!(self.changes.insert(change));
                }
                match &what {
                    StoreChange::Keep(record) => self.given.remove(&record.target),
                    StoreChange::Forget(target) => self.given.remove(target),
                };
                match what {
                    StoreChange::Keep(record) => {
                        assert_eq!(
                            StoredRecord::decode(&record.encode()).as_ref(),
                            Ok(&*record)
                        );
                        self.storage.insert(record.target, *record);
                    }
                    StoreChange::Forget(target) => drop(self.storage.remove(&target)),
                }
            }
            Output::Finished { op, outcome } => {
                let finished = self
                    .operations
                    .get_mut(&op)
                    .expect("an operation that was started");
                assert!(!std::mem::replace(finished, true), "{op} finished twice");
                invariants::outcome(self, &outcome);
            }
            Output::Event(Event::PeerAdded { .. }) => self.tally.added += 1,
            Output::Event(Event::PeerRemoved { .. }) => self.tally.removed += 1,
            Output::Event(_) => {}
        }
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, nanos: u64) {
        self.now.mono = Mono(self.now.mono.0.saturating_add(nanos));
        self.now.unix = Unix(self.now.unix.0.saturating_add(nanos));
    }

    /// Advances to the next deadline and fires timers until the next deadline is in the future.
    pub(super) fn wake(&mut self) -> bool {
        let Some(deadline) = self.node.next_deadline() else {
            return false;
        };
        self.pass(deadline.at.0.saturating_sub(self.now.mono.0));
        for _ in 0..MOST_FIRINGS {
            self.input(Input::TimerFired);
            let next = self.node.next_deadline();
            if next.is_none_or(|next| next.at > self.now.mono) {
                return next.is_some();
            }
        }
        panic!(
            "the deadline does not advance: {:?}",
            self.node.next_deadline()
        );
    }

    /// Replays the run from its journal.
    pub(super) fn replay(self) {
        let mut replay = Replay::new(self.header).unwrap();
        for step in &self.steps {
            if let Err(error) = replay.step(step) {
                panic!("{error}\n{:?}", step.input);
            }
        }
        assert_eq!(replay.node().snapshot(), self.node.snapshot());
    }
}

/// Maximum number of answers to peers in one `handle`, however many requests wait.
const MOST_ANSWERS: usize = 33;
/// Maximum number of timer calls at one moment. Each does a bounded amount of work.
const MOST_FIRINGS: usize = 64;
