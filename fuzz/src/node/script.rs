//! The steps of a script.

use std::collections::btree_map::Entry;

use core::time::Duration;

use skydht_core::item::{Salt, Seq, Value};
use skydht_core::node::{
    ChangeId, Command, GetRequest, Input, JobId, Misuse, OpenFailure, OperationId, Path, ProbeId,
    PutOptions, Reach, ReadPolicy, StreamEnd, StreamId,
};
use skydht_core::record::StoredRecord;
use skydht_core::time::{Mono, Unix};

use super::cast::{CAST, PEERS, START};
use super::config::config;
use super::peer::{self, addr};
use super::world::{Stream, World};
use crate::cursor::Cursor;

const SECOND: u64 = 1_000_000_000;

pub(super) struct Script<'a> {
    input: Cursor<'a>,
    world: World,
    /// Numbers of accepted streams are odd.
    next_stream: u64,
    next_op: u64,
}

impl<'a> Script<'a> {
    pub(super) fn new(mut input: Cursor<'a>) -> Self {
        let mut world = World::new(config(&mut input));
        world.input(Input::TimerFired);
        Self {
            input,
            world,
            next_stream: 1,
            next_op: 1,
        }
    }

    /// Runs one step. Returns `false` at the end of the script.
    pub(super) fn step(&mut self) -> bool {
        let Some(kind) = self.input.next() else {
            return false;
        };
        match kind % 25 {
            _ if kind >= 252 => self.crowd(),
            _ if kind == 251 => self.switch(),
            0 => self.accept(),
            1 | 2 => self.request(),
            3 => self.raw(),
            4 => self.open(),
            5 => self.fail(),
            6 | 7 => self.answer(),
            8 => self.close(),
            9 => self.verify(),
            10 => self.verify_all(),
            11 => self.pass(),
            12 => drop(self.world.wake()),
            13 => self.wall_clock(),
            14 | 15 => self.command(),
            16 => self.cancel(),
            17 => self.world.auto_sent ^= true,
            18 => self.sent(),
            19 => self.load(),
            20 => self.probed(),
            21 => self.persisted(),
            22 => self.misuse(),
            23 => self.clock_back(),
            _ => self.all_is_well(),
        }
        true
    }

    /// Ends the run: no peer answers any longer, then the node shuts down.
    pub(super) fn end(mut self) {
        self.world.auto_sent = true;
        self.verify_all();
        let end = self.world.now.mono.0.saturating_add(120 * SECOND);
        for _ in 0..300 {
            let due = self.world.node.next_deadline();
            if due.is_none_or(|due| due.at.0 > end) || !self.world.wake() {
                break;
            }
        }
        self.world.pass(end.saturating_sub(self.world.now.mono.0));
        self.world.input(Input::TimerFired);
        let unfinished = self
            .world
            .operations
            .values()
            .filter(|done| !**done)
            .count();
        assert_eq!(unfinished, 0, "operations that never end");
        if !self.world.stopped {
            self.run(Command::Shutdown);
        }
        self.verify_all();
        assert_eq!(self.world.streams.len(), 0, "streams after the shutdown");
        let in_flight = self.world.node.in_flight();
        assert_eq!(in_flight, Default::default(), "after the shutdown");
        assert_eq!(self.world.node.next_deadline(), None);
        self.run(Command::FindNode {
            target: CAST.targets[0],
            timeout: None,
        });
        assert!(self.world.operations.values().all(|done| *done));
        self.world.replay();
    }

    fn pick(&mut self, of: impl Fn(&StreamId, &Stream) -> bool) -> Option<StreamId> {
        let n = usize::from(self.input.byte());
        let fit: Vec<_> = self
            .world
            .streams
            .iter()
            .filter(|(id, stream)| of(id, stream))
            .collect();
        (!fit.is_empty()).then(|| *fit[n % fit.len()].0)
    }

    fn path(&mut self) -> Path {
        let how = self.input.byte();
        let reach = [Reach::Dialled, Reach::Accepted, Reach::Relayed][usize::from(how) % 3];
        let remote = (how & 0x80 == 0).then(|| addr(how));
        Path { reach, remote }
    }

