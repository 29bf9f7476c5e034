//! The course of one operation: each call with its peer, its answer, and its times.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};
use skydht_core::id::Target;
use skydht_core::key::PublicKey;
use skydht_core::node::{
    Command, Event, HopResult, Input, OperationId, Outcome, Output, ReadPolicy,
};
use skydht_core::time::Mono;
use skydht_core::wire::Request;

use super::ReplayedStep;
use super::calls::{Calls, RequestId, StreamEvent, target_of};
use crate::output;
use crate::report::ms;

/// Purpose of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CallPurpose {
    /// Asks for the closest peers, or for the item.
    Search,
    /// Asks the peer to store the item.
    Store,
    /// Asks the peer to renew the item.
    Renew,
    Ping,
}

/// One call to one peer.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Call {
    pub(super) peer: PublicKey,
    /// Number of leading bits that the peer's id shares with the target.
    pub(super) prefix: Option<u16>,
    pub(super) what: CallPurpose,
    /// Time since the operation began.
    pub(super) at_ms: f64,
    /// Time at which the answer was processed or the call failed; `None` if the operation did not
    /// wait for it.
    pub(super) end_ms: Option<f64>,
    pub(super) failed: bool,
    /// Description of the answer.
    pub(super) answer: Option<String>,
    /// Whether the call is a step of the operation's lookup, which ends when the lookup has
    /// processed the answer. Other calls, such as repairs, end with their answer.
    #[serde(skip)]
    step: bool,
    /// Whether the request was sent.
    #[serde(skip)]
    sent: bool,
}

/// The trace of an operation.
#[derive(Serialize)]
pub(super) struct Trace {
    schema: &'static str,
    op: u64,
    node: PublicKey,
    /// Description of the operation.
    pub(super) wanted: String,
    pub(super) target: Option<Target>,
    /// Time since the start of the node.
    started_at_ms: f64,
    pub(super) first_value_ms: Option<f64>,
    pub(super) finished_ms: Option<f64>,
    /// Description of the result.
    pub(super) result: Option<String>,
    pub(super) calls: Vec<Call>,
    outcome: Option<Value>,
    /// Unanswered requests of this operation, with the index of their call.
    #[serde(skip)]
    ours: BTreeMap<RequestId, usize>,
    /// Requests of this operation that are not yet assigned to a call.
    #[serde(skip)]
    unclaimed: Vec<(RequestId, PublicKey, CallPurpose)>,
    /// The peer to ping, if the operation is a ping.
    #[serde(skip)]
    pinged: Option<PublicKey>,
}

/// Collects the trace of an operation during a replay.
pub(super) struct Tracer {
    op: OperationId,
    calls: Calls,
    begun: Option<(Mono, Trace)>,
    /// The first and the last operation in the journal so far.
    seen: Option<(OperationId, OperationId)>,
}

impl Tracer {
    pub(super) fn new(op: u64) -> Self {
        Self {
            op: OperationId(op),
            calls: Calls::default(),
            begun: None,
            seen: None,
        }
    }

    /// Processes the next step. Returns whether the operation has ended.
    pub(super) fn step(&mut self, taken: &ReplayedStep<'_>) -> bool {
        let now = taken.step.now.mono;
        if let Input::Command { op, command } = &taken.step.input {
            let first = self.seen.map_or(*op, |(first, _)| first);
            self.seen = Some((first, *op));
            if *op == self.op {
                let trace = Trace::new(*op, taken, command);
                self.begun = Some((now, trace));
            }
        }
        let mut passed = Vec::new();
        self.calls.input(&taken.step.input, &mut passed);
        self.note(now, &mut passed);
        for output in &taken.outputs {
            self.calls.output(output, &mut passed);
            self.note(now, &mut passed);
            if let Some((begin, trace)) = &mut self.begun
                && trace.output(self.op, ms(now.since(*begin)), output)
            {
                return true;
            }
        }
        if let Some((begin, trace)) = &mut self.begun {
            trace.claim_remaining(ms(now.since(*begin)));
        }
        false
    }

    fn note(&mut self, now: Mono, passed: &mut Vec<StreamEvent>) {
        if let Some((begin, trace)) = &mut self.begun {
            let at = ms(now.since(*begin));
            passed.drain(..).for_each(|passed| trace.passed(at, passed));
        }
        passed.clear();
    }

    /// Returns the trace; without one, the first and the last operation of the journal.
    pub(super) fn finish(self) -> Result<Trace, Option<(u64, u64)>> {
        let seen = self.seen.map(|(first, last)| (first.0, last.0));
        self.begun.map(|(_, trace)| trace).ok_or(seen)
    }
}

