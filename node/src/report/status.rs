//! Report of a node's status.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use skydht_core::id::NodeId;
use skydht_core::key::PublicKey;

use super::dmsg::DmsgReport;
use super::mirror::MirrorReport;
use super::storage::{StorageReport, StorageState};
use super::units::from_ms;
use super::verdict::{Reason, Verdict};
use super::verify::VerifiedReport;
use crate::clock::ClockReport;
use crate::lapsed::LapsedReport;
use crate::output::{Human, count};

/// Contents of the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct StoreReport {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
    pub(crate) public: usize,
    pub(crate) whitelisted: usize,
    pub(crate) trusted: usize,
    pub(crate) mirrors: usize,
    pub(crate) tombstones: usize,
}

/// Use of a limit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct LimitReport {
    /// Configuration key of the limit.
    pub(crate) key: String,
    pub(crate) used: usize,
    /// `None` if unlimited.
    pub(crate) max: Option<usize>,
    /// How often the limit was exceeded since the start.
    pub(crate) hits: u64,
    /// How often it was exceeded within the last minutes.
    #[serde(default)]
    pub(crate) recent_hits: u64,
}

impl LimitReport {
    /// Formats the maximum.
    pub(crate) fn most(&self) -> String {
        self.max
            .map_or_else(|| "unlimited".into(), |max| max.to_string())
    }

    /// Returns the use in percent; `None` if unlimited.
    pub(crate) fn percent(&self) -> Option<usize> {
        Some(self.used.saturating_mul(100) / self.max.filter(|max| *max > 0)?)
    }
}

/// State of a periodic task.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct TaskReport {
    pub(crate) task: String,
    /// How often it began in this run.
    pub(crate) runs: u64,
    /// Time since it last began in this run.
    pub(crate) last_run_ms: Option<f64>,
    /// Time since it last succeeded, in this run or an earlier one.
    pub(crate) last_ok_ms: Option<f64>,
    /// Time until it begins again, if scheduled.
    pub(crate) next_ms: Option<f64>,
}

/// State of the configured bootstrap peers.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct BootstrapReport {
    /// Number of keys, without the node itself.
    pub(crate) configured: usize,
    /// Number of peers that answer.
    pub(crate) reachable: usize,
    /// Number of all bootstrap peers, with remembered peers and DMSG servers.
    pub(crate) known: usize,
    pub(crate) peers: Vec<BootstrapPeerReport>,
}

impl BootstrapReport {
    /// Returns why peers were not reached.
    pub(crate) fn causes(&self) -> String {
        let lost = self.peers.iter().filter(|peer| !peer.reachable);
        let causes: Vec<String> = lost.take(5).map(ToString::to_string).collect();
        causes.join("; ")
    }
}

/// State of a configured bootstrap peer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct BootstrapPeerReport {
    pub(crate) key: PublicKey,
    /// Addresses as configured, `HOST:PORT`.
    pub(crate) at: Vec<String>,
    pub(crate) reachable: bool,
    /// Why it is unreachable, one cause per address.
    pub(crate) causes: Vec<String>,
    /// Time until its host name is resolved again.
    pub(crate) next_try_ms: Option<f64>,
}

impl Display for BootstrapPeerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key)?;
        if self.reachable {
            return f.write_str(" reachable");
        }
        if self.causes.is_empty() {
            return f.write_str(" not reached yet");
        }
        write!(f, " {}", self.causes.join(", "))?;
        if let Some(next) = self.next_try_ms {
            write!(f, ", next try in {}", Human(from_ms(next)))?;
        }
        Ok(())
    }
}

/// Counts of the transport since the start; `sessions` is the current number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct TransportReport {
    /// Current connections to peers.
    pub(crate) sessions: usize,
    pub(crate) dials: u64,
    pub(crate) dials_failed: u64,
    pub(crate) accepted: u64,
    pub(crate) handshakes_failed: u64,
    pub(crate) refused: u64,
    pub(crate) lost: u64,
}

/// Effect of a low limit of open files.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct FilesReport {
    /// Configuration key of the wanted number of connections.
    pub(crate) key: String,
    pub(crate) wanted: usize,
    /// Number of connections that the limit allows.
    pub(crate) room: usize,
    /// The limit of open files of this process.
    pub(crate) open_files: u64,
}

