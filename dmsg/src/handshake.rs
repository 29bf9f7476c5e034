//! Noise XK and KK as DMSG uses them: without a prologue, and with empty payloads or those of
//! [`crate::hybrid`].
//!
//! Two things differ from the Noise specification. A DH output is 33 bytes, and the writer of the
//! last message encrypts with the *second* of the split keys: in XK that is the initiator. In KK
//! the responder writes last, which gives the standard order.

use std::sync::{Mutex, PoisonError};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use skydht_core::key::{PUBLIC_KEY_LEN, PublicKey, SecretKey};
use snow::params::{
    BaseChoice, CipherChoice, DHChoice, HandshakeChoice, HandshakeModifierList, HandshakePattern,
    HashChoice, NoiseParams,
};
use snow::{Builder, HandshakeState};
use zeroize::Zeroizing;

use crate::cipher::{Opener, Sealer};
use crate::frame::MAX_BODY;
use crate::hybrid::{Exchange, Hybrid, OFFER_LEN};
use crate::noise::{Resolver, TAG_LEN};

/// Protocol name from which the handshake hash of XK starts.
pub const XK_PROTOCOL: &str = "Noise_XK_Secp256k1_ChaChaPoly_SHA256";
/// Protocol name from which the handshake hash of KK starts.
pub const KK_PROTOCOL: &str = "Noise_KK_Secp256k1_ChaChaPoly_SHA256";

/// Length of the longest message that we write: the first one, with an offer.
const LONGEST_MESSAGE: usize = PUBLIC_KEY_LEN + OFFER_LEN + TAG_LEN;

/// Why a handshake message was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoiseError {
    /// The message is too short for its tokens, or longer than a frame.
    #[error("handshake message has a wrong length")]
    Length,
    /// A public key, the one to dial or one in a message, is not a point on the curve. Go panics
    /// here.
    #[error("public key in the handshake is not on the curve")]
    InvalidKey,
    /// A tag does not match: another static key than expected, a damaged message, or not Noise.
    #[error("handshake message failed authentication")]
    Forged,
    /// A message was written or read out of order, or the keys were requested before the last one.
    #[error("handshake step out of order")]
    OutOfOrder,
    /// We require a post-quantum handshake, and the peer does not perform it.
    #[error("the other side makes no post-quantum handshake, and this side demands one")]
    Classical,
}

impl From<snow::Error> for NoiseError {
    fn from(error: snow::Error) -> Self {
        match error {
            snow::Error::Dh => Self::InvalidKey,
            snow::Error::Decrypt => Self::Forged,
            snow::Error::Input => Self::Length,
            _ => Self::OutOfOrder,
        }
    }
}

/// The secrets of one handshake: its key pair, and the seed of the post-quantum half. They must be
/// used only once, so they are not `Clone` and are passed by value.
pub struct Ephemeral {
    key: SecretKey,
    exchange: Exchange,
}

impl Ephemeral {
    /// Derives the secrets from 32 random bytes, drawn from the operating system or a simulation.
    /// Never use the same bytes twice.
    #[must_use]
    pub fn from_entropy(entropy: &[u8; 32]) -> Self {
        Self::draw(&mut ChaCha20Rng::from_seed(*entropy), Hybrid::default())
    }

    /// Draws both parts from the generator, so that neither reveals anything about the other.
    fn draw(generator: &mut ChaCha20Rng, hybrid: Hybrid) -> Self {
        let mut entropy = Zeroizing::new([0; 32]);
        generator.fill_bytes(&mut *entropy);
        Self {
            key: SecretKey::from_entropy(&entropy),
            exchange: Exchange::draw(hybrid, generator),
        }
    }

    /// Uses a given key, to reproduce recorded handshakes. Neither offers nor answers a
    /// post-quantum half.
    #[must_use]
    pub fn fixed_for_testing_only(key: SecretKey) -> Self {
        Self {
            key,
            exchange: Exchange::disabled(),
        }
    }

    /// Uses a given key and 64 bytes for the post-quantum half: an initiator's d ‖ z, or a
    /// responder's m in the first 32.
    #[must_use]
    pub fn fixed_hybrid_for_testing_only(key: SecretKey, hybrid: Hybrid, seed: [u8; 64]) -> Self {
        Self {
            key,
            exchange: Exchange::new(hybrid, seed),
        }
    }
}