impl Trace {
    fn new(op: OperationId, taken: &ReplayedStep<'_>, command: &Command) -> Self {
        let node = taken.node.public_key();
        let (wanted, target) = wanted(command, &node);
        Self {
            schema: "skydht.trace/1",
            op: op.0,
            node,
            wanted,
            target,
            started_at_ms: ms(taken.at),
            first_value_ms: None,
            finished_ms: None,
            result: None,
            calls: Vec::new(),
            outcome: None,
            ours: BTreeMap::new(),
            unclaimed: Vec::new(),
            pinged: match command {
                Command::Ping { peer, .. } => Some(*peer),
                _ => None,
            },
        }
    }

    /// Processes an output. Returns whether the operation has ended.
    fn output(&mut self, wanted: OperationId, at: f64, output: &Output) -> bool {
        match output {
            Output::Event(Event::FirstValue { op, .. }) if *op == wanted => {
                self.first_value_ms.get_or_insert(at);
            }
            Output::Event(Event::Hop { op, peer, result }) if *op == wanted => {
                let (answer, failed) = match result {
                    HopResult::Asked => {
                        let index = self.begin(at, *peer, CallPurpose::Search);
                        self.calls[index].step = true;
                        self.claim(index);
                        return false;
                    }
                    HopResult::Answered { new, item } => {
                        let item = if *item { " and an item" } else { "" };
                        (format!("{new} new peers{item}"), false)
                    }
                    HopResult::Failed => ("no usable answer".into(), true),
                };
                let open =
                    |call: &&mut Call| call.step && call.peer == *peer && call.end_ms.is_none();
                if let Some(call) = self.calls.iter_mut().find(open) {
                    call.answer.get_or_insert(answer);
                    call.end_ms = Some(at);
                    call.failed = failed;
                }
            }
            Output::Finished { op, outcome } if *op == wanted => {
                self.finished_ms = Some(at);
                self.result = Some(result(outcome));
                self.outcome = Some(json!(outcome));
                return true;
            }
            _ => {}
        }
        false
    }

    /// Processes an event on the node's streams.
    fn passed(&mut self, at: f64, passed: StreamEvent) {
        match passed {
            StreamEvent::Opening { peer } if self.pinged == Some(peer) => {
                self.begin(at, peer, CallPurpose::Ping);
            }
            StreamEvent::Opening { .. } => {}
            StreamEvent::Asked { id, peer, request } => {
                if let Some(what) = self.purpose_of(&peer, &request) {
                    self.unclaimed.push((id, peer, what));
                    let waiting =
                        |call: &Call| call.peer == peer && !call.sent && call.end_ms.is_none();
                    if let Some(index) = self.calls.iter().position(waiting) {
                        self.claim(index);
                    }
                }
            }
            StreamEvent::Answered { id, answer } => self.answered(at, id, answer, false),
            StreamEvent::Lost { id, why } => self.answered(at, id, why, true),
            StreamEvent::Unreachable { peer, why } => {
                let waiting =
                    |call: &&mut Call| call.peer == peer && !call.sent && call.end_ms.is_none();
                if let Some(call) = self.calls.iter_mut().find(waiting) {
                    call.answer = Some(why);
                    if !call.step {
                        call.end_ms = Some(at);
                        call.failed = true;
                    }
                }
            }
        }
    }

    /// Returns the purpose of a request, if it belongs to this operation.
    fn purpose_of(&self, peer: &PublicKey, request: &Request) -> Option<CallPurpose> {
        let about = self.target.is_some() && target_of(request) == self.target;
        match request {
            Request::PutValue { .. } if about => Some(CallPurpose::Store),
            Request::Renew { .. } if about => Some(CallPurpose::Renew),
            Request::FindNode { .. } | Request::GetValue { .. } if about => {
                Some(CallPurpose::Search)
            }
            Request::Ping if self.pinged == Some(*peer) => Some(CallPurpose::Ping),
            _ => None,
        }
    }

    /// Assigns a sent request to the call, if there is an unassigned one to the same peer.
    fn claim(&mut self, index: usize) {
        let call = &mut self.calls[index];
        let sent = self
            .unclaimed
            .iter()
            .position(|(_, peer, _)| *peer == call.peer);
        if let Some((id, _, what)) = sent.map(|at| self.unclaimed.remove(at)) {
            call.what = what;
            call.sent = true;
            self.ours.insert(id, index);
        }
    }

    /// Creates calls for the requests that no step of the lookup has claimed. Called after each
    /// step of the node.
    fn claim_remaining(&mut self, at: f64) {
        while let Some((_, peer, what)) = self.unclaimed.first().copied() {
            let index = self.begin(at, peer, what);
            self.claim(index);
        }
    }

    fn answered(&mut self, at: f64, id: RequestId, answer: String, failed: bool) {
        if let Some(index) = self.ours.remove(&id) {
            let call = &mut self.calls[index];
            call.answer = Some(answer);
            // A step of the lookup ends later, when its answer's signature has been checked.
            if !call.step {
                call.end_ms = Some(at);
                call.failed = failed;
            }
        }
    }

