//! What carries a node over DMSG.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use skydht_core::key::PublicKey;
use skydht_discovery::hybrid::Stats;
use skydht_dmsg::hybrid::HybridStats;
use skydht_dmsg::server::ServerStats;

use super::units::from_ms;
use crate::output::Human;

/// The discovery.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct DiscoveryReport {
    pub(crate) url: String,
    /// Whether it answered when it was asked last; none: it was not asked yet.
    pub(crate) reachable: Option<bool>,
    /// Since when that is so.
    pub(crate) since_ms: f64,
    /// Why it is not reachable.
    pub(crate) cause: Option<String>,
    /// Why it did not take this node's entry, if it did not.
    pub(crate) refusal: Option<String>,
    /// When it is asked again, where that is known.
    pub(crate) next_try_ms: Option<f64>,
    /// Questions for entries, which go to the DHT, too.
    #[serde(default)]
    pub(crate) lookups: LookupReport,
}

/// Who answered for entries, since the start; upstream's names where it has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct LookupReport {
    pub(crate) lookup_dht_hits: u64,
    pub(crate) lookup_http_hits: u64,
    pub(crate) lookup_http_misses: u64,
    /// Both had one, and not the same.
    pub(crate) disagreements: u64,
    /// Neither could be asked.
    pub(crate) unknown: u64,
}

impl From<Stats> for LookupReport {
    fn from(stats: Stats) -> Self {
        let Stats {
            lookup_dht_hits,
            lookup_http_hits,
            lookup_http_misses,
            disagreements,
            unknown,
        } = stats;
        Self {
            lookup_dht_hits,
            lookup_http_hits,
            lookup_http_misses,
            disagreements,
            unknown,
        }
    }
}

impl Display for DiscoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, .. } = self;
        let since = Human(from_ms(self.since_ms));
        match self.reachable {
            None if self.cause.is_some() => write!(f, "{url} has not answered yet")?,
            None => write!(f, "{url} not asked yet")?,
            Some(true) => write!(f, "{url} reachable for {since}")?,
            Some(false) => write!(f, "{url} not reachable for {since}")?,
        }
        if let Some(cause) = &self.cause {
            write!(f, ": {cause}")?;
        }
        if let Some(next) = self.next_try_ms {
            write!(f, ", next try in {}", Human(from_ms(next)))?;
        }
        if let Some(why) = &self.refusal {
            write!(f, "; it does not take this node's entry: {why}")?;
        }
        Ok(())
    }
}

/// One DMSG server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct DmsgServerReport {
    pub(crate) key: PublicKey,
    pub(crate) address: String,
    /// Whether there is a session with it.
    pub(crate) connected: bool,
    /// Whether there was one, and it was lost.
    pub(crate) lost: bool,
    /// Why there is none; none if it was not tried.
    pub(crate) cause: Option<String>,
}

impl Display for DmsgServerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, address, .. } = self;
        write!(f, "{key} at {address} ")?;
        match (self.connected, &self.cause) {
            (true, _) => f.write_str("connected"),
            (false, Some(cause)) => write!(f, "not connected: {cause}"),
            (false, None) => f.write_str("not tried"),
        }
    }
}

/// What a DMSG server relays, and who had to make room: see docs/limits.md.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct RelayReport {
    /// Streams that are relayed now.
    pub(crate) relaying: usize,
    /// Bytes that came and were not passed on.
    pub(crate) unread_bytes: usize,
    /// Since the start: streams that were relayed.
    pub(crate) relayed: u64,
    pub(crate) relayed_bytes: u64,
    /// Streams reset because too much of theirs was unread.
    pub(crate) cut_streams: u64,
    pub(crate) displaced_streams: u64,
    pub(crate) displaced_sessions: u64,
    pub(crate) refused_sessions: u64,
    /// Requests of sources that had their share of the destination's streams.
    pub(crate) over_share: u64,
    /// Requests for which there was no room.
    pub(crate) over_capacity: u64,
    /// Servers that are linked now.
    #[serde(default)]
    pub(crate) links: usize,
    /// Since the start: streams of this server's clients that another server took on.
    #[serde(default)]
    pub(crate) forwarded: u64,
    /// Requests that other servers passed on to this one, or clients in another's name.
    #[serde(default)]
    pub(crate) passed_on: u64,
}

