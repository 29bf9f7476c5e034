//! Renewal, repair, deletion and Go holders: rules 2, 5, 6 and 8.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::hand::{Hand, item, key, put};
use super::net::Net;
use crate::item::{Item, MAX_VALUE_LEN, Salt, Seq, Value};
use crate::large::{Draft, Manifest};
use crate::node::*;
use crate::wire::{PeerList, Request, Response, ResponseMessage, Sender};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn owners_renew_and_their_items_outlive_the_ttl_without_new_signatures() {
    let mut net = Net::settled(8, |_, _| {});
    let put = net.put(1, "x", b"v").unwrap();
    net.run_for(HOUR * 9);
    let got = net.get(5, 1, "x", ReadPolicy::Freshest).unwrap();
    assert_eq!(got.item.seq, put.seq, "renewed, not published anew");
    assert!(got.age.unwrap() < HOUR * 2);
    assert!(net.counter(1, Counter::Renewals) >= 6);
}

#[test]
fn own_items_tell_holders_age_and_the_next_renewal() {
    let mut net = Net::settled(4, |_, _| {});
    assert_eq!(net.nodes[1].own_items(net.now), []);
    let put = net.put(1, "x", b"value").unwrap();
    let once = PutOptions {
        once: true,
        ..PutOptions::default()
    };
    net.put_with(1, "once", b"v", once).unwrap();
    let [own] = &net.nodes[1].own_items(net.now)[..] else {
        panic!("only what is renewed");
    };
    assert_eq!(
        (own.target, own.seq, own.value_len),
        (put.target, put.seq, 5)
    );
    assert_eq!((&own.salt, own.holders), (&Salt::from("x"), 3));
    assert!(own.age.unwrap() < Duration::from_secs(1));
    let next = own.next_renewal.unwrap();
    assert!(next <= HOUR + HOUR / 2 && next >= HOUR / 2, "{next:?}");
    net.run_for(HOUR / 4);
    let later = &net.nodes[1].own_items(net.now)[0];
    assert!(later.age.unwrap() >= HOUR / 4);
    assert!(later.next_renewal.unwrap() < next);
    // Without any peer it is kept, and retried within two minutes.
    let mut alone = Net::new(1, |_, _| {});
    alone.run_for(Duration::from_secs(60));
    assert!(alone.put(0, "x", b"v").is_err());
    let own = &alone.nodes[0].own_items(alone.now)[0];
    assert_eq!((own.holders, own.age), (0, None));
    assert!(own.next_renewal.unwrap() < Duration::from_secs(120));
}

/// Publishes `value` as node 1's large record `film`, the chunks before the manifest.
fn put_large(net: &mut Net, before: Option<&Manifest>, value: &[u8], once: bool) -> Manifest {
    let options = PutOptions {
        once,
        ..PutOptions::default()
    };
    let record = Salt::from("film");
    let mut draft = Draft::after(before);
    for chunk in value.chunks(MAX_VALUE_LEN) {
        let n = draft.push(chunk).unwrap();
        let salt = draft.salt(&record, n);
        let salt = core::str::from_utf8(salt.as_bytes()).unwrap();
        net.put_with(1, salt, chunk, options.clone()).unwrap();
    }
    let (manifest, _) = draft.finish(&record);
    net.put_with(1, "film", &manifest.encode(), options)
        .unwrap();
    manifest
}

#[test]
fn chunks_are_renewed_as_long_as_a_manifest_names_them() {
    let mut net = Net::settled(4, |_, _| {});
    let renewed = |net: &Net| -> Vec<Salt> {
        let own = net.nodes[1].own_items(net.now);
        let mut salts: Vec<Salt> = own.into_iter().map(|item| item.salt).collect();
        salts.sort();
        salts
    };
    net.put(1, "film/0/9", b"no chunk of it").unwrap();
    let value = alloc::vec![1; MAX_VALUE_LEN + 1];
    let first = put_large(&mut net, None, &value, false);
    put_large(&mut net, Some(&first), b"short", false);
    // A reader of the previous version may still be reading.
    let all = ["film", "film/0/0", "film/0/1", "film/0/9", "film/1/0"];
    assert_eq!(renewed(&net), all.map(Salt::from));
    // An ordinary value in its place, a tombstone, or a version that is not renewed.
    for n in 0..3 {
        match n {
            0 => drop(net.put(1, "film", b"a poster").unwrap()),
            1 => drop(net.put(1, "film", b"").unwrap()),
            _ => drop(put_large(&mut net, None, &value, true)),
        }
        let mut left: Vec<&str> = Vec::from(["film/0/9"]);
        if n == 0 {
            left.insert(0, "film");
        }
        let left: Vec<Salt> = left.into_iter().map(Salt::from).collect();
        assert_eq!(renewed(&net), left, "{n}");
        put_large(&mut net, None, &value, false);
        assert_eq!(renewed(&net).len(), 4, "{n}");
    }
    net.put(1, "film", b"").unwrap();
    net.run_for(HOUR * 3);
    assert!(net.holders(1, "film/0/0").is_empty());
    assert!(!net.holders(1, "film/0/9").is_empty());
}

