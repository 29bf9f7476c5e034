//! `Debug` for types that users hold: only their names, nothing of the sockets, tasks and secrets
//! inside.

use skydht_runtime::{Runtime, opaque_debug};

use crate::accept_queue::AcceptQueue;
use crate::cipher::{Opener, Sealer, WindowOpener};
use crate::client::{Client, WeakClient};
use crate::discovery::{EntryTable, MemoryDiscovery};
use crate::dmsg_session::{DmsgSession, Established};
use crate::endpoint::Listener;
use crate::half_open::{Begun, HalfOpen};
use crate::handshake::{Ephemeral, EphemeralSource, Handshake, Transport};
use crate::keepalive::Keepalive;
use crate::read_buffered::ReadBuffered;
use crate::secure::Secure;
use crate::server::Server;
use crate::session::{Driver, Incoming, Session, Stall, Stream};
use crate::session_layer::{Acceptor, Dials, Joined, Running, Started};

opaque_debug!(
    AcceptQueue<T>,
    Acceptor,
    Begun,
    Client<R: Runtime>,
    DmsgSession,
    Driver<IO>,
    EntryTable,
    Ephemeral,
    EphemeralSource,
    Established<IO>,
    HalfOpen,
    Handshake,
    Incoming,
    Joined<T>,
    Keepalive,
    Listener,
    MemoryDiscovery,
    Opener,
    ReadBuffered<IO>,
    Running<S>,
    Sealer,
    Secure<IO>,
    Server<R: Runtime>,
    Session,
    Stall<R>,
    Started,
    Stream,
    Transport,
    WeakClient<R: Runtime>,
    WindowOpener,
);

impl<K, D, T> std::fmt::Debug for Dials<K, D, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dials").finish_non_exhaustive()
    }
}
