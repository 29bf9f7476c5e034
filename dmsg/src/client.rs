//! A DMSG client: sessions with relays, streams to any key that has some.
//!
//! [`Client::start`] spawns the tasks: one keeps enough sessions, one publishes our entry, each
//! session has its own. Everything that waits, waits on the runtime's timers.

mod config;
mod dial;
mod hosts;
mod publish;
mod sessions;
mod table;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_runtime::{Runtime, within};
use zeroize::Zeroizing;

pub use config::ClientConfig;
pub use dial::{DialError, LocalEntries};
pub use table::{ClientStats, ServerState};

use table::Table;

use crate::discovery::Discovery;
use crate::endpoint::{DmsgStream, Endpoint, Listener, StreamError};
use crate::handshake::EphemeralSource;
use crate::hybrid::HybridStats;
use crate::object::{Address, ErrorCode};
use crate::session_layer::{self, CLOSE_GRACE};
use crate::signal::Signal;

struct Shared<R: Runtime> {
    runtime: R,
    discovery: Arc<dyn Discovery>,
    endpoint: Endpoint,
    config: ClientConfig,
    table: Mutex<Table>,
    /// Sessions came or went, the entry was published, or the client closes.
    changes: Signal,
    rng: Mutex<ChaCha20Rng>,
}

impl<R: Runtime> Shared<R> {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.runtime.clocks().monotonic
    }

    /// The wall clock as objects and entries have it.
    fn timestamp(&self) -> i64 {
        i64::try_from(self.runtime.clocks().unix.as_nanos()).unwrap_or(i64::MAX)
    }

    /// Between a half of `wait` and the whole.
    fn jittered(&self, wait: Duration) -> Duration {
        let half = wait / 2;
        let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        half + Duration::from_nanos(self.draw() % nanos.saturating_add(1))
    }

    /// The wait for a server or a discovery after one of `last`.
    fn longer(&self, last: Duration) -> Duration {
        let (first, longest) = self.config.retry;
        self.jittered((last * 2).clamp(first, longest))
    }

    fn draw(&self) -> u64 {
        let rng = self.rng.lock();
        rng.unwrap_or_else(PoisonError::into_inner).next_u64()
    }
}

/// A handle on a running client. When the last clone is dropped, the client closes at once;
/// [`Client::close`] does it in order.
pub struct Client<R: Runtime>(Arc<Handle<R>>);

struct Handle<R: Runtime>(Arc<Shared<R>>);

impl<R: Runtime> Clone for Client<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A handle that does not keep the client running, for what the client itself holds.
pub struct WeakClient<R: Runtime>(Weak<Handle<R>>);

impl<R: Runtime> WeakClient<R> {
    /// The client, if it runs still.
    #[must_use]
    pub fn upgrade(&self) -> Option<Client<R>> {
        self.0.upgrade().map(Client)
    }
}

impl<R: Runtime> Drop for Handle<R> {
    fn drop(&mut self) {
        self.0.endpoint.close();
        self.0.table().close();
        self.0.table().kill_all();
        self.0.changes.raise();
    }
}

impl<R: Runtime> Client<R> {
    /// Starts a client with this key. Draw `entropy` from the operating system and keep it
    /// secret; in a simulation, from its seed.
    #[must_use]
    pub fn start(
        runtime: R,
        secret: SecretKey,
        entropy: [u8; 32],
        discovery: impl Discovery,
        config: ClientConfig,
    ) -> Self {
        let mut root = ChaCha20Rng::from_seed(entropy);
        let mut ephemerals = Zeroizing::new([0; 32]);
        root.fill_bytes(&mut *ephemerals);
        let shared = Arc::new(Shared {
            endpoint: Endpoint::new(secret, EphemeralSource::new(*ephemerals, config.hybrid)),
            discovery: Arc::new(discovery),
            table: Mutex::new(Table::new(&config)),
            changes: Signal::default(),
            rng: Mutex::new(root),
            config,
            runtime,
        });
        sessions::spawn_keeper(&shared);
        publish::spawn(&shared);
        Self(Arc::new(Handle(shared)))
    }

    fn shared(&self) -> &Arc<Shared<R>> {
        &self.0.0
    }

    /// A handle that does not keep it running.
    #[must_use]
    pub fn downgrade(&self) -> WeakClient<R> {
        WeakClient(Arc::downgrade(&self.0))
    }

