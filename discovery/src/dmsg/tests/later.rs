//! Features added after the discovery of April 2026.

use std::collections::BTreeMap;

use skydht_core::key::PublicKey;
use skydht_dmsg::discovery::{AVAILABLE_LIFE, CLIENT_LIFE, MOST_DELEGATED};

use super::*;

fn key(n: u32) -> PublicKey {
    secret(n).public()
}

/// An entry of a client and server with one key, and a timestamp that is invalid for a server
/// alone.
fn both(n: u32, sequence: u64) -> SignedEntry {
    let secret = secret(n);
    let mut entry = Entry::new(secret.public(), sequence, 5);
    entry.client = Some(ClientFields {
        delegated_servers: Some(vec![key(99)]),
    });
    entry.client_type = "visor".to_owned();
    entry.server = Some(ServerFields {
        address: "192.0.2.1:80".to_owned(),
        available_sessions: 9,
        ..ServerFields::default()
    });
    entry.sign(&secret)
}

fn client_of(n: u32, servers: impl IntoIterator<Item = u32>) -> SignedEntry {
    let secret = secret(n);
    let mut entry = Entry::new(secret.public(), 0, 5);
    entry.client = Some(ClientFields {
        delegated_servers: Some(servers.into_iter().map(key).collect()),
    });
    entry.sign(&secret)
}

impl World {
    fn available(&mut self) -> Vec<PublicKey> {
        match self.call(&Call::AvailableServers) {
            Ok(Answer::Servers(servers)) => servers.iter().map(|it| it.entry().key).collect(),
            Err(AnswerError::Refused(Refusal::NoServers)) => Vec::new(),
            other => panic!("{other:?}"),
        }
    }

    fn send(&mut self, method: Method, path: &str, body: &[u8]) -> web::Response {
        let request = web::request(method, path, body.to_vec());
        self.discovery.handle(self.now, &request)
    }

    fn text(&mut self, path: &str) -> String {
        let response = self.send(Method::GET, path, b"");
        assert_eq!(response.status(), 200, "{path}");
        String::from_utf8(response.into_body()).unwrap()
    }
}

/// Go treats `null` as absent, both as a whole entry and as a member.
#[test]
fn null_is_nothing_wherever_it_stands() {
    let mut world = World::new();
    for body in ["null", " null\n"] {
        assert_eq!(world.post(body.as_bytes()), 422, "{body}");
        let path = "/dmsg-discovery/entry";
        let removed = world.send(Method::DELETE, path, body.as_bytes());
        assert_eq!(removed.status(), 422, "{body}");
    }
    let text = String::from_utf8(client(1, 0).json().to_vec()).unwrap();
    let (head, signature) = text.split_once(",\"signature\":").unwrap();
    let signature = signature.trim_end_matches('}');
    let member = format!("{head},\"signature\":null}}");
    assert_eq!(world.post(member.as_bytes()), 422);
    for name in ["version", "static"] {
        let begin = text.find(&format!("\"{name}\":")).unwrap() + name.len() + 3;
        let end = begin + text[begin..].find(',').unwrap();
        let without = format!("{}null{}", &text[..begin], &text[end..]);
        assert_eq!(world.post(without.as_bytes()), 422, "{without}");
    }
    // Neither Go nor this crate includes such members in the signed bytes.
    let nulls = format!(
        "{head},\"client_type\":null,\"server\":null,\"signature\":{signature},\"protocol\":null}}"
    );
    assert_eq!(world.post(nulls.as_bytes()), 200);
    let stats = world.discovery.stats();
    assert_eq!((stats.invalid, stats.malformed, stats.set), (7, 0, 1));
    let server = server(2, at(0));
    let text = String::from_utf8(server.json().to_vec()).unwrap();
    let nulls = text.replace(
        "\"availableSessions\":9",
        "\"address_v6\":null,\"availableSessions\":9,\"serverType\":null,\"dht_bootstrap\":null",
    );
    assert_eq!(world.post(nulls.as_bytes()), 200);
}

