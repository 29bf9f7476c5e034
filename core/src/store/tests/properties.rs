use super::*;
use crate::cap::Cap;
use crate::item::Life;
use quickcheck::{Arbitrary, Gen, TestResult, quickcheck};

const SALTS: [&str; 3] = ["dmsg", "tp", ""];
const SIGNERS: u8 = 6;

/// Something that happens to a store.
#[derive(Clone, Debug)]
enum Step {
    Put {
        signer: u8,
        salt: u8,
        seq: u8,
        value: u16,
        via: u8,
        /// At the target of this signer.
        owner: Option<u8>,
        nearer: u8,
    },
    Renew {
        signer: u8,
        salt: u8,
        seq: u8,
    },
    Advance(u16),
    Sweep(u8),
    Remove {
        signer: u8,
        salt: u8,
    },
    Restart {
        signer: u8,
        salt: u8,
    },
    FullNode(bool),
    Trust(u8),
    Limits(u8, u8),
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        let pick = |g: &mut Gen, n: u8| u8::arbitrary(g) % n;
        match u8::arbitrary(g) % 32 {
            0..20 => Self::Put {
                signer: pick(g, SIGNERS),
                salt: pick(g, 3),
                seq: pick(g, 4),
                value: *g.choose(&[0, 0, 1, 7, 1000]).unwrap(),
                via: pick(g, 8),
                owner: bool::arbitrary(g).then(|| pick(g, SIGNERS)),
                nearer: pick(g, 30),
            },
            20..22 => Self::Renew {
                signer: pick(g, SIGNERS),
                salt: pick(g, 3),
                seq: pick(g, 4),
            },
            22..25 => Self::Advance(u16::arbitrary(g) % 5000),
            25..27 => Self::Sweep(pick(g, 4)),
            27 => Self::Remove {
                signer: pick(g, SIGNERS),
                salt: pick(g, 3),
            },
            28 => Self::Restart {
                signer: pick(g, SIGNERS),
                salt: pick(g, 3),
            },
            29 => Self::FullNode(bool::arbitrary(g)),
            30 => Self::Trust(pick(g, 64)),
            _ => Self::Limits(pick(g, 12), pick(g, 8)),
        }
    }
}

fn value(length: u16) -> Vec<u8> {
    (0..length).map(|i| i as u8).collect()
}

fn place(signer: u8, salt: u8) -> Target {
    item(signer, 0, b"", SALTS[usize::from(salt)]).target()
}

fn limited() -> StoreConfig {
    StoreConfig {
        local: key(0).id(),
        max_items: Cap::new(8),
        max_bytes: Cap::new(12 * RECORD_OVERHEAD),
        public_items: Cap::new(6),
        items_per_publisher: Cap::new(2),
        items_per_peer: Cap::new(4),
        deletion_marks: Cap::new(3),
        mirrors: BTreeSet::from([key(1), key(2)]),
        ..config()
    }
}

fn run(store: &mut Store, now: &mut Time, step: &Step) {
    match *step {
        Step::Put {
            signer,
            salt,
            seq,
            value: length,
            via,
            owner,
            nearer,
        } => {
            let it = item(signer, seq.into(), &value(length), SALTS[usize::from(salt)]);
            let claimed = Life {
                age: Duration::from_secs(10),
                left: Duration::from_secs(u64::from(nearer) * 100),
            };
            let candidate = Candidate {
                target: owner.map_or(it.target(), |owner| place(owner, salt)),
                via: match via {
                    0 => Via::Local,
                    1..4 => Via::Signer(it.key),
                    4 => Via::Pulled(key(9)),
                    _ => Via::Peer(key(via)),
                },
                life: (via == 5).then_some(claimed),
                bound: (via == 6).then(|| Signature::from_bytes([1; 65])),
                item: it,
            };
            let nearer = usize::from(nearer);
            if store.precheck(*now, &candidate, nearer) == Ok(Precheck::Verify) {
                let reservation = store.reserve(&candidate);
                store.check_invariants();
                store.release(reservation);
            }
            let before = store.clone();
            match store.admit(*now, candidate.clone(), nearer) {
                Ok(done) => {
                    let stored = store.get(*now, &candidate.target).expect("admitted");
                    assert!(stored.item().same_content(&candidate.item));
                    assert_eq!(stored.expires(), done.expires);
                    assert!(done.evicted.len() <= MAX_EVICTIONS);
                    assert!(done.evicted.iter().all(|t| store.index.get(t).is_none()));
                }
                Err(_) => assert_eq!(*store, before, "a refusal changes nothing"),
            }
        }
        Step::Renew { signer, salt, seq } => {
            let target = place(signer, salt);
            let hash = store
                .get(*now, &target)
                .map(|stored| *stored.content_hash());
            let hash = hash.unwrap_or_default();
            let _ = store.renew(*now, &target, Seq(seq.into()), &hash, &key(signer));
        }
        Step::Advance(seconds) => {
            let seconds = Duration::from_secs(seconds.into());
            now.mono = now.mono.plus(seconds);
            now.unix = now.unix.plus(seconds);
        }
        Step::Sweep(max) => {
            let swept = store.sweep(*now, max.into());
            assert!(swept.len() <= max.into());
        }
        Step::Remove { signer, salt } => {
            store.remove_local(*now, &place(signer, salt));
        }
        Step::Restart { signer, salt } => {
            if let Some(record) = store.record(*now, &place(signer, salt)) {
                assert_eq!(StoredRecord::decode(&record.encode()), Ok(record));
            }
        }
        Step::FullNode(full_node) => store.set_full_node(full_node),
        Step::Trust(bits) => {
            let set = |shift: u8| {
                let chosen = (0..3).filter(|n| bits >> (shift + n) & 1 == 1);
                chosen.map(|n| key(shift + n)).collect()
            };
            store.set_trust(*now, set(0), set(3));
        }
        Step::Limits(items, pool) => {
            store.set_limits(usize::from(items).into(), usize::from(pool).into());
        }
    }
}

