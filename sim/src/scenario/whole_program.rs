//! Settings of a scenario file for the whole program.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::drawn::Drawn;
use crate::clock::text;
use crate::network::Rate;

/// Settings that only the whole program has. Rates are probabilities for each host in each minute
/// of the second phase, unless stated otherwise.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Program {
    /// Minimum number of bytes in transit in one direction of a connection before writing waits.
    /// Each connection draws its own value.
    pub buffer_min: u32,
    /// Maximum of that number. Small values make every writer wait.
    pub buffer_max: u32,
    /// Interval between keepalives of a session.
    #[serde(with = "text")]
    pub keepalive: Duration,
    /// Maximum number of concurrent sessions of a node.
    pub max_sessions: u32,
    /// Maximum number of concurrent handshakes of peers at a node.
    pub max_handshakes: u32,
    /// Maximum number of streams of a session, in each direction.
    pub max_streams: u32,
    /// Minimum number of streams of peers that may wait for a node's event loop. Each start of a
    /// node draws its own value.
    pub accept_queue_min: u32,
    /// Maximum of that number. Small values make sessions wait.
    pub accept_queue_max: u32,
    /// Minimum number of commands of users that may wait for a node's event loop. Each start of a
    /// node draws its own value.
    pub commands_min: u32,
    /// Maximum of that number. With small values, users get the answer that the node is busy.
    pub commands_max: u32,
    /// Number of DMSG relays, at least 1 if `population.reached` is `"relayed"`.
    pub relays: u32,
    /// Number of relays with which each node keeps a session.
    pub relay_sessions: u32,
    /// Maximum number of streams of a relay's session, in each direction.
    pub relay_streams: u32,
    /// Relays behave like Go relays from the time when nodes ran the DHT over DMSG: a stream whose
    /// destination has no session stays open without an answer.
    pub go_relays: bool,
    /// Number of Go nodes that run the DHT over DMSG. Our nodes bootstrap from them. Only with
    /// relays.
    pub go_nodes: u32,
    /// Number of our hosts, from the last, that stop permanently at the beginning of the second
    /// phase.
    pub gone: u32,
    /// The process or the machine of a relay crashes and comes back within a minute.
    pub relay_crash: Drawn,
    /// The DMSG discovery is unavailable for up to a minute: it refuses requests or never answers.
    pub discovery_away: Drawn,
    /// All connections of a host break. Applies to nodes and relays.
    pub cut: Drawn,
    /// All traffic of a host is lost for up to a minute, and its peers get no error.
    pub silent: Drawn,
    /// A host shuts down properly, whatever it is doing, and comes back within a minute.
    pub leave: Drawn,
    /// Share of restarts after which a host listens on another port. Only without relays.
    pub moves: Rate,
    /// Share of operations whose caller drops the future within two seconds.
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
            commands_min: 1_024,
            commands_max: 1_024,
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