    fn accept(&mut self) {
        let peer = CAST.peers[usize::from(self.input.byte()) % PEERS];
        let path = self.path();
        let stream = StreamId(self.next_stream);
        self.next_stream += 2;
        self.world.streams.insert(
            stream,
            Stream {
                peer,
                open: true,
                sent: Vec::new(),
            },
        );
        self.world
            .input(Input::StreamAccepted { stream, peer, path });
    }

    /// Sends bytes, sometimes in two pieces.
    fn bytes(&mut self, stream: StreamId, bytes: &[u8]) {
        let cut = usize::from(self.input.byte());
        let (first, second) = bytes.split_at(cut.min(bytes.len()));
        for part in [first, second] {
            self.world.bytes(stream, part);
        }
    }

    fn request(&mut self) {
        let Some(stream) = self.pick(|id, _| !id.is_ours()) else {
            return;
        };
        let peer = self.world.streams[&stream].peer;
        let bytes = peer::request(&peer, &mut self.input);
        self.bytes(stream, &bytes);
    }

    /// Many concurrent streams, each with a batch that needs a slot or none.
    fn crowd(&mut self) {
        let (count, kind) = (self.input.byte(), self.input.byte());
        for n in 0..count {
            let peer = CAST.peers[usize::from(n / 8) % PEERS];
            let stream = StreamId(self.next_stream);
            self.next_stream += 2;
            let of_peer = Stream {
                peer,
                open: true,
                sent: Vec::new(),
            };
            self.world.streams.insert(stream, of_peer);
            let path = Path {
                reach: Reach::Accepted,
                remote: None,
            };
            self.world
                .input(Input::StreamAccepted { stream, peer, path });
            let bytes = peer::batch(&peer, usize::from(kind & 3), kind & 4 != 0);
            self.world.bytes(stream, &bytes);
        }
    }

    fn raw(&mut self) {
        if let Some(stream) = self.pick(|_, stream| stream.open) {
            let bytes = self.input.short().to_vec();
            self.bytes(stream, &bytes);
        }
    }

    fn open(&mut self) {
        let path = self.path();
        if let Some(stream) = self.pick(|_, stream| !stream.open) {
            self.world.open(stream, path);
        }
    }

    fn fail(&mut self) {
        let reason = match self.input.byte() % 7 {
            0 => OpenFailure::NoAddress,
            1 => OpenFailure::Unreachable,
            2 => OpenFailure::Timeout,
            3 => OpenFailure::Handshake,
            4 => OpenFailure::InvalidKey,
            5 => OpenFailure::Overloaded,
            _ => OpenFailure::Closing,
        };
        if let Some(stream) = self.pick(|_, stream| !stream.open) {
            self.world.streams.remove(&stream);
            self.world.input(Input::StreamFailed { stream, reason });
        }
    }

    fn answer(&mut self) {
        if let Some(stream) = self.pick(|id, stream| id.is_ours() && !stream.sent.is_empty()) {
            self.answer_on(stream);
        }
    }

    fn answer_on(&mut self, stream: StreamId) {
        let Some(known) = self.world.streams.get_mut(&stream) else {
            return;
        };
        if known.sent.is_empty() {
            return;
        }
        let (peer, asked) = (known.peer, known.sent.remove(0));
        let bytes = peer::answer(&peer, &asked, &mut self.input);
        self.bytes(stream, &bytes);
    }

    fn close(&mut self) {
        let end = match self.input.byte() & 3 {
            0 | 2 => StreamEnd::Finished,
            1 => StreamEnd::Reset,
            _ => StreamEnd::Lost,
        };
        if let Some(stream) = self.pick(|_, stream| stream.open) {
            self.world.streams.remove(&stream);
            self.world.input(Input::StreamClosed { stream, end });
        }
    }

    fn verify(&mut self) {
        let n = usize::from(self.input.byte());
        let jobs: Vec<JobId> = self.world.jobs.keys().copied().collect();
        if !jobs.is_empty() {
            self.world.verified(jobs[n % jobs.len()]);
        }
    }

    fn verify_all(&mut self) {
        while let Some(job) = self.world.jobs.keys().next().copied() {
            self.world.verified(job);
        }
    }

