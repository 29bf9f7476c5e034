use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};
use quickcheck::quickcheck;
use sha2::{Digest, Sha256};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};

use super::*;

fn key(byte: u8) -> SecretKey {
    SecretKey::from_bytes(&[byte; 32]).unwrap()
}

fn fresh(byte: u8) -> Ephemeral {
    Ephemeral::from_entropy(&[byte; 32])
}

fn message(from: &mut Handshake) -> Vec<u8> {
    let mut out = Vec::new();
    from.write_message(&mut out).unwrap();
    out
}

fn pass(from: &mut Handshake, to: &mut Handshake) -> usize {
    let message = message(from);
    to.read_message(&message).unwrap();
    message.len()
}

fn xk() -> (Handshake, Handshake) {
    xk_with(Hybrid::Offer, Hybrid::Offer)
}

fn kk() -> (Handshake, Handshake) {
    kk_with(Hybrid::Offer, Hybrid::Offer)
}

fn of(byte: u8, hybrid: Hybrid) -> Ephemeral {
    EphemeralSource::new([byte; 32], hybrid).next()
}

fn xk_with(a: Hybrid, b: Hybrid) -> (Handshake, Handshake) {
    (
        Handshake::xk_initiator(&key(1), &key(2).public(), of(3, a)).unwrap(),
        Handshake::xk_responder(&key(2), of(4, b)).unwrap(),
    )
}

fn kk_with(a: Hybrid, b: Hybrid) -> (Handshake, Handshake) {
    (
        Handshake::kk_initiator(&key(1), &key(2).public(), of(3, a)).unwrap(),
        Handshake::kk_responder(&key(2), &key(1).public(), of(4, b)).unwrap(),
    )
}

fn talks_to(a: &mut Transport, b: &mut Transport) {
    let mut record = Vec::new();
    a.sealer.seal(b"over", &mut record).unwrap();
    assert_eq!(b.opener.open(&mut record).unwrap(), b"over");
}

#[test]
fn xk_agrees_and_shows_each_side_the_others_key() {
    let (mut a, mut b) = xk();
    assert_eq!(pass(&mut a, &mut b), 1233);
    assert_eq!(pass(&mut b, &mut a), 1137);
    assert_eq!(pass(&mut a, &mut b), 65);
    assert_eq!(a.hash(), b.hash());
    let (mut a, mut b) = (a.finish().unwrap(), b.finish().unwrap());
    assert_eq!(a.remote, key(2).public());
    assert_eq!(b.remote, key(1).public());
    talks_to(&mut a, &mut b);
    talks_to(&mut b, &mut a);
}

#[test]
fn kk_agrees() {
    let (mut a, mut b) = kk();
    assert_eq!(pass(&mut a, &mut b), 1233);
    assert_eq!(pass(&mut b, &mut a), 1137);
    let (mut a, mut b) = (a.finish().unwrap(), b.finish().unwrap());
    assert_eq!(a.hash, b.hash);
    talks_to(&mut a, &mut b);
    talks_to(&mut b, &mut a);
}

#[test]
fn the_last_writer_encrypts_with_the_second_key() {
    let never = Hybrid::Never;
    for ((mut a, mut b), initiator_writes_last) in [
        (xk_with(never, never), true),
        (kk_with(never, never), false),
    ] {
        while !a.is_finished() {
            pass(&mut a, &mut b);
            if !a.is_finished() {
                pass(&mut b, &mut a);
            }
        }
        let (first, second) = a.state.dangerously_get_raw_split();
        let (mut ours, mut standard) = (Vec::new(), Vec::new());
        let sending = if initiator_writes_last { second } else { first };
        Sealer::new(&sending).seal(b"x", &mut standard).unwrap();
        a.finish().unwrap().sealer.seal(b"x", &mut ours).unwrap();
        assert_eq!(ours, standard);
    }
}