/// Report of a node's status.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct StatusReport {
    pub(crate) schema: String,
    pub(crate) verdict: Verdict,
    /// Reasons for the verdict; the root cause is first.
    pub(crate) reasons: Vec<Reason>,
    /// What the start waits for; `None` once the node has started.
    pub(crate) waits_for: Option<String>,
    /// Whether puts and gets have peers to ask.
    pub(crate) ready: bool,
    pub(crate) key: PublicKey,
    pub(crate) id: NodeId,
    pub(crate) full_node: bool,
    pub(crate) version: String,
    pub(crate) uptime_ms: f64,
    /// Address at which it listens for peers.
    pub(crate) listen: String,
    pub(crate) bootstrap: BootstrapReport,
    /// Status of the DMSG parts; `None` on direct TCP.
    pub(crate) dmsg: Option<DmsgReport>,
    /// State of published records of others; `None` without mirroring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mirror: Option<MirrorReport>,
    /// Number of peers in the routing table that have proven their key and answered within
    /// `proven_within_ms`.
    pub(crate) peers: usize,
    pub(crate) proven_within_ms: f64,
    /// Time since any peer in the routing table answered.
    pub(crate) last_sign_of_life_ms: Option<f64>,
    /// Estimated number of nodes in the network, with this one.
    pub(crate) network_size: u64,
    /// Offset of this machine's clock; `None` while no other clock is known.
    pub(crate) clock: Option<ClockReport>,
    pub(crate) store: StoreReport,
    /// Storage of items across restarts.
    pub(crate) storage: StorageReport,
    /// Number of own items that are renewed.
    pub(crate) own_items: usize,
    /// Items of an earlier run that are not renewed.
    pub(crate) lapsed: Option<LapsedReport>,
    /// Result of `skydht verify` within the last hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verified: Option<VerifiedReport>,
    pub(crate) transport: TransportReport,
    /// Whether all connections to peers were lost on direct TCP, and none has been established
    /// since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) connections_lost: bool,
    /// Set if the limit of open files allows fewer connections than configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) files: Option<FilesReport>,
    /// State of the periodic tasks.
    #[serde(default)]
    pub(crate) tasks: Vec<TaskReport>,
    pub(crate) limits: Vec<LimitReport>,
    /// Counters since the start, by name.
    pub(crate) counters: BTreeMap<String, u64>,
}

impl StatusReport {
    /// Name and version of this JSON schema.
    pub(crate) const SCHEMA: &'static str = "skydht.status/1";

    /// Summarises the status in one line: the verdict with its first reason.
    pub(crate) fn in_a_line(&self) -> String {
        let verdict = self.verdict;
        if let Some(what) = &self.waits_for {
            return format!("{verdict}: starting, waits for {what}");
        }
        match self.reasons.first() {
            Some(Reason { cause, .. }) => format!("{verdict}: {cause}"),
            None => format!("{verdict}: {} peers", count(self.peers as u64)),
        }
    }
}

impl Display for StatusReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = if self.full_node { "full node" } else { "node" };
        let uptime = Human(from_ms(self.uptime_ms));
        writeln!(f, "{} {role} {} · up {uptime}", self.verdict, self.key)?;
        for reason in &self.reasons {
            writeln!(f, "{reason}")?;
        }
        if let Some(waits_for) = &self.waits_for {
            writeln!(f, "starting: waits for {waits_for}")?;
        }
        let BootstrapReport {
            configured,
            reachable,
            ..
        } = self.bootstrap;
        write!(
            f,
            "bootstrap {reachable} of {configured} reachable · {} proven peers · network ≈ {} · {} connections",
            count(self.peers as u64),
            count(self.network_size),
            self.transport.sessions
        )?;
        if let Some(ago) = self.last_sign_of_life_ms {
            write!(f, " · last sign of life {} ago", Human(from_ms(ago)))?;
        }
        writeln!(f)?;
        for peer in self.bootstrap.peers.iter().filter(|peer| !peer.reachable) {
            writeln!(f, "  {peer}")?;
        }
        if let Some(dmsg) = &self.dmsg {
            writeln!(f, "{dmsg}")?;
        }
        if let Some(mirror) = &self.mirror {
            writeln!(f, "{mirror}")?;
        }
        if let Some(clock) = &self.clock {
            writeln!(f, "clock {clock}")?;
        }
        write!(
            f,
            "store {} items, {} bytes ({} public, {} whitelisted, {} trusted, {} mirrors, {} tombstones) · {} own items",
            count(self.store.items as u64),
            count(self.store.bytes as u64),
            self.store.public,
            self.store.whitelisted,
            self.store.trusted,
            self.store.mirrors,
            self.store.tombstones,
            self.own_items
        )?;
        if self.storage.health != StorageState::None {
            write!(f, "\n{}", self.storage)?;
        }
        Ok(())
    }
}
