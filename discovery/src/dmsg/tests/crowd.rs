//! Callers that fill the discovery, or replay what others have signed.

use std::net::IpAddr;

use super::*;

fn ip(n: u8) -> IpAddr {
    [192, 0, 2, n].into()
}

impl World {
    fn call_from(&mut self, from: u8, call: &Call) -> Result<Answer, AnswerError> {
        let caller = Caller::Address(ip(from));
        let response = self.discovery.handle_from(self.now, caller, &call.write());
        Answer::read(call, &response)
    }

    fn publish_from(&mut self, from: u8, entry: SignedEntry) -> Result<Answer, AnswerError> {
        let expiring = false;
        self.call_from(from, &Call::Publish { entry, expiring })
    }
}

/// Returns an entry of client `n`, signed `seconds` after the start.
fn client_at(n: u32, seconds: u64) -> SignedEntry {
    let timestamp = i64::try_from(at(seconds).unix.0).unwrap();
    let mut entry = Entry::new(secret(n).public(), seconds, timestamp);
    entry.client = Some(ClientFields::default());
    entry.sign(&secret(n))
}

#[test]
fn entries_of_many_keys_make_room_for_those_of_another_address() {
    let limits = Limits {
        entries: 100,
        servers: 20,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    for n in 0..300 {
        let _ = world.publish_from(1, client_at(n, 0));
    }
    assert_eq!(world.discovery.stats().entries, 100);
    for n in 1_000..1_040 {
        let set = world.publish_from(2, client_at(n, 0));
        assert_eq!(set, Ok(Answer::Set), "{n}");
    }
    assert!((1_000..1_040).all(|n| world.finds(n)));
    for n in 300..400 {
        let again = world.publish_from(1, client_at(n, 0));
        assert_eq!(again, Err(Refusal::Full.into()));
    }
    let stats = world.discovery.stats();
    assert_eq!((stats.entries, stats.displaced), (100, 40));
}

/// Servers have a separate limit, and a single response contains all of them.
#[test]
fn servers_of_many_keys_keep_no_other_from_being_found() {
    let mut world = World::new();
    let now = world.now;
    for n in 0..4_500 {
        let _ = world.publish_from(1, server(n, now));
    }
    assert_eq!(world.discovery.stats().servers, Limits::default().servers);
    for n in 5_000..5_004 {
        let set = world.publish_from(2, server(n, now));
        assert_eq!(set, Ok(Answer::Set), "{n}");
    }
    for _ in 0..10 {
        let Ok(Answer::Servers(open)) = world.call(&Call::AvailableServers) else {
            panic!("no servers");
        };
        let keys: Vec<_> = open.iter().map(|signed| signed.entry().key).collect();
        let honest = (5_000..5_004).filter(|n| keys.contains(&secret(*n).public()));
        assert_eq!(honest.count(), 4);
    }
}

/// Anyone can read an entry and replay it as a request to remove it.
#[test]
fn an_entry_is_removed_only_from_where_it_was_written() {
    let mut world = World::new();
    world.publish_from(1, client_at(1, 5)).unwrap();
    let Ok(Answer::Entry(read)) = world.call(&Call::Entry(secret(1).public())) else {
        panic!("no entry");
    };
    let removed = world.call_from(2, &Call::Remove(read.clone()));
    assert_eq!(
        removed,
        Err(AnswerError::Malformed(
            "HTTP 403 Forbidden, and no reason as a discovery gives it".into()
        ))
    );
    assert!(world.finds(1));
    assert_eq!(world.call_from(1, &Call::Remove(read)), Ok(Answer::Removed));
    assert!(!world.finds(1));
}

#[test]
fn an_entry_that_is_gone_is_not_brought_back_by_a_copy() {
    let mut world = World::new();
    let (old, last) = (client_at(1, 5), client_at(1, 6));
    world.publish(&old).unwrap();
    world.publish(&last).unwrap();
    world.call(&Call::Remove(last.clone())).unwrap();
    for copy in [&old, &last] {
        world.refuses(copy, Refusal::Invalid(EntryError::Timestamp));
    }
    // Its owner starts with a new entry.
    let timestamp = i64::try_from(at(7).unix.0).unwrap();
    let mut entry = Entry::new(secret(1).public(), 0, timestamp);
    entry.client = Some(ClientFields::default());
    let anew = entry.sign(&secret(1));
    assert_eq!(world.publish(&anew), Ok(Answer::Set));
    // The same applies after its expiry.
    world.now = at(3_601);
    assert!(!world.finds(1));
    world.refuses(&anew, Refusal::Invalid(EntryError::Timestamp));
    // After the same time again, nothing is remembered about it.
    world.now = at(7_202);
    assert_eq!(world.publish(&anew), Ok(Answer::Set));
}