/// A DH output has 33 bytes, of which the last is zero; recomputed here without snow.
#[test]
fn dh_outputs_have_33_bytes() {
    fn hmac(key: &[u8; 32], data: &[u8]) -> [u8; 32] {
        let pad = |with: u8| {
            let mut block = [with; 64];
            block.iter_mut().zip(key).for_each(|(b, k)| *b ^= k);
            block
        };
        let inner = Sha256::new().chain_update(pad(0x36)).chain_update(data);
        let outer = Sha256::new().chain_update(pad(0x5c));
        outer.chain_update(inner.finalize()).finalize().into()
    }
    let ephemeral = key(3);
    let fixed = Ephemeral::fixed_for_testing_only(ephemeral.clone());
    let mut a = Handshake::xk_initiator(&key(1), &key(2).public(), fixed).unwrap();
    let remote = key(2).public();

    let ck: [u8; 32] = Sha256::digest(XK_PROTOCOL).into();
    let mix = |h: [u8; 32], data: &[u8]| -> [u8; 32] {
        Sha256::new()
            .chain_update(h)
            .chain_update(data)
            .finalize()
            .into()
    };
    let h = mix(mix(ck, &[]), remote.as_bytes());
    let h = mix(h, ephemeral.public().as_bytes());
    let mut es = ephemeral.diffie_hellman(&remote).unwrap().to_vec();
    es.push(0);
    let extracted = hmac(&ck, &es);
    let first = hmac(&extracted, &[1]);
    let mut k = Zeroizing::new([0; 33]);
    k[..32].copy_from_slice(&first);
    k[32] = 2;
    let k = hmac(&extracted, &*k);
    // The tag of an empty payload under nonce 0 and h.
    let tag = ChaCha20Poly1305::new(&k.into())
        .encrypt_inout_detached(&crate::noise::nonce(0), &h, (&mut [][..]).into())
        .unwrap();
    let expected = [&ephemeral.public().as_bytes()[..], &tag].concat();
    assert_eq!(message(&mut a), expected);
}

#[test]
fn another_static_key_than_the_dialled_one_is_refused() {
    let (mut a, _) = xk();
    let mut other = Handshake::xk_responder(&key(9), fresh(4)).unwrap();
    assert_eq!(
        other.read_message(&message(&mut a)),
        Err(NoiseError::Forged)
    );

    let (_, mut b) = kk();
    let mut other = Handshake::kk_initiator(&key(9), &key(2).public(), fresh(3)).unwrap();
    assert_eq!(
        b.read_message(&message(&mut other)),
        Err(NoiseError::Forged)
    );
}

fn with_ephemeral(mut message: Vec<u8>, tag: u8, x: [u8; 32]) -> Vec<u8> {
    message[0] = tag;
    message[1..33].copy_from_slice(&x);
    message
}

/// These 51 bytes, with their prefix, crash a Go relay.
#[test]
fn an_ephemeral_key_beyond_the_field_prime_is_an_error() {
    let (mut a, mut b) = xk_with(Hybrid::Never, Hybrid::Offer);
    let bad = with_ephemeral(message(&mut a), 2, [0xff; 32]);
    assert_eq!(bad.len() + 2, 51);
    assert_eq!(b.read_message(&bad), Err(NoiseError::InvalidKey));
}

#[test]
fn an_ephemeral_key_off_the_curve_is_an_error() {
    let mut x = [0; 32];
    x[31] = 5; // x = 5 has no point on secp256k1
    let (mut a, mut b) = xk();
    let bad = with_ephemeral(message(&mut a), 2, x);
    assert_eq!(b.read_message(&bad), Err(NoiseError::InvalidKey));
}

#[test]
fn ephemeral_tags_other_than_2_and_3_are_errors() {
    // 5 is SEC1's "compact" form, which k256 alone accepts at this length.
    for tag in [0, 1, 4, 5, 6, 7, 0xff] {
        let (mut a, mut b) = xk();
        let mut bad = message(&mut a);
        bad[0] = tag;
        assert_eq!(b.read_message(&bad), Err(NoiseError::InvalidKey), "{tag}");
    }
}

#[test]
fn dialling_a_key_off_the_curve_is_an_error() {
    let mut bytes = [0xff; 33];
    bytes[0] = 2;
    let bad = PublicKey::from_bytes(&bytes).unwrap();
    let mut out = Vec::new();
    for dial in [Handshake::xk_initiator, Handshake::kk_initiator] {
        let mut a = dial(&key(1), &bad, fresh(3)).unwrap();
        assert_eq!(a.write_message(&mut out), Err(NoiseError::InvalidKey));
    }
}

/// A dialer that sends bytes that are not a key as its static key.
struct Liar(Resolver);

