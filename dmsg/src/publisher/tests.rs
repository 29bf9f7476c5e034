use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use skydht_core::key::{PublicKey, SignatureError};
use skydht_runtime::BoxFuture;
use skydht_runtime::virtual_time::{VirtualRuntime, VirtualTime};

use super::*;

mod halves;
use crate::discovery::{KnownServer, MemoryDiscovery};
use crate::entry::{ClientFields, ServerFields};

fn secret() -> SecretKey {
    SecretKey::from_bytes(&[1; 32]).unwrap()
}

fn fill(entry: &mut Entry) {
    entry.client = Some(ClientFields::default());
}

fn publisher(world: &VirtualTime, discovery: &MemoryDiscovery) -> Publisher<VirtualRuntime> {
    let limit = Duration::from_secs(1);
    Publisher::new(
        world.runtime(),
        Arc::new(discovery.clone()),
        secret(),
        Half::Client,
        limit,
    )
}

#[test]
fn sequences_continue_where_the_discovery_is() {
    let world = VirtualTime::new(1);
    let discovery = MemoryDiscovery::new(world.runtime());
    let stored = || discovery.get(&secret().public()).unwrap().entry().sequence;
    let (mut first, mut second) = (publisher(&world, &discovery), publisher(&world, &discovery));
    let publish = |by: &mut Publisher<_>| {
        world.advance(Duration::from_secs(1)).unwrap();
        world.run_until(by.publish(fill)).unwrap().unwrap()
    };
    publish(&mut first);
    assert_eq!(stored(), 0);
    publish(&mut first);
    assert_eq!(stored(), 1);
    // Another process with the same key continues above, and the first one follows it.
    publish(&mut second);
    publish(&mut second);
    assert_eq!(stored(), 3);
    publish(&mut first);
    assert_eq!(stored(), 4);
    publish(&mut second);
    assert_eq!(stored(), 5);
}

#[test]
fn a_newer_entry_of_the_same_key_is_left_alone() {
    let world = VirtualTime::new(1);
    let discovery = MemoryDiscovery::new(world.runtime());
    let mut ours = publisher(&world, &discovery);
    world.run_until(ours.publish(fill)).unwrap().unwrap();
    let ahead = world.runtime().clocks().unix + Duration::from_secs(3600);
    let mut newer = Entry::new(secret().public(), 9, ahead.as_nanos() as i64);
    fill(&mut newer);
    let published = discovery.publish(newer.clone().sign(&secret()));
    world.run_until(published).unwrap().unwrap();
    assert!(world.run_until(ours.publish(fill)).unwrap().is_ok());
    let stored = discovery.get(&secret().public()).unwrap();
    assert_eq!(stored.entry().timestamp, newer.timestamp);
}

/// A discovery that never answers.
struct Silent;

impl Discovery for Silent {
    fn entry(&self, _: PublicKey) -> BoxFuture<'static, Result<Entry, DiscoveryError>> {
        Box::pin(std::future::pending())
    }

    fn stored(&self, _: PublicKey) -> BoxFuture<'static, Result<SignedEntry, DiscoveryError>> {
        Box::pin(std::future::pending())
    }

    fn servers(&self) -> BoxFuture<'static, Result<Vec<KnownServer>, DiscoveryError>> {
        Box::pin(std::future::pending())
    }

    fn publish(&self, _: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        Box::pin(std::future::pending())
    }

    fn remove(&self, _: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        Box::pin(std::future::pending())
    }
}

#[test]
fn a_silent_discovery_times_out() {
    let world = VirtualTime::new(1);
    let limit = Duration::from_secs(1);
    let mut ours = Publisher::new(
        world.runtime(),
        Arc::new(Silent),
        secret(),
        Half::Client,
        limit,
    );
    let error = world.run_until(ours.publish(fill)).unwrap().unwrap_err();
    assert!(matches!(error, DiscoveryError::Unavailable(_)));
    assert_eq!(
        world.now(),
        limit,
        "nothing is published over what may be there"
    );
}

/// A discovery of October 2024: it verifies the signature over the members that it knows.
#[derive(Clone)]
struct Older {
    entries: MemoryDiscovery,
    posts: Arc<Mutex<Vec<bool>>>,
    /// Whether it was replaced by a current one.
    is_replaced: Arc<AtomicBool>,
}

