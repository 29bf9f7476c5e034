//! Two nodes in one thread, without sockets or clocks: every input and output is printed.
//!
//! `cargo run -p skydht-core --example two_nodes`
//!
//! Node B has A as its bootstrap peer, puts an item and reads it back. The last line is the digest
//! of B's run, which is the same on every machine and in every run.

use std::collections::VecDeque;
use std::error::Error;
use std::time::Duration;

use skydht_core::item::{Salt, Value};
use skydht_core::journal::RunDigest;
use skydht_core::key::SecretKey;
use skydht_core::node::{
    BootstrapPeer, Command, Config, GetRequest, Identity, Input, OperationId, Outcome, Output,
    Path, PutOptions, Reach, ReadPolicy, StreamEnd, StreamId,
};
use skydht_core::time::{Mono, Time, Unix};
use skydht_core::{Node, Seed};

const NAMES: [&str; 2] = ["A", "B"];
const LATENCY: Duration = Duration::from_millis(20);

/// One end of a stream: the index of the node, and its number there.
type End = (usize, StreamId);

struct Pair {
    nodes: [Node; 2],
    /// Inputs in transit: arrival time, receiving node, input.
    queue: VecDeque<(Mono, usize, Input<'static>)>,
    now: Mono,
    accepted: [u64; 2],
    links: Vec<(End, End)>,
    digest: RunDigest,
}

fn main() -> Result<(), Box<dyn Error>> {
    let (secret_a, secret_b) = (
        SecretKey::from_entropy(&[1; 32]),
        SecretKey::from_entropy(&[2; 32]),
    );
    let (a, b) = (secret_a.public(), secret_b.public());
    let mut knows_a = Config::default();
    knows_a.bootstrap = vec![BootstrapPeer {
        key: a,
        addrs: vec!["192.0.2.1:1000".parse()?],
    }];
    let start = time(Mono(0));
    let (a, seed_a) = (Identity::Keyed(secret_a), Seed::from_number(1));
    let mut pair = Pair {
        nodes: [
            Node::new(Config::default(), a, seed_a, start)?,
            Node::new(
                knows_a,
                Identity::Keyed(secret_b),
                Seed::from_number(2),
                start,
            )?,
        ],
        queue: VecDeque::new(),
        now: Mono(0),
        accepted: [0; 2],
        links: Vec::new(),
        digest: RunDigest::default(),
    };
    pair.input(0, Input::TimerFired)?;
    pair.input(1, Input::TimerFired)?;
    let (salt, value) = (Salt::from("greeting"), Value::new(b"hello"));
    let put = Command::Put {
        salt: salt.clone(),
        value,
        options: PutOptions::default(),
    };
    pair.run(OperationId(1), put)?;
    let get = Command::Get(GetRequest::of(b, salt, ReadPolicy::Freshest));
    pair.run(OperationId(2), get)?;
    println!("digest of B: {}", pair.digest.value());
    Ok(())
}

fn time(mono: Mono) -> Time {
    Time {
        mono,
        unix: Unix(1_790_000_000_000_000_000 + mono.0),
    }
}

impl Pair {
    /// Passes a command to B and advances the time until it finishes.
    fn run(&mut self, op: OperationId, command: Command) -> Result<(), Box<dyn Error>> {
        let mut finished = self.input(1, Input::Command { op, command })?;
        while !finished {
            let (at, to, input) = self.queue.pop_front().ok_or("nothing is under way")?;
            self.now = at;
            finished = self.input(to, input)?;
        }
        Ok(())
    }

    /// Handles an input, then drains. Returns whether an operation finished.
    fn input(&mut self, node: usize, input: Input<'static>) -> Result<bool, Box<dyn Error>> {
        let millis = self.now.0 / 1_000_000;
        println!("{millis:4} ms  {} <- {}", NAMES[node], describe(&input));
        self.nodes[node].handle(time(self.now), input)?;
        let mut finished = false;
        while let Some(output) = self.nodes[node].poll_output() {
            println!("{millis:4} ms  {} -> {}", NAMES[node], describe(&output));
            if node == 1 {
                self.digest.output(&output);
            }
            if let Output::Finished { op, outcome } = &output {
                finished = true;
                println!("Finished({op}): {}", summary(outcome));
            }
            self.carry_out(node, output);
        }
        if node == 1 {
            self.digest.deadline(self.nodes[1].next_deadline());
        }
        Ok(finished)
    }

    fn carry_out(&mut self, node: usize, output: Output) {
        let other = 1 - node;
        match output {
            Output::OpenStream { stream, .. } => {
                self.accepted[other] += 1;
                let theirs = StreamId(self.accepted[other] * 2 - 1);
                self.links.push(((node, stream), (other, theirs)));
                let peer = self.nodes[node].public_key();
                let path = Path {
                    reach: Reach::Accepted,
                    remote: None,
                };
                self.later(
                    other,
                    Input::StreamAccepted {
                        stream: theirs,
                        peer,
                        path,
                    },
                );
                let path = Path {
                    reach: Reach::Dialled,
                    remote: None,
                };
                self.later(node, Input::StreamOpened { stream, path });
            }
            Output::Send { stream, bytes } => {
                if let Some((to, theirs)) = self.other_end(node, stream) {
                    let bytes = bytes.to_vec().into();
                    self.later(
                        to,
                        Input::Bytes {
                            stream: theirs,
                            bytes,
                        },
                    );
                }
                self.later(node, Input::Sent { stream });
            }
            Output::CloseStream { stream, .. } => {
                if let Some((to, theirs)) = self.other_end(node, stream) {
                    let here = (node, stream);
                    self.links.retain(|(a, b)| *a != here && *b != here);
                    let end = StreamEnd::Finished;
                    self.later(
                        to,
                        Input::StreamClosed {
                            stream: theirs,
                            end,
                        },
                    );
                }
            }
            Output::Verify { job, work } => {
                self.later(
                    node,
                    Input::Verified {
                        job,
                        verdict: work.run(),
                    },
                );
            }
            // In this example no peer reads slowly, nothing is stored, and there are no addresses.
            Output::PauseReading { .. } | Output::ResumeReading { .. } => {}
            Output::Persist { .. }
            | Output::PersistMark { .. }
            | Output::LoadTarget { .. }
            | Output::Probe { .. } => {}
            Output::Finished { .. } | Output::Event(_) => {}
        }
    }

    fn later(&mut self, to: usize, input: Input<'static>) {
        self.queue.push_back((self.now.plus(LATENCY), to, input));
    }

    fn other_end(&self, node: usize, stream: StreamId) -> Option<End> {
        let here = (node, stream);
        self.links.iter().find_map(|(a, b)| {
            if here == *a {
                Some(*b)
            } else if here == *b {
                Some(*a)
            } else {
                None
            }
        })
    }
}

/// The debug text of an input or output, truncated to one line.
fn describe(what: &impl std::fmt::Debug) -> String {
    let text = format!("{what:?}");
    match text.char_indices().nth(110) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn summary(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Put(Ok(put)) => {
            let replicas = &put.replicas;
            format!(
                "stored {}/{}",
                replicas.acknowledged(),
                replicas.attempted()
            )
        }
        Outcome::Get(Ok(get)) => {
            let value = get.item.value.as_bytes().escape_ascii();
            let age = get.age.unwrap_or_default().as_millis();
            format!("value \"{value}\", {:?}, {age} ms old", get.origin)
        }
        other => format!("{other:?}"),
    }
}
