//! Operations that wait for storage while it is read at the start.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::node::base::Base;
use crate::node::ids::OperationId;
use crate::node::input::Command;
use crate::node::loading::{LOAD_WAIT, Need};
use crate::node::operations::state::{OperationPhase, Operations};
use crate::node::query::Queries;
use crate::node::timers::Timer;
use crate::time::Mono;

impl Operations {
    /// Returns the command if the record at its target is loaded, otherwise makes it wait and
    /// returns `None`. Without waiting, a read would miss the record, and a put would use a
    /// sequence below it.
    pub(super) fn await_load(
        &mut self,
        base: &mut Base,
        op: OperationId,
        command: Command,
        started: Mono,
    ) -> Option<Command> {
        let target = match &command {
            Command::Put { salt, options, .. } => options.target(&base.cx.public, salt),
            Command::PutSigned { item, .. } => item.target(),
            Command::Get(request) | Command::Watch { request, .. } => request.target,
            // Sessions wait for storage on their own.
            Command::FindNode { .. }
            | Command::Ping { .. }
            | Command::Sync { .. }
            | Command::Shutdown => return Some(command),
        };
        if !base.loading.is_under_way() {
            return Some(command);
        }
        let Some(need) = base.needs(Need::At(target)) else {
            return Some(command);
        };
        self.loads.insert((need, op));
        let until = base.cx.now.mono.plus(LOAD_WAIT);
        base.cx.timers.set(Timer::Load(op), until);
        let command = Box::new(command);
        let waiting = OperationPhase::Loading {
            command,
            started,
            need,
        };
        self.set_phase(op, waiting);
        None
    }

    /// The operations that wait for `need`.
    pub(crate) fn waiting_for(&self, need: Need) -> Vec<OperationId> {
        let waiting = self.loads.iter();
        waiting
            .filter(|(of, _)| need == Need::All || *of == need)
            .map(|(_, op)| *op)
            .collect()
    }

    /// Starts an operation after its wait for storage.
    pub(crate) fn start_loaded(&mut self, base: &mut Base, queries: &mut Queries, op: OperationId) {
        match self.take_phase(op) {
            Some(OperationPhase::Loading {
                command,
                started,
                need,
            }) => {
                self.loads.remove(&(need, op));
                base.cx.timers.cancel(Timer::Load(op));
                self.start(base, queries, op, *command, started);
            }
            Some(other) => self.set_phase(op, other),
            None => {}
        }
    }
}
