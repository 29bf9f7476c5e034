//! The handshake of DMSG's streams: a relay, two clients that follow the protocol, and a third
//! client that sends anything.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_dmsg::client::{Client, ClientConfig};
use skydht_dmsg::discovery::MemoryDiscovery;
use skydht_dmsg::dmsg_session::{self, DmsgSession, Established};
use skydht_dmsg::endpoint::Listener;
use skydht_dmsg::handshake::{Ephemeral, Handshake};
use skydht_dmsg::object::{Address, PeerAnnounce, SignedObject, StreamRequest, StreamResponse};
use skydht_dmsg::server::{Server, ServerConfig};
use skydht_dmsg::session::{Incoming, SessionConfig, Stream};
use skydht_runtime::virtual_time::{VirtualRuntime, VirtualTime};
use skydht_runtime::{Runtime as _, within};

use crate::cursor::Cursor;

/// Numbers of hosts. Each number determines the host's key.
const RELAY: u8 = 1;
const ALICE: u8 = 2;
const BOB: u8 = 3;
const MALLORY: u8 = 4;
/// Bob and the relay listen on this port.
const PORT: u16 = 100;
/// Maximum number of Mallory's actions in one run.
const MOST_DEEDS: usize = 24;
/// After this time every deadline has passed.
const OVER: Duration = Duration::from_secs(90);
/// Maximum duration of a call between Alice and Bob.
const SOON: Duration = Duration::from_secs(20);

/// Input: a script of Mallory's actions with her session: requests, correct, damaged, arbitrary,
/// repeated, or in the name of others; announcements, pings, bytes instead of objects; answers of
/// all kinds to Alice's requests; and interruptions at any point.
///
/// - Nothing panics, and the simulated world makes progress.
/// - Alice and Bob keep their sessions and can reach each other during and after the script.
/// - Every ping is answered, whatever else Mallory does.
/// - No listener gets a stream in the name of a key that did not request it.
/// - When Mallory has left and every deadline has passed, nothing is relayed and no stream is left.
pub fn dmsg_streams(data: &[u8]) {
    let world = VirtualTime::new(1);
    let runtime = world.runtime();
    let run = within(&runtime, Duration::from_secs(3_600), async {
        let mut cast = Cast::new(&world).await;
        let mut mallory = Mallory::new(&world).await;
        mallory.act(&cast, Cursor::new(data)).await;
        cast.call().await;
        drop(mallory);
        runtime.sleep(OVER).await;
        cast.call().await;
        runtime.sleep(OVER).await;
        let stats = cast.relay.stats();
        assert_eq!((stats.relaying, stats.streams), (0, 0), "{stats:?}");
        assert_eq!(stats.sessions, 2, "{stats:?}");
        for client in [&cast.alice, &cast.bob] {
            let stats = client.stats();
            assert_eq!((stats.streams, stats.lost), (0, 0), "{stats:?}");
        }
    });
    let done = world.run_until(run).expect("the world goes on");
    done.expect("within an hour");
}

fn secret(n: u8) -> SecretKey {
    SecretKey::from_entropy(&[n; 32])
}

fn key(n: u8) -> PublicKey {
    secret(n).public()
}

fn ip(n: u8) -> IpAddr {
    [10, 0, 0, n].into()
}

fn at(n: u8, port: u16) -> Address {
    Address { key: key(n), port }
}

/// The hosts that follow the protocol.
struct Cast {
    relay: Server<VirtualRuntime>,
    /// The relay's own listener. Its streams are not read.
    _own: Listener,
    alice: Client<VirtualRuntime>,
    bob: Client<VirtualRuntime>,
    listener: Listener,
    runtime: VirtualRuntime,
}

impl Cast {
    async fn new(world: &VirtualTime) -> Self {
        let discovery = MemoryDiscovery::new(world.runtime());
        let config = ServerConfig::new(SocketAddr::new(ip(RELAY), 80));
        let (host, random) = (world.host(ip(RELAY)), [RELAY; 32]);
        let relay = Server::start(host, secret(RELAY), random, discovery.clone(), config);
        let relay = relay.await.expect("the address is free");
        relay.ready().await;
        let client = |n| {
            let (host, config) = (world.host(ip(n)), ClientConfig::default());
            Client::start(host, secret(n), [n; 32], discovery.clone(), config)
        };
        let (alice, bob) = (client(ALICE), client(BOB));
        let listener = bob.listen(PORT).expect("the port is free");
        alice.ready().await;
        bob.ready().await;
        Self {
            _own: relay.listen(PORT).expect("the port is free"),
            relay,
            alice,
            bob,
            listener,
            runtime: world.runtime(),
        }
    }

