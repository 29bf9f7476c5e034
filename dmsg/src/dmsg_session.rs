//! A DMSG session: a Noise XK handshake, then unencrypted yamux over the same connection.
//!
//! The handshake proves both keys and yields the keys that seal the objects (specification of
//! DMSG, §1–§4). Unlike [`crate::secure`], the multiplexer's frames are not encrypted: what a
//! relay must see is in the objects, and payload has an end-to-end encryption of its own.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use futures_io::{AsyncRead, AsyncWrite};
use skydht_core::key::{PublicKey, SecretKey};

use crate::cipher::{CipherError, Sealer, WindowOpener};
use crate::handshake::Ephemeral;
use crate::handshake_io::{self, CompletedHandshake, HandshakeError};
use crate::keepalive::Keepalive;
use crate::object::{ErrorCode, SignedObject};
use crate::read_buffered::ReadBuffered;
use crate::session::{Driver, Incoming, Role, Session, SessionConfig};

/// Why an object could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The peer closed or reset the stream, or the session ended. Go peers refuse in this way,
    /// without an error code.
    #[error("stream closed without a word")]
    Closed,
    /// It was not sealed for this session, was altered, or was replayed.
    #[error(transparent)]
    Cipher(#[from] CipherError),
    /// It is too short to hold a signature.
    #[error(transparent)]
    Code(#[from] ErrorCode),
}

impl From<io::Error> for ReadError {
    fn from(_: io::Error) -> Self {
        // A stream fails only by its reset or its session's end.
        Self::Closed
    }
}

/// A session, as both a client and a relay see it.
pub struct DmsgSession {
    remote: PublicKey,
    is_hybrid: bool,
    mux: Session,
    keepalive: Keepalive,
    sealer: Mutex<Sealer>,
    opener: Mutex<WindowOpener>,
}

/// A new session with the streams that the peer opens, and the driver that must be spawned.
pub struct Established<IO> {
    /// The session.
    pub session: DmsgSession,
    /// The streams that the peer opens.
    pub incoming: Incoming,
    /// Drives the session; without it nothing is sent or received.
    pub driver: Driver<ReadBuffered<IO>>,
}

/// Dials a server: proves `local` and demands that the server proves `remote`. The caller sets a
/// deadline.
///
/// Do not poll the driver immediately: a Go server that reads bytes right behind the last handshake
/// message ends the session (code 203), and TCP may deliver both together.
///
/// # Errors
/// [`HandshakeError`]; the connection is then dropped.
pub async fn connect<IO: AsyncRead + AsyncWrite + Send + Unpin>(
    io: IO,
    local: &SecretKey,
    remote: PublicKey,
    ephemeral: Ephemeral,
    config: &SessionConfig,
) -> Result<Established<IO>, HandshakeError> {
    let completed = handshake_io::connect(io, local, remote, ephemeral).await?;
    Ok(establish(completed, Role::Client, config))
}

/// Accepts a client: proves `local` and learns the client's key. Bytes right behind the last
/// message are the first of the session. The caller sets a deadline.
///
/// # Errors
/// [`HandshakeError`]; the connection is then dropped.
pub async fn accept<IO: AsyncRead + AsyncWrite + Send + Unpin>(
    io: IO,
    local: &SecretKey,
    ephemeral: Ephemeral,
    config: &SessionConfig,
) -> Result<Established<IO>, HandshakeError> {
    accept_greeted(io, local, ephemeral, config, || ()).await
}

/// As [`accept`]; calls `greeted` once the client's first message was valid, which shows that it
/// knows our public key and nothing more. See [`crate::half_open`].
///
/// # Errors
/// [`HandshakeError`]; the connection is then dropped.
pub async fn accept_greeted<IO: AsyncRead + AsyncWrite + Send + Unpin>(
    io: IO,
    local: &SecretKey,
    ephemeral: Ephemeral,
    config: &SessionConfig,
    greeted: impl FnOnce() + Send,
) -> Result<Established<IO>, HandshakeError> {
    let completed = handshake_io::accept(io, local, ephemeral, greeted).await?;
    Ok(establish(completed, Role::Server, config))
}

fn establish<IO: AsyncRead + AsyncWrite + Send + Unpin>(
    completed: CompletedHandshake<IO>,
    role: Role,
    config: &SessionConfig,
) -> Established<IO> {
    let CompletedHandshake {
        io,
        input,
        transport,
    } = completed;
    let io = ReadBuffered::new(io, input);
    let (mux, incoming, driver) = Session::new(io, role, config);
    let session = DmsgSession {
        remote: transport.remote,
        is_hybrid: transport.is_hybrid,
        mux,
        keepalive: driver.keepalive(),
        sealer: Mutex::new(transport.sealer),
        opener: Mutex::new(transport.opener.into_window()),
    };
    Established {
        session,
        incoming,
        driver,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DmsgSession {
    /// Returns the key that the peer has proven.
    #[must_use]
    pub fn remote(&self) -> PublicKey {
        self.remote
    }

    /// Returns whether the handshake had a post-quantum half.
    #[must_use]
    pub fn is_hybrid(&self) -> bool {
        self.is_hybrid
    }

    /// Returns the session's multiplexer.
    #[must_use]
    pub fn mux(&self) -> &Session {
        &self.mux
    }

    /// Returns the handle that pings the peer.
    #[must_use]
    pub fn keepalive(&self) -> &Keepalive {
        &self.keepalive
    }

    /// Seals an object for the peer and sends it.
    ///
    /// # Errors
    /// Errors of the stream; `InvalidInput` once all nonces are used up.
    pub async fn write_object<S: AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        object: &SignedObject,
    ) -> io::Result<()> {
        let mut sealed = vec![0; 2];
        lock(&self.sealer)
            .seal(object.as_bytes(), &mut sealed)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        // The maximum length of an object leaves room for what sealing adds.
        let len = u16::try_from(sealed.len() - 2).map_err(|_| io::ErrorKind::InvalidInput)?;
        sealed[..2].copy_from_slice(&len.to_be_bytes());
        stream.write_all(&sealed).await?;
        stream.flush().await
    }

    /// Receives an object that was sealed for us. Allocates as bytes arrive, not by the announced
    /// length.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read_object<S: AsyncRead + Unpin>(
        &self,
        stream: &mut S,
    ) -> Result<SignedObject, ReadError> {
        let len = read_len(stream).await?;
        self.read_sealed(stream, len).await
    }

    /// Receives an object whose length has been read.
    pub(crate) async fn read_sealed<S: AsyncRead + Unpin>(
        &self,
        stream: &mut S,
        len: u16,
    ) -> Result<SignedObject, ReadError> {
        let mut record = Vec::new();
        let read = stream.take(len.into()).read_to_end(&mut record).await?;
        if read < usize::from(len) {
            return Err(ReadError::Closed);
        }
        let plain = lock(&self.opener).open(&mut record)?.to_vec();
        Ok(SignedObject::from_bytes(plain)?)
    }
}

/// Reads the length that precedes an object. 0 denotes a ping (specification of DMSG in 2026,
/// §2.1).
pub(crate) async fn read_len<S: AsyncRead + Unpin>(stream: &mut S) -> Result<u16, ReadError> {
    let mut prefix = [0; 2];
    stream.read_exact(&mut prefix).await?;
    Ok(u16::from_be_bytes(prefix))
}

#[cfg(test)]
pub(crate) mod testing {
    //! Sessions without a network.

    use std::sync::Arc;

    use futures::executor::block_on;
    use futures::future::join;

    use super::*;
    use crate::pipe::{End, pipe};

    /// Keeps a session open: holds both drivers, which are never polled.
    pub(crate) struct SessionGuard {
        _ends: [Driver<ReadBuffered<End>>; 2],
    }

    /// Creates a session with `remote`.
    pub(crate) fn session(remote: &SecretKey) -> (Arc<DmsgSession>, SessionGuard) {
        let (near, far) = pipe(1 << 16);
        let local = SecretKey::from_bytes(&[99; 32]).unwrap();
        let fresh = |n| Ephemeral::from_entropy(&[n; 32]);
        let limits = SessionConfig::default();
        let (ours, theirs) = block_on(join(
            connect(near, &local, remote.public(), fresh(1), &limits),
            accept(far, remote, fresh(2), &limits),
        ));
        let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
        let held = SessionGuard {
            _ends: [ours.driver, theirs.driver],
        };
        (Arc::new(ours.session), held)
    }
}
