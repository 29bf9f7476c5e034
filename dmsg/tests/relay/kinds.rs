//! Tests of the kinds of sessions: a client's, a server's, or one that is refused.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _};
use skydht_core::key::PublicKey;
use skydht_dmsg::discovery::{Discovery, DiscoveryError, KnownServer, MemoryDiscovery};
use skydht_dmsg::entry::{Entry, EntryError, SignedEntry};
use skydht_dmsg::handshake::Handshake;
use skydht_dmsg::object::{ErrorCode, PeerAnnounce, SignedObject};
use skydht_dmsg::server::{Notice, Notify, Server};
use skydht_runtime::virtual_time::VirtualRuntime;
use skydht_runtime::{BoxFuture, Runtime as _};

use crate::raw::{Raw, accepting, classical, request, signed};
use crate::world::{PORT, World, at, ip, key, secret};

fn announce(n: u8) -> SignedObject {
    let announce = PeerAnnounce {
        timestamp: 5,
        source: *key(n).as_bytes(),
    };
    announce.sign(&secret(n))
}

impl World {
    /// Announces the server `n` over a session of its own, and returns the answer.
    fn announce(&self, n: u8, link: &Raw) -> (bool, u16) {
        let object = announce(n);
        let (mut stream, answer) = self.run(link.send(&object));
        let answer = answer.expect("an answer to the announcement");
        let response = answer.verify_response(&object.hash(), &key(1)).unwrap();
        assert!(response.noise.is_empty());
        // Only the stream ends.
        assert_eq!(self.run(stream.read(&mut [0])).unwrap(), 0);
        assert!(!link.session.mux().is_closed());
        (response.accepted, response.error_code)
    }

    /// Returns whether a stream dialled to `to` arrives at this session.
    fn reaches(&self, server: &Server<VirtualRuntime>, to: u8, session: &mut Raw) -> bool {
        let dialling = server.dial(at(to, 7));
        let answering = async {
            let (mut stream, object) = session.accept().await;
            let answer = accepting(to, 1, &object).sign(&secret(to));
            let sent = session.session.write_object(&mut stream, &answer);
            sent.await.unwrap();
            stream
        };
        self.run(join(dialling, answering)).0.is_ok()
    }
}

/// A Go server is also a client of other servers, under the same key. Neither of its two sessions
/// ends the other, in whatever order they are established or replaced.
#[test]
fn a_server_that_is_a_client_too_keeps_both_sessions() {
    let world = World::new();
    let server = world.server(1);
    let mut client = world.raw_client(2, 1);
    for round in 0..3 {
        let link = world.raw_newcomer(2, 1);
        assert_eq!(world.announce(2, &link), (true, 0));
        world.sleep(Duration::from_secs(20));
        assert!(!client.session.mux().is_closed() && !link.session.mux().is_closed());
        assert!(world.reaches(&server, 2, &mut client), "{round}");
        // The newest of a kind replaces only one of its own kind.
        let newer = world.raw_newcomer(2, 1);
        assert_eq!(world.announce(2, &newer), (true, 0));
        world.run(link.session.mux().closed());
        let replaced = std::mem::replace(&mut client, world.raw_client(2, 1));
        world.run(replaced.session.mux().closed());
        assert!(!newer.session.mux().is_closed());
        assert!(world.reaches(&server, 2, &mut client), "{round}");
        drop(newer);
        world.until("the link has ended", || server.stats().sessions == 1);
    }
    let stats = server.stats();
    assert_eq!((stats.peers_accepted, stats.peers_refused), (6, 0));
    assert_eq!((stats.superseded, stats.invalid_requests), (6, 0));
}

/// A link announces itself shortly after it was established; until then it ends no other session. A
/// client that only waits to be dialled sends nothing: after a while its session replaces the older
/// one.
#[test]
fn a_session_that_says_nothing_is_a_clients_after_a_while() {
    let world = World::new();
    let server = world.server(1);
    let old = world.raw_client(2, 1);
    let mut silent = world.raw_newcomer(2, 1);
    world.sleep(Duration::from_secs(2));
    assert_eq!((server.stats().sessions, server.stats().superseded), (2, 0));
    // It is used for dials already, since the older one may be a dead connection.
    assert!(world.reaches(&server, 2, &mut silent));
    world.run(old.session.mux().closed());
    assert_eq!((server.stats().sessions, server.stats().superseded), (1, 1));
    assert!(world.reaches(&server, 2, &mut silent));
    // A ping does not decide the kind, either.
    let pinging = world.raw_newcomer(2, 1);
    world.run(async {
        let mut stream = pinging.session.mux().open().await.unwrap();
        stream.write_all(&[0, 0]).await.unwrap();
        stream.flush().await.unwrap();
        stream.read_exact(&mut [0; 2]).await.unwrap();
    });
    assert!(!silent.session.mux().is_closed());
    assert_eq!(world.announce(2, &pinging), (true, 0));
    world.sleep(Duration::from_secs(10));
    assert!(world.reaches(&server, 2, &mut silent));
}