impl Discovery for Older {
    fn entry(&self, key: PublicKey) -> BoxFuture<'static, Result<Entry, DiscoveryError>> {
        self.entries.entry(key)
    }

    fn stored(&self, key: PublicKey) -> BoxFuture<'static, Result<SignedEntry, DiscoveryError>> {
        self.entries.stored(key)
    }

    fn servers(&self) -> BoxFuture<'static, Result<Vec<KnownServer>, DiscoveryError>> {
        self.entries.servers()
    }

    fn publish(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        let is_plain = !entry.entry().has_later_members();
        self.posts.lock().unwrap().push(is_plain);
        if is_plain || self.is_replaced.load(Ordering::Relaxed) {
            return self.entries.publish(entry);
        }
        Box::pin(std::future::ready(Err(wrong_signature())))
    }

    fn remove(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        self.entries.remove(entry)
    }
}

fn wrong_signature() -> DiscoveryError {
    EntryError::Signature(SignatureError::OtherKey).into()
}

/// A discovery that rejects every signature.
struct Strict;

impl Discovery for Strict {
    fn entry(&self, _: PublicKey) -> BoxFuture<'static, Result<Entry, DiscoveryError>> {
        Box::pin(std::future::ready(Err(DiscoveryError::NotFound)))
    }

    fn stored(&self, _: PublicKey) -> BoxFuture<'static, Result<SignedEntry, DiscoveryError>> {
        Box::pin(std::future::ready(Err(DiscoveryError::NotFound)))
    }

    fn servers(&self) -> BoxFuture<'static, Result<Vec<KnownServer>, DiscoveryError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn publish(&self, _: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        Box::pin(std::future::ready(Err(wrong_signature())))
    }

    fn remove(&self, _: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        Box::pin(std::future::ready(Err(DiscoveryError::NotFound)))
    }
}

type Change = fn(&mut Entry, &mut ServerFields);

#[test]
fn a_discovery_that_does_not_know_a_member_gets_the_plain_entry_and_that_is_remembered() {
    // Each current optional member that the discovery of October 2024 does not know.
    let changes: [Change; 6] = [
        |_, server| server.dht_bootstrap = true,
        |_, server| server.address_v6 = "[2001:db8::4]:8080".to_owned(),
        |_, server| server.address_udp = "192.0.2.4:8080".to_owned(),
        |_, server| server.address_udp_v6 = "[2001:db8::4]:8080".to_owned(),
        |_, server| server.address_ws = "wss://example.net/dmsg".to_owned(),
        |entry, _| entry.protocol = "yamux".to_owned(),
    ];
    for change in changes {
        let world = VirtualTime::new(1);
        let discovery = Older {
            entries: MemoryDiscovery::new(world.runtime()),
            posts: Arc::default(),
            is_replaced: Arc::default(),
        };
        let limit = Duration::from_secs(1);
        let shared = Arc::new(discovery.clone());
        let mut ours = Publisher::new(world.runtime(), shared, secret(), Half::Server, limit);
        let mut publish = |pause| {
            world.advance(pause).unwrap();
            let filled = |entry: &mut Entry| {
                let mut server = ServerFields {
                    address: "192.0.2.4:8080".to_owned(),
                    available_sessions: 9,
                    server_type: "official".to_owned(),
                    ..ServerFields::default()
                };
                change(entry, &mut server);
                entry.server = Some(server);
            };
            let entry = world.run_until(ours.publish(filled)).unwrap().unwrap();
            assert_eq!(entry.verify(), Ok(()));
            let stored = discovery.entries.get(&secret().public()).unwrap();
            assert_eq!(stored, entry);
            let server = entry.entry().server.clone().unwrap();
            assert_eq!(server.available_sessions, 9);
            assert_eq!(server.server_type, "official");
            std::mem::take(&mut *discovery.posts.lock().unwrap())
        };
        assert_eq!(publish(Duration::ZERO), [false, true]);
        for _ in 0..7 {
            assert_eq!(publish(Duration::from_secs(60)), [true]);
        }
        // Later, the discovery is tried with these members again.
        assert_eq!(publish(PLAIN_LIFE), [false, true]);
        assert_eq!(publish(Duration::from_secs(60)), [true]);
        discovery.is_replaced.store(true, Ordering::Relaxed);
        assert_eq!(publish(PLAIN_LIFE), [false]);
        assert_eq!(publish(Duration::from_secs(60)), [false]);
    }
}

#[test]
fn an_entry_that_is_refused_in_its_plain_form_too_is_not_published_plain() {
    let world = VirtualTime::new(1);
    let limit = Duration::from_secs(1);
    let mut ours = Publisher::new(
        world.runtime(),
        Arc::new(Strict),
        secret(),
        Half::Server,
        limit,
    );
    let filled = |entry: &mut Entry| {
        entry.server = Some(ServerFields {
            address: "192.0.2.4:8080".to_owned(),
            dht_bootstrap: true,
            ..ServerFields::default()
        });
    };
    let refused = world.run_until(ours.publish(filled)).unwrap();
    assert_eq!(refused, Err(wrong_signature()));
    assert_eq!(ours.plain_since, None);
}
