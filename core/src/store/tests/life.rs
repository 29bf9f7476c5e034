use super::*;
use crate::item::Life;

#[test]
fn its_signer_gives_an_item_a_whole_life_and_renews_it() {
    let mut store = store();
    let it = item(1, 5, b"v", "s");
    assert_eq!(
        kind(put(&mut store, at(0), own(&it))),
        AdmissionKind::Stored
    );
    assert_eq!(remaining(&store, at(HOUR), &it), Some(HOUR));
    let again = put(&mut store, at(HOUR), own(&it)).unwrap();
    assert_eq!(again.kind, AdmissionKind::Renewed);
    assert_eq!(again.expires, Some(at(HOUR).mono.plus(TTL)));
    assert_eq!(remaining(&store, at(HOUR), &it), Some(2 * HOUR));
    let stored = store.get(at(HOUR + 60), &it.target()).unwrap();
    assert_eq!(stored.age(at(HOUR + 60)), Some(Duration::from_secs(60)));
    assert_eq!(stored.vouched(at(HOUR + 60)), Some(at(HOUR).unix));
}

#[test]
fn a_life_ends_exactly_when_it_is_over() {
    let mut store = store();
    let it = item(1, 5, b"v", "s");
    put(&mut store, at(0), own(&it)).unwrap();
    let end = at(2 * HOUR);
    let just_before = Time {
        mono: Mono(end.mono.0 - 1),
        ..end
    };
    assert!(store.get(just_before, &it.target()).is_some());
    assert!(store.get(end, &it.target()).is_none());
    assert_eq!(store.next_expiry(), Some(end.mono));
    assert_eq!(store.sweep(just_before, 10), []);
    assert_eq!(store.sweep(end, 10), [it.target()]);
    assert_eq!(store.fill().items, 0);
}

#[test]
fn a_stream_that_is_not_the_signers_is_a_peers_whatever_it_is_called() {
    let mut store = store();
    let it = item(1, 5, b"v", "s");
    let candidate = Candidate::of_owner(it.clone(), Via::Signer(key(2)));
    put(&mut store, at(0), candidate).unwrap();
    assert_eq!(remaining(&store, at(0), &it), Some(HOUR));
    assert_eq!(Via::stream(key(1), &it), Via::Signer(key(1)));
    assert_eq!(Via::stream(key(2), &it), Via::Peer(key(2)));
}

#[test]
fn a_peer_that_claims_nothing_gives_half_a_life_to_what_names_no_time() {
    let mut store = store();
    let it = item(1, 5, b"v", "s");
    put(&mut store, at(0), from_peer(2, &it)).unwrap();
    assert_eq!(remaining(&store, at(0), &it), Some(HOUR));
    assert_eq!(store.get(at(0), &it.target()).unwrap().age(at(0)), None);
}

#[test]
fn a_sequence_that_names_a_time_starts_the_life_then() {
    let mut store = store();
    let now = at(10 * HOUR);
    let it = item(1, seq_at(9 * HOUR + 1800), b"v", "s");
    put(&mut store, now, from_peer(2, &it)).unwrap();
    assert_eq!(remaining(&store, now, &it), Some(HOUR + 1800));
    let stored = store.get(now, &it.target()).unwrap();
    assert_eq!(stored.age(now), Some(Duration::from_secs(1800)));

    let dead = item(1, seq_at(8 * HOUR), b"v", "dead");
    let refused = put(&mut store, now, from_peer(2, &dead));
    assert_eq!(refused, Err(Refusal::Expired));
}

#[test]
fn a_sequence_too_far_ahead_names_no_time_and_one_slightly_ahead_gains_nothing() {
    let mut store = store();
    let near = item(1, seq_at(23 * HOUR), b"v", "near");
    put(&mut store, at(0), from_peer(2, &near)).unwrap();
    assert_eq!(remaining(&store, at(0), &near), Some(2 * HOUR));
    let far = item(1, seq_at(25 * HOUR), b"v", "far");
    put(&mut store, at(0), from_peer(2, &far)).unwrap();
    assert_eq!(remaining(&store, at(0), &far), Some(HOUR));
}