#[test]
fn links_beyond_the_limit_are_refused_with_the_reason_and_end_no_other_session() {
    let world = World::new();
    let mut config = World::server_config(1);
    config.max_peers = 1;
    let server = world.server_with(1, config);
    let mut client = world.raw_client(3, 1);
    let first = world.raw_newcomer(2, 1);
    assert_eq!(world.announce(2, &first), (true, 0));
    let second = world.raw_newcomer(3, 1);
    let refused = (false, ErrorCode::RelayCapacity.number());
    for _ in 0..3 {
        assert_eq!(world.announce(3, &second), refused);
        world.sleep(Duration::from_secs(10));
    }
    assert!(world.reaches(&server, 3, &mut client));
    // The same server again is not an additional one, and a session that ended makes room.
    let again = world.raw_newcomer(2, 1);
    assert_eq!(world.announce(2, &again), (true, 0));
    assert_eq!(world.announce(2, &again), (true, 0));
    drop((first, again));
    world.until("the link has ended", || server.stats().sessions == 2);
    assert_eq!(world.announce(3, &second), (true, 0));
    let stats = server.stats();
    assert_eq!((stats.peers_accepted, stats.peers_refused), (4, 3));
}

#[test]
fn an_announcement_in_anothers_name_is_none() {
    let world = World::new();
    let server = world.server(1);
    let client = world.raw_client(2, 1);
    let other = PeerAnnounce {
        timestamp: 5,
        source: *key(3).as_bytes(),
    };
    let own = PeerAnnounce {
        timestamp: 5,
        source: *key(2).as_bytes(),
    };
    for object in [
        other.sign(&secret(3)),
        other.sign(&secret(2)),
        own.sign(&secret(3)),
        PeerAnnounce::default().sign(&secret(2)),
    ] {
        assert_eq!(world.run(client.ask(&object)), None);
    }
    let stats = server.stats();
    assert_eq!((stats.invalid_requests, stats.peers_accepted), (4, 0));
    assert!(!client.session.mux().is_closed());
    // What it signed itself is valid, whatever the process encoded before.
    let gob = own.to_gob_numbered(700);
    assert_eq!(PeerAnnounce::from_gob(&gob), Ok(own));
    // A request is not an announcement.
    let object = signed(2, at(1, 7), 5);
    assert_eq!(object.verify_announce(&key(2)), Ok(None));
}

#[test]
fn a_server_passes_on_requests_of_others_and_a_client_does_not() {
    let world = World::new();
    let server = world.server(1);
    let mut bob = world.raw_client(3, 1);
    let (client, link) = (world.raw_client(2, 1), world.raw_newcomer(2, 1));
    assert_eq!(world.announce(2, &link), (true, 0));
    // A request of a client of the other server, without a session here.
    let object = signed(4, at(3, 7), 5);
    assert_eq!(world.run(client.ask(&object)), None);
    assert!(bob.incoming.next().now_or_never().is_none());
    let answering = async {
        let (mut stream, came) = bob.accept().await;
        assert_eq!(came, object);
        let answer = accepting(3, 4, &came).sign(&secret(3));
        let sent = bob.session.write_object(&mut stream, &answer);
        sent.await.unwrap();
        stream
    };
    let ((_held, answer), _there) = world.run(join(link.send(&object), answering));
    let response = answer.unwrap().verify_response(&object.hash(), &key(3));
    assert!(response.unwrap().accepted);
    // The source is elsewhere, so a question for its address cannot be answered by this session's.
    let mut question = request(at(4, 50_000), at(1, 1), 6).0;
    question.ip_info = true;
    assert_eq!(world.run(link.ask(&question.sign(&secret(4)))), None);
    // Only one hop, and only with the source's signature.
    let forged = request(at(4, 50_000), at(3, 7), 7).0.sign(&secret(2));
    assert_eq!(world.run(link.ask(&forged)), None);
    let stats = server.stats();
    assert_eq!((stats.passed_on, stats.relayed), (1, 1));
    assert_eq!(stats.invalid_requests, 3);
}