/// The discovery changes only the type of a server, and preserves members of later versions and the
/// order that the owner signed.
#[test]
fn what_the_discovery_does_not_know_survives_its_rewriting() {
    let mut world = World::new();
    let secret = secret(1);
    let plain = server(1, at(0));
    let text = String::from_utf8(plain.json().to_vec()).unwrap();
    let signed = |text: &str| {
        let (head, tail) = text.split_once(",\"signature\":\"").unwrap();
        let unsigned = format!("{head}{}", &tail[131..]);
        let digest = <sha2::Sha256 as sha2::Digest>::digest(&unsigned).into();
        let signature = secret.sign(&digest);
        format!("{head},\"signature\":\"{signature}\"{}", &tail[131..])
    };
    for (members, stored) in [
        (
            "\"availableSessions\":9,\"address_wt\":\"192.0.2.1:81\",\"cert_hash_wt\":\"00ff\"",
            "\"availableSessions\":9,\"serverType\":\"official\",\"address_wt\":\"192.0.2.1:81\",\"cert_hash_wt\":\"00ff\"",
        ),
        (
            "\"later\":{\"z\":[1,null],\"a\":2},\"availableSessions\":9",
            "\"later\":{\"z\":[1,null],\"a\":2},\"availableSessions\":9,\"serverType\":\"official\"",
        ),
    ] {
        let text = text.replace("\"availableSessions\":9", members);
        let text = signed(&text.replace(",\"signature\"", ",\"top\":[7],\"signature\""));
        assert_eq!(world.post(text.as_bytes()), 200);
        let Ok(Answer::Entry(held)) = world.call(&Call::Entry(key(1))) else {
            panic!("no entry");
        };
        let held_text = String::from_utf8(held.json().to_vec()).unwrap();
        assert!(held_text.contains(stored), "{held_text}");
        assert!(held_text.contains(",\"top\":[7],"), "{held_text}");
        // Readers can verify the owner's signature, which covers everything.
        assert_eq!(held.verify_stored(), Ok(()));
        let moved = held_text.replace("192.0.2.1:80", "192.0.2.2:80");
        let moved = SignedEntry::from_json(moved.as_bytes()).unwrap();
        assert!(moved.verify_stored().is_err());
        world.call(&Call::Remove(plain.clone())).unwrap();
    }
}

#[test]
fn a_client_that_is_a_server_too_has_the_clients_life_and_no_clock() {
    let mut world = World::new();
    assert_eq!(world.publish(&both(1, 0)), Ok(Answer::Set));
    assert_eq!(world.publish(&both(1, 1)), Ok(Answer::Updated));
    assert_eq!(world.available(), [key(1)]);
    assert_eq!(
        world.call(&Call::Visors),
        Ok(Answer::Keys(vec![key(1)])),
        "a client"
    );
    // Its server part has not been renewed for three intervals.
    world.now.mono = Mono(nanos(AVAILABLE_LIFE) - 1);
    assert_eq!(world.available(), [key(1)]);
    world.now.mono = Mono(nanos(AVAILABLE_LIFE));
    assert_eq!(world.available(), []);
    let Ok(Answer::Servers(all)) = world.call(&Call::AllServers) else {
        panic!("no server");
    };
    assert_eq!(all.len(), 1);
    assert!(world.finds(1));
    world.publish(&both(1, 2)).unwrap();
    assert_eq!(world.available(), [key(1)]);
    let written = world.now.mono;
    world.now.mono = Mono(written.plus(CLIENT_LIFE).0 - 1);
    assert!(world.finds(1));
    world.now.mono = written.plus(CLIENT_LIFE);
    assert!(!world.finds(1));
    assert_eq!(world.discovery.stats().servers, 0);
    // First one part, then the other, under one key.
    world.now = at(4000);
    world.publish(&server(2, at(4000))).unwrap();
    let (mut halves, mut alone) = (both(2, u64::MAX / 2), client(2, u64::MAX / 2 + 1));
    world.refuses(&halves, Refusal::Invalid(EntryError::Timestamp));
    for entry in [&mut halves, &mut alone] {
        let mut later = entry.entry().clone();
        later.timestamp = at(4001).unix.0 as i64;
        *entry = later.sign(&secret(2));
    }
    world.publish(&halves).unwrap();
    assert_eq!(world.discovery.stats().servers, 1);
    world.publish(&alone).unwrap();
    assert_eq!(world.discovery.stats().servers, 0);
}

#[test]
fn entries_of_several_keys_are_answered_together() {
    let mut world = World::new();
    world.publish(&client(1, 0)).unwrap();
    world.publish(&server(2, at(0))).unwrap();
    let Ok(Answer::Entries(entries)) =
        world.call(&Call::Batch(vec![key(2), key(1), key(3), key(1)]))
    else {
        panic!("no entries");
    };
    assert_eq!(entries.keys().collect::<Vec<_>>().len(), 2);
    assert_eq!(entries[&key(1)], client(1, 0));
    assert_eq!(entries[&key(2)].verify_stored(), Ok(()));
    let none = world.call(&Call::Batch(Vec::new()));
    assert_eq!(none, Ok(Answer::Entries(BTreeMap::new())));
    let path = "/dmsg-discovery/entries/batch";
    let most = Call::Batch(vec![key(1); MOST_ASKED]).write().into_body();
    let more = Call::Batch(vec![key(1); MOST_ASKED + 1]);
    let more = more.write().into_body();
    for (body, status) in [
        (&most[..], 200),
        (&more, 400),
        (b"", 400),
        (b"{}", 400),
        (b"[\"zz\"]", 400),
        (&[b' '; MAX_REQUEST + 1], 413),
    ] {
        let response = world.send(Method::POST, path, body);
        assert_eq!(response.status(), status);
    }
    assert_eq!(world.send(Method::GET, path, b"").status(), 405);
}

