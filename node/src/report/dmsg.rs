//! Status of a node's DMSG parts.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use skydht_core::key::PublicKey;
use skydht_discovery::hybrid::Stats;
use skydht_dmsg::hybrid::HybridStats;
use skydht_dmsg::server::ServerStats;

use super::units::from_ms;
use crate::output::Human;

/// Status of the discovery.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct DiscoveryReport {
    pub(crate) url: String,
    /// Whether the last request was answered; `None` before the first one.
    pub(crate) reachable: Option<bool>,
    /// Time since that changed.
    pub(crate) since_ms: f64,
    /// Why it is unreachable.
    pub(crate) cause: Option<String>,
    /// Why it rejected this node's entry, if it did.
    pub(crate) refusal: Option<String>,
    /// Time until the next request, if scheduled.
    pub(crate) next_try_ms: Option<f64>,
    /// Counts of lookups of entries, which ask the DHT, too.
    #[serde(default)]
    pub(crate) lookups: LookupReport,
}

/// Sources of looked-up entries since the start, with upstream's names where it has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct LookupReport {
    pub(crate) lookup_dht_hits: u64,
    pub(crate) lookup_http_hits: u64,
    pub(crate) lookup_http_misses: u64,
    /// Lookups in which the two sources had different entries.
    pub(crate) disagreements: u64,
    /// Lookups in which neither source could be asked.
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

/// Status of a DMSG server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct DmsgServerReport {
    pub(crate) key: PublicKey,
    pub(crate) address: String,
    /// Whether there is a session with it.
    pub(crate) connected: bool,
    /// Whether there was a session that was lost.
    pub(crate) lost: bool,
    /// Why there is no session; `None` if none was attempted.
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

/// Counts of a DMSG server as a relay; see docs/limits.md.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct RelayReport {
    /// Streams relayed now.
    pub(crate) relaying: usize,
    /// Bytes received and not relayed yet.
    pub(crate) unread_bytes: usize,
    /// Streams relayed since the start.
    pub(crate) relayed: u64,
    pub(crate) relayed_bytes: u64,
    /// Streams reset because too much of their data was unread.
    pub(crate) cut_streams: u64,
    pub(crate) displaced_streams: u64,
    pub(crate) displaced_sessions: u64,
    pub(crate) refused_sessions: u64,
    /// Requests of sources that had their share of the destination's streams.
    pub(crate) over_share: u64,
    /// Requests beyond the limit of streams.
    pub(crate) over_capacity: u64,
    /// Servers with a link now.
    #[serde(default)]
    pub(crate) links: usize,
    /// Streams of this server's clients that another server accepted, since the start.
    #[serde(default)]
    pub(crate) forwarded: u64,
    /// Requests that other servers forwarded to this one, or that clients sent for another key.
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

/// Use of post-quantum handshakes in DMSG.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct HybridReport {
    /// Sessions, and those of them with a post-quantum handshake.
    pub(crate) sessions: usize,
    pub(crate) hybrid_sessions: usize,
    /// Streams since the start, and those of them with a post-quantum handshake.
    pub(crate) streams: u64,
    pub(crate) hybrid_streams: u64,
}

impl HybridReport {
    /// Adds up the statistics of a node's client and server.
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

/// Status of a node's DMSG parts.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct DmsgReport {
    /// `None` if servers are configured instead of a discovery.
    pub(crate) discovery: Option<DiscoveryReport>,
    /// Number of servers with a session.
    pub(crate) connected: usize,
    /// Number of sessions wanted; 0: as many as possible.
    pub(crate) wanted: usize,
    /// All known servers.
    pub(crate) servers: Vec<DmsgServerReport>,
    /// Client sessions of a DMSG server; `None` for a client.
    pub(crate) clients: Option<usize>,
    /// Counts of a relay; `None` for a client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) relay: Option<RelayReport>,
    /// Use of post-quantum handshakes.
    #[serde(default)]
    pub(crate) hybrid: HybridReport,
}

impl DmsgReport {
    /// Returns why servers were not reached.
    pub(crate) fn server_causes(&self) -> String {
        let failed = self.servers.iter().filter(|server| server.cause.is_some());
        let causes: Vec<String> = failed.take(5).map(ToString::to_string).collect();
        causes.join("; ")
    }

    /// Returns the discovery if its last request was not answered.
    pub(crate) fn lost_discovery(&self) -> Option<&DiscoveryReport> {
        let discovery = self.discovery.as_ref();
        discovery.filter(|it| it.reachable == Some(false))
    }

    /// Returns why a reachable discovery rejects this node's entry.
    pub(crate) fn refusal(&self) -> Option<&str> {
        let discovery = self.discovery.as_ref();
        let answers = discovery.filter(|it| it.reachable == Some(true));
        answers?.refusal.as_deref()
    }

    /// Returns what a starting node waits for.
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
