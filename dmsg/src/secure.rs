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
use crate::handshake_io::{self, Handshaken};
use crate::keepalive::Keepalive;

pub use crate::handshake_io::HandshakeError;

/// Why an encrypted stream died. Inside an [`io::Error`] of kind `InvalidData`: get it back with
/// [`SecureError::of`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecureError {
    /// A length prefix above the limit.
    #[error(transparent)]
    Frame(#[from] FrameTooLong),
    /// A forged, damaged or repeated record; or all nonces are used up.
    #[error(transparent)]
    Cipher(#[from] CipherError),
}

impl SecureError {
    /// The cause of an error that a [`Secure`] gave, if it is one of these.
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

/// Dials: proves `local` and demands that the other side proves `remote`. Set a deadline around it.
///
/// # Errors
/// [`HandshakeError`]; the connection is then dropped.
pub async fn connect<IO: AsyncRead + AsyncWrite + Unpin>(
    io: IO,
    local: &SecretKey,
    remote: PublicKey,
    ephemeral: Ephemeral,
) -> Result<Secure<IO>, HandshakeError> {
    let handshaken = handshake_io::connect(io, local, remote, ephemeral).await?;
    Ok(Secure::after(handshaken))
}

/// Accepts: proves `local` and learns the dialler's key. Set a deadline around it. Bytes that
/// come right behind the last message are kept for the stream.
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

/// As [`accept`]; calls `greeted` once the dialler's first message was valid, which shows that it
/// knows our public key and nothing more. See [`crate::half_open`].
///
/// # Errors
/// [`HandshakeError`]; the connection is then dropped.
pub async fn accept_greeted<IO: AsyncRead + AsyncWrite + Unpin>(
    io: IO,
    local: &SecretKey,
    ephemeral: Ephemeral,
    greeted: impl FnOnce() + Send,
) -> Result<(PublicKey, Secure<IO>), HandshakeError> {
    let handshaken = handshake_io::accept(io, local, ephemeral, greeted).await?;
    Ok((handshaken.transport.remote, Secure::after(handshaken)))
}

/// Tests whether a connection reaches the holder of `remote`, without making a session: stops
/// after the second message, which only that holder can write, and hangs up. Our own key is not
/// revealed. The other side's [`accept`] ends with [`HandshakeError::Closed`].
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
/// A forged or damaged record ends it for good: every later call gives the same [`SecureError`].
/// The end of the connection inside a record is `UnexpectedEof`; between records it is a plain
/// end, since the protocol has no authenticated close: what runs inside must tell its own end.
pub struct Secure<IO> {
    io: IO,
    sealer: Sealer,
    opener: Opener,
    input: Input,
    output: Output,
    /// Where decrypted bytes wait in `input`.
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
    /// Wraps a connection after a handshake.
    #[must_use]
    pub fn new(io: IO, transport: Transport) -> Self {
        Self::after(Handshaken {
            io,
            input: Input::default(),
            transport,
        })
    }

    fn after(handshaken: Handshaken<IO>) -> Self {
        let Handshaken {
            io,
            input,
            transport,
        } = handshaken;
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

    /// For keepalives and to watch that the peer lives.
    #[must_use]
    pub fn keepalive(&self) -> Keepalive {
        self.keepalive.clone()
    }

    #[cfg(test)]
    pub(crate) fn io(&self) -> &IO {
        &self.io
    }

    /// Copies decrypted bytes out, opening records as needed. 0 when more must come first, or
    /// when a record is bad: then `end` says so, after the bytes before it were handed out.
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

    /// Decrypts the next record, if it is there whole.
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
        // A failed stream has nothing to flush, but its connection still closes.
        if self.check().is_ok() {
            ready!(self.as_mut().poll_flush(cx))?;
        }
        Pin::new(&mut self.io).poll_close(cx)
    }
}

#[cfg(test)]
mod tests;