#[test]
fn the_items_of_the_dead_disappear_within_their_ttl_and_stay_gone() {
    let mut net = Net::settled(8, |_, _| {});
    net.put(1, "x", b"v").unwrap();
    net.kill(1);
    for _ in 0..8 {
        net.run_for(Duration::from_secs(1000));
        // Readers, repairs and caches must not keep it alive.
        let _ = net.get(5, 1, "x", ReadPolicy::Freshest);
        let _ = net.get(6, 1, "x", ReadPolicy::FirstValid);
    }
    assert!(net.holders(1, "x").is_empty());
    assert!(matches!(
        net.get(5, 1, "x", ReadPolicy::Freshest),
        Err(GetError::NotFound { .. })
    ));
}

#[test]
fn a_put_that_is_not_to_be_renewed_dies_with_its_ttl() {
    let mut net = Net::settled(4, |_, _| {});
    let options = PutOptions {
        once: true,
        ..PutOptions::default()
    };
    net.put_with(1, "x", b"v", options).unwrap();
    net.run_for(HOUR * 2 + Duration::from_secs(60));
    assert!(net.holders(1, "x").is_empty());
}

#[test]
fn a_new_peer_among_the_nearest_is_repaired_by_a_read() {
    let mut net = Net::new(9, |_, _| {});
    net.up[8] = false;
    net.run_for(Duration::from_secs(60));
    net.put(1, "x", b"v").unwrap();
    net.up[8] = true;
    net.input(8, Input::TimerFired);
    // Before it is handed over.
    net.run_for(Duration::from_secs(5));
    assert!(!net.holders(1, "x").contains(&8));
    net.get(2, 1, "x", ReadPolicy::Freshest).unwrap();
    net.run_for(Duration::from_secs(1));
    assert!(net.holders(1, "x").contains(&8), "the read mended it");
    let repairs = net.counter(2, Counter::Repairs);
    assert_eq!(repairs, 1);
    net.get(2, 1, "x", ReadPolicy::Freshest).unwrap();
    assert_eq!(
        net.counter(2, Counter::Repairs),
        repairs,
        "once in a quarter of the TTL"
    );
}

#[test]
fn a_deleted_item_cannot_be_brought_back_by_a_peer_that_kept_it() {
    let mut net = Net::settled(6, |_, _| {});
    let put = net.put(1, "x", b"v").unwrap();
    let target = put.target;
    let kept = Item::clone(
        net.nodes[2]
            .base
            .items
            .store
            .get(net.time(), &target)
            .unwrap()
            .item(),
    );
    net.put(1, "x", b"").unwrap();
    for after in [Duration::from_secs(60), HOUR * 3, HOUR * 20] {
        net.run_for(after);
        let item = alloc::boxed::Box::new(kept.clone());
        let options = PutOptions::default();
        let outcome = net.command(3, Command::PutSigned { item, options });
        assert!(matches!(outcome, Outcome::Put(Err(_))), "{outcome:?}");
        assert!(net.get(4, 1, "x", ReadPolicy::Freshest).is_err());
    }
}

#[test]
fn compare_and_swap_tells_who_was_faster() {
    let mut net = Net::settled(6, |_, _| {});
    let nothing = PutOptions {
        expect: Some(Expected::Nothing),
        ..PutOptions::default()
    };
    let first = net.put_with(1, "x", b"a", nothing.clone()).unwrap();
    let conflict = net.put_with(1, "x", b"b", nothing);
    assert_eq!(
        conflict,
        Err(PutError::Conflict {
            held: Some(first.seq)
        })
    );
    let expect = PutOptions {
        expect: Some(Expected::Version(first.seq)),
        ..PutOptions::default()
    };
    assert!(net.put_with(1, "x", b"b", expect).is_ok());
}

#[test]
fn a_saturated_sequence_is_an_error() {
    let mut net = Net::settled(3, |_, _| {});
    let options = PutOptions {
        seq: Some(Seq(u64::MAX)),
        force: true,
        ..PutOptions::default()
    };
    net.put_with(1, "x", b"last", options).unwrap();
    assert_eq!(net.put(1, "x", b"more"), Err(PutError::SequenceSaturated));
}

#[test]
fn go_holders_get_a_higher_sequence_not_earlier_than_three_quarters_of_an_hour() {
    let mut hand = Hand::new(|_| {});
    hand.introduce(1, Reach::Relayed, false);
    let put = Command::Put {
        salt: Salt::from("x"),
        value: Value::new(b"v"),
        options: PutOptions::default(),
    };
    hand.command(put);
    let first = answer_as_go(&mut hand, 1, Duration::ZERO);
    assert_eq!(first.len(), 1);
    assert!(answer_as_go(&mut hand, 1, Duration::from_secs(44 * 60)).is_empty());
    let second = answer_as_go(&mut hand, 1, Duration::from_secs(17 * 60));
    assert!(
        second.len() == 1 && second[0] > first[0],
        "{first:?} {second:?}"
    );
}

