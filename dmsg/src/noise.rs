//! Primitives for snow, for `Noise_*_Secp256k1_ChaChaPoly_SHA256`.
//!
//! A DH output is the SHA-256 of the compressed shared point, followed by one zero byte: 33 bytes,
//! as long as a public key.

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit, Nonce, Tag};
use sha2::{Digest, Sha256};
use skydht_core::key::{PUBLIC_KEY_LEN, PublicKey, SECRET_KEY_LEN, SecretKey};
use snow::Error;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};

/// Length of an authentication tag, in bytes.
pub(crate) const TAG_LEN: usize = 16;

/// Returns the ChaChaPoly nonce of Noise: four zero bytes, then the counter, little-endian.
pub(crate) fn nonce(counter: u64) -> Nonce {
    let mut nonce = Nonce::default();
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce
}

/// Provides snow with our primitives and the two key pairs of one handshake.
pub(crate) struct Resolver {
    /// The static key.
    pub(crate) local: SecretKey,
    /// The ephemeral key, which `generate` returns instead of a random one.
    pub(crate) ephemeral: SecretKey,
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(NoRandom))
    }

    fn resolve_dh(&self, _: &DHChoice) -> Option<Box<dyn Dh>> {
        Some(Box::new(Secp256k1 {
            local: self.local.clone(),
            ephemeral: Some(self.ephemeral.clone()),
            secret: None,
            public: [0; PUBLIC_KEY_LEN],
        }))
    }

    fn resolve_hash(&self, _: &HashChoice) -> Option<Box<dyn Hash>> {
        Some(Box::new(Sha(Sha256::new())))
    }

    fn resolve_cipher(&self, _: &CipherChoice) -> Option<Box<dyn Cipher>> {
        Some(Box::new(ChaChaPoly(None)))
    }
}

/// Refuses to generate: the ephemeral key is in the resolver, so a handshake can be reproduced.
struct NoRandom;

impl Random for NoRandom {
    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Error> {
        Err(Error::Rng)
    }
}

/// One of the two key pairs of a handshake. snow creates two, calls `set` on one and `generate` on
/// the other.
struct Secp256k1 {
    local: SecretKey,
    ephemeral: Option<SecretKey>,
    secret: Option<SecretKey>,
    public: [u8; PUBLIC_KEY_LEN],
}

impl Secp256k1 {
    fn use_key(&mut self, key: SecretKey) {
        self.public = *key.public().as_bytes();
        self.secret = Some(key);
    }
}

impl Dh for Secp256k1 {
    fn name(&self) -> &'static str {
        "Secp256k1"
    }

    fn pub_len(&self) -> usize {
        PUBLIC_KEY_LEN
    }

    fn priv_len(&self) -> usize {
        SECRET_KEY_LEN
    }

    fn dh_len(&self) -> usize {
        PUBLIC_KEY_LEN
    }

    /// Uses the local static key, the only one that the handshake sets. Taking it in parsed form
    /// saves the derivation of its public key (about 20 µs).
    fn set(&mut self, _: &[u8]) {
        self.use_key(self.local.clone());
    }

    fn generate(&mut self, _: &mut dyn Random) -> Result<(), Error> {
        let key = self.ephemeral.take().ok_or(Error::Rng)?;
        self.use_key(key);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    /// Used only by snow's own key generation, which we do not call.
    fn privkey(&self) -> &[u8] {
        &[]
    }

    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), Error> {
        // `PublicKey` checks the tag byte: k256 alone would accept tag 5, which makes Go panic.
        let other = public.get(..PUBLIC_KEY_LEN).ok_or(Error::Dh)?;
        let other = PublicKey::from_bytes(other).map_err(|_| Error::Dh)?;
        let secret = self.secret.as_ref().ok_or(Error::Dh)?;
        let shared = secret.diffie_hellman(&other).map_err(|_| Error::Dh)?;
        out[..32].copy_from_slice(&*shared);
        out[32] = 0;
        Ok(())
    }
}

struct Sha(Sha256);

impl Hash for Sha {
    fn name(&self) -> &'static str {
        "SHA256"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        self.0 = Sha256::new();
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        out[..32].copy_from_slice(&self.0.finalize_reset());
    }
}

/// `None` until snow sets a key, which it does before it encrypts anything.
struct ChaChaPoly(Option<ChaCha20Poly1305>);

impl Cipher for ChaChaPoly {
    fn name(&self) -> &'static str {
        "ChaChaPoly"
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.0 = Some(ChaCha20Poly1305::new(key.into()));
    }

    fn encrypt(&self, counter: u64, ad: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let (body, tag) = out[..plaintext.len() + TAG_LEN].split_at_mut(plaintext.len());
        body.copy_from_slice(plaintext);
        let sealed = self
            .0
            .as_ref()
            .and_then(|c| {
                c.encrypt_inout_detached(&nonce(counter), ad, body.into())
                    .ok()
            })
            .expect("snow sets a key first, and handshake messages are short");
        tag.copy_from_slice(&sealed);
        plaintext.len() + TAG_LEN
    }

    fn decrypt(
        &self,
        counter: u64,
        ad: &[u8],
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        let (body, tag) = sealed.split_last_chunk::<TAG_LEN>().ok_or(Error::Decrypt)?;
        let cipher = self.0.as_ref().ok_or(Error::Decrypt)?;
        let buffer = out.get_mut(..body.len()).ok_or(Error::Decrypt)?;
        let buffer = InOutBuf::new(body, buffer).map_err(|_| Error::Decrypt)?;
        cipher
            .decrypt_inout_detached(&nonce(counter), ad, buffer, &Tag::from(*tag))
            .map_err(|_| Error::Decrypt)?;
        Ok(body.len())
    }
}
