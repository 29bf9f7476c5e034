//! A DMSG client: sessions with relays, and streams to any key that is reachable through them.
//!
//! [`Client::start`] spawns the tasks: one keeps enough sessions, one publishes the client's entry,
//! and each session has its own. All waiting uses the runtime's timers.

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

use table::ClientTable;

use crate::discovery::Discovery;
use crate::endpoint::{DmsgStream, Endpoint, Listener, StreamError};
use crate::handshake::EphemeralSource;
use crate::hybrid::HybridStats;
use crate::object::{Address, ErrorCode};
use crate::session_layer::{self, CLOSE_GRACE};
use crate::signal::Signal;

struct ClientInner<R: Runtime> {
    runtime: R,
    discovery: Arc<dyn Discovery>,
    endpoint: Endpoint,
    config: ClientConfig,
    table: Mutex<ClientTable>,
    /// Raised when a session starts or ends, when an attempt to publish was answered, and when the
    /// client closes.
    changes: Signal,
    rng: Mutex<ChaCha20Rng>,
}

impl<R: Runtime> ClientInner<R> {
    fn table(&self) -> MutexGuard<'_, ClientTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.runtime.clocks().monotonic
    }

    /// Returns the wall clock in nanoseconds since the Unix epoch, as objects and entries encode
    /// it.
    fn timestamp(&self) -> i64 {
        i64::try_from(self.runtime.clocks().unix.as_nanos()).unwrap_or(i64::MAX)
    }

    /// Returns a random duration between half of `wait` and `wait`.
    fn jittered(&self, wait: Duration) -> Duration {
        let half = wait / 2;
        let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        half + Duration::from_nanos(self.draw() % nanos.saturating_add(1))
    }

    /// Returns the wait that follows one of `last`: doubled, clamped to [`ClientConfig::retry`],
    /// jittered.
    fn next_backoff(&self, last: Duration) -> Duration {
        let (first, longest) = self.config.retry;
        self.jittered((last * 2).clamp(first, longest))
    }

    fn draw(&self) -> u64 {
        let rng = self.rng.lock();
        rng.unwrap_or_else(PoisonError::into_inner).next_u64()
    }
}

/// A handle to a running client. Dropping the last clone closes the client immediately;
/// [`Client::close`] withdraws the entry and flushes the sessions first.
pub struct Client<R: Runtime>(Arc<Handle<R>>);

struct Handle<R: Runtime>(Arc<ClientInner<R>>);

impl<R: Runtime> Clone for Client<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A handle that does not keep the client running, for values that the client itself owns.
pub struct WeakClient<R: Runtime>(Weak<Handle<R>>);

impl<R: Runtime> WeakClient<R> {
    /// Returns a strong handle, or `None` once the last [`Client`] was dropped.
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
        let shared = Arc::new(ClientInner {
            endpoint: Endpoint::new(secret, EphemeralSource::new(*ephemerals, config.hybrid)),
            discovery: Arc::new(discovery),
            table: Mutex::new(ClientTable::new(&config)),
            changes: Signal::default(),
            rng: Mutex::new(root),
            config,
            runtime,
        });
        sessions::spawn_keeper(&shared);
        publish::spawn(&shared);
        Self(Arc::new(Handle(shared)))
    }

    fn shared(&self) -> &Arc<ClientInner<R>> {
        &self.0.0
    }

    /// Returns a handle that does not keep the client running.
    #[must_use]
    pub fn downgrade(&self) -> WeakClient<R> {
        WeakClient(Arc::downgrade(&self.0))
    }

    /// Returns the public key of the client.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        self.shared().endpoint.key()
    }

    /// Completes once there is a session and the first attempt to publish the entry was answered,
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

    /// Opens `port` for streams from other keys. Call it before awaiting [`Self::ready`], so that
    /// no peer that reads the published entry finds the port closed.
    ///
    /// # Errors
    /// [`ErrorCode::PortOccupied`] if the port is 0 or in use, [`ErrorCode::EntityClosed`] once the
    /// client is closed.
    pub fn listen(&self, port: u16) -> Result<Listener, ErrorCode> {
        let shared = self.shared();
        shared.endpoint.listen(port, shared.config.accept_queue)
    }

    /// Opens a stream to `remote`, over an existing session that leads there or else over a new one
    /// with one of the destination's servers. Retries while the destination is overloaded.
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn dial(&self, remote: Address) -> Result<DmsgStream, DialError> {
        let resolve = dial::Resolve::Discovery;
        dial::dial(self.shared(), remote, &resolve, true).await
    }

    /// Opens a stream like [`Self::dial`], but without asking the discovery: entries come from this
    /// client's cache and from `entries`, which must not use the network (docs/architecture.md,
    /// "Dials made for the DHT"). With `new_sessions` false it uses only existing sessions.
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

    /// Asks a server for the address that it sees us at, over an existing session; the nearest
    /// server if `server` is `None`.
    ///
    /// # Errors
    /// [`DialError`]; [`DialError::NotPublic`] if the address is not public, unless
    /// [`ClientConfig::client_type`] is `test`.
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

    /// Returns the servers that we have sessions with, nearest first.
    #[must_use]
    pub fn servers(&self) -> Vec<PublicKey> {
        self.shared().table().by_distance()
    }

    /// Returns the known servers and the state of their sessions, in the order of their keys.
    #[must_use]
    pub fn server_states(&self) -> Vec<ServerState> {
        self.shared().table().server_states()
    }

    /// Returns the client's counters.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        self.shared().table().stats()
    }

    /// Counts how many of the client's sessions and streams are hybrid.
    #[must_use]
    pub fn hybrid_stats(&self) -> HybridStats {
        let shared = self.shared();
        let table = shared.table();
        shared.endpoint.hybrid_stats(table.hybrid_sessions())
    }

    /// Closes the client: withdraws its entry, closes listeners and sessions, and sends what they
    /// have queued. Takes at most twice [`CLOSE_GRACE`].
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

/// Returns whether `ip` is reachable from the internet.
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
