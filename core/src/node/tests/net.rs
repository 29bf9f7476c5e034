//! A network of nodes in one thread with virtual time: every link takes 10 ms, a verification 60
//! µs.

use alloc::borrow::Cow;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use crate::Seed;
use crate::item::{Salt, Value};
use crate::journal::{Recorder, Step};
use crate::key::{PublicKey, SecretKey};
use crate::node::*;
use crate::time::{Mono, Time, Unix};

const LATENCY: Duration = Duration::from_millis(10);
const VERIFY: Duration = Duration::from_micros(60);
/// Time after which a dial to an unused address fails.
const UNREACHABLE: Duration = Duration::from_millis(30);
const START: Unix = Unix(1_790_000_000_000_000_000);

/// The node and the stream number of the other end of a stream.
type LinkEnd = (usize, StreamId);

pub(crate) struct Net {
    pub(crate) nodes: Vec<Node>,
    pub(crate) up: Vec<bool>,
    /// Nodes that accept streams but never answer.
    pub(crate) mute: BTreeSet<usize>,
    /// Nodes to which streams are neither opened nor refused.
    pub(crate) hang: BTreeSet<usize>,
    /// Nodes with a wrong wall clock, by seconds.
    pub(crate) skew: BTreeMap<usize, i64>,
    /// Addresses of nodes that moved.
    moved: BTreeMap<usize, SocketAddr>,
    by_key: BTreeMap<PublicKey, usize>,
    links: BTreeMap<LinkEnd, LinkEnd>,
    accepted: Vec<u64>,
    queue: BTreeMap<(Mono, u64), (usize, Input<'static>)>,
    sequence: u64,
    pub(crate) now: Mono,
    ops: u64,
    pub(crate) finished: BTreeMap<OperationId, Outcome>,
    pub(crate) events: Vec<(usize, Event)>,
    /// Nodes that `OpenStream` was for.
    pub(crate) opened: Vec<usize>,
    /// The recorded node, and its recorder.
    pub(crate) recorder: Option<(usize, Recorder)>,
    pub(crate) steps: Vec<Step<'static>>,
}

pub(crate) fn secret(n: usize) -> SecretKey {
    let mut entropy = [0; 32];
    entropy[..8].copy_from_slice(&(n as u64).to_be_bytes());
    SecretKey::from_entropy(&entropy)
}

pub(crate) fn addr(n: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (n / 250) as u8, (n % 250) as u8], 1000))
}

pub(crate) fn config(n: usize) -> Config {
    let mut config = Config {
        advertise: Advertise::Address(addr(n)),
        ..Config::default()
    };
    if n > 0 {
        config.bootstrap = vec![BootstrapPeer {
            key: secret(0).public(),
            addrs: vec![addr(0)],
        }];
    }
    config
}

impl Net {
    /// `n` nodes with node 0 as their bootstrap peer; nothing has happened yet.
    pub(crate) fn new(n: usize, configure: impl Fn(usize, &mut Config)) -> Self {
        let now = Mono(1_000_000_000);
        let mut net = Self {
            nodes: Vec::new(),
            up: vec![true; n],
            mute: BTreeSet::new(),
            hang: BTreeSet::new(),
            skew: BTreeMap::new(),
            moved: BTreeMap::new(),
            by_key: BTreeMap::new(),
            links: BTreeMap::new(),
            accepted: vec![0; n],
            queue: BTreeMap::new(),
            sequence: 0,
            now,
            ops: 0,
            finished: BTreeMap::new(),
            events: Vec::new(),
            opened: vec![0; n],
            recorder: None,
            steps: Vec::new(),
        };
        for i in 0..n {
            let mut config = config(i);
            configure(i, &mut config);
            let seed = Seed::from_number(i as u64);
            let identity = Identity::Keyed(secret(i));
            net.nodes
                .push(Node::new(config, identity, seed, net.time()).unwrap());
            net.by_key.insert(secret(i).public(), i);
            // Not all at the same instant.
            let at = now.plus(Duration::from_millis(7 * i as u64));
            net.schedule(at, i, Input::TimerFired);
        }
        net
    }

    /// A network that has run for a minute.
    pub(crate) fn settled(n: usize, configure: impl Fn(usize, &mut Config)) -> Self {
        let mut net = Self::new(n, configure);
        net.run_for(Duration::from_secs(60));
        net
    }

    pub(crate) fn time(&self) -> Time {
        Time {
            mono: self.now,
            unix: START.plus(self.now.since(Mono(0))),
        }
    }

    fn schedule(&mut self, at: Mono, node: usize, input: Input<'static>) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), (node, input));
    }

    fn after(&mut self, delay: Duration, node: usize, input: Input<'static>) {
        self.schedule(self.now.plus(delay), node, input);
    }

