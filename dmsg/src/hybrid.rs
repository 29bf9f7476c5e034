//! The post-quantum half of a handshake: ML-KEM-768 in the payloads of its first two messages.
//!
//! The initiator offers an encapsulation key; a responder that accepts the offer answers with a
//! ciphertext, and both mix the shared secret into the keys that Noise derived. Any other payload
//! means a classical handshake and is no error. Compatible with Skywire since June 2026
//! (`pkg/dmsg/noise/pqhybrid.go`).

use std::sync::atomic::{AtomicU64, Ordering};

use hkdf::Hkdf;
use libcrux_ml_kem::mlkem768::{
    MlKem768Ciphertext, MlKem768PublicKey, decapsulate, encapsulate, generate_key_pair,
    validate_public_key,
};
use rand_chacha::rand_core::Rng;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Bytes in an offer: an encapsulation key.
pub(crate) const OFFER_LEN: usize = 1184;
/// Bytes in an answer: a ciphertext.
pub(crate) const ANSWER_LEN: usize = 1088;
/// HKDF info string of the mixed keys.
const INFO: &[u8] = b"skywire-pq-hybrid-v1";

/// Whether handshakes offer and answer the post-quantum half.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Hybrid {
    /// Neither, as before June 2026.
    Never,
    /// Both; with a peer that does neither, the handshake stays classical.
    #[default]
    Offer,
    /// Both, and a handshake that stays classical fails with
    /// [`NoiseError::Classical`](crate::handshake::NoiseError::Classical).
    Require,
}

/// How many sessions and streams of a client or server are hybrid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct HybridStats {
    /// Current sessions.
    pub sessions: usize,
    /// Those of them with a post-quantum half.
    pub hybrid_sessions: usize,
    /// Streams opened since the start, in both directions.
    pub streams: u64,
    /// Those of them with a post-quantum half.
    pub hybrid_streams: u64,
}

/// Counts streams since the start.
#[derive(Default)]
pub(crate) struct StreamCounts {
    all: AtomicU64,
    hybrid: AtomicU64,
}

impl StreamCounts {
    pub(crate) fn count(&self, is_hybrid: bool) {
        self.all.fetch_add(1, Ordering::Relaxed);
        self.hybrid.fetch_add(is_hybrid.into(), Ordering::Relaxed);
    }

    /// Adds the counts of sessions, each given by whether it is hybrid.
    pub(crate) fn with_sessions(&self, sessions: impl Iterator<Item = bool>) -> HybridStats {
        let mut stats = HybridStats {
            streams: self.all.load(Ordering::Relaxed),
            hybrid_streams: self.hybrid.load(Ordering::Relaxed),
            ..HybridStats::default()
        };
        for is_hybrid in sessions {
            stats.sessions += 1;
            stats.hybrid_sessions += usize::from(is_hybrid);
        }
        stats
    }
}

/// The secret that encapsulation gives to both sides.
type SharedSecret = Zeroizing<[u8; 32]>;

/// One side's state of the exchange.
pub(crate) struct Exchange {
    pub(crate) policy: Hybrid,
    /// For the initiator, the seeds d ‖ z of the key pair, which is derived again when the answer
    /// arrives, so that nothing longer stays in memory. For the responder, the first half is the
    /// message m.
    seed: Zeroizing<[u8; 64]>,
    shared: Option<SharedSecret>,
}

impl Exchange {
    /// Creates an exchange that neither offers nor answers.
    pub(crate) fn disabled() -> Self {
        Self::new(Hybrid::Never, [0; 64])
    }

    /// Creates an exchange from 64 bytes that no other handshake may use.
    pub(crate) fn new(policy: Hybrid, seed: [u8; 64]) -> Self {
        Self {
            policy,
            seed: Zeroizing::new(seed),
            shared: None,
        }
    }

    /// Creates an exchange from the generator's next bytes.
    pub(crate) fn draw(policy: Hybrid, generator: &mut impl Rng) -> Self {
        let mut exchange = Self::new(policy, [0; 64]);
        generator.fill_bytes(&mut *exchange.seed);
        exchange
    }

    /// Returns the payload of the initiator's first message.
    pub(crate) fn offer(&self) -> Option<[u8; OFFER_LEN]> {
        (self.policy != Hybrid::Never).then(|| *generate_key_pair(*self.seed).pk())
    }

    /// Returns the payload of the responder's first message, if `offer` is a valid offer.
    pub(crate) fn answer(&mut self, offer: &[u8]) -> Option<[u8; ANSWER_LEN]> {
        let offer = MlKem768PublicKey::try_from(offer).ok()?;
        if self.policy == Hybrid::Never || !validate_public_key(&offer) {
            return None;
        }
        let mut message = Zeroizing::new([0; 32]);
        message.copy_from_slice(&self.seed[..32]);
        let (ciphertext, shared) = encapsulate(&offer, *message);
        self.shared = Some(Zeroizing::new(shared));
        Some(ciphertext.into())
    }

    /// Takes the payload that answers our offer. An altered ciphertext gives a secret that the peer
    /// does not have, so that no later record is valid.
    pub(crate) fn take_answer(&mut self, answer: &[u8]) {
        if self.policy == Hybrid::Never {
            return;
        }
        if let Ok(ciphertext) = MlKem768Ciphertext::try_from(answer) {
            let pair = generate_key_pair(*self.seed);
            let shared = decapsulate(pair.private_key(), &ciphertext);
            self.shared = Some(Zeroizing::new(shared));
        }
    }

    /// Returns whether this side has a shared secret.
    pub(crate) fn is_hybrid(&self) -> bool {
        self.shared.is_some()
    }

    /// Returns whether the handshake must fail because the peer offered, or answered, nothing.
    pub(crate) fn is_refused(&self) -> bool {
        self.policy == Hybrid::Require && !self.is_hybrid()
    }

    /// Returns the transport key to use instead of Noise's `key`; `hash` is the handshake hash
    /// after the last message.
    pub(crate) fn mix(&self, key: [u8; 32], hash: &[u8; 32]) -> SharedSecret {
        let mut mixed = Zeroizing::new(key);
        if let Some(shared) = &self.shared {
            let mut both = Zeroizing::new([0; 64]);
            both[..32].copy_from_slice(&*mixed);
            both[32..].copy_from_slice(&**shared);
            Hkdf::<Sha256>::new(Some(hash), &*both)
                .expand(INFO, &mut *mixed)
                .expect("32 bytes are one block");
        }
        mixed
    }
}
