//! Noise XK over a connection, the start of both direct TCP and DMSG sessions.

use std::future::poll_fn;
use std::io;

use futures::AsyncWriteExt as _;
use futures_io::{AsyncRead, AsyncWrite};
use skydht_core::key::{PublicKey, SecretKey};

use crate::buffer::Input;
use crate::frame::{self, FrameTooLong};
use crate::handshake::{Ephemeral, Handshake, NoiseError, Transport};

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The peer closed or reset the connection. On the accepting side this is harmless: a port
    /// scan, a health check, or a [`crate::secure::probe`].
    #[error("connection closed during the handshake")]
    Closed,
    /// A length prefix is above the limit: the peer does not speak DMSG, or is hostile.
    #[error(transparent)]
    Frame(#[from] FrameTooLong),
    /// The peer holds another key, or speaks another protocol.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// The connection failed.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::WriteZero
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

/// A connection with a completed handshake.
pub(crate) struct CompletedHandshake<IO> {
    pub(crate) io: IO,
    /// May hold bytes that arrived right behind the last message.
    pub(crate) input: Input,
    pub(crate) transport: Transport,
}

/// Dials: proves `local` and demands that the peer proves `remote`.
pub(crate) async fn connect<IO: AsyncRead + AsyncWrite + Unpin>(
    io: IO,
    local: &SecretKey,
    remote: PublicKey,
    ephemeral: Ephemeral,
) -> Result<CompletedHandshake<IO>, HandshakeError> {
    let mut handshake = HandshakeIo::new(io, Handshake::xk_initiator(local, &remote, ephemeral)?);
    handshake.send().await?;
    handshake.receive().await?;
    handshake.send().await?;
    handshake.finish()
}

/// Accepts: proves `local` and learns the dialer's key. Calls `greeted` once the first message was
/// valid.
pub(crate) async fn accept<IO: AsyncRead + AsyncWrite + Unpin>(
    io: IO,
    local: &SecretKey,
    ephemeral: Ephemeral,
    greeted: impl FnOnce(),
) -> Result<CompletedHandshake<IO>, HandshakeError> {
    let mut handshake = HandshakeIo::new(io, Handshake::xk_responder(local, ephemeral)?);
    handshake.receive().await?;
    greeted();
    handshake.send().await?;
    handshake.receive().await?;
    handshake.finish()
}

/// Dials, and stops after the second message.
pub(crate) async fn probe<IO: AsyncRead + AsyncWrite + Unpin>(
    io: IO,
    local: &SecretKey,
    remote: PublicKey,
    ephemeral: Ephemeral,
) -> Result<(), HandshakeError> {
    let mut handshake = HandshakeIo::new(io, Handshake::xk_initiator(local, &remote, ephemeral)?);
    handshake.send().await?;
    handshake.receive().await
}

/// A handshake in progress on a connection.
struct HandshakeIo<IO> {
    io: IO,
    input: Input,
    handshake: Handshake,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> HandshakeIo<IO> {
    fn new(io: IO, handshake: Handshake) -> Self {
        Self {
            io,
            input: Input::default(),
            handshake,
        }
    }

    async fn send(&mut self) -> Result<(), HandshakeError> {
        let mut framed = vec![0; frame::PREFIX_LEN];
        self.handshake.write_message(&mut framed)?;
        let prefix = frame::prefix(framed.len() - frame::PREFIX_LEN)?;
        framed[..frame::PREFIX_LEN].copy_from_slice(&prefix);
        self.io.write_all(&framed).await?;
        Ok(self.io.flush().await?)
    }

    async fn receive(&mut self) -> Result<(), HandshakeError> {
        loop {
            if let Some(body) = self.input.next_frame()? {
                return Ok(self.handshake.read_message(self.input.body(body))?);
            }
            if poll_fn(|cx| self.input.poll_fill(&mut self.io, cx)).await? == 0 {
                return Err(HandshakeError::Closed);
            }
        }
    }

    fn finish(self) -> Result<CompletedHandshake<IO>, HandshakeError> {
        Ok(CompletedHandshake {
            io: self.io,
            input: self.input,
            transport: self.handshake.finish()?,
        })
    }
}
