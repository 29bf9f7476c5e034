//! Effects of hostile peers on nodes of upstream and on ours.

use skydht_core::item::Origin;
use skydht_core::key::SecretKey;
use skydht_core::node::{GetError, GetOutcome, Outcome};

use super::{SECOND, get, hostile, item, key, ours, put, secret, upstream};
use crate::hostile::{Behaviour, Collusion, Forgery, ValueLie, grind};
use crate::testbed::Testbed;
use crate::world::Boot;

const HONEST: usize = 24;

/// Honest nodes, then hostile ones with these keys. All have found each other.
fn network(
    honest: fn(usize) -> Box<dyn Boot>,
    behaviour: &Behaviour,
    keys: Vec<SecretKey>,
    collusion: &Collusion,
) -> Testbed {
    let attackers = keys.into_iter();
    let attackers = attackers.map(|key| hostile(behaviour.clone(), key, collusion));
    let mut network = Testbed::new((0..HONEST).map(honest).chain(attackers).collect());
    network.run(320 * SECOND);
    network
}

fn got(outcome: Outcome) -> Result<GetOutcome, GetError> {
    match outcome {
        Outcome::Get(result) => result,
        other => panic!("no get: {other:?}"),
    }
}

/// Number of other nodes that get the owner's value of the item that node 1 put.
fn right_gets(network: &mut Testbed) -> usize {
    let readers = 2..HONEST;
    let right = readers.filter(|reader| {
        let outcome = got(network.ask(*reader, get(key(1))).0);
        outcome.is_ok_and(|it| it.origin == Origin::Owner && it.item.value.as_bytes() == b"mine")
    });
    right.count()
}

#[test]
fn one_liar_near_the_target_spoils_upstreams_gets_and_not_ours() {
    let target = item(1, 0, b"").target();
    let liar = Behaviour::Liar {
        peers: Forgery::FalseIds,
        count: 20,
        value: ValueLie::BadSignature,
    };
    let run = |honest| {
        let keys = grind(&target, 200, 1, 1);
        let mut network = network(honest, &liar, keys, &Collusion::new());
        assert!(matches!(
            network.ask(1, put(b"mine", 7)).0,
            Outcome::Put(Ok(_))
        ));
        right_gets(&mut network)
    };
    let (of_upstream, of_ours) = (run(upstream), run(ours));
    assert_eq!(of_ours, HONEST - 2);
    // Nodes that hold the item themselves send no request.
    assert!(of_upstream < HONEST - 2, "{of_upstream}");
}

#[test]
fn a_key_beyond_the_field_ends_upstreams_nodes_and_not_ours() {
    let liar = Behaviour::Liar {
        peers: Forgery::BeyondField,
        count: 20,
        value: ValueLie::Denied,
    };
    let keys = || vec![secret(666), secret(667)];
    let dead = network(upstream, &liar, keys(), &Collusion::new());
    let crashed = (0..HONEST).filter(|n| dead.upstream(*n).crashed());
    assert!(crashed.count() > 5);
    let mut alive = network(ours, &liar, keys(), &Collusion::new());
    assert!(matches!(
        alive.ask(1, put(b"mine", 7)).0,
        Outcome::Put(Ok(_))
    ));
    assert_eq!(right_gets(&mut alive), HONEST - 2);
}

#[test]
fn no_claim_enters_our_tables() {
    let collusion = Collusion::new();
    for n in 700..720 {
        collusion.join(key(n));
    }
    let poison = Behaviour::Poison { per_minute: 120 };
    let keys = vec![secret(666), secret(667)];
    let network = network(ours, &poison, keys, &collusion);
    let attacks = network.hostile(HONEST).counters().attacks;
    assert!(attacks > 500, "{attacks}");
    for n in 0..HONEST {
        let peers = network.ours(n).peers();
        assert!(peers.len() > 5);
        // Hosts that only make claims were never proven.
        assert!(!peers.iter().any(|it| (700..720).any(|n| it.key == key(n))));
    }
}

#[test]
fn an_eclipse_of_ground_keys_hides_an_item_from_upstream() {
    let collusion = Collusion::new();
    let target = item(1, 0, b"").target();
    collusion.besiege(target);
    // As many as upstream keeps in a lookup, all nearer than any honest node.
    let keys = grind(&target, 2_000, 20, 1);
    let mut network = network(upstream, &Behaviour::Eclipse, keys, &collusion);
    let Outcome::Put(Ok(put)) = network.ask(1, put(b"mine", 7)).0 else {
        panic!("the ring says that it took it");
    };
    assert!(put.replicas.stored >= 10, "{put:?}");
    assert!(right_gets(&mut network) <= 4);
}

#[test]
fn our_owners_items_are_safe_from_forged_mirrors() {
    let forger = Behaviour::ForgedMirror {
        per_minute: 600,
        bound: true,
    };
    let keys = vec![secret(666), secret(667)];
    let mut network = network(ours, &forger, keys, &Collusion::new());
    assert!(matches!(
        network.ask(1, put(b"mine", 7)).0,
        Outcome::Put(Ok(_))
    ));
    network.run(60 * SECOND);
    let forged = network.hostile(HONEST).counters().attacks;
    assert!(forged > 100, "{forged}");
    assert_eq!(right_gets(&mut network), HONEST - 2);
}
