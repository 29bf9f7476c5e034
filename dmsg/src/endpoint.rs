//! One end of DMSG streams: the ports of a key, and the handshakes of the streams that it dials and
//! accepts.
//!
//! Clients and relays both have one: a relay accepts streams to its own key like any client
//! (specification of DMSG, §6 and §9.1).

mod listener;
mod port_table;
pub(crate) mod replay;
mod stream;

use std::io;
use std::sync::{Mutex, PoisonError};

use futures::AsyncWriteExt as _;
use skydht_core::key::{PublicKey, SecretKey};

pub use listener::Listener;
pub use stream::DmsgStream;

use port_table::{PortGuard, PortTable};
use replay::ReplayCache;

use crate::dmsg_session::{self, DmsgSession, ReadError};
use crate::handshake::{EphemeralSource, Handshake, NoiseError, Transport};
use crate::hybrid::{HybridStats, StreamCounts};
use crate::object::{
    Address, ErrorCode, ObjectError, StreamRequest, StreamResponse, VerifiedRequest,
};
use crate::secure::Secure;
use crate::session::{self, SessionError};

/// Why a stream did not open on one session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The destination sent a signed refusal, or no local port is available.
    #[error("refused: {0}")]
    Refused(ErrorCode),
    /// The relay, or a destination that runs Go, closed the stream without a response.
    #[error("closed without a word")]
    Closed,
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The session is over or at its stream limit.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The response is invalid, or not signed by the destination.
    #[error("invalid response: {0}")]
    Response(ObjectError),
    /// The response was not sealed for this session.
    #[error("invalid response: {0}")]
    Sealing(#[from] crate::cipher::CipherError),
    /// The end-to-end handshake failed.
    #[error(transparent)]
    Noise(#[from] NoiseError),
}

impl From<ReadError> for StreamError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Closed => Self::Closed,
            ReadError::Cipher(error) => Self::Sealing(error),
            ReadError::Code(code) => Self::Response(code.into()),
        }
    }
}

/// A key with its ports, and the state of its handshakes.
pub(crate) struct Endpoint {
    secret: SecretKey,
    key: PublicKey,
    ephemerals: EphemeralSource,
    streams: StreamCounts,
    ports: PortTable<DmsgStream>,
    replays: Mutex<ReplayCache>,
}

impl Endpoint {
    pub(crate) fn new(secret: SecretKey, ephemerals: EphemeralSource) -> Self {
        Self {
            key: secret.public(),
            secret,
            ephemerals,
            streams: StreamCounts::default(),
            ports: PortTable::new(),
            replays: Mutex::default(),
        }
    }

    pub(crate) fn key(&self) -> PublicKey {
        self.key
    }

    pub(crate) fn secret(&self) -> &SecretKey {
        &self.secret
    }

    /// Returns the hybrid counts of all streams so far and of `sessions`.
    pub(crate) fn hybrid_stats(&self, sessions: impl Iterator<Item = bool>) -> HybridStats {
        self.streams.with_sessions(sessions)
    }

    pub(crate) fn ephemerals(&self) -> &EphemeralSource {
        &self.ephemerals
    }

    pub(crate) fn listen(&self, port: u16, capacity: usize) -> Result<Listener, ErrorCode> {
        let queue = self.ports.listen(port, capacity)?;
        Ok(Listener {
            ports: self.ports.clone(),
            port,
            queue,
        })
    }

    /// Closes all ports.
    pub(crate) fn close(&self) {
        self.ports.close();
    }

    /// Opens a stream over a session. The caller sets a deadline.
    pub(crate) async fn dial(
        &self,
        session: &DmsgSession,
        remote: Address,
        timestamp: i64,
    ) -> Result<DmsgStream, StreamError> {
        let guard = self.ports.acquire().map_err(StreamError::Refused)?;
        let local = self.at(guard.port);
        let ephemeral = self.ephemerals.next();
        let mut handshake = Handshake::kk_initiator(&self.secret, &remote.key, ephemeral)?;
        let mut noise = Vec::new();
        handshake.write_message(&mut noise)?;
        let request = StreamRequest {
            timestamp,
            source: local.into(),
            destination: remote.into(),
            ip_info: false,
            noise,
        };
        let (stream, response) = self.ask(session, &request, &remote.key).await?;
        handshake.read_message(&response.noise)?;
        let transport = handshake.finish()?;
        let guard = Some(guard);
        Ok(self.stream(stream, transport, session.remote(), [local, remote], guard))
    }

    /// Asks a server for the address that it sees us at. The caller sets a deadline.
    pub(crate) async fn ask_ip(
        &self,
        session: &DmsgSession,
        timestamp: i64,
    ) -> Result<StreamResponse, StreamError> {
        let guard = self.ports.acquire().map_err(StreamError::Refused)?;
        let server = Address {
            key: session.remote(),
            port: 1,
        };
        let request = StreamRequest {
            timestamp,
            source: self.at(guard.port).into(),
            destination: server.into(),
            ip_info: true,
            noise: Vec::new(),
        };
        let (_, response) = self.ask(session, &request, &server.key).await?;
        Ok(response)
    }