    /// Passes one input to a node and carries out its outputs.
    pub(crate) fn input(&mut self, node: usize, input: Input<'static>) {
        if !self.up[node] {
            return;
        }
        let mut time = self.time();
        let skew = self.skew.get(&node).copied().unwrap_or_default();
        time.unix.0 = time.unix.0.saturating_add_signed(skew * 1_000_000_000);
        let recorded = matches!(self.recorder, Some((recorded, _)) if recorded == node);
        let copy = recorded.then(|| input.clone());
        self.nodes[node].handle(time, input).unwrap();
        while let Some(output) = self.nodes[node].poll_output() {
            if let (true, Some((_, recorder))) = (recorded, &mut self.recorder) {
                recorder.output(&output);
            }
            self.output(node, output);
        }
        if let (Some(input), Some((_, recorder))) = (copy, &mut self.recorder) {
            self.steps
                .push(recorder.step(&mut self.nodes[node], time, input));
        }
    }

    fn output(&mut self, node: usize, output: Output) {
        match output {
            Output::OpenStream {
                stream,
                peer,
                addrs,
                session,
            } => {
                self.opened[node] += 1;
                let target = self
                    .by_key
                    .get(&peer)
                    .copied()
                    .filter(|target| self.up[*target]);
                let Some(target) = target else {
                    let reason = OpenFailure::Unreachable;
                    return self.after(UNREACHABLE, node, Input::StreamFailed { stream, reason });
                };
                if self.hang.contains(&target) {
                    return;
                }
                let session_exists = self.links.iter().any(|((a, _), (b, _))| {
                    (*a == node && *b == target) || (*a == target && *b == node)
                });
                if !session_exists && !addrs.is_empty() && !addrs.contains(&self.place(target)) {
                    let reason = OpenFailure::Unreachable;
                    return self.after(UNREACHABLE, node, Input::StreamFailed { stream, reason });
                }
                if !session_exists && (addrs.is_empty() || session == SessionUse::ReuseOnly) {
                    let reason = OpenFailure::NoAddress;
                    return self.after(UNREACHABLE, node, Input::StreamFailed { stream, reason });
                }
                self.accepted[target] += 1;
                let theirs = StreamId(self.accepted[target] * 2 - 1);
                self.links.insert((node, stream), (target, theirs));
                self.links.insert((target, theirs), (node, stream));
                let dialled = Path {
                    reach: Reach::Dialled,
                    remote: addrs.first().copied(),
                };
                let path = if addrs.is_empty() {
                    Path {
                        reach: Reach::Accepted,
                        remote: Some(self.place(target)),
                    }
                } else {
                    dialled
                };
                let peer = self.nodes[node].public_key();
                let theirs_path = Path {
                    reach: Reach::Accepted,
                    remote: Some(self.place(node)),
                };
                let accepted = Input::StreamAccepted {
                    stream: theirs,
                    peer,
                    path: theirs_path,
                };
                self.after(LATENCY, target, accepted);
                self.after(LATENCY * 2, node, Input::StreamOpened { stream, path });
            }
            Output::Send { stream, bytes } => {
                if let Some((target, theirs)) = self.links.get(&(node, stream)).copied() {
                    if !self.mute.contains(&target) {
                        let bytes = Cow::Owned(bytes.to_vec());
                        self.after(
                            LATENCY,
                            target,
                            Input::Bytes {
                                stream: theirs,
                                bytes,
                            },
                        );
                    }
                    self.after(Duration::ZERO, node, Input::Sent { stream });
                }
            }
            Output::CloseStream { stream, reason } => {
                let Some((target, theirs)) = self.links.remove(&(node, stream)) else {
                    return;
                };
                self.links.remove(&(target, theirs));
                let end = if reason.is_graceful() {
                    StreamEnd::Finished
                } else {
                    StreamEnd::Reset
                };
                self.after(
                    LATENCY,
                    target,
                    Input::StreamClosed {
                        stream: theirs,
                        end,
                    },
                );
            }
            Output::Probe {
                probe,
                peer,
                addr: at,
            } => {
                let there = self.by_key.get(&peer).copied();
                let ok = there.is_some_and(|there| self.up[there] && self.place(there) == at);
                let result = if ok {
                    Ok(())
                } else {
                    Err(OpenFailure::Unreachable)
                };
                self.after(LATENCY * 4, node, Input::Probed { probe, result });
            }
            Output::Verify { job, work } => {
                self.after(
                    VERIFY,
                    node,
                    Input::Verified {
                        job,
                        verdict: work.run(),
                    },
                );
            }
            Output::Finished { op, outcome } => {
                assert!(
                    self.finished.insert(op, outcome).is_none(),
                    "two outcomes for {op}"
                );
            }
            Output::Event(event) => self.events.push((node, event)),
            Output::PauseReading { .. } | Output::ResumeReading { .. } => {}
            Output::Persist { .. } | Output::PersistMark { .. } | Output::LoadTarget { .. } => {}
        }
    }

