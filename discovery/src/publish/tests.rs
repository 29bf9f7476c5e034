use std::time::Duration;

use skydht_core::item::Salt;
use skydht_core::key::SecretKey;
use skydht_core::time::Mono;

use super::*;

fn id(n: u8) -> RecordId {
    RecordId {
        owner: SecretKey::from_bytes(&[n; 32]).unwrap().public(),
        salt: Salt::from("tp"),
    }
}

fn value(text: &str) -> Content {
    Content::Value(text.as_bytes().to_vec())
}

fn at(seconds: u64) -> Mono {
    Mono(seconds * 1_000_000_000)
}

/// Publishes everything that is due, always successfully.
fn publish_all(publisher: &mut Publisher, now: Mono) -> Vec<(RecordId, Content)> {
    let mut done = Vec::new();
    while let Some(Publication { id, content }) = publisher.poll_output(now) {
        publisher.finished(now, &id, Ok(()));
        done.push((id, content));
    }
    done
}

#[test]
fn changes_alone_go_out_and_the_latest_state_of_each() {
    let mut publisher = Publisher::new(Limits::default());
    publisher.set(at(1), &id(1), value("a")).unwrap();
    publisher.set(at(1), &id(1), value("b")).unwrap();
    publisher
        .set(at(1), &id(2), Content::List(b"[1]".to_vec()))
        .unwrap();
    publisher.set(at(1), &id(3), Content::Gone).unwrap();
    let done = publish_all(&mut publisher, at(1));
    assert_eq!(done.len(), 2);
    assert!(done.contains(&(id(1), value("b"))));
    publisher.set(at(2), &id(1), value("b")).unwrap();
    assert_eq!(publish_all(&mut publisher, at(2)), []);
    assert_eq!(publisher.next_deadline(), None);
    publisher.set(at(3), &id(1), Content::Gone).unwrap();
    assert_eq!(publish_all(&mut publisher, at(3)), [(id(1), Content::Gone)]);
    let stats = publisher.stats();
    assert_eq!((stats.records, stats.waiting), (1, 0));
    assert_eq!((stats.published, stats.deleted), (3, 1));
    assert_eq!((stats.unchanged, stats.coalesced), (1, 1));
    assert_eq!(publisher.waiting_bytes(), 0);
}

#[test]
fn what_changes_while_it_is_under_way_goes_out_after_it() {
    let mut publisher = Publisher::new(Limits::default());
    publisher.set(at(1), &id(1), value("a")).unwrap();
    let first = publisher.poll_output(at(1)).unwrap();
    publisher.set(at(1), &id(1), value("b")).unwrap();
    assert_eq!(publisher.poll_output(at(1)), None, "one at a time");
    publisher.finished(at(2), &first.id, Ok(()));
    let second = publisher.poll_output(at(2)).unwrap();
    assert_eq!(second.content, value("b"));
    // The wanted content becomes the one being published, so that nothing remains to be done.
    publisher.set(at(2), &id(1), value("c")).unwrap();
    publisher.set(at(2), &id(1), value("b")).unwrap();
    publisher.finished(at(3), &second.id, Ok(()));
    assert_eq!(publisher.poll_output(at(3)), None);
    assert_eq!(publisher.stats().waiting, 0);
    // A result for a record that is not being published changes nothing.
    publisher.finished(at(3), &id(9), Err(Failure::Again));
    publisher.finished(at(3), &id(1), Err(Failure::Again));
    assert_eq!(publisher.next_deadline(), None);
}

