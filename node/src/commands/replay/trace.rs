//! The course of one operation: who was asked, who answered what, and when.

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

use super::Taken;
use super::calls::{Calls, Passed, RequestId, target_of};
use crate::output;
use crate::report::ms;

/// What a call was for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    /// For the nearest peers, or the item.
    Search,
    /// To keep the item.
    Store,
    /// To keep it for longer.
    Renew,
    /// For a sign of life.
    Ping,
}

/// One call to one peer.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Call {
    pub(super) peer: PublicKey,
    /// Bits that its id shares with the target.
    pub(super) prefix: Option<u16>,
    pub(super) what: What,
    /// Since the operation began.
    pub(super) at_ms: f64,
    /// When its answer was judged, or it failed; none if the operation did not wait for it.
    pub(super) end_ms: Option<f64>,
    pub(super) failed: bool,
    /// In words.
    pub(super) answer: Option<String>,
    /// Whether it is a step of the operation's search, which judges its answer. Others, such as
    /// repairs, end with their answer.
    #[serde(skip)]
    step: bool,
    /// Whether its request was sent.
    #[serde(skip)]
    sent: bool,
}

/// The course of an operation.
#[derive(Serialize)]
pub(super) struct Trace {
    schema: &'static str,
    op: u64,
    node: PublicKey,
    /// What was wanted, in words.
    pub(super) wanted: String,
    pub(super) target: Option<Target>,
    /// Since the start of the node.
    started_at_ms: f64,
    pub(super) first_value_ms: Option<f64>,
    pub(super) finished_ms: Option<f64>,
    /// How it ended, in words.
    pub(super) result: Option<String>,
    pub(super) calls: Vec<Call>,
    outcome: Option<Value>,
    /// Requests of this operation without an answer, and their calls.
    #[serde(skip)]
    ours: BTreeMap<RequestId, usize>,
    /// Requests that no step of the search has claimed yet.
    #[serde(skip)]
    loose: Vec<(RequestId, PublicKey, What)>,
    /// Whom to ping.
    #[serde(skip)]
    pinged: Option<PublicKey>,
}

/// Follows an operation through a replay.
pub(super) struct Tracer {
    op: OperationId,
    calls: Calls,
    begun: Option<(Mono, Trace)>,
    /// The first and the last operation seen.
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

    /// The next step. Says whether the operation is over.
    pub(super) fn step(&mut self, taken: &Taken<'_>) -> bool {
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
            trace.settle(ms(now.since(*begin)));
        }
        false
    }

    fn note(&mut self, now: Mono, passed: &mut Vec<Passed>) {
        if let Some((begin, trace)) = &mut self.begun {
            let at = ms(now.since(*begin));
            passed.drain(..).for_each(|passed| trace.passed(at, passed));
        }
        passed.clear();
    }

    /// The trace, or the first and the last operation that there are.
    pub(super) fn finish(self) -> Result<Trace, Option<(u64, u64)>> {
        let seen = self.seen.map(|(first, last)| (first.0, last.0));
        self.begun.map(|(_, trace)| trace).ok_or(seen)
    }
}

impl Trace {
    fn new(op: OperationId, taken: &Taken<'_>, command: &Command) -> Self {
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
            loose: Vec::new(),
            pinged: match command {
                Command::Ping { peer, .. } => Some(*peer),
                _ => None,
            },
        }
    }

    /// Says whether the operation is over.
    fn output(&mut self, wanted: OperationId, at: f64, output: &Output) -> bool {
        match output {
            Output::Event(Event::FirstValue { op, .. }) if *op == wanted => {
                self.first_value_ms.get_or_insert(at);
            }
            Output::Event(Event::Hop { op, peer, result }) if *op == wanted => {
                let (answer, failed) = match result {
                    HopResult::Asked => {
                        let index = self.begin(at, *peer, What::Search);
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

    /// Something passed on the node's streams.
    fn passed(&mut self, at: f64, passed: Passed) {
        match passed {
            Passed::Opening { peer } if self.pinged == Some(peer) => {
                self.begin(at, peer, What::Ping);
            }
            Passed::Opening { .. } => {}
            Passed::Asked { id, peer, request } => {
                if let Some(what) = self.purpose(&peer, &request) {
                    self.loose.push((id, peer, what));
                    let waiting =
                        |call: &Call| call.peer == peer && !call.sent && call.end_ms.is_none();
                    if let Some(index) = self.calls.iter().position(waiting) {
                        self.claim(index);
                    }
                }
            }
            Passed::Answered { id, answer } => self.answered(at, id, answer, false),
            Passed::Lost { id, why } => self.answered(at, id, why, true),
            Passed::Unreachable { peer, why } => {
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

    /// What a request is for, if it belongs to this operation.
    fn purpose(&self, peer: &PublicKey, request: &Request) -> Option<What> {
        let about = self.target.is_some() && target_of(request) == self.target;
        match request {
            Request::PutValue { .. } if about => Some(What::Store),
            Request::Renew { .. } if about => Some(What::Renew),
            Request::FindNode { .. } | Request::GetValue { .. } if about => Some(What::Search),
            Request::Ping if self.pinged == Some(*peer) => Some(What::Ping),
            _ => None,
        }
    }

    /// The request of a call that has none yet, if it has been sent.
    fn claim(&mut self, index: usize) {
        let call = &mut self.calls[index];
        let sent = self
            .loose
            .iter()
            .position(|(_, peer, _)| *peer == call.peer);
        if let Some((id, _, what)) = sent.map(|at| self.loose.remove(at)) {
            call.what = what;
            call.sent = true;
            self.ours.insert(id, index);
        }
    }

    /// A step is over: requests that no search has claimed are calls of their own.
    fn settle(&mut self, at: f64) {
        while let Some((_, peer, what)) = self.loose.first().copied() {
            let index = self.begin(at, peer, what);
            self.claim(index);
        }
    }

    fn answered(&mut self, at: f64, id: RequestId, answer: String, failed: bool) {
        if let Some(index) = self.ours.remove(&id) {
            let call = &mut self.calls[index];
            call.answer = Some(answer);
            // A search judges its answers itself, when signatures are checked.
            if !call.step {
                call.end_ms = Some(at);
                call.failed = failed;
            }
        }
    }

    fn begin(&mut self, at: f64, peer: PublicKey, what: What) -> usize {
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

/// The first digits of a key, after its tag: enough to tell peers apart.
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
