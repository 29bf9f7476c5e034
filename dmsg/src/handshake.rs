//! Noise XK and KK as DMSG runs them: no prologue, empty payloads.
//!
//! Two things differ from the Noise document. A DH output is 33 bytes,
//! and whoever writes the last message encrypts with the *second* of the split keys: in XK that is
//! the initiator. In KK the responder writes last, which is the standard order.

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
use crate::noise::{Resolver, TAG_LEN};

/// The name that XK starts from.
pub const XK_PROTOCOL: &str = "Noise_XK_Secp256k1_ChaChaPoly_SHA256";
/// The name that KK starts from.
pub const KK_PROTOCOL: &str = "Noise_KK_Secp256k1_ChaChaPoly_SHA256";

/// The longest message that we write: XK's third.
const LONGEST_MESSAGE: usize = PUBLIC_KEY_LEN + 2 * TAG_LEN;

/// Why a handshake message was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoiseError {
    /// Too short for its tokens, or longer than a frame.
    #[error("handshake message has a wrong length")]
    Length,
    /// A public key, ours to dial or theirs in a message, is no point on the curve. Go panics here.
    #[error("public key in the handshake is not on the curve")]
    InvalidKey,
    /// A tag does not fit: another static key than expected, a damaged message, or not Noise.
    #[error("handshake message failed authentication")]
    Forged,
    /// Called out of order, or asked for the keys too early.
    #[error("handshake step out of order")]
    OutOfOrder,
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

/// The key pair of one handshake. It is spent by it: not `Clone`, and handed over by value.
pub struct Ephemeral(SecretKey);

impl Ephemeral {
    /// From 32 bytes of fresh randomness: the operating system's, or a simulation's.
    /// Never use the same bytes twice.
    #[must_use]
    pub fn from_entropy(entropy: &[u8; 32]) -> Self {
        Self(SecretKey::from_entropy(entropy))
    }

    /// A given key, to reproduce recorded handshakes.
    #[must_use]
    pub fn fixed_for_testing_only(key: SecretKey) -> Self {
        Self(key)
    }
}

/// Where fresh ephemeral keys come from: a generator that is seeded once.
pub struct EphemeralSource(Mutex<ChaCha20Rng>);

impl EphemeralSource {
    /// Draw `entropy` from the operating system and keep it secret; in a simulation, from its
    /// seed.
    #[must_use]
    pub fn new(entropy: [u8; 32]) -> Self {
        Self(Mutex::new(ChaCha20Rng::from_seed(entropy)))
    }

    /// A fresh key.
    #[must_use]
    pub fn next(&self) -> Ephemeral {
        let mut entropy = Zeroizing::new([0; 32]);
        let generator = self.0.lock();
        generator
            .unwrap_or_else(PoisonError::into_inner)
            .fill_bytes(&mut *entropy);
        Ephemeral::from_entropy(&entropy)
    }
}

/// What a finished handshake yields.
pub struct Transport {
    /// Our direction.
    pub sealer: Sealer,
    /// Theirs.
    pub opener: Opener,
    /// The other side's static key, which it has proven to hold.
    pub remote: PublicKey,
    /// The handshake hash: equal on both sides, unique to this handshake.
    pub hash: [u8; 32],
}

/// One side of a running handshake. Static, ephemeral and cipher keys are zeroised on drop; the
/// chaining key lives in snow, which leaves it in freed memory.
pub struct Handshake {
    state: HandshakeState,
    /// Whether this side writes the last message, hence encrypts with the second key.
    writes_last: bool,
}

impl Handshake {
    /// XK, dialling: three messages, we write the first and the last.
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

    /// XK, accepting: the dialler's key shows in the third message.
    ///
    /// # Errors
    /// [`NoiseError`] if the state cannot be set up.
    pub fn xk_responder(local: &SecretKey, ephemeral: Ephemeral) -> Result<Self, NoiseError> {
        Self::new(Pattern::Xk, false, local, None, ephemeral)
    }

    /// KK, dialling: two messages, both keys known.
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

    /// KK, accepting.
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
            ephemeral: ephemeral.0,
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
        Ok(Self {
            state,
            writes_last: initiator == (pattern == Pattern::Xk),
        })
    }

    /// Appends our next message to `out`, without a frame.
    ///
    /// # Errors
    /// [`NoiseError::OutOfOrder`]; [`NoiseError::InvalidKey`] when the key to dial is no point.
    pub fn write_message(&mut self, out: &mut Vec<u8>) -> Result<(), NoiseError> {
        let mut message = [0; LONGEST_MESSAGE];
        let len = self.state.write_message(&[], &mut message)?;
        out.extend_from_slice(&message[..len]);
        Ok(())
    }

    /// Takes their next message, without its frame. A payload is authenticated and ignored: later
    /// versions offer extensions there and take an empty answer for a no.
    ///
    /// # Errors
    /// [`NoiseError`]. The handshake cannot go on after a refused message.
    pub fn read_message(&mut self, message: &[u8]) -> Result<(), NoiseError> {
        if message.len() > MAX_BODY {
            return Err(NoiseError::Length);
        }
        let mut payload = [0; MAX_BODY];
        self.state.read_message(message, &mut payload)?;
        Ok(())
    }

    /// Whether all messages are through.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.state.is_handshake_finished()
    }

    /// The handshake hash so far.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.state.get_handshake_hash());
        hash
    }

    /// Ends the handshake with both directions' keys.
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
        let (first, second) = self.state.dangerously_get_raw_split();
        let (first, second) = (Zeroizing::new(first), Zeroizing::new(second));
        let (send, receive) = if self.writes_last {
            (&second, &first)
        } else {
            (&first, &second)
        };
        Ok(Transport {
            sealer: Sealer::new(send),
            opener: Opener::new(receive),
            remote,
            hash: self.hash(),
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pattern {
    Xk,
    Kk,
}

impl Pattern {
    /// Built by hand: snow's parser does not know the DH name. The choice of DH is ignored by our
    /// resolver; the name is hashed as it stands.
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