#[test]
fn a_claim_counts_up_to_what_the_sequence_leaves_and_never_above_a_whole_life() {
    let mut store = store();
    let now = at(10 * HOUR);
    let claim = |item: &Arc<Item>, remaining| Candidate {
        life: Some(Life {
            age: Duration::from_secs(10),
            left: Duration::from_secs(remaining),
        }),
        ..from_peer(2, item)
    };
    let plain = item(1, 5, b"v", "plain");
    put(&mut store, now, claim(&plain, 7000)).unwrap();
    assert_eq!(remaining(&store, now, &plain), Some(7000));
    let stored = store.get(now, &plain.target()).unwrap();
    assert_eq!(stored.age(now), Some(Duration::from_secs(10)));

    let greedy = item(1, 5, b"v", "greedy");
    put(&mut store, now, claim(&greedy, 1_000_000)).unwrap();
    assert_eq!(remaining(&store, now, &greedy), Some(2 * HOUR));

    let dated = item(1, seq_at(9 * HOUR), b"v", "dated");
    put(&mut store, now, claim(&dated, 7000)).unwrap();
    assert_eq!(remaining(&store, now, &dated), Some(HOUR));
    let modest = item(1, seq_at(9 * HOUR), b"v", "modest");
    put(&mut store, now, claim(&modest, 60)).unwrap();
    assert_eq!(remaining(&store, now, &modest), Some(60));

    let over = item(1, 5, b"v", "over");
    assert_eq!(put(&mut store, now, claim(&over, 0)), Err(Refusal::Expired));
}

/// A peer with a wrong clock, or a wrong intention, hands on a newer version as nearly over.
#[test]
fn a_newer_version_lives_as_long_as_the_one_it_replaces() {
    let mut store = store();
    let nearly_over = |item: &Arc<Item>| Candidate {
        life: Some(Life {
            age: TTL,
            left: Duration::from_secs(3),
        }),
        ..from_peer(2, item)
    };
    put(&mut store, at(0), own(&item(1, 5, b"v", "s"))).unwrap();
    let newer = item(1, 6, b"w", "s");
    put(&mut store, at(60), nearly_over(&newer)).unwrap();
    assert_eq!(remaining(&store, at(60), &newer), Some(2 * HOUR - 60));
    let stored = store.get(at(60), &newer.target()).unwrap();
    assert_eq!(stored.age(at(60)), Some(Duration::from_secs(60)));
    // Another content of the same sequence was not signed later, and nothing was held here.
    let tie = [b"x", b"y", b"z"].map(|value| item(1, 6, value, "s"));
    let mut tied = tie
        .iter()
        .filter(|it| put(&mut store, at(70), nearly_over(it)).is_ok());
    let it = tied.next_back().expect("one of them ranks higher");
    assert_eq!(remaining(&store, at(70), it), Some(3));
    let alone = item(1, 6, b"w", "alone");
    put(&mut store, at(60), nearly_over(&alone)).unwrap();
    assert_eq!(remaining(&store, at(60), &alone), Some(3));
}

#[test]
fn nobody_but_the_signer_extends_what_is_held() {
    let mut store = store();
    let it = item(1, 5, b"v", "s");
    put(&mut store, at(0), from_peer(2, &it)).unwrap();
    let mut longer = from_peer(3, &it);
    longer.life = Some(Life {
        age: Duration::ZERO,
        left: TTL,
    });
    assert_eq!(
        kind(put(&mut store, at(60), longer)),
        AdmissionKind::Unchanged
    );
    assert_eq!(remaining(&store, at(60), &it), Some(HOUR - 60));
}

#[test]
fn what_expired_does_not_come_back_from_peers_that_do_not_say_how_old_it_is() {
    let mut store = store();
    let it = item(1, 5, b"v", "s");
    put(&mut store, at(0), from_peer(2, &it)).unwrap();
    // Before it is swept, and after.
    let late = at(HOUR + 1);
    let again = put(&mut store, late, from_peer(2, &it));
    assert_eq!(again, Err(Refusal::Expired));
    assert_eq!(store.sweep(late, 10), [it.target()]);
    let again = put(&mut store, late, from_peer(2, &it));
    assert_eq!(again, Err(Refusal::Expired));
    // One that says so, a newer one, and the signer are heard.
    let claiming = Candidate {
        life: Some(Life {
            age: Duration::ZERO,
            left: TTL,
        }),
        ..from_peer(2, &it)
    };
    assert!(store.precheck(late, &claiming, 0).is_ok());
    let newer = item(1, 6, b"v", "s");
    assert!(store.precheck(late, &from_peer(2, &newer), 0).is_ok());
    put(&mut store, late, own(&it)).unwrap();
    assert_eq!(remaining(&store, late, &it), Some(2 * HOUR));
}

#[test]
fn an_expired_item_is_absent_swept_or_not() {
    let mut store = store();
    let old = item(1, 9, b"old", "s");
    put(&mut store, at(0), own(&old)).unwrap();
    let late = at(3 * HOUR);
    let lower = item(1, 3, b"new", "s");
    let stored = put(&mut store, late, own(&lower)).unwrap();
    assert_eq!(
        (stored.kind, stored.replaced),
        (AdmissionKind::Stored, None)
    );
    assert_eq!(store.get(late, &lower.target()).unwrap().item(), &lower);
}