    fn pass(&mut self) {
        let table = [
            1_000_000,
            100_000_000,
            SECOND,
            5 * SECOND,
            61 * SECOND,
            600 * SECOND,
            3_600 * SECOND,
            8_000 * SECOND,
        ];
        let n = usize::from(self.input.byte());
        self.world.pass(table[n % table.len()]);
        self.world.input(Input::TimerFired);
    }

    fn wall_clock(&mut self) {
        let table = [
            0,
            START.0,
            START.0 + 86_400 * SECOND,
            START.0 - 86_400 * SECOND,
            u64::MAX,
        ];
        let n = usize::from(self.input.byte());
        self.world.now.unix = Unix(table[n % table.len()]);
    }

    fn clock_back(&mut self) {
        let now = self.world.now;
        self.world.now.mono = Mono(
            now.mono
                .0
                .saturating_sub(u64::from(self.input.byte()) * SECOND),
        );
        self.world.input(Input::TimerFired);
        self.world.now = now;
    }

    fn run(&mut self, command: Command) {
        let op = OperationId(self.next_op);
        self.next_op += 1;
        let puts = matches!(command, Command::Put { .. } | Command::PutSigned { .. });
        self.world.puts += usize::from(puts);
        self.world.stopped |= command == Command::Shutdown;
        self.world.tally.commands += 1;
        self.world.operations.insert(op, false);
        self.world.input(Input::Command { op, command });
    }

    fn command(&mut self) {
        let [kind, how] = self.input.array();
        let n = usize::from(self.input.byte());
        let timeout =
            [None, None, Some(1), Some(60)][usize::from(how) % 4].map(Duration::from_secs);
        let item = &CAST.items[n % CAST.items.len()];
        let options = PutOptions {
            mirror_of: None,
            timeout,
            force: how & 4 != 0,
            local_only: how & 8 != 0,
            once: how & 16 != 0,
            seq: (how & 32 != 0).then_some(item.seq),
            expect: (how & 64 != 0).then_some(Seq(u64::from(how >> 7)).into()),
            min_replicas: u16::from(kind >> 5),
        };
        let command = match kind % 8 {
            0 | 1 => {
                let value = Value::new([b"".as_slice(), b"v", b"w", &[0; 300]][n % 4]);
                let salt = Salt::new([b"".as_slice(), b"dmsg", b"x", &[1; 201]][n / 4 % 4]);
                Command::Put {
                    salt,
                    value,
                    options,
                }
            }
            2 => Command::PutSigned {
                item: Box::new((**item).clone()),
                options,
            },
            3 | 4 => {
                let policy = match how >> 2 & 3 {
                    0 => ReadPolicy::Freshest,
                    1 => ReadPolicy::Quorum(how >> 4),
                    2 => ReadPolicy::FirstValid,
                    _ => ReadPolicy::Local,
                };
                let mut request = GetRequest::of(item.key, item.salt.clone(), policy);
                request.timeout = timeout;
                request.unknown_mirrors = how & 64 != 0;
                if how & 128 != 0 {
                    request.owner = None;
                    request.target = CAST.targets[n % CAST.targets.len()];
                }
                if kind & 16 != 0 {
                    let after = (how & 4 != 0).then_some(item.seq);
                    Command::Watch { request, after }
                } else {
                    Command::Get(request)
                }
            }
            5 => Command::FindNode {
                target: CAST.targets[n % CAST.targets.len()],
                timeout,
            },
            6 => Command::Ping {
                peer: CAST.peers[n % PEERS],
                addr: (how & 1 != 0).then(|| addr(how)),
            },
            // Rare, because little happens after a shutdown.
            _ if how == 0xff => Command::Shutdown,
            _ => {
                let peer = (how & 1 != 0).then(|| CAST.peers[n % PEERS]);
                Command::Sync { peer, timeout }
            }
        };
        self.run(command);
    }

    fn cancel(&mut self) {
        let op = OperationId(u64::from(self.input.byte()) % self.next_op);
        self.world.input(Input::Cancel { op });
    }

