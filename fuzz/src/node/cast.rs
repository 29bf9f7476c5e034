//! Keys and items of the participants, created once.

use std::sync::{Arc, LazyLock};

use skydht_core::id::Target;
use skydht_core::item::{Item, Salt, Seq, Value};
use skydht_core::key::{PublicKey, SecretKey, Signature};
use skydht_core::time::Unix;

/// Number of peers besides the node itself. The first one may be its bootstrap peer.
pub(super) const PEERS: usize = 12;
/// Time of the wall clock at the start.
pub(super) const START: Unix = Unix(1_790_000_000_000_000_000);

/// Number of targets of items signed with the node's own key: one for each salt.
pub(super) const OWN_TARGETS: usize = 2;

/// The parts that are the same in every run.
pub(super) struct Cast {
    /// The node's secret key.
    pub(super) own: SecretKey,
    /// The node's public key.
    pub(super) own_key: PublicKey,
    /// Public keys of the peers.
    pub(super) peers: Vec<PublicKey>,
    /// Items of three of the peers and of the node, and forgeries of some.
    pub(super) items: Vec<Arc<Item>>,
    /// Binding signatures of these items for the first target.
    pub(super) binds: Vec<Signature>,
    /// Targets of the items, and further targets.
    pub(super) targets: Vec<Target>,
    /// A key with a valid tag that is not a point on the curve.
    pub(super) impossible: PublicKey,
}

/// The only cast.
pub(super) static CAST: LazyLock<Cast> = LazyLock::new(Cast::new);

const HOUR: u64 = 3_600_000_000_000;

impl Cast {
    fn new() -> Self {
        let secret = |n: usize| SecretKey::from_entropy(&[n as u8; 32]);
        let own = secret(0);
        let peers: Vec<_> = (1..=PEERS).map(|n| secret(n).public()).collect();
        let sequences = [
            0,
            1,
            START.0 - HOUR,
            START.0,
            START.0 + HOUR,
            START.0 + 48 * HOUR,
            u64::MAX,
        ];
        let mut items = Vec::new();
        for owner in [1, 2, 3, 0] {
            for salt in ["", "dmsg"] {
                for (n, seq) in sequences.into_iter().enumerate() {
                    let value: &[u8] =
                        [b"".as_slice(), b"a", b"{}", b"b", b"longer"][(n + owner) % 5];
                    let (salt, value) = (Salt::from(salt), Value::new(value));
                    items.push(Item::sign(&secret(owner), Seq(seq), value, salt));
                }
            }
        }
        let target = items[0].target();
        let signer = |item: &Item| {
            secret(
                (0..=PEERS)
                    .find(|n| secret(*n).public() == item.key)
                    .unwrap_or(1),
            )
        };
        let binds = items
            .iter()
            .map(|item| signer(item).sign(&item.bind_digest(&target)))
            .collect();
        let mut targets: Vec<_> = items.iter().map(Item::target).collect();
        targets.dedup();
        targets.push(own.public().id().into());
        targets.extend([Target::default(), Target::from_bytes([0xff; 32])]);
        for n in 0..4 {
            let mut forged = items[n * 9].clone();
            let mut bytes = *forged.signature.as_bytes();
            bytes[n * 20] ^= 1;
            forged.signature = Signature::from_bytes(bytes);
            items.push(forged);
        }
        let mut too_long = items[3].clone();
        too_long.salt = Salt::new(&[b's'; 201]);
        items.push(too_long);
        Self {
            own_key: own.public(),
            own,
            peers,
            items: items.into_iter().map(Arc::new).collect(),
            binds,
            targets,
            impossible: PublicKey::from_bytes(
                &[2; 1].into_iter().chain([0xff; 32]).collect::<Vec<_>>(),
            )
            .unwrap(),
        }
    }
}
