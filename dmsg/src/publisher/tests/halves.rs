//! Tests of one key that is a client and a server, each with its own publisher.

use super::*;

fn of_half(
    world: &VirtualTime,
    discovery: &MemoryDiscovery,
    half: Half,
) -> Publisher<VirtualRuntime> {
    let shared = Arc::new(discovery.clone());
    Publisher::new(
        world.runtime(),
        shared,
        secret(),
        half,
        Duration::from_secs(1),
    )
}

fn fill_server(entry: &mut Entry) {
    entry.server = Some(ServerFields {
        address: "192.0.2.4:8080".to_owned(),
        available_sessions: 9,
        ..ServerFields::default()
    });
}

fn fill_visor(entry: &mut Entry) {
    fill(entry);
    entry.client_type = "visor".to_owned();
}

#[test]
fn each_half_keeps_the_other_as_it_is_published_and_as_it_goes() {
    let world = VirtualTime::new(1);
    let discovery = MemoryDiscovery::new(world.runtime());
    let stored = || discovery.get(&secret().public()).unwrap();
    let mut client = of_half(&world, &discovery, Half::Client);
    let mut server = of_half(&world, &discovery, Half::Server);
    let step = || world.advance(Duration::from_secs(1)).unwrap();
    let halves = || {
        let entry = stored().entry().clone();
        assert_eq!(stored().verify(), Ok(()));
        (
            entry.sequence,
            entry.client.is_some(),
            entry.client_type,
            entry.server.is_some(),
        )
    };
    let visor = || "visor".to_owned();
    world
        .run_until(client.publish(fill_visor))
        .unwrap()
        .unwrap();
    assert_eq!(halves(), (0, true, visor(), false));
    step();
    world
        .run_until(server.publish(fill_server))
        .unwrap()
        .unwrap();
    assert_eq!(halves(), (1, true, visor(), true));
    for turn in 0..4 {
        step();
        world
            .run_until(client.publish(fill_visor))
            .unwrap()
            .unwrap();
        step();
        world
            .run_until(server.publish(fill_server))
            .unwrap()
            .unwrap();
        assert_eq!(halves(), (3 + 2 * turn, true, visor(), true));
    }
    // A restart of one process changes nothing for the other.
    let mut client = of_half(&world, &discovery, Half::Client);
    step();
    let last = world.run_until(client.publish(fill)).unwrap().unwrap();
    assert_eq!(halves(), (10, true, String::new(), true));
    step();
    world.run_until(client.withdraw(last)).unwrap();
    assert_eq!(halves(), (11, false, String::new(), true));
    // A half that was removed at the discovery is not restored by the other process.
    step();
    let last = world
        .run_until(server.publish(fill_server))
        .unwrap()
        .unwrap();
    assert_eq!(halves(), (12, false, String::new(), true));
    step();
    world.run_until(server.withdraw(last)).unwrap();
    assert_eq!(discovery.get(&secret().public()), None);
}

/// A discovery that returns the given entry for any key, and records what is published.
struct FixedAnswer {
    stored: Result<SignedEntry, DiscoveryError>,
    posts: Arc<Mutex<Vec<SignedEntry>>>,
}

impl Discovery for FixedAnswer {
    fn entry(&self, _: PublicKey) -> BoxFuture<'static, Result<Entry, DiscoveryError>> {
        Box::pin(std::future::ready(Err(DiscoveryError::NotFound)))
    }

    fn stored(&self, _: PublicKey) -> BoxFuture<'static, Result<SignedEntry, DiscoveryError>> {
        Box::pin(std::future::ready(self.stored.clone()))
    }

    fn servers(&self) -> BoxFuture<'static, Result<Vec<KnownServer>, DiscoveryError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn publish(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        self.posts.lock().unwrap().push(entry);
        Box::pin(std::future::ready(Ok(())))
    }

    fn remove(&self, _: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Returns what a client publishes if the discovery has `stored` for its key.
fn posted(stored: Result<SignedEntry, DiscoveryError>) -> Vec<SignedEntry> {
    let world = VirtualTime::new(1);
    let posts = Arc::default();
    let says = FixedAnswer {
        stored,
        posts: Arc::clone(&posts),
    };
    let limit = Duration::from_secs(1);
    let mut ours = Publisher::new(
        world.runtime(),
        Arc::new(says),
        secret(),
        Half::Client,
        limit,
    );
    let _ = world.run_until(ours.publish(fill)).unwrap();
    let posts = posts.lock().unwrap();
    posts.clone()
}

#[test]
fn sequence_0_is_only_for_a_key_without_an_entry() {
    let posts = posted(Err(DiscoveryError::NotFound));
    assert_eq!(posts[0].entry().sequence, 0);
    for failure in [
        DiscoveryError::Unavailable("429".into()),
        DiscoveryError::Full,
        wrong_signature(),
    ] {
        assert_eq!(posted(Err(failure)), []);
    }
}

#[test]
fn a_half_that_the_key_did_not_sign_is_not_signed() {
    let mut entry = Entry::new(secret().public(), 7, 5);
    fill_server(&mut entry);
    let honest = entry.sign(&secret());
    let posts = posted(Ok(honest.clone()));
    assert_eq!(posts[0].entry().server, honest.entry().server);
    assert_eq!(posts[0].entry().sequence, 8);
    let text = String::from_utf8(honest.json().to_vec()).unwrap();
    for (from, to) in [
        ("192.0.2.4", "192.0.2.66"),
        ("\"server\":{", "\"server\":{\"address_ws\":\"wss://evil\","),
    ] {
        let forged = SignedEntry::from_json(text.replace(from, to).as_bytes()).unwrap();
        let posts = posted(Ok(forged));
        assert_eq!(
            (posts[0].entry().server.clone(), posts[0].entry().sequence),
            (None, 8)
        );
    }
    // Unknown members that the signature does not cover are dropped.
    let padded = text.replace("\"version\"", "\"later\":1,\"version\"");
    let posts = posted(Ok(SignedEntry::from_json(padded.as_bytes()).unwrap()));
    let posted = String::from_utf8(posts[0].json().to_vec()).unwrap();
    assert!(posts[0].entry().server.is_some() && !posted.contains("later"));
}
