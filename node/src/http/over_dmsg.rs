//! Streams to services on DMSG, over the sessions of this process's client.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skydht_core::key::PublicKey;
use skydht_discovery::ExchangeError;
use skydht_dmsg::client::{Client, LocalEntries, WeakClient};
use skydht_dmsg::discovery::KnownServer;
use skydht_dmsg::endpoint::DmsgStream;
use skydht_dmsg::entry::{ClientFields, Entry, ServerFields};
use skydht_dmsg::object::Address;
use skydht_tokio::TokioRuntime;

/// Dials services on DMSG once there is a client. Clones are the same one.
///
/// A service has no entry (specification of DMSG in 2026, §4.4), and a discovery on DMSG is what
/// entries are asked of: so a dial here asks no discovery, by its type. The service is looked for
/// at every server that is known.
#[derive(Clone, Default)]
pub(crate) struct ServiceDialer(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Weak: the client holds its discovery, which holds this.
    client: Option<WeakClient<TokioRuntime>>,
    servers: Servers,
}

/// The servers that are known.
#[derive(Clone, Default)]
struct Servers(Vec<KnownServer>);

impl ServiceDialer {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on dials go over this client, and to services at these servers.
    pub(crate) fn set(&self, client: &Client<TokioRuntime>, servers: &[KnownServer]) {
        let mut state = self.lock();
        state.client = Some(client.downgrade());
        state.servers = Servers(servers.to_vec());
    }

    /// A stream to a service.
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
