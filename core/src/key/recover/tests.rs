//! Both libraries give the same verdicts.

use super::*;
use crate::key::SecretKey;
use sha2::{Digest as _, Sha256};

/// The group order, big-endian.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
    0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];

fn both(digest: &[u8; 32], rs: &[u8], id: u8) -> (Option<Point>, Option<Point>) {
    (by_k256(digest, rs, id), by_libsecp256k1(digest, rs, id))
}

/// The order plus or minus a small number.
fn near_order(by: i8) -> [u8; 32] {
    let mut number = ORDER;
    number[31] = number[31].wrapping_add_signed(by);
    number
}

#[test]
fn both_libraries_recover_the_same_key_or_none() {
    let mut seen = [0; 2];
    for n in 0..600_u32 {
        let digest: [u8; 32] = Sha256::digest(n.to_be_bytes()).into();
        let secret = SecretKey::from_entropy(&digest);
        let signature = *secret.sign(&digest).as_bytes();
        let mut rs = [0; 64];
        rs.copy_from_slice(&signature[..64]);
        match n % 6 {
            0 => {}
            1 => rs[usize::from(digest[0] % 64)] ^= 1 << (digest[1] % 8),
            2 => rs[..32].copy_from_slice(&digest),
            3 => rs[32..].copy_from_slice(&digest),
            4 => rs[..32].copy_from_slice(&near_order((digest[0] % 5) as i8 - 2)),
            _ => rs[32..].copy_from_slice(&near_order((digest[0] % 5) as i8 - 2)),
        }
        for id in 0..4 {
            let (k256, libsecp256k1) = both(&digest, &rs, id);
            assert_eq!(k256, libsecp256k1, "case {n}, recovery id {id}");
            seen[usize::from(k256.is_some())] += 1;
        }
    }
    assert!(seen[0] > 500 && seen[1] > 500, "{seen:?}");
}

#[test]
fn both_libraries_agree_at_the_edges() {
    let mut one = [0; 32];
    one[31] = 1;
    let mut edges = alloc::vec![[0; 32], one, [0xff; 32]];
    edges.extend((-2..=2).map(near_order));
    for digest in [[0; 32], [0xff; 32], [7; 32]] {
        for r in &edges {
            for s in &edges {
                let rs = [*r, *s].concat();
                for id in 0..4 {
                    let (k256, libsecp256k1) = both(&digest, &rs, id);
                    assert_eq!(k256, libsecp256k1, "{digest:?} {rs:?} {id}");
                }
            }
        }
    }
}