/// Source of fresh ephemeral keys: a generator that is seeded once.
pub struct EphemeralSource {
    generator: Mutex<ChaCha20Rng>,
    hybrid: Hybrid,
}

impl EphemeralSource {
    /// Creates a source. Draw `entropy` from the operating system and keep it secret; in a
    /// simulation, draw it from the seed. `hybrid` applies to every handshake with one of its keys.
    #[must_use]
    pub fn new(entropy: [u8; 32], hybrid: Hybrid) -> Self {
        Self {
            generator: Mutex::new(ChaCha20Rng::from_seed(entropy)),
            hybrid,
        }
    }

    /// Returns fresh secrets for one handshake.
    #[must_use]
    pub fn next(&self) -> Ephemeral {
        let generator = self.generator.lock();
        let mut generator = generator.unwrap_or_else(PoisonError::into_inner);
        Ephemeral::draw(&mut generator, self.hybrid)
    }
}

/// Result of a completed handshake.
pub struct Transport {
    /// Encrypts what we send.
    pub sealer: Sealer,
    /// Decrypts what the peer sends.
    pub opener: Opener,
    /// The peer's static key, which it has proven to hold.
    pub remote: PublicKey,
    /// The handshake hash: equal on both sides and unique to this handshake.
    pub hash: [u8; 32],
    /// Whether the keys also depend on the post-quantum half.
    pub is_hybrid: bool,
}

/// One side of a handshake in progress. Static, ephemeral and cipher keys are zeroised on drop; the
/// chaining key is inside snow, which leaves it in freed memory.
pub struct Handshake {
    state: HandshakeState,
    pattern: Pattern,
    /// Messages written and read so far.
    messages: u8,
    exchange: Exchange,
    /// Payload of our next message.
    payload: Vec<u8>,
}

impl Handshake {
    /// Creates the dialling side of XK: three messages, of which we write the first and the last.
    ///
    /// # Errors
    /// [`NoiseError`] if the state cannot be set up.
    pub fn xk_initiator(
        local: &SecretKey,
        remote: &PublicKey,
        ephemeral: Ephemeral,
    ) -> Result<Self, NoiseError> {
        Self::new(Pattern::Xk, true, local, Some(remote), ephemeral)
    }

    /// Creates the accepting side of XK: the dialer's key is in the third message.
    ///
    /// # Errors
    /// [`NoiseError`] if the state cannot be set up.
    pub fn xk_responder(local: &SecretKey, ephemeral: Ephemeral) -> Result<Self, NoiseError> {
        Self::new(Pattern::Xk, false, local, None, ephemeral)
    }

    /// Creates the dialling side of KK: two messages, both keys known in advance.
    ///
    /// # Errors
    /// [`NoiseError`] if the state cannot be set up.
    pub fn kk_initiator(
        local: &SecretKey,
        remote: &PublicKey,
        ephemeral: Ephemeral,
    ) -> Result<Self, NoiseError> {
        Self::new(Pattern::Kk, true, local, Some(remote), ephemeral)
    }

    /// Creates the accepting side of KK.
    ///
    /// # Errors
    /// [`NoiseError`] if the state cannot be set up.
    pub fn kk_responder(
        local: &SecretKey,
        remote: &PublicKey,
        ephemeral: Ephemeral,
    ) -> Result<Self, NoiseError> {
        Self::new(Pattern::Kk, false, local, Some(remote), ephemeral)
    }

    fn new(
        pattern: Pattern,
        initiator: bool,
        local: &SecretKey,
        remote: Option<&PublicKey>,
        ephemeral: Ephemeral,
    ) -> Result<Self, NoiseError> {
        let resolver = Resolver {
            local: local.clone(),
            ephemeral: ephemeral.key,
        };
        let secret = local.to_bytes();
        let mut builder = Builder::with_resolver(pattern.params(), Box::new(resolver))
            .local_private_key(&*secret)?;
        if let Some(remote) = remote {
            builder = builder.remote_public_key(remote.as_bytes())?;
        }
        let state = if initiator {
            builder.build_initiator()
        } else {
            builder.build_responder()
        }?;
        let exchange = ephemeral.exchange;
        let offer = initiator.then(|| exchange.offer()).flatten();
        Ok(Self {
            state,
            pattern,
            messages: 0,
            exchange,
            payload: offer.map_or_else(Vec::new, Vec::from),
        })
    }