    /// Alice calls Bob. Streams that Mallory opened arrive before hers.
    async fn call(&mut self) {
        let listener = &mut self.listener;
        let alice = &self.alice;
        let answering = async {
            loop {
                let mut stream = listener.accept().await.expect("Bob listens");
                let from = stream.remote().key;
                if from != key(ALICE) {
                    assert_eq!(from, key(MALLORY), "a stream in another's name");
                    continue;
                }
                let mut byte = [0];
                stream.read_exact(&mut byte).await.expect("Alice writes");
                return byte;
            }
        };
        let calling = async {
            let mut stream = alice.dial(at(BOB, PORT)).await.expect("Bob is there");
            stream.write_all(&[7]).await.expect("Bob reads");
            stream.close().await.expect("it is open");
            stream
        };
        let call = futures::future::join(answering, calling);
        let (byte, _stream) = within(&self.runtime, SOON, call).await.expect("soon");
        assert_eq!(byte, [7]);
    }
}

/// A client with a session that does anything.
struct Mallory {
    session: Arc<DmsgSession>,
    incoming: Incoming,
    runtime: VirtualRuntime,
    streams: Vec<Stream>,
    last: Option<SignedObject>,
    made: u8,
}

impl Mallory {
    async fn new(world: &VirtualTime) -> Self {
        let runtime = world.host(ip(MALLORY));
        let relay = SocketAddr::new(ip(RELAY), 80);
        let connection = runtime.connect(relay).await.expect("the relay listens");
        let own = secret(MALLORY);
        let ephemeral = Ephemeral::from_entropy(&[99; 32]);
        let config = SessionConfig::default();
        let made = dmsg_session::connect(connection, &own, key(RELAY), ephemeral, &config);
        let Established {
            session,
            incoming,
            driver,
        } = made.await.expect("the relay accepts");
        runtime.spawn(Box::pin(async move { drop(driver.await) }));
        Self {
            session: Arc::new(session),
            incoming,
            runtime,
            streams: Vec::new(),
            last: None,
            made: 0,
        }
    }

    async fn act(&mut self, cast: &Cast, mut script: Cursor<'_>) {
        for _ in 0..MOST_DEEDS {
            let Some(deed) = script.next() else { return };
            match deed {
                240..=247 => self.ping(deed & 1 != 0, &mut script).await,
                248.. => {
                    let object = self.announce(&mut script);
                    self.send(object).await;
                }
                _ => self.do_by_number(deed % 9, cast, &mut script).await,
            }
            let pause = Duration::from_millis(script.byte().into());
            self.runtime.sleep(pause).await;
        }
    }

    async fn do_by_number(&mut self, deed: u8, cast: &Cast, script: &mut Cursor<'_>) {
        match deed {
            0 => {
                let object = self.request(script);
                self.send(object).await;
            }
            1 => {
                let object = damaged(&self.request(script), script);
                self.send(object).await;
            }
            2 => self.send(object(script.short())).await,
            3 => {
                let last = self.last.clone();
                self.send(last).await;
            }
            4 => {
                let bytes = script.short().to_vec();
                self.raw(&bytes, false).await;
            }
            5 => {
                let bytes = script.short().to_vec();
                self.raw(&bytes, true).await;
            }
            6 => drop(self.streams.pop()),
            7 => {
                if let Some(stream) = self.streams.last_mut() {
                    let _ = within(&self.runtime, SOON, stream.close()).await;
                }
            }
            _ => self.be_asked(cast, script).await,
        }
    }

    /// A ping is answered with the same bytes, and its stream ends. It is sent in one piece or two.
    async fn ping(&mut self, in_pieces: bool, script: &mut Cursor<'_>) {
        let pause = Duration::from_millis(u64::from(script.byte()) * 10);
        let pinging = async {
            let mut stream = self.session.mux().open().await.ok()?;
            stream.write_all(&[0]).await.ok()?;
            if in_pieces {
                stream.flush().await.ok()?;
                self.runtime.sleep(pause).await;
            }
            stream.write_all(&[0]).await.ok()?;
            stream.flush().await.ok()?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.ok()?;
            Some(answer)
        };
        let answer = within(&self.runtime, SOON, pinging).await.flatten();
        assert_eq!(answer.as_deref(), Some(&[0, 0][..]), "a ping");
    }

    /// An announcement of a server, in her own name or another.
    fn announce(&mut self, script: &mut Cursor<'_>) -> Option<SignedObject> {
        let bits = script.byte();
        let [source, signer] = [bits & 1, bits & 2].map(|bit| match bit {
            0 => MALLORY,
            _ => BOB,
        });
        let announce = PeerAnnounce {
            timestamp: i64::from(bits >> 2),
            source: *key(source).as_bytes(),
        };
        Some(announce.sign(&secret(signer)))
    }

