//! What each behaviour does to a node of upstream that it knows, without being asked.

use std::time::Duration;

use skydht_core::id::Target;
use skydht_core::item::{Item, Seq};
use skydht_core::node::{Command, Outcome};
use skydht_core::wire::{FrameDecoder, Request, RequestMessage, Side, decode_request};

use super::{SECOND, hostile, item, key, secret, upstream};
use crate::host::Host as _;
use crate::hostile::{Behaviour, Collusion, Flood};
use crate::testbed::Testbed;

/// Node 0 is the victim, node 1 the attacker.
fn attack(behaviour: Behaviour, collusion: &Collusion, time: Duration) -> Testbed {
    let attacker = hostile(behaviour, secret(666), collusion);
    let mut network = Testbed::new(vec![upstream(0), attacker]);
    network.watch_deliveries();
    network.run(time);
    network
}

/// The attacker's requests that were complete.
fn asked(network: &Testbed) -> Vec<RequestMessage> {
    let read = |bytes: &Vec<u8>| {
        let mut decoder = FrameDecoder::new(Side::Request);
        let frame = decoder.push(&mut bytes.as_slice()).ok()??;
        decode_request(&frame).ok()
    };
    let to_victim = network.delivered.iter();
    let to_victim = to_victim.filter(|((host, it), _)| *host == 0 && !it.is_ours());
    to_victim.filter_map(|(_, bytes)| read(bytes)).collect()
}

fn held(network: &Testbed, target: &Target) -> Option<Item> {
    let mut held = network.upstream(0).store().iter();
    let found = held.find(|(it, _)| *it == target);
    found.map(|(_, item)| Item::clone(item))
}

#[test]
fn a_flood_has_the_configured_rate() {
    for (per_second, at_least, at_most) in [(5, 45, 51), (1_000, 9_000, 10_100)] {
        let flood = Behaviour::Flood {
            what: Flood::Requests,
            per_second,
        };
        let network = attack(flood, &Collusion::new(), 10 * SECOND);
        let attacks = network.hostile(1).counters().attacks;
        assert!((at_least..=at_most).contains(&attacks), "{attacks}");
        let served = network.upstream(0).counters().served;
        assert!(served + 200 >= attacks, "{served} of {attacks}");
    }
}

#[test]
fn each_kind_of_flood_reaches_its_victim() {
    for (what, served, refused, holds) in [
        (Flood::Requests, true, false, false),
        (Flood::Puts, true, false, false),
        (Flood::Oversized, false, true, false),
        (Flood::HalfOpen, false, false, true),
    ] {
        let per_second = 20;
        let flood = Behaviour::Flood { what, per_second };
        let network = attack(flood, &Collusion::new(), 10 * SECOND);
        let victim = network.upstream(0);
        let counters = victim.counters();
        assert_eq!(counters.served > 50, served, "{what:?}: {counters:?}");
        assert_eq!(counters.refused > 50, refused, "{what:?}: {counters:?}");
        assert_eq!(counters.dropped > 20, holds, "{what:?}: {counters:?}");
        // Upstream's limit per key.
        let stored = if what == Flood::Puts { 50 } else { 0 };
        assert_eq!(victim.store().len(), stored);
    }
    // Garbage is mostly a length that is never reached, or one that is not accepted.
    let flood = Behaviour::Flood {
        what: Flood::Garbage,
        per_second: 20,
    };
    let network = attack(flood, &Collusion::new(), 10 * SECOND);
    let counters = network.upstream(0).counters();
    assert!(counters.refused > 50 && !network.upstream(0).crashed());
}

#[test]
fn streams_of_an_attack_are_bounded() {
    let flood = Behaviour::Flood {
        what: Flood::HalfOpen,
        per_second: 6_400,
    };
    let network = attack(flood, &Collusion::new(), 5 * SECOND);
    let attacker = network.hostile(1);
    assert!(attacker.attacks.len() <= 256);
    // The victim keeps 148 and drops the others, which makes room for the next ones.
    assert!(attacker.counters().attacks > 1_000);
}

#[test]
fn poison_claims_to_be_others_and_upstream_believes_it() {
    let collusion = Collusion::new();
    for n in 700..710 {
        collusion.join(key(n));
    }
    let network = attack(
        Behaviour::Poison { per_minute: 60 },
        &collusion,
        60 * SECOND,
    );
    let victim = network.upstream(0);
    let in_table = |of: &dyn Fn(&crate::upstream::table::Contact) -> bool| {
        victim.table().iter().filter(|it| of(it)).count()
    };
    let member = in_table(&|it| (700..710).any(|n| it.key == Some(key(n))));
    let false_id = in_table(&|it| it.key.is_some_and(|key| key.id() != it.id));
    assert!(member >= 5, "{member}");
    assert!(false_id >= 10, "{false_id}");
}

