//! Users give commands to nodes. The run records the answers and what nodes stored.

use std::time::Duration;

use sha2::Digest as _;
use skydht_core::node::{Command, GetRequest, OPERATION_TIMEOUT, OperationId, ReadPolicy};

use super::ledger::{Event, UserAnswer};
use super::state::WholeProgram;
use super::users;
use crate::network::HostId;
use crate::network::faults::{below, up_to};
use crate::run::Run;
use crate::scenario::work::UserAction;

/// Duration of a watch.
const WATCHED: Duration = Duration::from_secs(12);
/// Users that give up wait at most this long.
const PATIENCE: Duration = Duration::from_secs(2);

impl Run<'_, WholeProgram> {
    /// Starts a user's action. With it, another user may give a second command, to cause races.
    pub(super) fn begin(
        &mut self,
        host: HostId,
        item: usize,
        action: UserAction,
    ) -> Option<OperationId> {
        self.backend.machine(host).node()?;
        let command = self.command(item, action);
        let watch = !action.publishes() && below(&mut self.random, 2) != 0;
        let id = self.ask(host, command, watch);

        let all = self.backend.machines.len() as u32;
        let ahead = 1 + below(&mut self.random, u64::from(all) - 1) as u32;
        let other = self.backend.machine(HostId((host.0 + ahead) % all));
        let beside = match below(&mut self.random, 4) {
            0 => Some(Command::FindNode {
                target: self.tracked[item].target,
                timeout: None,
            }),
            1 => Some(Command::Ping {
                peer: other.key,
                addr: Some(other.addr()),
            }),
            2 => Some(self.watch(item)),
            _ => None,
        };
        if let Some(command) = beside {
            self.ask(host, command, false);
        }
        Some(id)
    }

    /// A watch of an item for versions newer than those promised so far.
    fn watch(&self, item: usize) -> Command {
        let tracked = &self.tracked[item];
        let owner = (tracked.key, self.items[item].salt.clone());
        let mut request = GetRequest::of(owner.0, owner.1, ReadPolicy::Freshest);
        request.timeout = Some(WATCHED);
        let after = tracked.floor();
        Command::Watch { request, after }
    }

    /// A user of a host gives a command. With `watch`, it reads every event of a get.
    pub(super) fn ask(&mut self, host: HostId, command: Command, watch: bool) -> OperationId {
        let program = &mut self.backend;
        program.asked += 1;
        let id = program.asked;
        let patience = match program.impatient.hits(&mut self.random) {
            true => Some(up_to(PATIENCE, &mut self.random)),
            false => None,
        };
        let machine = program.machine(host);
        if let Some(dht) = machine.node() {
            let runtime = program.world.host(machine.ip);
            let (dht, shared) = (dht.clone(), program.shared.clone());
            let asked = (command, watch);
            users::ask(&runtime, dht, (host, id), asked, patience, shared);
        }
        OperationId(id)
    }

    /// Processes the events of nodes since the last call.
    pub(super) fn process_events(&mut self) {
        let events = std::mem::take(&mut self.backend.shared.lock().events);
        for (at, host, event) in events {
            match event {
                Event::Born => self.operations.abandoned(host),
                Event::Began(op) => self.operations.started(at, host, op, OPERATION_TIMEOUT),
                Event::Finished(op) => {
                    let violations = &mut self.violations;
                    self.operations.finished(at, host, op, violations);
                }
                Event::Stored(clock, change) => {
                    self.stored(at, host, clock, &change, self.evicted);
                }
            }
        }
    }

    /// Processes the events of nodes and the answers to users since the last call.
    pub(super) fn process_answers(&mut self) {
        self.process_events();
        let ended = std::mem::take(&mut self.backend.shared.lock().ended);
        for end in ended {
            let line = (end.id, end.host, end.at, &end.answer);
            // Our own types have no map keys or values that JSON cannot represent.
            let line = serde_json::to_vec(&line).unwrap_or_default();
            self.backend.answers_digest.update(line);
            let busy = end.answer.was_busy();
            self.coverage.count("users_told_busy", u64::from(busy));
            if let UserAnswer::Seen(after, Ok(found)) = &end.answer {
                self.coverage.count("versions_seen", 1);
                if Some(found.item.seq) <= *after {
                    let (host, seq) = (end.host, found.item.seq);
                    let what = format_args!("{host}: a watch after {after:?} saw {seq}");
                    self.violations.note(end.at, what);
                }
            }
            let Some(operation) = self.user_operations.remove(&OperationId(end.id)) else {
                continue; // it was asked beside others, and its answer does not matter
            };
            match &end.answer {
                UserAnswer::GaveUp => {
                    self.coverage.count("futures_dropped", 1);
                    if operation.action.publishes() {
                        self.tracked[operation.item].unsure();
                    }
                }
                UserAnswer::Get(read) => self.read(operation, end.at, read),
                UserAnswer::Put(put) => self.put(operation, end.at, put),
                UserAnswer::Seen(..) | UserAnswer::Found(_) | UserAnswer::Pinged(_) => {}
            }
        }
    }
}
