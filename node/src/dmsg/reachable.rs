//! Checks whether the configured DMSG servers are reachable, for `config check` and `doctor`.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::directory::Directory;
use super::known_servers::KnownServers;
use crate::clock::Clock;
use crate::config::DmsgSettings;

/// Longest wait for a connection to a server.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of servers that are tried.
const MOST: usize = 64;

/// Result of the check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Reachable {
    /// Number of known servers, configured or named by the discovery.
    servers: usize,
    /// Number of tried servers that accepted a connection.
    reachable: usize,
    /// Why the discovery named no servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    discovery_error: Option<String>,
}

impl Reachable {
    /// Asks the discovery and connects to its servers.
    pub(crate) async fn look(dmsg: &DmsgSettings, clock: Clock) -> Self {
        let directory = Directory::with(dmsg, KnownServers::default(), clock);
        let (servers, answer) = directory.ask_servers().await;
        let mut trying: JoinSet<bool> = servers
            .iter()
            .take(MOST)
            .map(|server| connects(server.address))
            .collect();
        let mut reachable = 0;
        while let Some(connected) = trying.join_next().await {
            reachable += usize::from(connected.unwrap_or(false));
        }
        Self {
            servers: servers.len(),
            reachable,
            discovery_error: answer.err(),
        }
    }

    /// Returns the number of known servers, and of those that accepted a connection.
    pub(crate) const fn servers(&self) -> (usize, usize) {
        (self.servers, self.reachable)
    }

    /// Returns why the discovery named no servers.
    pub(crate) fn discovery_error(&self) -> Option<&str> {
        self.discovery_error.as_deref()
    }

    /// Describes what would prevent `run` from connecting.
    pub(crate) fn warning(&self) -> Option<String> {
        match (&self.discovery_error, self.servers, self.reachable) {
            (Some(why), ..) => Some(format!("DMSG: {why}")),
            (None, 0, _) => Some("DMSG: the discovery knows no server".into()),
            (None, servers, 0) => Some(format!("none of {servers} DMSG servers is reachable")),
            _ => None,
        }
    }
}

impl fmt::Display for Reachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            servers, reachable, ..
        } = self;
        write!(f, "{reachable} of {servers} DMSG servers reachable")
    }
}

async fn connects(address: SocketAddr) -> bool {
    let connecting = tokio::time::timeout(TIMEOUT, TcpStream::connect(address));
    matches!(connecting.await, Ok(Ok(_)))
}