struct LyingKey {
    inner: Box<dyn Dh>,
    shown: Option<[u8; PUBLIC_KEY_LEN]>,
}

impl CryptoResolver for Liar {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        self.0.resolve_rng()
    }
    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        let inner = self.0.resolve_dh(choice)?;
        Some(Box::new(LyingKey { inner, shown: None }))
    }
    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        self.0.resolve_hash(choice)
    }
    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        self.0.resolve_cipher(choice)
    }
}

impl Dh for LyingKey {
    fn name(&self) -> &'static str {
        self.inner.name()
    }
    fn pub_len(&self) -> usize {
        self.inner.pub_len()
    }
    fn priv_len(&self) -> usize {
        self.inner.priv_len()
    }
    fn dh_len(&self) -> usize {
        self.inner.dh_len()
    }
    fn set(&mut self, key: &[u8]) {
        self.inner.set(key);
        let mut shown = [0xff; PUBLIC_KEY_LEN];
        shown[0] = key[0]; // the tests' keys are one repeated byte: here it is the tag
        self.shown = Some(shown);
    }
    fn generate(&mut self, random: &mut dyn Random) -> Result<(), snow::Error> {
        self.inner.generate(random)
    }
    fn pubkey(&self) -> &[u8] {
        self.shown.as_ref().map_or(self.inner.pubkey(), |s| s)
    }
    fn privkey(&self) -> &[u8] {
        self.inner.privkey()
    }
    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        self.inner.dh(public, out)
    }
}

#[test]
fn a_static_key_that_is_no_point_in_the_third_message_is_an_error() {
    for tag in [2, 3, 5] {
        let local = key(tag);
        let liar = Liar(Resolver {
            local: local.clone(),
            ephemeral: key(8),
        });
        let mut a = Builder::with_resolver(Pattern::Xk.params(), Box::new(liar))
            .local_private_key(&*local.to_bytes())
            .unwrap()
            .remote_public_key(key(4).public().as_bytes())
            .unwrap()
            .build_initiator()
            .unwrap();
        let mut b = Handshake::xk_responder(&key(4), fresh(4)).unwrap();
        let mut buffer = [0; 100];
        let n = a.write_message(&[], &mut buffer).unwrap();
        b.read_message(&buffer[..n]).unwrap();
        a.read_message(&message(&mut b), &mut [0; 100]).unwrap();
        let n = a.write_message(&[], &mut buffer).unwrap();
        assert_eq!(b.read_message(&buffer[..n]), Err(NoiseError::InvalidKey));
        assert_eq!(b.finish().err(), Some(NoiseError::OutOfOrder));
    }
}

#[test]
fn short_long_and_damaged_messages_are_errors() {
    let (mut a, _) = xk();
    let good = message(&mut a);
    for len in 0..good.len() {
        let (_, mut b) = xk();
        let expected = if len < 33 {
            NoiseError::Length
        } else {
            NoiseError::Forged
        };
        assert_eq!(b.read_message(&good[..len]), Err(expected), "{len}");
    }
    let (_, mut b) = xk();
    assert_eq!(b.read_message(&[2; MAX_BODY + 1]), Err(NoiseError::Length));
    let (_, mut b) = xk();
    let longer = [&good[..], &[0]].concat();
    assert_eq!(b.read_message(&longer), Err(NoiseError::Forged));
    for byte in 33..good.len() {
        let (_, mut b) = xk();
        let mut bad = good.clone();
        bad[byte] ^= 1;
        assert_eq!(b.read_message(&bad), Err(NoiseError::Forged), "{byte}");
    }
}

#[test]
fn a_replayed_first_message_gets_no_further_than_the_second() {
    let (mut a, mut b) = xk();
    let first = message(&mut a);
    b.read_message(&first).unwrap();
    a.read_message(&message(&mut b)).unwrap();
    let third = message(&mut a);
    // The same dialer's bytes again, sent to a responder with a new ephemeral key.
    let mut b = Handshake::xk_responder(&key(2), fresh(5)).unwrap();
    b.read_message(&first).unwrap();
    message(&mut b);
    assert_eq!(b.read_message(&third), Err(NoiseError::Forged));
}

