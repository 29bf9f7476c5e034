//! What a scenario file says to the whole program.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::drawn::Drawn;
use crate::clock::text;
use crate::network::Rate;

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
    /// Commands of users that may wait for one node's event loop, drawn at each start from here …
    pub commands_min: u32,
    /// … to here. Of small ones users are told that the node is busy.
    pub commands_max: u32,
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
    /// Nothing gets in or out of a host for up to a minute, and no peer is told.
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
