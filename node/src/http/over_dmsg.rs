//! Dials services on DMSG, over the sessions of this process's client.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skydht_core::key::PublicKey;
use skydht_discovery::ExchangeError;
use skydht_dmsg::client::{Client, LocalEntries, WeakClient};
use skydht_dmsg::discovery::KnownServer;
use skydht_dmsg::endpoint::DmsgStream;
use skydht_dmsg::entry::{ClientFields, Entry, ServerFields};
use skydht_dmsg::object::Address;
use skydht_tokio::TokioRuntime;

/// Dials services on DMSG once a client is set. Clones share the client.
///
/// A service has no entry in the discovery (specification of DMSG in 2026, §4.4), and a discovery
/// on DMSG is dialled in order to ask for entries. A dial here therefore uses a type that cannot
/// ask a discovery, and looks for the service at every known server.
#[derive(Clone, Default)]
pub(crate) struct ServiceDialer(Arc<Mutex<DialerState>>);

#[derive(Default)]
struct DialerState {
    /// A weak reference, because the client owns its discovery, which owns this dialer.
    client: Option<WeakClient<TokioRuntime>>,
    servers: Servers,
}

/// The known servers.
#[derive(Clone, Default)]
struct Servers(Vec<KnownServer>);

impl ServiceDialer {
    fn lock(&self) -> MutexGuard<'_, DialerState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the client to dial over, and the servers where services may be found.
    pub(crate) fn set(&self, client: &Client<TokioRuntime>, servers: &[KnownServer]) {
        let mut state = self.lock();
        state.client = Some(client.downgrade());
        state.servers = Servers(servers.to_vec());
    }

    /// Opens a stream to a service.
    pub(super) async fn dial(
        &self,
        key: PublicKey,
        port: u16,
    ) -> Result<DmsgStream, ExchangeError> {
        let (client, servers) = {
            let state = self.lock();
            let client = state.client.as_ref().and_then(WeakClient::upgrade);
            (client, state.servers.clone())
        };
        let client = client.ok_or(
            "it is on DMSG, and no DMSG client runs here yet; `dmsg.servers` names servers to start from",
        )?;
        Ok(client
            .dial_local(Address { key, port }, &servers, true)
            .await?)
    }
}

impl LocalEntries for Servers {
    fn entry(&self, key: &PublicKey) -> Option<Entry> {
        let mut entry = Entry::new(*key, 0, 0);
        match self.0.iter().find(|server| server.key == *key) {
            Some(server) => {
                entry.server = Some(ServerFields {
                    address: server.address.to_string(),
                    ..ServerFields::default()
                });
            }
            None => {
                entry.client = Some(ClientFields {
                    delegated_servers: Some(self.0.iter().map(|server| server.key).collect()),
                });
            }
        }
        Some(entry)
    }
}