#[test]
fn other_payloads_are_authenticated_and_leave_the_handshake_classical() {
    for len in [1, 1000, 1088, 1183, 1185] {
        let (mut a, mut b) = xk();
        let mut buffer = [0; MAX_BODY];
        let n = a.state.write_message(&vec![7; len], &mut buffer).unwrap();
        assert_eq!(n, 49 + len);
        a.messages += 1;
        a.payload.clear();
        b.read_message(&buffer[..n]).unwrap();
        assert_eq!(pass(&mut b, &mut a), 49, "no answer to {len} bytes");
        pass(&mut a, &mut b);
        let (mut a, mut b) = (a.finish().unwrap(), b.finish().unwrap());
        assert!(!a.is_hybrid && !b.is_hybrid);
        talks_to(&mut a, &mut b);
    }
}

/// Runs a handshake to its end or to the first refusal.
fn run(mut a: Handshake, mut b: Handshake) -> Result<[bool; 2], NoiseError> {
    while !(a.is_finished() && b.is_finished()) {
        let mut bytes = Vec::new();
        a.write_message(&mut bytes)?;
        b.read_message(&bytes)?;
        if !b.is_finished() {
            let mut bytes = Vec::new();
            b.write_message(&mut bytes)?;
            a.read_message(&bytes)?;
        }
    }
    let (mut a, mut b) = (a.finish()?, b.finish()?);
    talks_to(&mut a, &mut b);
    talks_to(&mut b, &mut a);
    Ok([a.is_hybrid, b.is_hybrid])
}

#[test]
fn both_are_hybrid_or_neither_and_requiring_it_refuses_the_rest() {
    use Hybrid::{Never, Offer, Require};
    for with in [xk_with, kk_with] {
        for (a, b, expected) in [
            (Offer, Offer, Ok([true; 2])),
            (Require, Offer, Ok([true; 2])),
            (Offer, Require, Ok([true; 2])),
            (Never, Offer, Ok([false; 2])),
            (Offer, Never, Ok([false; 2])),
            (Never, Never, Ok([false; 2])),
            (Require, Never, Err(NoiseError::Classical)),
            (Never, Require, Err(NoiseError::Classical)),
        ] {
            let (one, other) = with(a, b);
            assert_eq!(run(one, other), expected, "{a:?} with {b:?}");
        }
    }
}

/// Breaking the curve's ephemeral key later must not reveal the other secret.
#[test]
fn the_post_quantum_half_does_not_follow_from_the_ephemeral_key() {
    let source = EphemeralSource::new([7; 32], Hybrid::Offer);
    let (first, second) = (source.next(), source.next());
    let again = Ephemeral::from_entropy(&first.key.to_bytes());
    assert_ne!(first.exchange.offer(), second.exchange.offer());
    assert_ne!(first.exchange.offer(), again.exchange.offer());
}

#[test]
fn steps_out_of_order_are_errors() {
    let (mut a, mut b) = kk();
    let mut out = Vec::new();
    assert_eq!(b.write_message(&mut out), Err(NoiseError::OutOfOrder));
    assert_eq!(a.read_message(&[2; 49]), Err(NoiseError::OutOfOrder));
    assert_eq!(kk().0.finish().err(), Some(NoiseError::OutOfOrder));
    pass(&mut a, &mut b);
    pass(&mut b, &mut a);
    assert_eq!(a.write_message(&mut out), Err(NoiseError::OutOfOrder));
    assert!(a.is_finished() && b.is_finished());
}

#[test]
fn an_ephemeral_key_serves_one_message_only() {
    let mut resolver = Resolver {
        local: key(1),
        ephemeral: key(2),
    }
    .resolve_dh(&DHChoice::Curve25519)
    .unwrap();
    struct Unused;
    impl Random for Unused {
        fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), snow::Error> {
            Err(snow::Error::Rng)
        }
    }
    resolver.generate(&mut Unused).unwrap();
    assert!(resolver.generate(&mut Unused).is_err());
}

quickcheck! {
    fn garbage_is_an_error_and_no_panic(bytes: Vec<u8>, tag: bool, second: bool) -> bool {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = 2 + u8::from(tag);
        }
        let (mut a, mut b) = xk();
        if second {
            message(&mut a);
            a.read_message(&bytes).is_err()
        } else {
            b.read_message(&bytes).is_err()
        }
    }
}