    /// A correct request, except for changes that the script makes.
    fn request(&mut self, script: &mut Cursor<'_>) -> Option<SignedObject> {
        let bits = script.byte();
        let to = [BOB, RELAY, MALLORY, ALICE, 9][usize::from(bits & 7) % 5];
        let source = match bits & 8 {
            0 => MALLORY,
            _ => ALICE,
        };
        let port = match bits & 16 {
            0 => PORT,
            _ => script.u16(),
        };
        self.made = self.made.wrapping_add(1);
        let noise = match bits & 32 {
            0 => {
                let ephemeral = Ephemeral::from_entropy(&[self.made | 1; 32]);
                let own = secret(MALLORY);
                let mut handshake = Handshake::kk_initiator(&own, &key(to), ephemeral).ok()?;
                let mut noise = Vec::new();
                handshake.write_message(&mut noise).ok()?;
                noise
            }
            _ => script.short().to_vec(),
        };
        let request = StreamRequest {
            timestamp: match bits & 64 {
                0 => 1 + i64::from(self.made),
                _ => i64::from_be_bytes(script.array()),
            },
            source: at(source, 50_000).into(),
            destination: at(to, port).into(),
            ip_info: bits & 128 != 0,
            noise,
        };
        Some(request.sign(&secret(MALLORY)))
    }

    /// Opens a stream with an object and keeps the stream.
    async fn send(&mut self, object: Option<SignedObject>) {
        let Some(object) = object else { return };
        let sending = async {
            let mut stream = self.session.mux().open().await.ok()?;
            self.session.write_object(&mut stream, &object).await.ok()?;
            Some(stream)
        };
        let sent = within(&self.runtime, SOON, sending).await.flatten();
        self.streams.extend(sent);
        self.last = Some(object);
    }

    /// Sends raw bytes on an earlier stream or a new one.
    async fn raw(&mut self, bytes: &[u8], fresh: bool) {
        if fresh || self.streams.is_empty() {
            let opening = self.session.mux().open();
            let opened = within(&self.runtime, SOON, opening).await;
            self.streams.extend(opened.and_then(Result::ok));
        }
        if let Some(stream) = self.streams.last_mut() {
            let writing = async {
                stream.write_all(bytes).await?;
                stream.flush().await
            };
            let _ = within(&self.runtime, SOON, writing).await;
        }
    }

    /// Alice requests a stream to Mallory, who answers in some way.
    async fn be_asked(&mut self, cast: &Cast, script: &mut Cursor<'_>) {
        let dialling = within(&self.runtime, SOON, cast.alice.dial(at(MALLORY, PORT)));
        let (session, incoming) = (&self.session, &mut self.incoming);
        let (how, answer) = (script.byte(), script.short());
        let mut change = *script;
        let answering = async {
            let mut stream = incoming.next().await?;
            let asked = session.read_object(&mut stream).await.ok()?;
            let honest = accepting(&asked);
            let object = match how % 4 {
                0 => honest,
                1 => damaged(&honest, &mut change),
                2 => object(answer),
                _ => refusing(&asked, how),
            }?;
            session.write_object(&mut stream, &object).await.ok()?;
            Some(stream)
        };
        let answering = within(&self.runtime, SOON, answering);
        let (dialled, answered) = futures::future::join(dialling, answering).await;
        *script = change;
        if let Some(Ok(stream)) = dialled {
            assert_eq!(stream.remote(), at(MALLORY, PORT));
        }
        self.streams.extend(answered.flatten());
    }
}

fn object(bytes: &[u8]) -> Option<SignedObject> {
    SignedObject::from_bytes(bytes.to_vec()).ok()
}

fn damaged(honest: &Option<SignedObject>, script: &mut Cursor<'_>) -> Option<SignedObject> {
    let mut bytes = honest.as_ref()?.as_bytes().to_vec();
    let at = usize::from(script.u16()) % bytes.len();
    bytes[at] ^= script.byte();
    let keep = bytes.len() - usize::from(script.byte() & 1) * at;
    object(&bytes[..keep])
}

/// The correct answer of Mallory.
fn accepting(asked: &SignedObject) -> Option<SignedObject> {
    let request = asked.verify_request().ok()?;
    let ephemeral = Ephemeral::from_entropy(&[55; 32]);
    let from = request.source.key;
    let mut handshake = Handshake::kk_responder(&secret(MALLORY), &from, ephemeral).ok()?;
    handshake.read_message(&request.noise).ok()?;
    let mut noise = Vec::new();
    handshake.write_message(&mut noise).ok()?;
    let response = StreamResponse {
        request_hash: asked.hash(),
        accepted: true,
        noise,
        ..StreamResponse::default()
    };
    Some(response.sign(&secret(MALLORY)))
}

fn refusing(asked: &SignedObject, code: u8) -> Option<SignedObject> {
    let response = StreamResponse {
        request_hash: asked.hash(),
        error_code: 256 + u16::from(code),
        ..StreamResponse::default()
    };
    Some(response.sign(&secret(MALLORY)))
}
