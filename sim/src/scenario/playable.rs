//! Parts of a scenario that the whole program does not support.

use crate::network::{Faults, Rate, Spread, Transport};

use super::drawn::Drawn;
use super::file::{Population, Reached, Scenario, ScenarioError};
use super::storage::Storage;

use std::time::Duration;

impl Scenario {
    /// Refuses unsupported settings instead of ignoring them.
    ///
    /// # Errors
    /// [`ScenarioError::Value`].
    pub(super) fn check_playable(&self) -> Result<(), ScenarioError> {
        let (who, chaos) = (&self.population, &self.chaos);
        let network = Faults {
            latency: self.network.latency,
            jitter: self.network.jitter,
            ..Faults::default()
        };
        let transport = Transport {
            idle_timeout: self.transport.idle_timeout,
            ..Transport::default()
        };
        let never = |all: &[&Drawn]| all.iter().all(|it| !it.is_possible());
        let program = &self.program;
        let checks = [
            (
                (who.reached == Reached::Relayed) == (program.relays > 0),
                "population.reached",
                "\"direct\", or \"relayed\" with program.relays, where the whole program runs",
            ),
            (
                never(&[&who.upstream, &who.hostile, &who.nat])
                    && [who.bootstrap_dead, who.mirrors, who.unknown_mirrors] == [0; 3]
                    && (who.liars, who.verify) == (0, Population::default().verify),
                "population",
                "of our nodes alone where the whole program runs",
            ),
            (
                who.nodes <= 10_000,
                "population.nodes",
                "at most 10000 where the whole program runs",
            ),
            (
                !matches!(network.latency, Spread::LogNormal { .. }) && network == self.network,
                "network",
                "latency (fixed or uniform) and jitter only where the whole program runs",
            ),
            (
                transport == self.transport,
                "transport",
                "idle_timeout only where the whole program runs",
            ),
            (
                never(&[
                    &chaos.dead,
                    &chaos.loss,
                    &chaos.stream_reset,
                    &chaos.session_reset,
                    &chaos.half_open,
                    &chaos.slow,
                    &chaos.drift,
                ]) && !chaos.blackout,
                "chaos",
                "crash, wiped, suspend, clock_step, partition, dial_refused and dial_lost only \
             where the whole program runs",
            ),
            (
                self.storage == Storage::default(),
                "storage",
                "left out where the whole program runs",
            ),
            (
                self.phases.expiry.is_zero(),
                "phases.expiry",
                "zero where the whole program runs",
            ),
            (
                1 <= program.buffer_min && program.buffer_min <= program.buffer_max,
                "program.buffer_min",
                "1 to program.buffer_max",
            ),
            (
                1 <= program.accept_queue_min
                    && program.accept_queue_min <= program.accept_queue_max,
                "program.accept_queue_min",
                "1 to program.accept_queue_max",
            ),
            (
                1 <= program.commands_min && program.commands_min <= program.commands_max,
                "program.commands_min",
                "1 to program.commands_max",
            ),
            (
                program.keepalive >= Duration::from_secs(1),
                "program.keepalive",
                "at least 1s",
            ),
            (
                program.max_streams >= 1 && program.max_sessions >= 1,
                "program.max_streams",
                "at least 1, and program.max_sessions too",
            ),
            (
                program.relays <= 100 && program.relay_sessions >= 1 && program.relay_streams >= 1,
                "program.relays",
                "at most 100; program.relay_sessions and program.relay_streams at least 1",
            ),
            (
                program.go_nodes <= 100
                    && (program.relays > 0 || (program.go_nodes == 0 && !program.go_relays)),
                "program.go_nodes",
                "at most 100, and only with relays; program.go_relays as well",
            ),
            (
                program.moves == Rate::NEVER || program.relays == 0,
                "program.moves",
                "zero with relays, over which nobody has an address",
            ),
            (
                program.gone + who.bootstrap < who.nodes.max(1),
                "program.gone",
                "fewer than the nodes that are no bootstrap peers",
            ),
        ];
        match checks.into_iter().find(|(holds, ..)| !holds) {
            None => Ok(()),
            Some((_, key, allowed)) => Err(ScenarioError::Value { key, allowed }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsupported_settings_are_refused() {
        let whole = "depth = \"program\"\n[population]\nreached = \"direct\"\n";
        assert!(Scenario::parse("it", whole, &[]).is_ok());
        let relayed = "depth = \"program\"\n[program]\nrelays = 3";
        assert!(Scenario::parse("it", relayed, &[]).is_ok());
        for text in [
            "depth = \"program\"".to_owned(),
            format!("{whole}upstream = 0.1"),
            format!("{whole}nodes = 10001"),
            format!("{whole}[chaos]\nloss = 0.1"),
            format!("{whole}[network]\nloss = 0.1"),
            format!("{whole}[network]\nlatency = {{ log_normal = {{ median = \"9ms\" }} }}"),
            format!("{whole}[transport]\nwindow = 5"),
            format!("{whole}[storage]\nredis = 2"),
            format!("{whole}full_nodes = 3\nliars = 1"),
            format!("{whole}[phases]\nexpiry = \"1s\""),
            "depth = \"program\"\n[program]\nrelays = 101".to_owned(),
            format!("{whole}[program]\nrelays = 3"),
            format!("{whole}[program]\ngo_nodes = 3"),
            "depth = \"program\"\n[program]\nrelays = 1\nmoves = 0.5".to_owned(),
            format!("{whole}[program]\ngone = 1000"),
            "depth = \"program\"\n[program]\nrelays = 1\ngo_nodes = 101".to_owned(),
            format!("{whole}[program]\nbuffer_min = 70000"),
            format!("{whole}[program]\nkeepalive = \"1ms\""),
            format!("{whole}[program]\naccept_queue_min = 2000"),
            format!("{whole}[program]\ncommands_min = 2000"),
            format!("{whole}[program]\ncommands_min = 0"),
        ] {
            assert!(Scenario::parse("it", &text, &[]).is_err(), "{text}");
        }
    }
}
