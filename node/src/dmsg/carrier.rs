//! Handles of the DMSG parts that a node uses: discovery, client, server; for status and log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skydht_core::key::PublicKey;
use skydht_dmsg::client::Client;
use skydht_dmsg::server::Server;
use skydht_tokio::TokioRuntime;

use super::directory::Directory;
use crate::http::ServiceDialer;
use crate::record_index::RecordIndex;
use crate::report::{DmsgReport, DmsgServerReport, HybridReport, RelayReport};

/// The DMSG parts of a node, as far as they have been started. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Carrier(Arc<Mutex<DmsgParts>>, RecordIndex);

#[derive(Default)]
struct DmsgParts {
    directory: Option<Directory>,
    client: Option<Client<TokioRuntime>>,
    relay: Option<Server<TokioRuntime>>,
    /// Number of sessions that the client keeps; 0: with all servers.
    wanted: usize,
}

impl Carrier {
    fn lock(&self) -> MutexGuard<'_, DmsgParts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the index of the records that the node stores.
    pub(crate) fn record_index(&self) -> RecordIndex {
        self.1.clone()
    }

    pub(super) fn set_directory(&self, directory: &Directory) {
        self.lock().directory = Some(directory.clone());
    }

    /// Returns the dialer for services on DMSG, once the directory is set.
    pub(crate) fn dialer(&self) -> Option<ServiceDialer> {
        let state = self.lock();
        state.directory.as_ref().map(Directory::dialer)
    }

    /// Sets the client, which keeps `wanted` sessions.
    pub(super) fn set_client(&self, client: &Client<TokioRuntime>, wanted: usize) {
        let mut state = self.lock();
        state.client = Some(client.clone());
        state.wanted = wanted;
    }

    pub(super) fn set_relay(&self, relay: &Server<TokioRuntime>) {
        self.lock().relay = Some(relay.clone());
    }

    /// Returns the address at which the server listens for clients.
    pub(crate) fn relay_addr(&self) -> Option<String> {
        let state = self.lock();
        state.relay.as_ref().map(|it| it.local_addr().to_string())
    }

    /// Returns the servers with which the client has a session.
    pub(crate) fn connected(&self) -> Vec<PublicKey> {
        let client = self.lock().client.clone();
        client.map(|client| client.servers()).unwrap_or_default()
    }

    /// Returns the status of all parts.
    pub(crate) fn report(&self) -> DmsgReport {
        let (directory, client, relay, wanted) = {
            let state = self.lock();
            let DmsgParts {
                directory,
                client,
                relay,
                wanted,
            } = &*state;
            (directory.clone(), client.clone(), relay.clone(), *wanted)
        };
        let states = client.iter().flat_map(Client::server_states);
        let own = relay.as_ref().map(Server::key);
        let servers: Vec<_> = states
            .filter(|state| Some(state.server.key) != own)
            .map(|state| DmsgServerReport {
                key: state.server.key,
                address: state.server.address.to_string(),
                connected: state.connected,
                lost: state.lost,
                cause: state.failure,
            })
            .collect();
        let of_client = client.iter().map(Client::hybrid_stats);
        let of_relay = relay.iter().map(Server::hybrid_stats);
        let hybrid = HybridReport::sum(of_client.chain(of_relay));
        let stats = relay.map(|relay| relay.stats());
        DmsgReport {
            discovery: directory.and_then(|directory| directory.report()),
            connected: servers.iter().filter(|server| server.connected).count(),
            wanted,
            servers,
            clients: stats.map(|stats| stats.sessions),
            relay: stats.map(RelayReport::from),
            hybrid,
        }
    }
}