    fn begin(&mut self, at: f64, peer: PublicKey, what: CallPurpose) -> usize {
        let prefix = self
            .target
            .map(|target| target.distance(&peer.id()).common_prefix());
        self.calls.push(Call {
            peer,
            prefix,
            what,
            at_ms: at,
            end_ms: None,
            failed: false,
            answer: None,
            step: false,
            sent: false,
        });
        self.calls.len() - 1
    }
}

fn wanted(command: &Command, node: &PublicKey) -> (String, Option<Target>) {
    match command {
        Command::Put { salt, value, .. } => {
            let target = Target::of(node, salt.as_bytes());
            let size = value.as_bytes().len();
            let text = match size {
                0 => format!("delete salt \"{salt}\""),
                _ => format!("put {size} bytes, salt \"{salt}\""),
            };
            (text, Some(target))
        }
        Command::PutSigned { item, .. } => {
            let target = Target::of(&item.key, item.salt.as_bytes());
            let text = format!("put an item signed by {}, salt \"{}\"", item.key, item.salt);
            (text, Some(target))
        }
        Command::Get(request) => {
            let whose = match &request.owner {
                Some((key, salt)) => format!("{key}, salt \"{salt}\""),
                None => request.target.to_string(),
            };
            let policy = match request.policy {
                ReadPolicy::Freshest => "freshest".into(),
                ReadPolicy::Quorum(n) => format!("quorum of {n}"),
                ReadPolicy::FirstValid => "first valid".into(),
                ReadPolicy::Local => "local".to_owned(),
            };
            (format!("get {whose}, {policy}"), Some(request.target))
        }
        Command::Watch { request, after } => {
            let target = request.target;
            let after = after.map(|seq| format!(" after {seq}")).unwrap_or_default();
            (format!("watch {target}{after}"), Some(target))
        }
        Command::FindNode { target, .. } => (format!("find nodes near {target}"), Some(*target)),
        Command::Ping { peer, .. } => (format!("ping {peer}"), None),
        Command::Sync { peer, .. } => {
            let whom = peer.map_or("all full nodes".into(), |peer| peer.to_string());
            (format!("reconcile with {whom}"), None)
        }
        Command::Shutdown => ("shut down".into(), None),
    }
}

fn result(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Put(Ok(put)) => crate::report::PutReport::new(put).to_string(),
        Outcome::Put(Err(error)) => error.to_string(),
        Outcome::Get(Ok(get)) => format!(
            "{} bytes, sequence {}, {} peers answered",
            get.item.value.as_bytes().len(),
            get.item.seq,
            get.stats.answered
        ),
        Outcome::Get(Err(error)) => error.to_string(),
        Outcome::FindNode(Ok(found)) => format!("{} peers", found.closest.len()),
        Outcome::FindNode(Err(error)) => error.to_string(),
        Outcome::Ping(Ok(_)) => "pong".into(),
        Outcome::Ping(Err(error)) => error.to_string(),
        Outcome::Watch(Ok(found)) => format!("sequence {}", found.item.seq),
        Outcome::Watch(Err(error)) => error.to_string(),
        Outcome::Sync(Ok(synced)) => format!("{} full nodes", synced.peers.len()),
        Outcome::Sync(Err(error)) => error.to_string(),
        Outcome::Shutdown => "shut down".into(),
    }
}

/// Returns the first digits of a key, which suffice to tell peers apart.
pub(super) fn short(key: &PublicKey) -> String {
    let text = key.to_string();
    format!("{}…", &text[..12])
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "operation {}: {}", self.op, self.wanted)?;
        if let Some(target) = self.target {
            writeln!(f, "target {target}")?;
        }
        let rows: Vec<Vec<String>> = self
            .calls
            .iter()
            .map(|call| {
                let took = call.end_ms.map(|end| format!("{:.3}", end - call.at_ms));
                vec![
                    format!("{:.3}", call.at_ms),
                    short(&call.peer),
                    call.prefix.map_or("-".into(), |bits| bits.to_string()),
                    json!(call.what).as_str().unwrap_or_default().into(),
                    took.unwrap_or_else(|| "-".into()),
                    call.answer
                        .clone()
                        .unwrap_or_else(|| "not waited for".into()),
                ]
            })
            .collect();
        let head = ["MS", "PEER", "PREFIX", "CALL", "TOOK MS", "ANSWER"];
        writeln!(f, "{}", output::table(&head, &rows))?;
        if let Some(at) = self.first_value_ms {
            writeln!(f, "first value after {at} ms")?;
        }
        match (self.finished_ms, &self.result) {
            (Some(at), Some(result)) => write!(f, "finished after {at} ms: {result}"),
            _ => f.write_str("not finished when the journal ends"),
        }
    }
}