#[test]
fn the_same_content_under_another_signature_is_the_same_item() {
    let mut store = store();
    let it = item(1, 5, b"v", "s");
    put(&mut store, at(0), own(&it)).unwrap();
    let mut resigned = Item::clone(&it);
    resigned.signature = Signature::from_bytes([9; 65]);
    let candidate = own(&Arc::new(resigned));
    // But only once that signature is checked.
    assert_eq!(store.precheck(at(60), &candidate, 0), Ok(Precheck::Verify));
    let unproven = store.confirm(at(60), &candidate);
    assert_eq!(unproven, Err(Refusal::NotHeld));
    let done = store.admit(at(60), candidate, 0).unwrap();
    assert_eq!(done.kind, AdmissionKind::Renewed);
    assert_eq!(store.get(at(60), &it.target()).unwrap().item(), &it);
}

#[test]
fn confirming_needs_the_same_item() {
    let mut store = store();
    let it = item(1, 5, b"v", "s");
    assert_eq!(store.confirm(at(0), &own(&it)), Err(Refusal::NotHeld));
    put(&mut store, at(0), own(&it)).unwrap();
    let newer = own(&item(1, 6, b"v", "s"));
    assert_eq!(store.confirm(at(0), &newer), Err(Refusal::NotHeld));
    let older = own(&item(1, 4, b"v", "s"));
    assert_eq!(store.confirm(at(0), &older), Err(Refusal::Older));
}

#[test]
fn renewing_takes_the_signer_the_sequence_and_the_hash() {
    let mut store = store();
    let it = item(1, 5, b"v", "s");
    let (target, hash) = (it.target(), it.content_hash());
    let renew = |store: &mut Store, now, seq, hash: &[u8; 32], by| {
        store.renew(now, &target, Seq(seq), hash, &key(by))
    };
    assert_eq!(renew(&mut store, at(0), 5, &hash, 1), Err(Refusal::NotHeld));
    put(&mut store, at(0), own(&it)).unwrap();
    let later = at(HOUR);
    assert_eq!(renew(&mut store, later, 5, &hash, 2), Err(Refusal::NotHeld));
    assert_eq!(renew(&mut store, later, 6, &hash, 1), Err(Refusal::NotHeld));
    assert_eq!(
        renew(&mut store, later, 5, &[0; 32], 1),
        Err(Refusal::NotHeld)
    );
    assert_eq!(renew(&mut store, later, 4, &hash, 1), Err(Refusal::Older));
    assert_eq!(remaining(&store, later, &it), Some(HOUR));
    let expires = renew(&mut store, later, 5, &hash, 1);
    assert_eq!(expires, Ok(Some(later.mono.plus(TTL))));
    assert_eq!(remaining(&store, later, &it), Some(2 * HOUR));
    let late = at(4 * HOUR);
    assert_eq!(renew(&mut store, late, 5, &hash, 1), Err(Refusal::NotHeld));
}

#[test]
fn one_signer_saying_two_things_at_once_is_a_conflict_that_the_smaller_hash_wins() {
    let (a, b) = (item(1, 5, b"a", "s"), item(1, 5, b"b", "s"));
    let (small, large) = match a.content_hash() < b.content_hash() {
        true => (a, b),
        false => (b, a),
    };
    let mut store = store();
    put(&mut store, at(0), own(&large)).unwrap();
    let won = put(&mut store, at(1), from_peer(2, &small)).unwrap();
    assert!(won.conflict);
    assert_eq!(won.replaced, Some(large.clone()));
    let lost = put(&mut store, at(2), own(&large));
    assert_eq!(lost, Err(Refusal::Conflict));
    assert_eq!(store.get(at(2), &small.target()).unwrap().item(), &small);
}

#[test]
fn sizes_are_refused_above_the_limit() {
    let mut store = store();
    let full = item(1, 1, &[0; crate::item::MAX_VALUE_LEN], "s");
    put(&mut store, at(0), own(&full)).unwrap();
    let over = item(1, 2, &[0; crate::item::MAX_VALUE_LEN + 1], "s");
    assert_eq!(
        put(&mut store, at(0), own(&over)),
        Err(Refusal::ValueTooLarge)
    );
    let salt = alloc::string::String::from_utf8([b's'; 201].to_vec()).unwrap();
    let over = item(1, 2, b"v", &salt);
    assert_eq!(
        put(&mut store, at(0), own(&over)),
        Err(Refusal::SaltTooLong)
    );
}
