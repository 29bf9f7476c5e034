use super::*;

const OWNER: u8 = 1;
const MIRROR: u8 = 7;

fn mirroring() -> Store {
    Store::new(StoreConfig {
        mirrors: BTreeSet::from([key(MIRROR)]),
        ..config()
    })
}

fn place() -> Target {
    item(OWNER, 1, b"", "s").target()
}

#[test]
fn only_configured_mirrors_over_their_own_stream_or_bound() {
    let mut store = mirroring();
    let stranger = item(8, 1, b"m", "s");
    let refused = put(&mut store, at(0), mirror(place(), &stranger));
    assert_eq!(refused, Err(Refusal::MirrorNotAccepted));

    let known = item(MIRROR, 1, b"m", "s");
    let relayed = Candidate {
        via: Via::Peer(key(9)),
        ..mirror(place(), &known)
    };
    let refused = put(&mut store, at(0), relayed.clone());
    assert_eq!(refused, Err(Refusal::MirrorNotAccepted));
    let bind = Signature::from_bytes([3; 65]);
    let bound = Candidate {
        bound: Some(bind),
        ..relayed
    };
    put(&mut store, at(0), bound).unwrap();
    let stored = store.get(at(0), &place()).unwrap();
    assert_eq!(
        (stored.origin(), stored.bound()),
        (Origin::Mirror, Some(&bind))
    );

    // Bound or not, the key has to be configured.
    let bound = Candidate {
        bound: Some(bind),
        ..mirror(place(), &stranger)
    };
    let refused = put(&mut store, at(0), bound);
    assert_eq!(refused, Err(Refusal::MirrorNotAccepted));
}

#[test]
fn a_bind_signature_that_comes_later_is_kept() {
    let mut store = mirroring();
    let it = item(MIRROR, 1, b"m", "s");
    put(&mut store, at(0), mirror(place(), &it)).unwrap();
    assert_eq!(store.get(at(0), &place()).unwrap().bound(), None);
    let bind = Signature::from_bytes([3; 65]);
    let bound = Candidate {
        bound: Some(bind),
        ..mirror(place(), &it)
    };
    put(&mut store, at(1), bound).unwrap();
    assert_eq!(store.get(at(1), &place()).unwrap().bound(), Some(&bind));
}

#[test]
fn an_unchecked_bind_signature_is_not_kept() {
    let mut store = mirroring();
    let it = item(MIRROR, 1, b"m", "s");
    put(&mut store, at(0), mirror(place(), &it)).unwrap();
    let claimed = Candidate {
        bound: Some(Signature::from_bytes([3; 65])),
        ..mirror(place(), &it)
    };
    assert_eq!(store.confirm(at(1), &claimed), Err(Refusal::NotHeld));
    assert_eq!(store.get(at(1), &place()).unwrap().bound(), None);
}

#[test]
fn the_owner_takes_over_whatever_the_sequence() {
    let mut store = mirroring();
    let loud = item(MIRROR, u64::MAX, b"m", "s");
    put(&mut store, at(0), mirror(place(), &loud)).unwrap();
    let owners = item(OWNER, 1, b"o", "s");
    let done = put(&mut store, at(1), own(&owners)).unwrap();
    assert!(done.owner_takeover && !done.conflict);
    assert_eq!(done.replaced, Some(loud.clone()));
    // And never back, while the owner's item lives.
    let refused = put(&mut store, at(2), mirror(place(), &loud));
    assert_eq!(refused, Err(Refusal::Older));
    let late = at(3 * HOUR);
    put(&mut store, late, mirror(place(), &loud)).unwrap();
    let origin = store.get(late, &place()).unwrap().origin();
    assert_eq!(origin, Origin::Mirror);
}

#[test]
fn only_an_owner_in_a_mirrors_place_takes_over() {
    let mut store = mirroring();
    for (now, candidate, takeover) in [
        (0, mirror(place(), &item(MIRROR, 1, b"m", "s")), false),
        (1, mirror(place(), &item(MIRROR, 2, b"m", "s")), false),
        (2, own(&item(OWNER, 1, b"o", "s")), true),
        (3, own(&item(OWNER, 2, b"o", "s")), false),
        // Nobody's place: there was nothing, or nothing that lived.
        (3, own(&item(OWNER, 1, b"o", "other")), false),
        (
            4 * HOUR,
            mirror(place(), &item(MIRROR, 3, b"m", "s")),
            false,
        ),
        (7 * HOUR, own(&item(OWNER, 3, b"o", "s")), false),
    ] {
        let done = put(&mut store, at(now), candidate).unwrap();
        assert_eq!(done.owner_takeover, takeover, "at {now}");
    }
}

#[test]
fn mirrors_expire_whatever_their_tier() {
    let mut store = Store::new(StoreConfig {
        whitelisted: BTreeSet::from([key(MIRROR)]),
        mirrors: BTreeSet::from([key(MIRROR)]),
        ..config()
    });
    let it = item(MIRROR, 1, b"m", "s");
    let done = put(&mut store, at(0), mirror(place(), &it)).unwrap();
    assert_eq!(done.expires, Some(at(0).mono.plus(TTL)));
    put(&mut store, at(0), own(&it)).unwrap();
    assert_eq!(remaining(&store, at(0), &it), None);
    assert_eq!(store.sweep(at(3 * HOUR), 10), [place()]);
}

#[test]
fn a_mirror_renews_its_own_item() {
    let mut store = mirroring();
    let it = item(MIRROR, 1, b"m", "s");
    put(&mut store, at(0), mirror(place(), &it)).unwrap();
    let hash = it.content_hash();
    let expires = store.renew(at(60), &place(), Seq(1), &hash, &key(MIRROR));
    assert_eq!(expires, Ok(Some(at(60).mono.plus(TTL))));
    let again = put(&mut store, at(120), mirror(place(), &it));
    assert_eq!(kind(again), AdmissionKind::Renewed);
}

#[test]
fn this_nodes_own_mirrors_need_no_configuration() {
    let mut store = Store::new(StoreConfig {
        local: key(5).id(),
        ..config()
    });
    let it = item(5, 1, b"m", "s");
    let candidate = Candidate {
        via: Via::Local,
        ..mirror(place(), &it)
    };
    put(&mut store, at(0), candidate).unwrap();
}

#[test]
fn mirrors_of_one_sequence_converge_in_any_order() {
    let mirrors = BTreeSet::from([key(7), key(8)]);
    let a = mirror(place(), &item(7, 4, b"m", "s"));
    let b = mirror(place(), &item(8, 4, b"m", "s"));
    let end = |first: &Candidate, second: &Candidate| {
        let mut store = Store::new(StoreConfig {
            mirrors: mirrors.clone(),
            ..config()
        });
        let _ = put(&mut store, at(0), first.clone());
        let _ = put(&mut store, at(0), second.clone());
        store.get(at(0), &place()).unwrap().item().key
    };
    assert_eq!(end(&a, &b), end(&b, &a));
}
