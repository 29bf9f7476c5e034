//! How a node is.

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

/// What the store holds.
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

/// Use of one limit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct LimitReport {
    /// The configuration key.
    pub(crate) key: String,
    pub(crate) used: usize,
    /// None where it is unlimited.
    pub(crate) max: Option<usize>,
    /// How often something was refused because of it, since the start.
    pub(crate) hits: u64,
    /// The same within the last minutes.
    #[serde(default)]
    pub(crate) recent_hits: u64,
}

impl LimitReport {
    /// How much may be used, in words.
    pub(crate) fn most(&self) -> String {
        self.max
            .map_or_else(|| "unlimited".into(), |max| max.to_string())
    }

    /// How full it is, in percent; none when unlimited.
    pub(crate) fn percent(&self) -> Option<usize> {
        Some(self.used.saturating_mul(100) / self.max.filter(|max| *max > 0)?)
    }
}

/// How a task goes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct TaskReport {
    /// Its name.
    pub(crate) task: String,
    /// How often it began in this run.
    pub(crate) runs: u64,
    /// Since it last began in this run.
    pub(crate) last_run_ms: Option<f64>,
    /// Since it last did what it is for, in this run or an earlier one.
    pub(crate) last_ok_ms: Option<f64>,
    /// Until it begins again, if that is planned.
    pub(crate) next_ms: Option<f64>,
}

/// Configured bootstrap peers.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct BootstrapReport {
    /// Without the node itself, each once.
    pub(crate) configured: usize,
    /// Those that answer.
    pub(crate) reachable: usize,
    /// All that it may start from: remembered peers and DMSG servers, too.
    pub(crate) known: usize,
    pub(crate) peers: Vec<BootstrapPeerReport>,
}

impl BootstrapReport {
    /// Why those that are not reached are not.
    pub(crate) fn causes(&self) -> String {
        let lost = self.peers.iter().filter(|peer| !peer.reachable);
        let causes: Vec<String> = lost.take(5).map(ToString::to_string).collect();
        causes.join("; ")
    }
}

/// One configured bootstrap peer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct BootstrapPeerReport {
    pub(crate) key: PublicKey,
    /// HOST:PORT, as configured.
    pub(crate) at: Vec<String>,
    pub(crate) reachable: bool,
    /// Why it is not, by address.
    pub(crate) causes: Vec<String>,
    /// When its name is looked up again.
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

/// What the transport counts; all since the start, except `sessions`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct TransportReport {
    /// Connections to peers now.
    pub(crate) sessions: usize,
    pub(crate) dials: u64,
    pub(crate) dials_failed: u64,
    pub(crate) accepted: u64,
    pub(crate) handshakes_failed: u64,
    pub(crate) refused: u64,
    pub(crate) lost: u64,
}

/// Connections that the limit on open files takes away.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct FilesReport {
    /// The setting that says how many are wanted.
    pub(crate) key: String,
    pub(crate) wanted: usize,
    /// As many as there can be.
    pub(crate) room: usize,
    /// Files that this process may have open.
    pub(crate) open_files: u64,
}

/// How a node is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct StatusReport {
    pub(crate) schema: String,
    pub(crate) verdict: Verdict,
    /// Why it is not green; the root cause first.
    pub(crate) reasons: Vec<Reason>,
    /// What it waits for before it is up; none once it is.
    pub(crate) waits_for: Option<String>,
    /// Whether puts and gets have peers to ask.
    pub(crate) ready: bool,
    pub(crate) key: PublicKey,
    pub(crate) id: NodeId,
    pub(crate) full_node: bool,
    pub(crate) version: String,
    pub(crate) uptime_ms: f64,
    /// Where it listens for peers.
    pub(crate) listen: String,
    pub(crate) bootstrap: BootstrapReport,
    /// What carries it; none on direct TCP.
    pub(crate) dmsg: Option<DmsgReport>,
    /// What it publishes for others; none if it mirrors nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mirror: Option<MirrorReport>,
    /// Peers in the routing table that have proven their key and answered within
    /// `proven_within_ms`.
    pub(crate) peers: usize,
    pub(crate) proven_within_ms: f64,
    /// Since any peer of the table gave a sign of life.
    pub(crate) last_sign_of_life_ms: Option<f64>,
    /// Estimated nodes in the network, this one included.
    pub(crate) network_size: u64,
    /// What others say of this machine's clock; none while no peer has.
    pub(crate) clock: Option<ClockReport>,
    pub(crate) store: StoreReport,
    /// Where items are kept across restarts.
    pub(crate) storage: StorageReport,
    /// Own items that are kept renewed.
    pub(crate) own_items: usize,
    /// Items that an earlier run published and that are not renewed.
    pub(crate) lapsed: Option<LapsedReport>,
    /// What `skydht verify` found within the last hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verified: Option<VerifiedReport>,
    pub(crate) transport: TransportReport,
    /// Whether all connections to peers were lost at once, on direct TCP, and there is none since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) connections_lost: bool,
    /// Set where the limit on open files leaves fewer connections than wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) files: Option<FilesReport>,
    /// What it does by itself again and again.
    #[serde(default)]
    pub(crate) tasks: Vec<TaskReport>,
    pub(crate) limits: Vec<LimitReport>,
    /// Counts since the start.
    pub(crate) counters: BTreeMap<String, u64>,
}

impl StatusReport {
    /// Name and version of this shape.
    pub(crate) const SCHEMA: &'static str = "skydht.status/1";

    /// The verdict and what is most to the point, for a place with a single line.
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