/// The notices that a server has sent.
#[derive(Clone, Default)]
struct Notices(Arc<Mutex<Vec<Notice>>>);

impl Notices {
    fn notify(&self) -> Notify {
        let recorded = Arc::clone(&self.0);
        Notify::new(move |notice: &Notice| recorded.lock().unwrap().push(notice.clone()))
    }

    fn take(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// The first bytes of a smux client, a stream or a keepalive, in version 1 or 2. They are shorter
/// than a header of yamux.
#[test]
fn a_client_that_speaks_smux_is_refused_at_its_first_byte_and_the_operator_notified() {
    let world = World::new();
    let recorded = Notices::default();
    let mut config = World::server_config(1);
    config.notify = recorded.notify();
    let server = world.server_with(1, config);
    let firsts: [&[u8]; 4] = [
        &[2, 0, 0, 0, 1, 0, 0, 0],
        &[2, 3, 0, 0, 0, 0, 0, 0],
        &[1, 0, 0, 0, 1, 0, 0, 0],
        &[2],
    ];
    for (i, first) in firsts.into_iter().enumerate() {
        let begun = world.time.now();
        world.run(async {
            let host = world.host(2);
            let mut tcp = host.connect(SocketAddr::new(ip(1), PORT)).await.unwrap();
            let mut handshake = Handshake::xk_initiator(&secret(2), &key(1), classical(2)).unwrap();
            let mut framed = Vec::new();
            handshake.write_message(&mut framed).unwrap();
            tcp.write_all(&[&[0, 49], &framed[..]].concat())
                .await
                .unwrap();
            let mut second = [0; 51];
            tcp.read_exact(&mut second).await.unwrap();
            handshake.read_message(&second[2..]).unwrap();
            framed.clear();
            handshake.write_message(&mut framed).unwrap();
            tcp.write_all(&[&[0, 65], &framed[..], first].concat())
                .await
                .unwrap();
            let mut rest = Vec::new();
            // The connection ends without an error, before the server has sent anything of yamux.
            tcp.read_to_end(&mut rest).await.unwrap();
            assert!(rest.is_empty());
        });
        assert!(world.time.now() - begun < Duration::from_secs(1), "{i}");
        world.until("it is counted", || {
            server.stats().refused_smux == i as u64 + 1
        });
    }
    let stats = server.stats();
    assert_eq!((stats.sessions, stats.lost), (0, 0));
    let notices = recorded.take();
    let [
        Notice::Smux {
            key: who,
            others: 0,
            ..
        },
    ] = &notices[..]
    else {
        panic!("{notices:?}");
    };
    assert_eq!(*who, key(2));
    assert!(notices[0].to_string().contains("\"protocol\" to \"yamux\""));
}

/// A discovery of October 2024.
#[derive(Clone)]
struct Older(MemoryDiscovery);

impl Discovery for Older {
    fn entry(&self, key: PublicKey) -> BoxFuture<'static, Result<Entry, DiscoveryError>> {
        self.0.entry(key)
    }

    fn stored(&self, key: PublicKey) -> BoxFuture<'static, Result<SignedEntry, DiscoveryError>> {
        self.0.stored(key)
    }

    fn servers(&self) -> BoxFuture<'static, Result<Vec<KnownServer>, DiscoveryError>> {
        self.0.servers()
    }

    fn publish(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        if !entry.entry().has_later_members() {
            return self.0.publish(entry);
        }
        let refused = EntryError::Signature(skydht_core::key::SignatureError::OtherKey);
        Box::pin(std::future::ready(Err(refused.into())))
    }

    fn remove(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        self.0.remove(entry)
    }
}

#[test]
fn a_server_is_ready_at_an_older_discovery_and_says_what_it_left_out() {
    let world = World::new();
    let recorded = Notices::default();
    let mut config = World::server_config(1);
    (config.dht_bootstrap, config.notify) = (true, recorded.notify());
    let older = Older(world.discovery.clone());
    let starting = Server::start(world.host(1), secret(1), [1; 32], older, config);
    let server = world.run(async {
        let server = starting.await.unwrap();
        server.ready().await;
        server
    });
    assert!(world.time.now() < Duration::from_secs(1));
    world.sleep(Duration::from_secs(300));
    let stats = server.stats();
    assert_eq!((stats.publish_failed, stats.plain_entries), (0, 1));
    assert!(stats.published >= 5);
    assert_eq!(recorded.take(), [Notice::PlainEntry]);
    assert!(world.discovery.get(&key(1)).is_some());
}
