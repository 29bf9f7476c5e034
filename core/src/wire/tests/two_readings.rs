//! Values with two readers, a fast one for the usual form and a general one, are read in the same
//! way by both. Each pair is tested by one property: white space, an escape or a line break that
//! changes nothing forces the general reader.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::*;
use crate::random::Random;
use crate::{Seed, address::canonical};

/// Addresses of a peer: every kind of valid and invalid text.
const ADDRESSES: [&str; 16] = [
    "10.0.0.1:4000",
    "10.0.0.1:0",
    "10.0.0.1:65535",
    "10.0.0.1:65536",
    "10.0.0.1",
    "[::ffff:10.0.0.1]:4000",
    "[::ffff:a00:1]:0",
    "[2001:db8::1]:4000",
    "[2001:db8::1]:0",
    "[fe80::1%3]:4000",
    "0.0.0.0:1",
    "010.0.0.1:4000",
    "10.0.0.1:+1",
    "localhost:4000",
    "",
    " 10.0.0.1:4000",
];

const TIMES: [&str; 4] = [
    "0001-01-01T00:00:00Z",
    "2026-04-30T12:34:56.123456789Z",
    "2026-04-30T1:34:56+05:30",
    "2026-04-30",
];

fn pick<'a>(random: &mut Random, of: &[&'a str]) -> &'a str {
    of[random.below(of.len() as u64) as usize]
}

/// A peer as Go or this node prints it, with anything in its fields.
fn peer(random: &mut Random) -> String {
    let key = match random.below(4) {
        0 => "0".repeat(66),
        1 => format!("05{}", "11".repeat(32)),
        _ => secret(1 + random.below(200) as u8).public().to_string(),
    };
    let id: Vec<String> = (0..32).map(|_| random.below(260).to_string()).collect();
    let id = match random.below(3) {
        0 => id.join(","),
        _ => id.join(",").replace("25", "7"),
    };
    let times = 1 + random.below(4) as usize;
    let time = pick(random, &TIMES[..times]);
    let addr = match random.below(6) {
        0 => String::new(),
        _ => format!(",\"addr\":\"{}\"", pick(random, &ADDRESSES)),
    };
    format!("{{\"id\":[{id}],\"pk\":\"{key}\",\"last_seen\":\"{time}\"{addr}}}")
}

/// Replaces one byte of a text, possibly by the same one.
fn damaged(text: &str, random: &mut Random) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    if random.below(2) == 0 {
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] = b"0123456789\"\\,:[]{} zA\xff"[random.below(22) as usize];
    }
    bytes
}

/// Reduces errors to their kind, without the position.
fn kind<T>(read: Result<T, WireError>) -> Result<T, core::mem::Discriminant<WireError>> {
    read.map_err(|error| core::mem::discriminant(&error))
}

#[test]
fn a_peer_is_the_same_whichever_way_it_is_read() {
    let mut random = Seed::from_number(1).stream("peers");
    let (mut addresses, mut peers) = (0, 0);
    for _ in 0..20_000 {
        let text = peer(&mut random);
        let plain = damaged(&text, &mut random);
        let mut spaced = plain.clone();
        if spaced[0] == b'{' {
            spaced.insert(1, b' ');
        }
        let read = kind(decode_peer(&plain));
        let shown = String::from_utf8_lossy(&plain);
        assert_eq!(read, kind(decode_peer(&spaced)), "{shown}");
        if let Ok(peer) = read {
            peers += 1;
            addresses += usize::from(peer.addr.is_some());
            assert!(
                peer.addr
                    .is_none_or(|addr| addr.port() != 0 && canonical(addr) == addr),
                "{shown}"
            );
        }
    }
    assert!(addresses > 1_000 && peers > 4_000, "{addresses} of {peers}");
}

#[test]
fn an_address_is_canonical_and_dialable_in_every_field_that_holds_one() {
    for text in ADDRESSES {
        let peer = format!("{{\"addr\":\"{text}\"}}");
        let of_peer = decode_peer(peer.as_bytes()).unwrap().addr;
        let own: Option<Advertised> = text.parse().ok();
        let own = own.map(|own| match own {
            Advertised::At(addr) => addr,
            Advertised::Port(port) => panic!("{port}"),
        });
        assert_eq!(of_peer, own, "{text}");
        let parsed: Option<core::net::SocketAddr> = text.parse().ok();
        let expected = parsed.filter(|addr| addr.port() != 0).map(canonical);
        assert_eq!(own, expected, "{text}");
    }
}

#[test]
fn thirty_two_numbers_are_the_same_whichever_way_they_are_read() {
    let mut random = Seed::from_number(2).stream("arrays");
    let mut good = 0;
    for _ in 0..20_000 {
        let count = if random.below(4) == 0 {
            31 + random.below(3)
        } else {
            32
        };
        let most = if random.below(4) == 0 { 300 } else { 256 };
        let numbers: Vec<String> = (0..count)
            .map(|_| match random.below(400) {
                0 => "00".to_string(),
                1 => "null".to_string(),
                2 => "1e1".to_string(),
                3 => "-1".to_string(),
                _ => random.below(most).to_string(),
            })
            .collect();
        let target = |space: &str| {
            let key = secret(5).public();
            let numbers = numbers.join(",");
            let body = format!(
                "{{\"sender_pk\":\"{key}\",\"target\":[{space}{numbers}],\"sender_id\":[]}}"
            );
            kind(request(Method::FindNode, body.as_bytes()))
        };
        let (plain, spaced) = (target(""), target(" "));
        good += usize::from(plain.is_ok());
        assert_eq!(plain, spaced, "{numbers:?}");
    }
    assert!(good > 5_000, "{good}");
}

#[test]
fn text_and_base64_are_the_same_whichever_way_they_are_read() {
    let mut random = Seed::from_number(3).stream("text");
    let alphabet: Vec<char> = "AQgw+/=09 \u{7f}\u{e9}\u{1f}".chars().collect();
    let mut good = 0;
    for _ in 0..20_000 {
        let len = random.below(40);
        // Mostly base64, so that some of it is valid.
        let of = if random.below(3) == 0 {
            alphabet.len() as u64
        } else {
            8
        };
        let text: String = (0..len)
            .map(|_| alphabet[random.below(of) as usize])
            .collect();
        let text = match random.below(2) {
            0 => text.replace('=', "A"),
            _ => text,
        };
        let padded = text.len() - text.len() % 4;
        let text = match text.get(..padded) {
            Some(whole) if random.below(2) == 0 => whole,
            _ => &text,
        };
        let read = |text: &str| {
            let json = format!("{{\"v\":\"{text}\"}}");
            kind(decode_item(json.as_bytes()))
        };
        // An escaped line break is neither one of the bytes nor part of the base64.
        let plain = read(text);
        good += usize::from(plain.is_ok());
        assert_eq!(plain, read(&format!("{text}\\n")), "{text:?}");
    }
    assert!(good > 2_000, "{good}");
}
