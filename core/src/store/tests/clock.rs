use super::*;

/// Seconds after the start, with a wall clock that was never set.
fn unset(seconds: u64) -> Time {
    Time {
        mono: Mono(seconds * 1_000_000_000),
        unix: Unix(seconds * 1_000_000_000),
    }
}

fn loaded(store: &mut Store, now: Time, record: &StoredRecord) -> Result<Admission, Refusal> {
    let candidate = Candidate {
        target: record.target,
        item: Arc::new(record.item.clone()),
        via: Via::Storage {
            vouched: record.vouched,
            expires: record.expires,
        },
        life: None,
        bound: record.bound,
    };
    put(store, now, candidate)
}

fn record_of(store: &Store, now: Time, item: &Item) -> StoredRecord {
    store.record(now, &item.target()).expect("stored")
}

/// A process that starts `seconds` after the other, with a monotonic clock of its own.
fn restarted(seconds: u64) -> Time {
    Time {
        mono: Mono(5_000_000_000),
        ..at(seconds)
    }
}

#[test]
fn a_restart_neither_lengthens_nor_shortens_a_life() {
    let mut before = store();
    let it = item(1, 5, b"v", "s");
    put(&mut before, at(100), own(&it)).unwrap();
    let record = record_of(&before, at(700), &it);
    assert_eq!(record.vouched, at(100).unix);
    assert_eq!(record.expires, Some(at(100).unix.plus(TTL)));

    let (mut after, now) = (store(), restarted(1000));
    loaded(&mut after, now, &record).unwrap();
    assert_eq!(remaining(&after, now, &it), Some(2 * HOUR - 900));
    let stored = after.get(now, &it.target()).unwrap();
    assert_eq!(stored.age(now), Some(Duration::from_secs(900)));
    assert_eq!(record_of(&after, now, &it), record);

    let late = restarted(100 + 2 * HOUR);
    let over = loaded(&mut store(), late, &record);
    assert_eq!(over, Err(Refusal::Expired));
}

#[test]
fn a_record_cannot_claim_more_than_a_whole_life() {
    let mut store = store();
    let it = item(1, 5, b"v", "s");
    let record = StoredRecord {
        target: it.target(),
        item: Item::clone(&it),
        vouched: at(0).unix,
        expires: Some(at(1_000_000).unix),
        bound: None,
    };
    loaded(&mut store, at(10), &record).unwrap();
    assert_eq!(remaining(&store, at(10), &it), Some(2 * HOUR));
}

#[test]
fn loading_into_an_unset_clock_neither_revives_nor_kills() {
    let mut before = store();
    let (long, short, over) = (
        item(1, 5, b"v", "long"),
        item(2, 5, b"v", "short"),
        item(3, 5, b"v", "over"),
    );
    put(&mut before, at(0), own(&long)).unwrap();
    put(&mut before, at(0), from_peer(9, &short)).unwrap();
    put(&mut before, at(0), from_peer(9, &over)).unwrap();
    let mut store = store();
    for it in [&long, &short, &over] {
        let mut record = record_of(&before, at(60), it);
        if *it == over {
            record.expires = Some(at(60).unix);
        }
        loaded(&mut store, unset(0), &record).unwrap();
        // The recorded life is kept, should it be written again.
        assert_eq!(record_of(&store, unset(1), it).expires, record.expires);
    }
    assert_eq!(remaining(&store, unset(0), &long), Some(HOUR));
    // Meanwhile it asks to be called each minute.
    assert_eq!(store.next_expiry(), Some(unset(60).mono));
    assert_eq!(store.sweep(unset(60), 10), []);
    assert_eq!(store.next_expiry(), Some(unset(120).mono));
    // The clock is set 600 s after the first was written.
    let now = Time {
        mono: unset(70).mono,
        unix: at(600).unix,
    };
    // Two at a time, and it says that there is more.
    store.sweep(now, 2);
    assert_eq!(store.next_expiry(), Some(now.mono));
    store.sweep(now, 2);
    assert!(store.get(now, &over.target()).is_none());
    assert_eq!(
        store.next_expiry(),
        Some(now.mono.plus(Duration::from_secs(HOUR - 600)))
    );
    assert_eq!(remaining(&store, now, &long), Some(2 * HOUR - 600));
    assert_eq!(remaining(&store, now, &short), Some(HOUR - 600));
    store.check_invariants();
}

