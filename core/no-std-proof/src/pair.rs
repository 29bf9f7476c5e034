//! Two nodes connected in memory.

use alloc::borrow::Cow;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{
    BootstrapPeer, Command, Config, Identity, Input, OperationId, Outcome, Output, Path, Reach,
    StreamEnd, StreamId,
};
use skydht_core::time::{Mono, Time, Unix};
use skydht_core::{Node, Seed};

/// Maximum number of inputs per operation.
const MAX_STEPS: usize = 10_000;

const PATH: Path = Path {
    reach: Reach::Relayed,
    remote: None,
};

/// Two nodes; the second bootstraps from the first.
pub(crate) struct Pair {
    nodes: [Node; 2],
    under_way: VecDeque<(usize, Input<'static>)>,
    /// Both ends of each stream: node and stream number of the opener and of the acceptor.
    links: Vec<[(usize, StreamId); 2]>,
    accepted: u64,
    now: u64,
    last_op: u64,
    finished: Option<Outcome>,
}

impl Pair {
    /// Two new nodes.
    pub(crate) fn new() -> Option<Self> {
        let secrets = [1, 2].map(|n| SecretKey::from_entropy(&[n; 32]));
        let mut config = Config::default();
        config.bootstrap.push(BootstrapPeer {
            key: secrets[0].public(),
            addrs: Vec::new(),
        });
        let [first, second] = secrets.map(Identity::Keyed);
        let node = |config, identity, seed| {
            Node::new(config, identity, Seed::from_number(seed), time(0)).ok()
        };
        let mut pair = Self {
            nodes: [node(Config::default(), first, 1)?, node(config, second, 2)?],
            under_way: VecDeque::new(),
            links: Vec::new(),
            accepted: 0,
            now: 0,
            last_op: 0,
            finished: None,
        };
        pair.input(0, Input::TimerFired)?;
        pair.input(1, Input::TimerFired)?;
        Some(pair)
    }

    /// A node's key.
    pub(crate) fn key(&self, node: usize) -> PublicKey {
        self.nodes[node].public_key()
    }

    /// Passes a command to a node and delivers inputs until it finishes.
    pub(crate) fn run(&mut self, node: usize, command: Command) -> Option<Outcome> {
        self.last_op += 1;
        let op = OperationId(self.last_op);
        self.input(node, Input::Command { op, command })?;
        for _ in 0..MAX_STEPS {
            if let Some(outcome) = self.finished.take() {
                return Some(outcome);
            }
            let (to, input) = self.under_way.pop_front()?;
            self.now += 1_000_000;
            self.input(to, input)?;
        }
        None
    }

    /// Passes one input to a node and carries out the outputs.
    fn input(&mut self, node: usize, input: Input<'static>) -> Option<()> {
        self.nodes[node].handle(time(self.now), input).ok()?;
        while let Some(output) = self.nodes[node].poll_output() {
            match output {
                Output::OpenStream { stream, .. } => {
                    let (other, peer) = (1 - node, self.key(node));
                    self.accepted += 1;
                    let theirs = StreamId(2 * self.accepted - 1);
                    self.links.push([(node, stream), (other, theirs)]);
                    let path = PATH;
                    self.later(
                        other,
                        Input::StreamAccepted {
                            stream: theirs,
                            peer,
                            path,
                        },
                    );
                    self.later(node, Input::StreamOpened { stream, path });
                }
                Output::Send { stream, bytes } => {
                    if let Some((other, theirs)) = self.other_end(node, stream) {
                        let bytes = Cow::Owned(bytes.to_vec());
                        self.later(
                            other,
                            Input::Bytes {
                                stream: theirs,
                                bytes,
                            },
                        );
                    }
                    self.later(node, Input::Sent { stream });
                }
                Output::CloseStream { stream, .. } => {
                    if let Some((other, stream)) = self.other_end(node, stream) {
                        let end = StreamEnd::Finished;
                        self.later(other, Input::StreamClosed { stream, end });
                    }
                }
                Output::Verify { job, work } => {
                    let verdict = work.run();
                    self.later(node, Input::Verified { job, verdict });
                }
                Output::Finished { outcome, .. } => self.finished = Some(outcome),
                Output::PauseReading { .. }
                | Output::ResumeReading { .. }
                | Output::Probe { .. }
                | Output::Persist { .. }
                | Output::PersistMark { .. }
                | Output::LoadTarget { .. }
                | Output::Event(_) => {}
            }
        }
        Some(())
    }

    fn later(&mut self, node: usize, input: Input<'static>) {
        self.under_way.push_back((node, input));
    }

    fn other_end(&self, node: usize, stream: StreamId) -> Option<(usize, StreamId)> {
        self.links.iter().find_map(|[a, b]| {
            if *a == (node, stream) {
                Some(*b)
            } else {
                (*b == (node, stream)).then_some(*a)
            }
        })
    }
}

fn time(nanos: u64) -> Time {
    Time {
        mono: Mono(nanos),
        unix: Unix(Unix::BUILD.0 + nanos),
    }
}