#[test]
fn an_old_version_comes_back_when_the_newer_one_is_gone() {
    let collusion = Collusion::new();
    let (old, new) = (item(3, 7, b"old"), item(3, 8, b"new"));
    for item in [&old, &new] {
        collusion.note(item.target(), item);
    }
    let network = attack(
        Behaviour::Replay { per_minute: 60 },
        &collusion,
        10 * SECOND,
    );
    assert_eq!(held(&network, &old.target()), Some(Item::clone(&old)));
    // A single version is never an old one.
    let collusion = Collusion::new();
    collusion.note(new.target(), &new);
    let network = attack(
        Behaviour::Replay { per_minute: 60 },
        &collusion,
        10 * SECOND,
    );
    assert_eq!(held(&network, &new.target()), None);
}

#[test]
fn a_forged_mirror_takes_the_owners_place() {
    for bound in [true, false] {
        let collusion = Collusion::new();
        let mine = item(3, 7, b"mine");
        let target = mine.target();
        collusion.note(target, &mine);
        let forger = Behaviour::ForgedMirror {
            per_minute: 60,
            bound,
        };
        let network = attack(forger, &collusion, 10 * SECOND);
        let forged = held(&network, &target).expect("upstream takes any mirror");
        assert_eq!((forged.key, forged.seq), (key(666), Seq(u64::MAX)));
        let puts = asked(&network);
        let mut puts = puts
            .iter()
            .filter(|it| matches!(it.request, Request::PutValue { .. }));
        let put = puts.next().expect("a put");
        let bind = put.ext.as_ref().and_then(|ext| ext.bind);
        let good = bind.map(|bind| key(666).verify(&forged.bind_digest(&target), &bind));
        assert_eq!(good, bound.then_some(Ok(())));
    }
}

#[test]
fn claims_are_made_in_pings_and_puts() {
    let collusion = Collusion::new();
    let mine = item(3, 7, b"mine");
    collusion.note(mine.target(), &mine);
    let addr = "192.0.2.7:99".parse().unwrap();
    let liar = Behaviour::FalseClaims {
        addr,
        left: 9 * SECOND,
        per_minute: 60,
    };
    let network = attack(liar, &collusion, 30 * SECOND);
    let claims = asked(&network)
        .into_iter()
        .filter_map(|it| Some((it.request, it.ext?)));
    let (puts, pings): (Vec<_>, Vec<_>) =
        claims.partition(|(request, _)| matches!(request, Request::PutValue { .. }));
    assert!(puts.len() > 5 && pings.len() > 5);
    assert!(
        puts.iter()
            .all(|(_, ext)| ext.life.is_some_and(|it| it.left == 9 * SECOND))
    );
    assert!(
        pings
            .iter()
            .all(|(_, ext)| ext.addr.is_some() && ext.serves)
    );
}

#[test]
fn attacks_end_with_a_shutdown() {
    let flood = Behaviour::Flood {
        what: Flood::HalfOpen,
        per_second: 20,
    };
    let mut network = attack(flood, &Collusion::new(), 5 * SECOND);
    let (outcome, _) = network.ask(1, Command::Shutdown);
    assert_eq!(outcome, Outcome::Shutdown);
    let attacker = network.hostile(1);
    assert!(attacker.attacks.is_empty() && attacker.served.is_empty());
    let before = attacker.counters().attacks;
    assert!(before > 50 && attacker.next_deadline().is_none());
    network.run(SECOND);
    assert_eq!(network.hostile(1).counters().attacks, before);
    // The host has ended.
    network.run(5 * SECOND);
    let search = Command::Ping {
        peer: key(1),
        addr: None,
    };
    let (outcome, _) = network.ask(0, search);
    assert!(matches!(outcome, Outcome::Ping(Err(_))), "{outcome:?}");
}

#[test]
fn the_same_seed_does_the_same() {
    let flood = Behaviour::Flood {
        what: Flood::Garbage,
        per_second: 20,
    };
    let run = |behaviour| attack(behaviour, &Collusion::new(), 20 * SECOND);
    let (first, second) = (run(flood.clone()), run(flood));
    assert!(first.delivered.len() > 300);
    assert_eq!(first.world.digest(), second.world.digest());
}