    /// Runs until `deadline`, or until `done` returns true.
    pub(crate) fn run_until(&mut self, deadline: Mono, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
            let timer = (0..self.nodes.len())
                .filter(|node| self.up[*node])
                .filter_map(|node| Some((self.nodes[node].next_deadline()?.at, node)))
                .min();
            let next = match (queued, timer) {
                (Some(queued), Some((timer, _))) => queued.min(timer),
                (Some(at), None) | (None, Some((at, _))) => at,
                (None, None) => break,
            };
            if next > deadline {
                break;
            }
            self.now = self.now.max(next);
            if queued == Some(next) {
                let (_, (node, input)) = self.queue.pop_first().unwrap();
                self.input(node, input);
            } else if let Some((_, node)) = timer {
                self.input(node, Input::TimerFired);
            }
        }
        if !done(self) {
            self.now = self.now.max(deadline);
        }
    }

    pub(crate) fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now.plus(duration), |_| false);
    }

    /// Stops a node without notice: its streams are reset.
    pub(crate) fn kill(&mut self, node: usize) {
        self.up[node] = false;
        let ends: Vec<(LinkEnd, LinkEnd)> = self
            .links
            .iter()
            .filter(|((a, _), _)| *a == node)
            .map(|(a, b)| (*a, *b))
            .collect();
        for (ours, (peer, theirs)) in ends {
            self.links.remove(&ours);
            self.links.remove(&(peer, theirs));
            let reset = Input::StreamClosed {
                stream: theirs,
                end: StreamEnd::Reset,
            };
            self.after(LATENCY, peer, reset);
        }
    }

    /// The address of a node.
    pub(crate) fn place(&self, node: usize) -> SocketAddr {
        self.moved.get(&node).copied().unwrap_or_else(|| addr(node))
    }

    /// Restarts the process of a node at another address with the same key.
    pub(crate) fn restart(&mut self, node: usize, at: SocketAddr, config: Config) {
        self.kill(node);
        self.moved.insert(node, at);
        let identity = Identity::Keyed(secret(node));
        let seed = Seed::from_number(1_000 + node as u64);
        self.nodes[node] = Node::new(config, identity, seed, self.time()).unwrap();
        self.begin(node);
    }

    /// Starts a node that was down.
    pub(crate) fn begin(&mut self, node: usize) {
        self.up[node] = true;
        self.after(Duration::ZERO, node, Input::TimerFired);
    }

    pub(crate) fn start(&mut self, node: usize, command: Command) -> OperationId {
        self.ops += 1;
        let op = OperationId(self.ops);
        self.input(node, Input::Command { op, command });
        op
    }

    /// Runs a command to its outcome.
    pub(crate) fn command(&mut self, node: usize, command: Command) -> Outcome {
        let op = self.start(node, command);
        self.wait(op)
    }

    pub(crate) fn wait(&mut self, op: OperationId) -> Outcome {
        let limit = self.now.plus(Duration::from_secs(600));
        self.run_until(limit, |net| net.finished.contains_key(&op));
        self.finished
            .get(&op)
            .cloned()
            .expect("the operation must finish")
    }

    pub(crate) fn put_with(
        &mut self,
        node: usize,
        salt: &str,
        value: &[u8],
        options: PutOptions,
    ) -> Result<PutOutcome, PutError> {
        let (salt, value) = (Salt::from(salt), Value::new(value));
        match self.command(
            node,
            Command::Put {
                salt,
                value,
                options,
            },
        ) {
            Outcome::Put(result) => result,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn put(
        &mut self,
        node: usize,
        salt: &str,
        value: &[u8],
    ) -> Result<PutOutcome, PutError> {
        self.put_with(node, salt, value, PutOptions::default())
    }

    pub(crate) fn get(
        &mut self,
        node: usize,
        owner: usize,
        salt: &str,
        policy: ReadPolicy,
    ) -> Result<GetOutcome, GetError> {
        let request = GetRequest::of(secret(owner).public(), Salt::from(salt), policy);
        match self.command(node, Command::Get(request)) {
            Outcome::Get(result) => result,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn counter(&self, node: usize, counter: Counter) -> u64 {
        self.nodes[node].snapshot().counters.get(counter)
    }

    /// Nodes that have the item of `owner` under `salt`, except the owner.
    pub(crate) fn holders(&self, owner: usize, salt: &str) -> Vec<usize> {
        let target = crate::id::Target::of(&secret(owner).public(), salt.as_bytes());
        let time = self.time();
        (0..self.nodes.len())
            .filter(|node| *node != owner && self.up[*node])
            .filter(|node| {
                self.nodes[*node]
                    .base
                    .items
                    .store
                    .get(time, &target)
                    .is_some()
            })
            .collect()
    }
}