    /// Sends a request and reads the response, which `author` must have signed and which must
    /// accept it.
    async fn ask(
        &self,
        session: &DmsgSession,
        request: &StreamRequest,
        author: &PublicKey,
    ) -> Result<(session::Stream, StreamResponse), StreamError> {
        let mut stream = session.mux().open().await?;
        let object = request.sign(&self.secret);
        let sent = session.write_object(&mut stream, &object).await;
        sent.map_err(|_| StreamError::Closed)?;
        let response = session.read_object(&mut stream).await?;
        let response = response
            .verify_response(&object.hash(), author)
            .map_err(StreamError::Response)?;
        match response.refused() {
            None => Ok((stream, response)),
            Some(code) => Err(StreamError::Refused(code)),
        }
    }

    fn at(&self, port: u16) -> Address {
        Address {
            key: self.key,
            port,
        }
    }

    fn stream(
        &self,
        stream: session::Stream,
        transport: Transport,
        via: PublicKey,
        [local, remote]: [Address; 2],
        guard: Option<PortGuard<DmsgStream>>,
    ) -> DmsgStream {
        let is_hybrid = transport.is_hybrid;
        self.streams.count(is_hybrid);
        DmsgStream {
            secure: Secure::new(stream, transport),
            is_hybrid,
            local,
            remote,
            via,
            _guard: guard,
        }
    }

    /// Answers a request to our own key: delivers the stream to its listener, or sends a signed
    /// refusal. The caller sets a deadline.
    pub(crate) async fn answer(
        &self,
        session: &DmsgSession,
        mut stream: session::Stream,
        request: VerifiedRequest,
    ) -> Result<(), StreamError> {
        let hash = request.hash;
        let refusal = if request.destination.key != self.key {
            ErrorCode::RequestDestinationKey
        } else if !self.record_request(hash) {
            ErrorCode::RequestTimestamp
        } else {
            match self.ports.reserve(request.destination.port) {
                Err(code) => code,
                Ok(slot) => {
                    let ephemeral = self.ephemerals.next();
                    let mut handshake =
                        Handshake::kk_responder(&self.secret, &request.source.key, ephemeral)?;
                    handshake.read_message(&request.noise)?;
                    let mut noise = Vec::new();
                    handshake.write_message(&mut noise)?;
                    let response = StreamResponse {
                        request_hash: hash,
                        accepted: true,
                        noise,
                        ..StreamResponse::default()
                    };
                    self.respond(session, &mut stream, &response).await?;
                    let transport = handshake.finish()?;
                    let ends = [self.at(request.destination.port), request.source];
                    slot.fill(self.stream(stream, transport, session.remote(), ends, None));
                    return Ok(());
                }
            }
        };
        let response = StreamResponse::refusal(hash, refusal);
        self.respond(session, &mut stream, &response).await?;
        let _ = stream.close().await; // so that the refusal arrives before the end
        Err(StreamError::Refused(refusal))
    }

    /// Signs a response and sends it.
    pub(crate) async fn respond(
        &self,
        session: &DmsgSession,
        stream: &mut session::Stream,
        response: &StreamResponse,
    ) -> Result<(), StreamError> {
        let object = response.sign(&self.secret);
        let sent = session.write_object(stream, &object).await;
        sent.map_err(|_| StreamError::Closed)
    }

    /// Records the hash of a request. Returns whether it was not seen before.
    pub(crate) fn record_request(&self, hash: [u8; 32]) -> bool {
        let replays = self.replays.lock();
        replays.unwrap_or_else(PoisonError::into_inner).insert(hash)
    }
}

/// What an inbound stream is for, as its first two bytes say.
pub(crate) enum Opening {
    /// A liveness check of the session: two zero bytes, which are sent back (specification of DMSG
    /// in 2026, §2.1).
    Ping,
    /// An object of this length.
    Object(u16),
}

/// Reads the first two bytes of an inbound stream. The caller sets a deadline.
pub(crate) async fn read_opening(stream: &mut session::Stream) -> Result<Opening, StreamError> {
    Ok(match dmsg_session::read_len(stream).await? {
        0 => Opening::Ping,
        len => Opening::Object(len),
    })
}

/// Answers a ping and closes its stream. The caller sets a deadline.
pub(crate) async fn answer_ping(mut stream: session::Stream) -> Result<(), StreamError> {
    let answered = async {
        stream.write_all(&[0, 0]).await?;
        stream.flush().await?;
        stream.close().await
    };
    answered.await.map_err(|_: io::Error| StreamError::Closed)
}