#[test]
fn records_written_with_an_unset_clock_get_half_a_life() {
    let mut before = store();
    let it = item(1, 5, b"v", "s");
    put(&mut before, unset(10), own(&it)).unwrap();
    let record = record_of(&before, unset(70), &it);
    assert!(!record.vouched.is_set() && !record.expires.unwrap().is_set());
    for now in [at(0), unset(0)] {
        let mut after = store();
        loaded(&mut after, now, &record).unwrap();
        assert_eq!(remaining(&after, now, &it), Some(HOUR));
    }
}

#[test]
fn an_unset_clock_believes_no_sequence() {
    let mut store = store();
    let it = item(1, seq_at(0), b"v", "s");
    put(&mut store, unset(10), from_peer(2, &it)).unwrap();
    assert_eq!(remaining(&store, unset(10), &it), Some(HOUR));
}

#[test]
fn tiers_are_loaded_as_they_are_now_configured() {
    let it = item(1, 5, b"v", "s");
    let mut trusting = Store::new(StoreConfig {
        trusted: BTreeSet::from([key(1)]),
        ..config()
    });
    put(&mut trusting, at(0), own(&it)).unwrap();
    let record = record_of(&trusting, at(HOUR), &it);
    assert_eq!(record.expires, None);
    let now = at(HOUR);
    let mut store = store();
    loaded(&mut store, now, &record).unwrap();
    assert_eq!(remaining(&store, now, &it), Some(HOUR));
    loaded(&mut trusting, at(100 * HOUR), &record).unwrap();
}

#[test]
fn loaded_mirrors_are_accepted_while_their_key_is_configured() {
    let place = item(1, 1, b"", "s").target();
    let it = item(7, 1, b"m", "s");
    let mirrors = BTreeSet::from([key(7)]);
    let mut mirroring = Store::new(StoreConfig {
        mirrors,
        ..config()
    });
    put(&mut mirroring, at(0), mirror(place, &it)).unwrap();
    let record = mirroring.record(at(0), &place).unwrap();
    let refused = loaded(&mut store(), at(1), &record);
    assert_eq!(refused, Err(Refusal::MirrorNotAccepted));
    mirroring = Store::new(mirroring.config().clone());
    loaded(&mut mirroring, at(1), &record).unwrap();
}

#[test]
fn a_wall_clock_that_steps_changes_no_life() {
    let mut store = store();
    let it = item(1, 5, b"v", "s");
    put(&mut store, at(0), own(&it)).unwrap();
    let stepped = Time {
        mono: at(60).mono,
        unix: at(100 * HOUR).unix,
    };
    assert_eq!(remaining(&store, stepped, &it), Some(2 * HOUR - 60));
    assert_eq!(store.sweep(stepped, 10), []);
}

/// Hidden by clocks that are set before anything is renewed.
#[test]
fn an_item_loaded_without_a_clock_and_renewed_by_its_signer_has_a_whole_life_from_then() {
    for way in 0..4 {
        let mut before = store();
        let it = item(1, 5, b"v", "s");
        put(&mut before, at(0), own(&it)).unwrap();
        let record = record_of(&before, at(60), &it);
        let mut store = store();
        loaded(&mut store, unset(0), &record).unwrap();
        let now = unset(600);
        match way {
            // The short form, the whole item again, and a put that finds it held.
            0 => {
                let (seq, hash) = (it.seq, it.content_hash());
                store.renew(now, &it.target(), seq, &hash, &it.key).unwrap();
            }
            1 => {
                store.confirm(now, &own(&it)).unwrap();
            }
            2 => {
                put(&mut store, now, own(&it)).unwrap();
            }
            // A higher sequence takes its place.
            _ => {
                put(&mut store, now, own(&item(1, 6, b"v", "s"))).unwrap();
            }
        }
        // The clock is set: long after what was recorded had run out.
        let late = Time {
            mono: unset(1_200).mono,
            unix: at(100 * HOUR).unix,
        };
        store.sweep(late, 100);
        assert_eq!(
            remaining(&store, late, &it),
            Some(2 * HOUR - 600),
            "way {way}"
        );
        store.check_invariants();
    }
}

