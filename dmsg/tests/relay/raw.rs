//! Parties that speak DMSG by hand, so that they can send anything.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use skydht_dmsg::dmsg_session::{self, DmsgSession, Established};
use skydht_dmsg::handshake::{Ephemeral, Handshake};
use skydht_dmsg::object::{Address, SignedObject, StreamRequest, StreamResponse};
use skydht_dmsg::session::{Incoming, SessionConfig, Stream};
use skydht_runtime::virtual_time::{VirtualListener, VirtualRuntime};
use skydht_runtime::{Connection, Listener as _, Runtime};

use crate::world::{PORT, World, at, ip, key, secret};

/// One end of a session.
pub(crate) struct Raw {
    pub(crate) session: Arc<DmsgSession>,
    pub(crate) incoming: Incoming,
}

impl Raw {
    fn new<IO: Connection>(established: Established<IO>, runtime: &VirtualRuntime) -> Self {
        let driver = established.driver;
        runtime.spawn(Box::pin(async move { drop(driver.await) }));
        Self {
            session: Arc::new(established.session),
            incoming: established.incoming,
        }
    }

    /// Opens a stream, sends an object, and waits for the answer.
    pub(crate) async fn ask(&self, object: &SignedObject) -> Option<SignedObject> {
        self.send(object).await.1
    }

    /// Sends an object like [`Self::ask`], and keeps the stream.
    pub(crate) async fn send(&self, object: &SignedObject) -> (Stream, Option<SignedObject>) {
        let mut stream = self.session.mux().open().await.unwrap();
        let sent = self.session.write_object(&mut stream, object).await;
        sent.unwrap();
        let answer = self.session.read_object(&mut stream).await.ok();
        (stream, answer)
    }

    /// Returns the next stream and its object.
    pub(crate) async fn accept(&mut self) -> (Stream, SignedObject) {
        let mut stream = self.incoming.next().await.unwrap();
        let object = self.session.read_object(&mut stream).await.unwrap();
        (stream, object)
    }
}

pub(crate) fn fresh(n: u8) -> Ephemeral {
    Ephemeral::from_entropy(&[n; 32])
}

/// Returns secrets of a peer from before June 2026, which neither offers nor answers a post-quantum
/// half.
pub(crate) fn classical(n: u8) -> Ephemeral {
    Ephemeral::fixed_for_testing_only(secret(100 + n))
}

/// Returns a request from `from` to `to`, and the handshake that continues with the answer.
pub(crate) fn request(from: Address, to: Address, timestamp: i64) -> (StreamRequest, Handshake) {
    let n = (1..=255).find(|n| key(*n) == from.key).unwrap();
    let ephemeral = fresh(100 + timestamp as u8);
    let mut handshake = Handshake::kk_initiator(&secret(n), &to.key, ephemeral).unwrap();
    let mut noise = Vec::new();
    handshake.write_message(&mut noise).unwrap();
    let request = StreamRequest {
        timestamp,
        source: from.into(),
        destination: to.into(),
        ip_info: false,
        noise,
    };
    (request, handshake)
}

/// Returns a request for a port of `to`, signed by the host `n`.
pub(crate) fn signed(n: u8, to: Address, timestamp: i64) -> SignedObject {
    request(at(n, 50_000), to, timestamp).0.sign(&secret(n))
}

/// Returns the error code of an answer to `object`.
pub(crate) fn code(answer: Option<SignedObject>, object: &SignedObject, by: u8) -> u16 {
    let answer = answer.expect("an answer");
    let response = answer.verify_response(&object.hash(), &key(by)).unwrap();
    response.error_code
}

/// Returns a valid accepting answer of the host `n` to `object`.
pub(crate) fn accepting(n: u8, from: u8, object: &SignedObject) -> StreamResponse {
    let request = object.verify_request().unwrap();
    let mut handshake = Handshake::kk_responder(&secret(n), &key(from), fresh(77)).unwrap();
    handshake.read_message(&request.noise).unwrap();
    let mut noise = Vec::new();
    handshake.write_message(&mut noise).unwrap();
    StreamResponse {
        request_hash: object.hash(),
        accepted: true,
        noise,
        ..StreamResponse::default()
    }
}

impl World {
    /// Connects as a client of the server `to`, and waits until that has added the session.
    #[track_caller]
    pub(crate) fn raw_client(&self, n: u8, to: u8) -> Raw {
        let client = self.raw_newcomer(n, to);
        let mut hello = request(at(n, 50_000), at(to, 1), 1).0;
        hello.ip_info = true;
        let answer = self.run(client.ask(&hello.sign(&secret(n))));
        assert!(answer.is_some(), "the server answers its client");
        client
    }

    /// Connects as a client of the server `to`, which may still refuse it.
    #[track_caller]
    pub(crate) fn raw_newcomer(&self, n: u8, to: u8) -> Raw {
        self.raw_newcomer_at(n, ip(n), to)
    }

    /// Connects like [`Self::raw_newcomer`], with the key `n` and from a given address.
    #[track_caller]
    pub(crate) fn raw_newcomer_at(&self, n: u8, address: IpAddr, to: u8) -> Raw {
        let host = self.time.host(address);
        self.run(async {
            let connection = host.connect(SocketAddr::new(ip(to), PORT)).await.unwrap();
            let config = SessionConfig::with_streams(4000);
            let own = secret(n);
            let connecting = dmsg_session::connect(connection, &own, key(to), fresh(n), &config);
            Raw::new(connecting.await.unwrap(), &host)
        })
    }

    pub(crate) fn raw_server(&self, n: u8) -> RawServer {
        let host = self.host(n);
        let listener = self.run(host.listen(SocketAddr::new(ip(n), PORT))).unwrap();
        RawServer { n, host, listener }
    }
}

/// A server that does nothing by itself.
pub(crate) struct RawServer {
    n: u8,
    host: VirtualRuntime,
    pub(crate) listener: VirtualListener,
}

impl RawServer {
    pub(crate) async fn accept(&self) -> Raw {
        let (connection, _) = self.listener.accept().await.unwrap();
        let config = SessionConfig::with_streams(4000);
        let own = secret(self.n);
        let accepting = dmsg_session::accept(connection, &own, fresh(self.n), &config);
        Raw::new(accepting.await.unwrap(), &self.host)
    }
}