    fn sent(&mut self) {
        if let Some(stream) = self.pick(|_, stream| stream.open) {
            self.world.input(Input::Sent { stream });
        }
    }

    fn load(&mut self) {
        let [n, vouched, expires, target] = self.input.array();
        let item = &CAST.items[usize::from(n) % CAST.items.len()];
        let times = [
            0,
            START.0 - 3_600 * SECOND,
            START.0,
            START.0 + 3_600 * SECOND,
            u64::MAX,
        ];
        let time = |byte: u8| Unix(times[usize::from(byte) % times.len()]);
        let record = StoredRecord {
            target: if target & 1 == 0 {
                item.target()
            } else {
                CAST.targets[usize::from(target) % CAST.targets.len()]
            },
            vouched: time(vouched),
            expires: (expires & 0x80 == 0).then(|| time(expires)),
            bound: (vouched & 0x80 != 0).then(|| CAST.binds[usize::from(n) % CAST.binds.len()]),
            item: (**item).clone(),
        };
        // Storage contains the record, unless it has a later one at the same target.
        if let Entry::Vacant(vacant) = self.world.storage.entry(record.target) {
            vacant.insert(record.clone());
            self.world.given.insert(record.target);
        }
        self.world.input(Input::Loaded {
            record: Box::new(record),
            proven: false,
        });
    }

    fn probed(&mut self) {
        let how = self.input.byte();
        if let Some(probe) = self.world.probes.pop_first() {
            let result = if how & 1 == 0 {
                Ok(())
            } else {
                Err(OpenFailure::Unreachable)
            };
            self.world.input(Input::Probed { probe, result });
        }
    }

    fn persisted(&mut self) {
        let durable = self.input.byte() & 1 == 0;
        if let Some(change) = self.world.changes.pop_first() {
            self.world.input(Input::Persisted { change, durable });
        }
    }

    fn switch(&mut self) {
        let full_node = self.input.byte() & 1 == 0;
        self.world.input(Input::SetFullNode { full_node });
    }

    /// Checks that inputs that a driver must not send are refused and reported.
    fn misuse(&mut self) {
        let path = self.path();
        let (job, probe, change) = (JobId(u64::MAX), ProbeId(u64::MAX), ChangeId(u64::MAX));
        let (input, error) = match self.input.byte() % 6 {
            0 => (
                Input::Verified {
                    job,
                    verdict: Ok(()),
                },
                Misuse::UnknownJob(job),
            ),
            1 => (
                Input::Probed {
                    probe,
                    result: Ok(()),
                },
                Misuse::UnknownProbe(probe),
            ),
            2 => (
                Input::Persisted {
                    change,
                    durable: true,
                },
                Misuse::UnknownChange(change),
            ),
            3 => {
                let op = OperationId(self.next_op - 1);
                if op.0 == 0 {
                    return;
                }
                (
                    Input::Command {
                        op,
                        command: Command::Shutdown,
                    },
                    Misuse::OperationNumber(op),
                )
            }
            n => {
                // An even number, or a number that was used before.
                let stream = StreamId(if n == 4 {
                    2
                } else {
                    self.next_stream.saturating_sub(2)
                });
                if stream.0 == 1 && self.next_stream == 1 {
                    return;
                }
                let peer = CAST.peers[0];
                (
                    Input::StreamAccepted { stream, peer, path },
                    Misuse::StreamNumber(stream),
                )
            }
        };
        assert_eq!(self.world.try_input(input), Err(error));
    }

    /// Every request succeeds and every peer answers, so that scripts make progress.
    fn all_is_well(&mut self) {
        let waiting: Vec<_> = self
            .world
            .streams
            .iter()
            .filter(|(_, stream)| !stream.open)
            .map(|(id, _)| *id)
            .collect();
        for stream in waiting {
            let remote = Some(addr(3));
            self.world.open(
                stream,
                Path {
                    reach: Reach::Dialled,
                    remote,
                },
            );
        }
        let asked: Vec<_> = self
            .world
            .streams
            .keys()
            .filter(|id| id.is_ours())
            .copied()
            .collect();
        for stream in asked {
            self.answer_on(stream);
        }
        self.verify_all();
    }
}