    /// Appends our next message to `out`, without a frame.
    ///
    /// # Errors
    /// [`NoiseError::OutOfOrder`]; [`NoiseError::InvalidKey`] if the key to dial is not on the
    /// curve; [`NoiseError::Classical`] if the handshake stays classical and we require a hybrid
    /// one.
    pub fn write_message(&mut self, out: &mut Vec<u8>) -> Result<(), NoiseError> {
        let settled = match self.pattern {
            Pattern::Xk => self.messages == 2,
            Pattern::Kk => self.messages == 1,
        };
        if settled && self.exchange.is_refused() {
            return Err(NoiseError::Classical);
        }
        let mut message = [0; LONGEST_MESSAGE];
        let payload = core::mem::take(&mut self.payload);
        let len = self.state.write_message(&payload, &mut message)?;
        out.extend_from_slice(&message[..len]);
        self.messages += 1;
        Ok(())
    }

    /// Reads the peer's next message, without its frame. A payload that is neither an offer nor an
    /// answer is authenticated and ignored.
    ///
    /// # Errors
    /// [`NoiseError`]. The handshake cannot continue after a refused message.
    pub fn read_message(&mut self, message: &[u8]) -> Result<(), NoiseError> {
        if message.len() > MAX_BODY {
            return Err(NoiseError::Length);
        }
        let mut payload = [0; MAX_BODY];
        let len = self.state.read_message(message, &mut payload)?;
        let payload = &payload[..len];
        self.messages += 1;
        match self.messages {
            1 => {
                let answer = self.exchange.answer(payload);
                self.payload = answer.map_or_else(Vec::new, Vec::from);
            }
            2 => self.exchange.take_answer(payload),
            _ => {}
        }
        if self.is_finished() && self.exchange.is_refused() {
            return Err(NoiseError::Classical);
        }
        Ok(())
    }

    /// Returns whether all messages were exchanged.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.state.is_handshake_finished()
    }

    /// Returns the handshake hash so far.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.state.get_handshake_hash());
        hash
    }

    /// Finishes the handshake and returns the keys of both directions.
    ///
    /// # Errors
    /// [`NoiseError::OutOfOrder`] before the last message.
    pub fn finish(mut self) -> Result<Transport, NoiseError> {
        if !self.is_finished() {
            return Err(NoiseError::OutOfOrder);
        }
        let remote = self
            .state
            .get_remote_static()
            .and_then(|key| PublicKey::from_bytes(key).ok())
            .ok_or(NoiseError::InvalidKey)?;
        let hash = self.hash();
        let (first, second) = self.state.dangerously_get_raw_split();
        let first = self.exchange.mix(first, &hash);
        let second = self.exchange.mix(second, &hash);
        // The writer of the last message encrypts with the second key.
        let writes_last = self.state.is_initiator() == (self.pattern == Pattern::Xk);
        let (send, receive) = if writes_last {
            (&second, &first)
        } else {
            (&first, &second)
        };
        Ok(Transport {
            sealer: Sealer::new(send),
            opener: Opener::new(receive),
            remote,
            hash,
            is_hybrid: self.exchange.is_hybrid(),
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pattern {
    Xk,
    Kk,
}

impl Pattern {
    /// Builds the parameters by hand, since snow's parser does not know the DH name. Our resolver
    /// ignores the choice of DH; the name is hashed as it stands.
    fn params(self) -> NoiseParams {
        let (name, pattern) = match self {
            Self::Xk => (XK_PROTOCOL, HandshakePattern::XK),
            Self::Kk => (KK_PROTOCOL, HandshakePattern::KK),
        };
        NoiseParams::new(
            name.into(),
            BaseChoice::Noise,
            HandshakeChoice {
                pattern,
                modifiers: HandshakeModifierList { list: Vec::new() },
            },
            DHChoice::Curve25519,
            CipherChoice::ChaChaPoly,
            HashChoice::SHA256,
        )
    }
}

#[cfg(test)]
mod tests;
