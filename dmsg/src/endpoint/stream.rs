//! An open DMSG stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};
use skydht_core::key::PublicKey;

use super::port_table::PortGuard;
use crate::object::Address;
use crate::secure::Secure;
use crate::session;

/// A stream to another key, encrypted end to end. Flush after the last write. Closing it ends our
/// direction; dropping it without closing resets it.
///
/// A forged, replayed or oversized record ends it permanently; see [`Secure`]. A relay can truncate
/// it: the protocol inside must mark its own end.
pub struct DmsgStream {
    pub(super) secure: Secure<session::Stream>,
    pub(super) is_hybrid: bool,
    pub(super) local: Address,
    pub(super) remote: Address,
    pub(super) via: PublicKey,
    /// The local port of a stream that we dialled; `None` for an accepted one.
    pub(super) _guard: Option<PortGuard<Self>>,
}

impl DmsgStream {
    /// Returns the local address.
    #[must_use]
    pub fn local(&self) -> Address {
        self.local
    }

    /// Returns the remote address; the peer has proven its key.
    #[must_use]
    pub fn remote(&self) -> Address {
        self.remote
    }

    /// Returns whether the handshake had a post-quantum half.
    #[must_use]
    pub fn is_hybrid(&self) -> bool {
        self.is_hybrid
    }

    /// Returns the remote key of the session below: the relay, or the remote key itself.
    #[must_use]
    pub fn via(&self) -> PublicKey {
        self.via
    }
}

impl std::fmt::Debug for DmsgStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DmsgStream")
            .field("local", &self.local)
            .field("remote", &self.remote)
            .field("via", &self.via)
            .finish_non_exhaustive()
    }
}

impl AsyncRead for DmsgStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.secure).poll_read(cx, buf)
    }
}

impl AsyncWrite for DmsgStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.secure).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.secure).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.secure).poll_close(cx)
    }
}