/// The request must not determine the size of the response.
#[test]
fn a_batch_of_long_entries_is_refused_before_it_is_written() {
    let mut world = World::new();
    let long = |n| {
        let secret = secret(n);
        let mut entry = Entry::new(secret.public(), 0, 5);
        entry.client = Some(ClientFields::default());
        entry.client_type = "x".repeat(60_000);
        entry.sign(&secret)
    };
    for n in 0..70 {
        world.publish(&long(n)).unwrap();
    }
    let some = Call::Batch((0..69).map(key).collect());
    assert!(matches!(world.call(&some), Ok(Answer::Entries(them)) if them.len() == 69));
    let all = Call::Batch((0..70).map(key).collect());
    assert_eq!(world.call(&all), Err(Refusal::TooLong.into()));
}

#[test]
fn clients_are_listed_by_server_and_collected_every_fifteen_seconds() {
    let mut world = World::new();
    world.publish(&client_of(1, [8, 9])).unwrap();
    world.publish(&client_of(2, [9, 9])).unwrap();
    world.publish(&client(3, 0)).unwrap();
    let of_nine = format!("/dmsg-discovery/server/{}/clients", key(9));
    let mut both = [key(1), key(2)];
    both.sort();
    let list = |keys: &[PublicKey]| serde_json::to_string(keys).unwrap();
    assert_eq!(world.text(&of_nine), list(&both));
    let unknown = format!("/dmsg-discovery/server/{}/clients", key(7));
    assert_eq!(world.text(&unknown), "null");
    assert_eq!(
        world.call(&Call::ClientsOf(key(7))),
        Ok(Answer::ClientsOf(Vec::new()))
    );
    let all = BTreeMap::from([(key(8), vec![key(1)]), (key(9), both.to_vec())]);
    let text = serde_json::to_string(&all).unwrap();
    assert_eq!(world.text("/dmsg-discovery/servers/clients"), text);
    assert_eq!(
        world.call(&Call::ClientsByServer),
        Ok(Answer::ClientsByServer(all))
    );
    world.call(&Call::Remove(client_of(1, [8, 9]))).unwrap();
    world.now = at(14);
    assert_eq!(world.text(&of_nine), list(&both));
    world.now = at(15);
    assert_eq!(world.text(&of_nine), list(&[key(2)]));
    // Only as many servers of a client count as are dialled.
    world.publish(&client_of(4, 100..200)).unwrap();
    world.now = at(30);
    let Ok(Answer::ClientsByServer(all)) = world.call(&Call::ClientsByServer) else {
        panic!("no clients");
    };
    assert_eq!(all.len(), 1 + MOST_DELEGATED);
    for (method, path, status) in [
        (Method::GET, "/dmsg-discovery/server/zz/clients", 400),
        (Method::GET, "/dmsg-discovery/server//clients", 400),
        (Method::GET, "/dmsg-discovery/server/a/b/clients", 404),
        (Method::GET, "/dmsg-discovery/server/clients", 404),
        (Method::POST, "/dmsg-discovery/servers/clients", 405),
        (Method::POST, &of_nine, 405),
    ] {
        assert_eq!(world.send(method, path, b"").status(), status, "{path}");
    }
}

#[test]
fn callers_over_dmsg_are_rate_limited_and_http_callers_are_not() {
    let mut world = World::new();
    let ask = Call::Clients.write();
    let (now, mut statuses) = (world.now, BTreeMap::<u16, u32>::new());
    for _ in 0..300 {
        let response = world.discovery.handle_from(now, Caller::Key(key(1)), &ask);
        *statuses.entry(response.status().as_u16()).or_default() += 1;
        if response.status() == 429 {
            assert_eq!(response.headers()["retry-after"], "1");
            let said = Answer::read(&Call::Clients, &response);
            assert_eq!(said, Err(Refusal::RateLimited { retry_after: 1 }.into()));
        }
    }
    assert_eq!(statuses, BTreeMap::from([(200, 200), (429, 100)]));
    for caller in [Caller::Unknown, Caller::Key(key(2))] {
        for _ in 0..150 {
            let response = world.discovery.handle_from(now, caller, &ask);
            assert_eq!(response.status(), 200);
        }
    }
    assert_eq!(world.discovery.stats().rate_limited, 100);
    // Other services use different texts.
    for (status, refusal) in [
        (429, Refusal::RateLimited { retry_after: 1 }),
        (413, Refusal::TooLong),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let response = web::plain(status, "slow down");
        let read = Answer::read(&Call::Clients, &response);
        assert_eq!(read, Err(refusal.into()));
    }
}