#[test]
fn a_failure_is_tried_again_later_and_later_and_a_newer_state_immediately() {
    let mut publisher = Publisher::new(Limits::default());
    publisher.set(at(0), &id(1), value("a")).unwrap();
    let mut now = at(0);
    let mut waits = Vec::new();
    for _ in 0..12 {
        let publication = publisher.poll_output(now).unwrap();
        publisher.finished(now, &publication.id, Err(Failure::Again));
        let next = publisher.next_deadline().unwrap();
        assert_eq!(publisher.poll_output(Mono(next.0 - 1)), None);
        waits.push(next.since(now).as_secs());
        now = next;
    }
    assert_eq!(waits[..4], [1, 2, 4, 8]);
    assert_eq!(waits[11], 300);
    publisher.set(now, &id(1), value("b")).unwrap();
    let publication = publisher.poll_output(now).unwrap();
    assert_eq!(publication.content, value("b"));
    publisher.finished(now, &publication.id, Err(Failure::OwnerPublishes));
    let wait = publisher.next_deadline().unwrap().since(now);
    assert_eq!(
        (wait, publisher.stats().of_owner),
        (Duration::from_secs(1800), 1)
    );
    // After a permanent failure, nothing is published until the content changes.
    publisher.set(now, &id(1), value("too long")).unwrap();
    let publication = publisher.poll_output(now).unwrap();
    publisher.finished(now, &publication.id, Err(Failure::Never));
    assert_eq!(publisher.next_deadline(), None);
    publisher.set(now, &id(1), value("too long")).unwrap();
    assert_eq!(publisher.next_deadline(), None);
    publisher.set(now, &id(1), value("short")).unwrap();
    assert_eq!(publish_all(&mut publisher, now), [(id(1), value("short"))]);
    assert_eq!(
        (publisher.stats().refused, publisher.stats().of_owner),
        (1, 0)
    );
}

#[test]
fn at_the_limits_what_is_wanted_already_stays_so() {
    let mut publisher = Publisher::new(Limits {
        records: 3,
        waiting_bytes: 10,
        concurrent: 2,
    });
    publisher.set(at(0), &id(1), value("12345")).unwrap();
    publisher.set(at(0), &id(2), value("1234")).unwrap();
    assert_eq!(
        publisher.set(at(0), &id(3), value("12")),
        Err(SetError::Bytes)
    );
    publisher.set(at(0), &id(3), value("1")).unwrap();
    assert_eq!(
        publisher.set(at(0), &id(4), value("")),
        Err(SetError::Records)
    );
    assert_eq!(
        publisher.set(at(0), &id(1), value("123456")),
        Err(SetError::Bytes)
    );
    assert_eq!(publisher.stats().full, 3);
    let first = publisher.poll_output(at(0)).unwrap();
    assert_eq!(first.content, value("12345"));
    assert!(publisher.poll_output(at(0)).is_some());
    assert_eq!(publisher.poll_output(at(0)), None);
    assert_eq!(publisher.next_deadline(), None);
    publisher.finished(at(0), &first.id, Ok(()));
    assert!(publisher.poll_output(at(0)).is_some());
}

/// For any sequence of events, the published content is finally the one wanted last.
#[test]
fn in_the_end_what_was_wanted_last_stands() {
    for seed in 0..200u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut draw = |n: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % n
        };
        let mut publisher = Publisher::new(Limits {
            concurrent: 2,
            ..Limits::default()
        });
        let mut wanted = std::collections::BTreeMap::new();
        let mut stands = std::collections::BTreeMap::new();
        let mut under_way: Vec<Publication> = Vec::new();
        let mut now = at(0);
        for step in 0..400 {
            let settling = step > 100;
            match draw(4) {
                0 if !settling => {
                    let n = u8::try_from(1 + draw(3)).unwrap();
                    let content = match draw(4) {
                        0 => Content::Gone,
                        n => value(&n.to_string()),
                    };
                    publisher.set(now, &id(n), content.clone()).unwrap();
                    wanted.insert(id(n), content);
                }
                1 if !under_way.is_empty() => {
                    let index = usize::try_from(draw(under_way.len() as u64)).unwrap();
                    let it = under_way.remove(index);
                    let result = match draw(3) {
                        0 if !settling => Err(Failure::Again),
                        _ => Ok(()),
                    };
                    publisher.finished(now, &it.id, result);
                    if result.is_ok() {
                        stands.insert(it.id, it.content);
                    }
                }
                2 => under_way.extend(publisher.poll_output(now)),
                _ => now = now.plus(Duration::from_secs(draw(100))),
            }
        }
        for (id, content) in wanted {
            let there = stands.get(&id).cloned().unwrap_or(Content::Gone);
            assert_eq!(there, content, "seed {seed}, {id}");
        }
        assert_eq!(
            (publisher.waiting_bytes(), publisher.stats().waiting),
            (0, 0)
        );
    }
}
