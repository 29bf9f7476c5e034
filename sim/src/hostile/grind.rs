//! Grinding keys near a target: the distance depends on the number of tries.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use skydht_core::id::{Distance, NodeId, Target};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::wire::WirePeer;

use super::behaviour::Forgery;
use crate::upstream::checks::{KeyFate, key_fate};

/// Number of hashes per invented peer.
const TRIES: u32 = 32;

/// Returns the `count` keys nearest to `target` among `budget` key pairs drawn from `seed`, nearest
/// first. The n-th is about `2^256 · n / budget` away; each pair costs a multiplication on the
/// curve.
#[must_use]
pub fn grind(target: &Target, budget: u32, count: usize, seed: u64) -> Vec<SecretKey> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut best: Vec<(Distance, SecretKey)> = Vec::with_capacity(count + 1);
    for _ in 0..budget {
        let mut entropy = [0; 32];
        rng.fill_bytes(&mut entropy);
        let secret = SecretKey::from_entropy(&entropy);
        let distance = target.distance(&secret.public().id());
        let at = best.partition_point(|(it, _)| *it < distance);
        if at < count {
            best.insert(at, (distance, secret));
            best.truncate(count);
        }
    }
    best.into_iter().map(|(_, secret)| secret).collect()
}

/// Invents non-existent peers near `target`. Without secret keys a try costs only a hash.
pub(super) fn invent(
    target: &Target,
    forgery: Forgery,
    count: usize,
    rng: &mut ChaCha8Rng,
) -> Vec<WirePeer> {
    let invented = (0..count).map(|n| match forgery {
        Forgery::FalseIds => WirePeer {
            id: beside(target, n),
            ..WirePeer::new(&any(Forgery::Points, rng), Default::default(), None)
        },
        _ => WirePeer::new(&near(target, forgery, rng), Default::default(), None),
    });
    invented.collect()
}

/// The nearest of several keys of a kind. Hashes are cheap and curve checks are not, so keys are
/// sorted by distance first.
fn near(target: &Target, forgery: Forgery, rng: &mut ChaCha8Rng) -> PublicKey {
    loop {
        let mut tries: Vec<PublicKey> = (0..TRIES).map(|_| draw(forgery, rng)).collect();
        tries.sort_by_cached_key(|key| target.distance(&key.id()));
        if let Some(key) = tries.into_iter().find(|key| is(key, forgery)) {
            return key;
        }
    }
}

/// An id that differs from the target only in its last bits.
fn beside(target: &Target, n: usize) -> NodeId {
    let mut bytes = *target.as_bytes();
    for (byte, n) in bytes[30..].iter_mut().zip((n as u16 + 1).to_be_bytes()) {
        *byte ^= n;
    }
    NodeId::from_bytes(bytes)
}

/// Any key of a kind.
fn any(forgery: Forgery, rng: &mut ChaCha8Rng) -> PublicKey {
    loop {
        let key = draw(forgery, rng);
        if is(&key, forgery) {
            return key;
        }
    }
}

fn is(key: &PublicKey, forgery: Forgery) -> bool {
    let fate = match forgery {
        Forgery::Points | Forgery::FalseIds => KeyFate::Good,
        Forgery::OffCurve => KeyFate::Refused,
        Forgery::BeyondField => KeyFate::Panics,
    };
    key_fate(key) == fate
}

/// A key that may be of a kind: every second x has a point.
fn draw(forgery: Forgery, rng: &mut ChaCha8Rng) -> PublicKey {
    // With 28 leading bytes of ones, x is above the prime whatever follows.
    let random = match forgery {
        Forgery::BeyondField => 29,
        _ => 1,
    };
    loop {
        let mut bytes = [0xff; 33];
        bytes[0] = 2;
        rng.fill_bytes(&mut bytes[random..]);
        if let Ok(key) = PublicKey::from_bytes(&bytes) {
            return key;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greater_budget_comes_nearer_and_the_same_seed_finds_the_same() {
        let target = Target::from_bytes([0x5a; 32]);
        let keys = |budget| {
            let found = grind(&target, budget, 3, 1);
            let keys: Vec<PublicKey> = found.iter().map(SecretKey::public).collect();
            keys
        };
        let (few, many) = (keys(10), keys(200));
        assert_eq!(many, keys(200));
        assert_eq!((few.len(), many.len()), (3, 3));
        let distance = |key: &PublicKey| target.distance(&key.id());
        assert!(many.is_sorted_by_key(distance));
        // The same draws and more: never farther, and with 20 times as many nearer.
        assert!(distance(&many[0]) < distance(&few[0]));
        assert!(distance(&many[2]) <= distance(&few[2]));
        assert_ne!(grind(&target, 10, 1, 2)[0].public(), few[0]);
        assert!(grind(&target, 0, 3, 1).is_empty());
    }

    #[test]
    fn invented_peers_are_what_they_are_said_to_be() {
        let target = Target::from_bytes([0x5a; 32]);
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for (forgery, fate) in [
            (Forgery::Points, KeyFate::Good),
            (Forgery::OffCurve, KeyFate::Refused),
            (Forgery::BeyondField, KeyFate::Panics),
            (Forgery::FalseIds, KeyFate::Good),
        ] {
            let peers = invent(&target, forgery, 8, &mut rng);
            assert_eq!(peers.len(), 8);
            for peer in peers {
                let key = peer.key.unwrap();
                assert_eq!(key_fate(&key), fate, "{forgery:?}");
                assert_eq!(peer.id == key.id(), forgery != Forgery::FalseIds);
                let near = target.distance(&peer.id).common_prefix();
                match forgery {
                    Forgery::FalseIds => assert!(near >= 240),
                    _ => assert!(near < 64),
                }
            }
        }
    }
}