impl From<ServerStats> for RelayReport {
    fn from(stats: ServerStats) -> Self {
        Self {
            relaying: stats.relaying,
            unread_bytes: stats.unread_bytes,
            relayed: stats.relayed,
            relayed_bytes: stats.relayed_bytes,
            cut_streams: stats.cut_streams,
            displaced_streams: stats.displaced_streams,
            displaced_sessions: stats.displaced_sessions,
            refused_sessions: stats.refused_sessions,
            over_share: stats.over_share,
            over_capacity: stats.over_capacity,
            links: stats.links,
            forwarded: stats.forwarded,
            passed_on: stats.passed_on,
        }
    }
}

/// How much of a node's DMSG has a post-quantum half.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct HybridReport {
    /// Sessions that there are, and those of them with one.
    pub(crate) sessions: usize,
    pub(crate) hybrid_sessions: usize,
    /// Streams since the start, and those of them with one.
    pub(crate) streams: u64,
    pub(crate) hybrid_streams: u64,
}

impl HybridReport {
    /// Of several ends of DMSG that a node has.
    pub(crate) fn sum(ends: impl Iterator<Item = HybridStats>) -> Self {
        ends.fold(Self::default(), |sum, end| Self {
            sessions: sum.sessions + end.sessions,
            hybrid_sessions: sum.hybrid_sessions + end.hybrid_sessions,
            streams: sum.streams + end.streams,
            hybrid_streams: sum.hybrid_streams + end.hybrid_streams,
        })
    }
}

impl Display for HybridReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sessions,
            hybrid_sessions,
            streams,
            hybrid_streams,
        } = self;
        write!(
            f,
            "post-quantum: {hybrid_sessions} of {sessions} sessions, \
             {hybrid_streams} of {streams} streams since the start"
        )
    }
}

/// What carries a node.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct DmsgReport {
    /// None: servers are as configured.
    pub(crate) discovery: Option<DiscoveryReport>,
    /// Servers that there are sessions with.
    pub(crate) connected: usize,
    /// How many there should be; 0: as many as possible.
    pub(crate) wanted: usize,
    /// Those that are known.
    pub(crate) servers: Vec<DmsgServerReport>,
    /// Sessions of clients, of a server.
    pub(crate) clients: Option<usize>,
    /// What a server relays; none for a client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) relay: Option<RelayReport>,
    /// What holds against quantum computers.
    #[serde(default)]
    pub(crate) hybrid: HybridReport,
}

impl DmsgReport {
    /// Why those servers are not reached that were tried.
    pub(crate) fn server_causes(&self) -> String {
        let failed = self.servers.iter().filter(|server| server.cause.is_some());
        let causes: Vec<String> = failed.take(5).map(ToString::to_string).collect();
        causes.join("; ")
    }

    /// Whether the discovery was asked and does not answer.
    pub(crate) fn lost_discovery(&self) -> Option<&DiscoveryReport> {
        let discovery = self.discovery.as_ref();
        discovery.filter(|it| it.reachable == Some(false))
    }

    /// Why the discovery does not take this node's entry, though it answers.
    pub(crate) fn refusal(&self) -> Option<&str> {
        let discovery = self.discovery.as_ref();
        let answers = discovery.filter(|it| it.reachable == Some(true));
        answers?.refusal.as_deref()
    }

    /// What a node that is not up yet waits for.
    pub(crate) fn waiting(&self) -> String {
        let discovery = self.discovery.as_ref();
        let asking = match self.lost_discovery() {
            Some(lost) => format!("the DMSG discovery {lost}"),
            None => discovery.map_or_else(String::new, |it| format!("the DMSG discovery {it}")),
        };
        if self.clients.is_none() && self.connected == 0 && !self.servers.is_empty() {
            let causes = match self.server_causes() {
                none if none.is_empty() => "being tried".to_owned(),
                causes => causes,
            };
            let count = self.servers.len();
            return format!("a session with one of {count} DMSG servers ({causes})");
        }
        if asking.is_empty() {
            return "a DMSG server".to_owned();
        }
        asking
    }
}

impl Display for DmsgReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            connected, servers, ..
        } = self;
        write!(f, "dmsg {connected} of {} servers connected", servers.len())?;
        if let Some(clients) = self.clients {
            write!(f, " · {clients} clients")?;
        }
        if let Some(relay) = &self.relay {
            let cut = relay.cut_streams + relay.displaced_streams + relay.displaced_sessions;
            let RelayReport {
                links, relaying, ..
            } = relay;
            write!(
                f,
                " · {links} servers linked · {relaying} streams relayed, {cut} cut"
            )?;
        }
        match &self.discovery {
            Some(discovery) => write!(f, " · discovery {discovery}")?,
            None => f.write_str(" · no discovery, servers as configured")?,
        }
        write!(f, "\n  {}", self.hybrid)?;
        for server in servers {
            write!(f, "\n  {server}")?;
        }
        Ok(())
    }
}