/// Of a record written with an unset clock nobody knows the age, nor does a node whose own clock
/// is not set know that of any.
#[test]
fn an_age_is_known_only_between_two_set_clocks() {
    let it = item(1, 5, b"v", "s");
    for (written, read) in [(at(0), unset(0)), (unset(0), at(0)), (unset(0), unset(0))] {
        let (mut before, mut after) = (store(), store());
        put(&mut before, written, own(&it)).unwrap();
        let record = record_of(&before, written, &it);
        loaded(&mut after, read, &record).unwrap();
        assert_eq!(after.get(read, &it.target()).unwrap().age(read), None);
    }
}

#[test]
fn what_was_never_dated_keeps_its_half_life_when_the_clock_is_set() {
    let mut before = store();
    let it = item(1, 5, b"v", "s");
    put(&mut before, unset(0), own(&it)).unwrap();
    let record = record_of(&before, unset(0), &it);
    let mut store = store();
    loaded(&mut store, unset(0), &record).unwrap();
    assert_eq!(store.sweep(at(60), 10), []);
    assert_eq!(remaining(&store, at(60), &it), Some(HOUR - 60));
}

#[test]
fn the_look_at_the_clock_is_neither_put_off_by_other_work_nor_due_for_ever() {
    let mut before = store();
    let it = item(1, 5, b"v", "s");
    put(&mut before, at(0), own(&it)).unwrap();
    let record = record_of(&before, at(0), &it);
    let mut store = store();
    loaded(&mut store, unset(0), &record).unwrap();
    store.sweep(unset(30), 10);
    assert_eq!(store.next_expiry(), Some(unset(60).mono));
    // Later than asked for.
    store.sweep(unset(61), 10);
    assert_eq!(store.next_expiry(), Some(unset(121).mono));
}

/// Another node that shares the storage heard the signer.
#[test]
fn a_longer_life_that_storage_records_is_believed_and_no_shorter_one() {
    let mut store = store();
    let it = item(1, 5, b"v", "s");
    put(&mut store, at(0), own(&it)).unwrap();
    let mut record = record_of(&store, at(0), &it);
    let recorded = |record: &StoredRecord, now| {
        let mut other = record.clone();
        other.vouched = at(now).unix;
        other.expires = Some(at(now).unix.plus(TTL));
        other
    };
    record = recorded(&record, 600);
    let again = loaded(&mut store, at(700), &record).unwrap();
    assert_eq!(again.kind, AdmissionKind::Unchanged);
    assert_eq!(again.expires, Some(at(600).mono.plus(TTL)));
    assert_eq!(remaining(&store, at(700), &it), Some(2 * HOUR - 100));
    let stored = store.get(at(700), &it.target()).unwrap();
    assert_eq!(stored.age(at(700)), Some(Duration::from_secs(100)));
    store.check_invariants();
    let older = recorded(&record, 300);
    loaded(&mut store, at(700), &older).unwrap();
    assert_eq!(remaining(&store, at(700), &it), Some(2 * HOUR - 100));
    // However much it claims.
    record.expires = Some(at(600).unix.plus(100 * TTL));
    loaded(&mut store, at(700), &record).unwrap();
    assert_eq!(remaining(&store, at(700), &it), Some(2 * HOUR));
    // Without a clock nobody knows when that is.
    put(&mut store, at(800), own(&it)).unwrap();
    let before = remaining(&store, at(900), &it);
    loaded(&mut store, unset(900), &recorded(&record, 890)).unwrap();
    assert_eq!(remaining(&store, at(900), &it), before);
}