quickcheck! {
    fn counters_equal_a_recount_and_limits_hold(steps: Vec<Step>) -> bool {
        let (mut store, mut now) = (Store::new(limited()), at(0));
        for step in &steps {
            run(&mut store, &mut now, step);
            store.check_invariants();
            assert_eq!(store.config.max_bytes.excess(store.fill().bytes), 0);
        }
        true
    }

    fn publishers_and_peers_keep_to_their_quotas(steps: Vec<Step>) -> bool {
        let (mut store, mut now) = (Store::new(limited()), at(0));
        let others = |step: &&Step| !matches!(step, Step::Trust(_) | Step::Put { via: 0, .. });
        for step in steps.iter().filter(others) {
            run(&mut store, &mut now, step);
            // Signer 0 is this node, which has no quota.
            assert!((1..SIGNERS).all(|signer| store.index.publishers().get(&key(signer)) <= 2));
            assert!((7..9).all(|peer| store.index.peers().get(&key(peer)) <= 4));
        }
        true
    }

    fn nothing_lives_longer_than_ttl_unless_exempt(steps: Vec<Step>) -> bool {
        let (mut store, mut now) = (Store::new(limited()), at(0));
        for step in &steps {
            run(&mut store, &mut now, step);
            for (_, stored) in store.range(Target::default()) {
                assert!(stored.remaining(now).is_none_or(|left| left <= TTL));
            }
        }
        true
    }

    fn all_orders_of_two_puts_on_one_target_converge(a: Step, b: Step, seed: Vec<Step>) -> TestResult {
        let unlimited = StoreConfig {
            mirrors: BTreeSet::from([key(1), key(2)]),
            ..config()
        };
        let (Some(a), Some(b)) = (vouched(&a), vouched(&b)) else {
            return TestResult::discard();
        };
        let mut start = Store::new(unlimited);
        for candidate in seed.iter().filter_map(vouched) {
            let _ = start.admit(at(0), candidate, 0);
        }
        let end = |first: &Candidate, second: &Candidate| {
            let mut store = start.clone();
            let _ = store.admit(at(1), first.clone(), 0);
            let _ = store.admit(at(1), second.clone(), 0);
            store
        };
        assert_eq!(end(&a, &b), end(&b, &a));
        TestResult::passed()
    }

    fn pages_walk_over_everything_once(steps: Vec<Step>, limit: u8, budget: u8) -> bool {
        let (mut store, mut now) = (Store::new(config()), at(0));
        for step in steps.iter().filter(|s| !matches!(s, Step::Limits(..))) {
            run(&mut store, &mut now, step);
        }
        // Only runs that fit are never cut; ten items of one sequence always fit.
        let budget = 600 + usize::from(budget);
        let mut seen: Vec<Target> = Vec::new();
        let mut since = Seq(0);
        loop {
            let page = store.page(now, None, since, i64::from(limit), budget, |_| 20);
            seen.extend(page.items.iter().map(|(target, _)| *target));
            let Some((_, last)) = page.items.last() else { break };
            since = last.seq;
            if !page.has_more {
                break;
            }
        }
        let living = store.range(Target::default());
        let mut expected: Vec<Target> = living
            .filter(|(_, stored)| stored.is_live(now) && stored.item.seq > Seq(0))
            .map(|(target, _)| *target)
            .collect();
        expected.sort_by_key(|target| (store.index.get(target).unwrap().item.seq, *target));
        assert_eq!(seen, expected);
        true
    }
}

/// A put at the target of signer 3 for which its signer vouches.
fn vouched(step: &Step) -> Option<Candidate> {
    let Step::Put {
        signer,
        seq,
        value: length,
        ..
    } = *step
    else {
        return None;
    };
    let it = item(signer % 4, seq.into(), &value(length), "tp");
    let via = Via::Signer(it.key);
    Some(Candidate {
        target: place(3, 1),
        via,
        ..Candidate::of_owner(it, via)
    })
}