    /// Our key.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        self.shared().endpoint.key()
    }

    /// Completes once there is a session and the first attempt to publish our entry was answered,
    /// or once the client is closed.
    pub async fn ready(&self) {
        let shared = self.shared();
        shared.changes.until(|| shared.table().is_ready()).await;
    }

    /// Completes once there is a session, or once the client is closed.
    pub async fn connected(&self) {
        let shared = self.shared();
        let changes = &shared.changes;
        changes.until(|| shared.table().is_connected()).await;
    }

    /// Opens a port to others: do it before [`Self::ready`] is waited for, so that no peer that
    /// reads our entry finds it closed.
    ///
    /// # Errors
    /// [`ErrorCode::PortOccupied`] or [`ErrorCode::EntityClosed`].
    pub fn listen(&self, port: u16) -> Result<Listener, ErrorCode> {
        let shared = self.shared();
        shared.endpoint.listen(port, shared.config.accept_queue)
    }

    /// Opens a stream to `remote`: over a session that leads there, else over a new one with a
    /// server of the destination's. Tries again while the destination is only overloaded. May be
    /// dropped at any time.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn dial(&self, remote: Address) -> Result<DmsgStream, DialError> {
        let resolve = dial::Resolve::Discovery;
        dial::dial(self.shared(), remote, &resolve, true).await
    }

    /// As [`Self::dial`], but asks no discovery: entries come from what this client has seen and
    /// from `entries`, which has no way to the network (docs/architecture.md, "Dials made for the
    /// DHT"). Without `new_sessions` it uses only sessions that are there.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn dial_local(
        &self,
        remote: Address,
        entries: &dyn LocalEntries,
        new_sessions: bool,
    ) -> Result<DmsgStream, DialError> {
        let resolve = dial::Resolve::Local(entries);
        dial::dial(self.shared(), remote, &resolve, new_sessions).await
    }

    /// The address that a server sees us at, over a session that is there; any, if none is named.
    ///
    /// # Errors
    /// [`DialError`]; [`DialError::NotPublic`] unless our type is `test`.
    pub async fn lookup_ip(&self, server: Option<PublicKey>) -> Result<IpAddr, DialError> {
        let shared = self.shared();
        let session = shared.table().session_or_any(server);
        let session = session.ok_or(DialError::NoRoute)?;
        let asked = shared.endpoint.ask_ip(&session, shared.timestamp());
        let limit = shared.config.stream_timeout;
        let answer = within(&shared.runtime, limit, asked).await;
        let answer = answer.unwrap_or(Err(StreamError::Timeout));
        let ip = answer.map_err(DialError::Stream)?.ip();
        let ip = ip.ok_or(DialError::NotPublic(None))?;
        if shared.config.client_type != "test" && !is_public(ip) {
            return Err(DialError::NotPublic(Some(ip)));
        }
        Ok(ip)
    }

    /// The servers that we have sessions with, nearest first.
    #[must_use]
    pub fn servers(&self) -> Vec<PublicKey> {
        self.shared().table().by_distance()
    }

    /// The servers that are known, with what became of them, in the order of their keys.
    #[must_use]
    pub fn server_states(&self) -> Vec<ServerState> {
        self.shared().table().server_states()
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        self.shared().table().stats()
    }

    /// How much of its sessions and streams is hybrid.
    #[must_use]
    pub fn hybrid_stats(&self) -> HybridStats {
        let shared = self.shared();
        let table = shared.table();
        shared.endpoint.hybrid_stats(table.hybrid_sessions())
    }

    /// Closes: removes our entry, ends listeners and sessions, sends what is queued. Takes a few
    /// seconds at most.
    pub async fn close(&self) {
        let shared = self.shared();
        shared.endpoint.close();
        let sessions = shared.table().close();
        shared.changes.raise();
        within(&shared.runtime, CLOSE_GRACE, publish::remove(shared)).await;
        session_layer::close_all(&shared.runtime, &sessions).await;
        shared.table().kill_all();
    }
}

/// Whether it can be reached from the internet.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_broadcast()
                || shared)
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_unique_local()
                || ip.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_the_internet_does_not_reach_are_not_public() {
        for (addr, expected) in [
            ("93.184.216.34", true),
            ("10.0.0.1", false),
            ("172.16.0.1", false),
            ("192.168.0.1", false),
            ("127.0.0.1", false),
            ("169.254.0.1", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            // Shared by the customers of a provider: 100.64.0.0/10.
            ("100.63.255.255", true),
            ("100.64.0.0", false),
            ("100.127.255.255", false),
            ("100.128.0.0", true),
            ("101.64.0.0", true),
            ("2606:2800:220:1::1", true),
            ("::1", false),
            ("::", false),
            ("ff02::1", false),
            ("fd00::1", false),
            ("fe80::1", false),
        ] {
            assert_eq!(is_public(addr.parse().unwrap()), expected, "{addr}");
        }
    }
}
