//! Whether what is configured of DMSG is there: what `config check` says before `run` finds out.

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

/// How long a server's address is tried.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Servers that are tried, at most; the first will do.
const MOST: usize = 64;

/// How many servers answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Reachable {
    /// Servers that are configured, or that the discovery tells.
    servers: usize,
    /// Those of them that were tried, and take connections.
    reachable: usize,
    /// Why the discovery tells none.
    #[serde(skip_serializing_if = "Option::is_none")]
    discovery_error: Option<String>,
}

impl Reachable {
    /// Asks the discovery and tries its servers.
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

    /// How many servers there are, and how many of those that were tried take connections.
    pub(crate) const fn servers(&self) -> (usize, usize) {
        (self.servers, self.reachable)
    }

    /// Why the discovery says nothing, if it does not.
    pub(crate) fn discovery_error(&self) -> Option<&str> {
        self.discovery_error.as_deref()
    }

    /// What `run` would wait for.
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
