//! Shuts every node down and checks that nothing is left.

use std::time::Duration;

use skydht_core::node::{Command, OPERATION_TIMEOUT};

use super::hosts::SHUT_DOWN;
use super::state::WholeProgram;
use crate::network::faults::up_to;
use crate::run::{Backend as _, Run};
use crate::scenario::RunError;

/// After this time, nothing may be left of a network that was shut down.
const GONE: Duration = Duration::from_secs(60);
/// Nodes are shut down within this time after their last lookup began.
const MIDST: Duration = Duration::from_millis(500);

impl Run<'_, WholeProgram> {
    /// Shuts every node down during lookups; then checks that nothing is left.
    pub(super) fn shut_down(&mut self) -> Result<(), RunError> {
        self.backend.plan.clear();
        for host in self.hosts() {
            let tracked = &self.tracked[host.index() % self.tracked.len()];
            let command = Command::FindNode {
                target: tracked.target,
                timeout: None,
            };
            if self.backend.is_awake(host) {
                self.ask(host, command, false);
            }
        }
        let midst = up_to(MIDST, &mut self.random.clone());
        self.pass("shut down", midst)?;
        for host in self.hosts() {
            self.leave(host);
        }
        self.pass("shut down", OPERATION_TIMEOUT + SHUT_DOWN)?;
        self.close_relays();
        self.pass("shut down", GONE)?;
        self.nothing_left();
        Ok(())
    }

    fn close_relays(&mut self) {
        let program = &mut self.backend;
        let (go, relays, coverage) = (&mut program.go, &mut program.relays, &mut self.coverage);
        let closing = async {
            go.close().await;
            relays.close(coverage).await;
        };
        if let Err(stalled) = program.world.run_until(closing) {
            program.stalled = true;
            let now = program.now();
            self.violations.note(now, stalled);
        }
    }
}
