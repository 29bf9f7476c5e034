//! What a scenario file says to the whole program, and what it cannot ask of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::drawn::Drawn;
use super::file::{Population, Reached, Scenario, ScenarioError};
use crate::clock::text;
use crate::network::{Faults, Rate, Spread, Transport};

/// What only the whole program knows. Rates are probabilities for each host in each minute of
/// the second phase, unless they say otherwise.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Program {
    /// Bytes under way in one direction of a connection before writing waits: each connection
    /// draws its own, from here …
    pub buffer_min: u32,
    /// … to here. Small ones make every writer wait.
    pub buffer_max: u32,
    /// How often a session shows its peer that it lives.
    #[serde(with = "text")]
    pub keepalive: Duration,
    /// Sessions of one node at once.
    pub max_sessions: u32,
    /// Handshakes of peers under way at one node at once.
    pub max_handshakes: u32,
    /// Streams of one session, in each direction.
    pub max_streams: u32,
    /// Streams of peers that may wait for one node's event loop: each start of a node draws its
    /// own, from here …
    pub accept_queue_min: u32,
    /// … to here. Small ones make sessions wait.
    pub accept_queue_max: u32,
    /// DMSG relays; with population.reached = "relayed", at least 1.
    pub relays: u32,
    /// Relays that each node keeps a session with.
    pub relay_sessions: u32,
    /// Streams of one session of a relay, in each direction.
    pub relay_streams: u32,
    /// Relays are as Go's in the DHT's days: a stream whose destination has no session is left
    /// open without an answer.
    pub go_relays: bool,
    /// Go nodes of the DHT's days beside ours, with which ours start; only over relays.
    pub go_nodes: u32,
    /// Of our hosts, the last ones die at the beginning of the second phase, and stay dead.
    pub gone: u32,
    /// A relay dies, its process or its machine, and comes back within a minute.
    pub relay_crash: Drawn,
    /// The DMSG discovery is away for up to a minute: refuses, or never answers.
    pub discovery_away: Drawn,
    /// All connections of a host break, nodes and relays alike.
    pub cut: Drawn,
    /// Nothing gets in or out of a host for up to a minute, and nobody is told.
    pub silent: Drawn,
    /// A host shuts down in order, whatever it is doing, and comes back within a minute.
    pub leave: Drawn,
    /// The share of restarts after which a host listens on another port; only without relays.
    pub moves: Rate,
    /// The share of operations whose caller drops the future within two seconds.
    pub give_up: Drawn,
}

impl Default for Program {
    fn default() -> Self {
        Self {
            buffer_min: 65_536,
            buffer_max: 65_536,
            keepalive: Duration::from_secs(30),
            max_sessions: 1_024,
            max_handshakes: 128,
            max_streams: 128,
            accept_queue_min: 1_024,
            accept_queue_max: 1_024,
            relays: 0,
            relay_sessions: 2,
            relay_streams: 2_048,
            go_relays: false,
            go_nodes: 0,
            gone: 0,
            relay_crash: Drawn::NEVER,
            discovery_away: Drawn::NEVER,
            cut: Drawn::NEVER,
            silent: Drawn::NEVER,
            leave: Drawn::NEVER,
            moves: Rate::NEVER,
            give_up: Drawn::NEVER,
        }
    }
}

/// Refuses what this depth does not play, rather than leaving it out in silence.
///
/// # Errors
/// [`ScenarioError::Value`].
pub(super) fn check(scenario: &Scenario) -> Result<(), ScenarioError> {
    let (who, chaos) = (&scenario.population, &scenario.chaos);
    let network = Faults {
        latency: scenario.network.latency,
        jitter: scenario.network.jitter,
        ..Faults::default()
    };
    let transport = Transport {
        idle_timeout: scenario.transport.idle_timeout,
        ..Transport::default()
    };
    let never = |all: &[&Drawn]| all.iter().all(|it| !it.is_possible());
    let program = &scenario.program;
    let checks = [
        (
            (who.reached == Reached::Relayed) == (program.relays > 0),
            "population.reached",
            "\"direct\", or \"relayed\" with program.relays, where the whole program runs",
        ),
        (
            never(&[&who.upstream, &who.hostile, &who.nat])
                && [who.bootstrap_dead, who.mirrors, who.unknown_mirrors] == [0; 3]
                && who.verify == Population::default().verify,
            "population",
            "of our nodes alone where the whole program runs",
        ),
        (
            who.nodes <= 10_000,
            "population.nodes",
            "at most 10000 where the whole program runs",
        ),
        (
            !matches!(network.latency, Spread::LogNormal { .. }) && network == scenario.network,
            "network",
            "latency (fixed or uniform) and jitter only where the whole program runs",
        ),
        (
            transport == scenario.transport,
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
            scenario.phases.expiry.is_zero(),
            "phases.expiry",
            "zero where the whole program runs",
        ),
        (
            1 <= program.buffer_min && program.buffer_min <= program.buffer_max,
            "program.buffer_min",
            "1 to program.buffer_max",
        ),
        (
            1 <= program.accept_queue_min && program.accept_queue_min <= program.accept_queue_max,
            "program.accept_queue_min",
            "1 to program.accept_queue_max",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_played_is_refused() {
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
        ] {
            assert!(Scenario::parse("it", &text, &[]).is_err(), "{text}");
        }
    }
}
