//! An encrypted byte stream over any connection: Noise XK, then records in frames.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use skydht_core::key::{PublicKey, SecretKey};

use crate::buffer::{Input, Output};
use crate::cipher::{CipherError, NONCE_LEN, Opener, Sealer};
use crate::frame::FrameTooLong;
use crate::handshake::{Ephemeral, Transport};
use crate::handshake_io::{self, CompletedHandshake};
use crate::keepalive::Keepalive;

pub use crate::handshake_io::HandshakeError;

/// Why an encrypted stream failed. Wrapped in an [`io::Error`] of kind `InvalidData`: use
/// [`SecureError::of`] to extract it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecureError {
    /// A length prefix is above the limit.
    #[error(transparent)]
    Frame(#[from] FrameTooLong),
    /// A record was forged, damaged or replayed, or all nonces are used up.
    #[error(transparent)]
    Cipher(#[from] CipherError),
}

impl SecureError {
    /// Returns the [`SecureError`] in an error of a [`Secure`], if that is its cause.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl From<SecureError> for io::Error {
    fn from(error: SecureError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// Dials: proves `local` and demands that the peer proves `remote`. The caller sets a deadline.
///
/// # Errors
/// [`HandshakeError`]; the connection is then dropped.
pub async fn connect<IO: AsyncRead + AsyncWrite + Unpin>(
    io: IO,
    local: &SecretKey,
    remote: PublicKey,
    ephemeral: Ephemeral,
) -> Result<Secure<IO>, HandshakeError> {
    let completed = handshake_io::connect(io, local, remote, ephemeral).await?;
    Ok(Secure::after(completed))
}

/// Accepts: proves `local` and learns the dialer's key. The caller sets a deadline. Bytes that
/// arrive right behind the last message are kept for the stream.
///
/// # Errors
/// [`HandshakeError`]; the connection is then dropped.
pub async fn accept<IO: AsyncRead + AsyncWrite + Unpin>(
    io: IO,
    local: &SecretKey,
    ephemeral: Ephemeral,
) -> Result<(PublicKey, Secure<IO>), HandshakeError> {
    accept_greeted(io, local, ephemeral, || ()).await
}

/// Accepts like [`accept`], and calls `greeted` once the dialer's first message was valid, which
/// shows only that it knows our public key. See [`crate::half_open`].
///
/// # Errors
/// [`HandshakeError`]; the connection is then dropped.
pub async fn accept_greeted<IO: AsyncRead + AsyncWrite + Unpin>(
    io: IO,
    local: &SecretKey,
    ephemeral: Ephemeral,
    greeted: impl FnOnce() + Send,
) -> Result<(PublicKey, Secure<IO>), HandshakeError> {
    let completed = handshake_io::accept(io, local, ephemeral, greeted).await?;
    Ok((completed.transport.remote, Secure::after(completed)))
}

/// Tests whether a connection leads to the holder of `remote`, without establishing a session:
/// closes after the second message, which only that holder can write. Our own key is not revealed.
/// The peer's [`accept`] fails with [`HandshakeError::Closed`].
///
/// # Errors
/// [`HandshakeError`].
pub async fn probe<IO: AsyncRead + AsyncWrite + Unpin>(
    io: IO,
    local: &SecretKey,
    remote: PublicKey,
    ephemeral: Ephemeral,
) -> Result<(), HandshakeError> {
    handshake_io::probe(io, local, remote, ephemeral).await
}

/// An encrypted, authenticated byte stream. Written bytes collect until a record is full or the
/// stream is flushed, so flush after the last write.
///
/// A forged or damaged record ends it permanently: every later call returns the same
/// [`SecureError`]. If the connection ends inside a record, reads fail with `UnexpectedEof`.
/// Between records it is a regular end, since the protocol has no authenticated close: the protocol
/// inside must mark its own end.
pub struct Secure<IO> {
    io: IO,
    sealer: Sealer,
    opener: Opener,
    input: Input,
    output: Output,
    /// Range of the decrypted bytes in `input`.
    plain: Range<usize>,
    end: Option<End>,
    keepalive: Keepalive,
}

/// Why nothing more can be read.
#[derive(Clone, Copy)]
enum End {
    Eof,
    Failed(SecureError),
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Secure<IO> {
    /// Wraps a connection after its handshake.
    #[must_use]
    pub fn new(io: IO, transport: Transport) -> Self {
        Self::after(CompletedHandshake {
            io,
            input: Input::default(),
            transport,
        })
    }

    fn after(completed: CompletedHandshake<IO>) -> Self {
        let CompletedHandshake {
            io,
            input,
            transport,
        } = completed;
        Self {
            io,
            sealer: transport.sealer,
            opener: transport.opener,
            input,
            output: Output::default(),
            plain: 0..0,
            end: None,
            keepalive: Keepalive::default(),
        }
    }

    /// Returns a handle to request keepalives and to detect a dead peer.
    #[must_use]
    pub fn keepalive(&self) -> Keepalive {
        self.keepalive.clone()
    }

    #[cfg(test)]
    pub(crate) fn io(&self) -> &IO {
        &self.io
    }

    /// Copies decrypted bytes to `buf`, opening records as needed. Returns 0 if more must be
    /// received first, or if the next record is invalid: then `end` is set, after the bytes before
    /// it were returned.
    fn take_plain(&mut self, buf: &mut [u8]) -> usize {
        let mut copied = 0;
        while copied < buf.len() {
            if self.plain.is_empty() {
                match self.open_next() {
                    Ok(true) => continue,
                    Ok(false) => break,
                    Err(error) => {
                        self.end = Some(End::Failed(error));
                        break;
                    }
                }
            }
            let part = self.plain.len().min(buf.len() - copied);
            let end = self.plain.start + part;
            buf[copied..copied + part].copy_from_slice(self.input.body(self.plain.start..end));
            self.plain.start = end;
            copied += part;
        }
        copied
    }

    /// Decrypts the next record. Returns whether it was complete.
    fn open_next(&mut self) -> Result<bool, SecureError> {
        let Some(body) = self.input.next_frame()? else {
            return Ok(false);
        };
        let len = self.opener.open(self.input.body_mut(body.clone()))?.len();
        let start = body.start + NONCE_LEN;
        self.plain = start..start + len;
        self.keepalive.count_received();
        Ok(true)
    }

    fn fail(&mut self, error: SecureError) -> io::Error {
        self.end = Some(End::Failed(error));
        error.into()
    }

    fn check(&self) -> io::Result<()> {
        match self.end {
            Some(End::Failed(error)) => Err(error.into()),
            _ => Ok(()),
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Secure<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            match this.end {
                None => {}
                Some(End::Eof) => return Poll::Ready(Ok(0)),
                Some(End::Failed(error)) => return Poll::Ready(Err(error.into())),
            }
            match this.take_plain(buf) {
                0 if this.end.is_some() => continue,
                0 => {}
                copied => return Poll::Ready(Ok(copied)),
            }
            if ready!(this.input.poll_fill(&mut this.io, cx))? == 0 {
                if !this.input.is_empty() {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                this.end = Some(End::Eof);
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Secure<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.check()?;
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let written = ready!(
            this.output
                .poll_write(&mut this.io, &mut this.sealer, buf, cx)
        )?;
        Poll::Ready(written.map_err(|error| this.fail(error.into())))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.check()?;
        if this.keepalive.take_ping_request(cx.waker()) && this.output.is_empty() {
            this.output.open_record();
        }
        if let Err(error) = this.output.seal(&mut this.sealer) {
            return Poll::Ready(Err(this.fail(error.into())));
        }
        ready!(this.output.poll_drain(&mut this.io, cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A failed stream has nothing to flush, but its connection must still be closed.
        if self.check().is_ok() {
            ready!(self.as_mut().poll_flush(cx))?;
        }
        Pin::new(&mut self.io).poll_close(cx)
    }
}

#[cfg(test)]
mod tests;