/// Plays a Go node for a while: answers everything without extensions, one request per stream.
/// Returns the sequences that were put.
fn answer_as_go(hand: &mut Hand, peer: usize, during: Duration) -> Vec<Seq> {
    let mut seqs = Vec::new();
    let end = hand.now.plus(during);
    loop {
        for (stream, ..) in hand.wanted() {
            let request = hand.open(stream, Reach::Relayed);
            let response = match request.request {
                Request::Ping => Response::Ping {
                    responder: Sender::of(&key(peer)),
                },
                Request::FindNode { .. } => Response::FindNode {
                    closest: PeerList::default(),
                },
                Request::PutValue { item, .. } => {
                    seqs.push(item.item().unwrap().seq);
                    Response::PutValue {
                        stored: true,
                        error: String::new(),
                    }
                }
                other => panic!("Go does not know {other:?}"),
            };
            hand.reply(
                stream,
                ResponseMessage {
                    ext: None,
                    response,
                },
            );
        }
        let wanted = hand
            .outputs
            .iter()
            .any(|it| matches!(it, Output::OpenStream { .. }));
        if !wanted {
            if hand.now >= end {
                return seqs;
            }
            hand.pass(Duration::from_secs(1));
        }
    }
}

#[test]
fn what_becomes_of_own_items_in_storage_is_asked_back_and_counted() {
    let mut hand = Hand::new(|config| config.storage = true);
    hand.command(Command::Put {
        salt: Salt::from("own"),
        value: Value::new(b"1"),
        options: PutOptions {
            local_only: true,
            ..PutOptions::default()
        },
    });
    hand.ask(1, None, put(&item(1, "x", 1, "theirs"))).unwrap();
    let changes: Vec<(crate::key::PublicKey, ChangeId, bool)> = hand
        .outputs
        .iter()
        .filter_map(|output| match output {
            Output::Persist {
                change,
                what: StoreChange::Keep(record),
                acknowledge,
            } => Some((record.item.key, *change, *acknowledge)),
            _ => None,
        })
        .collect();
    let [(own, first, true), (theirs, second, false)] = changes[..] else {
        panic!("{changes:?}");
    };
    assert_eq!((own, theirs), (key(0), key(1)));
    let acknowledge = |change, durable| Input::Persisted { change, durable };
    hand.input(acknowledge(first, true));
    assert_eq!(hand.counter(Counter::NotDurable), 0);
    hand.input(acknowledge(first, false));
    assert_eq!(hand.counter(Counter::NotDurable), 1);
    let unknown = ChangeId(second.0 + 1);
    assert_eq!(
        hand.try_input(acknowledge(unknown, true)),
        Err(Misuse::UnknownChange(unknown))
    );
}

/// What storage is sent after the node did not admit one of its records.
#[test]
fn storage_forgets_what_it_gave_and_was_not_taken_unless_it_has_something_later() {
    use super::hand::{Hand, item, put};
    use crate::record::StoredRecord;
    let changes = |hand: &mut Hand| {
        let outputs = core::mem::take(&mut hand.outputs);
        let changes = outputs.into_iter().filter_map(|output| match output {
            Output::Persist { what, .. } => Some(what),
            _ => None,
        });
        changes.collect::<alloc::vec::Vec<_>>()
    };
    let now = crate::time::Unix(1_790_000_000_000_000_000);
    let record = |item: &crate::item::Item, expires| StoredRecord {
        target: item.target(),
        item: item.clone(),
        vouched: now,
        expires,
        bound: None,
    };
    for proven in [true, false] {
        let mut hand = Hand::new(|config| config.storage = true);
        let give = |hand: &mut Hand, record: StoredRecord| {
            let record = alloc::boxed::Box::new(record);
            hand.input(Input::Loaded { record, proven });
            hand.run_jobs();
            changes(hand)
        };
        let later = now.plus(Duration::from_secs(3_600));
        let kept = item(1, "kept", 1, "v");
        assert!(give(&mut hand, record(&kept, Some(later))).is_empty());
        let dead = item(1, "dead", 1, "v");
        let long_ago = crate::time::Unix(1_700_000_000_000_000_000);
        let forget = StoreChange::Forget(dead.target());
        assert_eq!(give(&mut hand, record(&dead, Some(long_ago))), [forget]);
        assert!(hand.ask(1, None, put(&item(1, "kept", 2, "w"))).is_some());
        assert_eq!(changes(&mut hand).len(), 1, "the newer one is written");
        assert!(give(&mut hand, record(&kept, Some(later))).is_empty());
    }
}
