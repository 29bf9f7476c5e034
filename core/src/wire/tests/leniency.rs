//! What Go's decoder accepts beyond what Go prints, and what it refuses.

use alloc::string::{String, ToString};
use alloc::{format, vec};

use super::*;
use crate::id::{NodeId, Target};
use crate::item::{ItemError, MAX_SALT_LEN, MAX_VALUE_LEN};
use crate::time::Unix;

fn hex(key: &SecretKey) -> String {
    key.public().to_string()
}

fn closest(json: &str) -> Result<PeerList, WireError> {
    match response(Method::FindNode, json.as_bytes())?.response {
        Response::FindNode { closest } => Ok(closest),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_ping_is_a_ping_whatever_its_body() {
    for body in [&b""[..], b"{bad", b"{\"sender_pk\":\"zz\"}", b"\xff", b"[]"] {
        let message = request(Method::Ping, body).unwrap();
        assert_eq!(message.request, Request::Ping);
        assert_eq!((message.sender, message.ext), (Sender::default(), None));
    }
    let json = format!("{{\"sender_pk\":\"{}\"}}", hex(&secret(5)));
    let message = request(Method::Ping, json.as_bytes()).unwrap();
    assert_eq!(message.sender.key, Some(secret(5).public()));
    assert_eq!(message.keys().count(), 0);
}

#[test]
fn bodies_that_are_no_object_are_refused_except_null() {
    for method in Method::ALL {
        if matches!(method, Method::Renew | Method::Reconcile) {
            continue;
        }
        for body in [&b""[..], b"[]", b"\"x\"", b"5", b"{} x", b"{}{}", b"{"] {
            assert_eq!(request(method, body).is_ok(), method == Method::Ping);
            assert!(response(method, body).is_err());
        }
        for body in [&b"null"[..], b"{}", b" {\"x\":[{}]} \r\n"] {
            assert!(request(method, body).is_ok());
            assert!(response(method, body).is_ok());
        }
    }
}

#[test]
fn keys_are_refused_by_form_and_left_alone_by_zeros() {
    let good = hex(&secret(5));
    let decode = |key: &str| {
        let json = format!("{{\"sender_pk\":\"{key}\"}}");
        request(Method::FindNode, json.as_bytes()).map(|message| message.sender.key)
    };
    assert_eq!(decode(&good), Ok(Some(secret(5).public())));
    assert_eq!(decode(&good.to_uppercase()), Ok(Some(secret(5).public())));
    for zero in ["", "0", &"0".repeat(66), &"0".repeat(1_000)] {
        assert_eq!(decode(zero), Ok(None));
    }
    let compact = format!("05{}", &good[2..]);
    for bad in ["zz", "02zz", &good[1..], &format!("{good}00"), &compact] {
        assert_eq!(decode(bad), Err(WireError::BadKey { at: 13 }), "{bad}");
    }
    // A valid key does not make up for an invalid one before it.
    let twice = format!("{{\"sender_pk\":\"02zz\",\"sender_pk\":\"{good}\"}}");
    assert!(request(Method::FindNode, twice.as_bytes()).is_err());
}

#[test]
fn keys_off_the_curve_decode_and_are_handed_out_for_the_second_step() {
    let off = format!("02{}", "f".repeat(64));
    let good = hex(&secret(5));
    let json = format!(
        "{{\"sender_pk\":\"{good}\",\"items\":[{{\"k\":\"{off}\"}},{{}},{{\"k\":\"{good}\"}}]}}"
    );
    let message = request(Method::PutBatch, json.as_bytes()).unwrap();
    let keys: Vec<_> = message.keys().map(|key| key.to_string()).collect();
    assert_eq!(keys, [good.as_str(), &off, &good]);
    let bad = message.keys().filter(|key| key.check_curve().is_err());
    assert_eq!(bad.count(), 1);

    let json = format!("{{\"sender_pk\":\"{good}\",\"item\":{{\"k\":\"{off}\"}}}}");
    let message = request(Method::PutValue, json.as_bytes()).unwrap();
    assert_eq!(message.keys().count(), 2);
}

#[test]
fn a_peer_with_a_bad_key_is_dropped_alone() {
    let good = hex(&secret(5));
    let json = format!(
        "{{\"closest\":[{{\"pk\":\"02zz\",\"id\":[1]}},{{\"pk\":\"{good}\"}},{{\"pk\":\"05\"}},null]}}"
    );
    let list = closest(&json).unwrap();
    assert_eq!(list.bad_keys, 2);
    let keys: Vec<_> = list.peers.iter().map(|peer| peer.key).collect();
    assert_eq!(keys, [Some(secret(5).public()), None]);
    // Anything else wrong with an entry invalidates the message, as in upstream.
    for entry in ["{\"pk\":5}", "{\"last_seen\":\"\"}", "{\"id\":\"x\"}", "5"] {
        assert!(
            closest(&format!("{{\"closest\":[{entry}]}}")).is_err(),
            "{entry}"
        );
    }
    assert_eq!(
        decode_peer(b"{\"pk\":\"02zz\"}"),
        Err(WireError::BadKey { at: 6 })
    );
}

/// The fast path for what Go prints and the general path read the same, whatever byte is changed.
#[test]
fn both_ways_to_read_a_peer_agree() {
    let peer = WirePeer::new(
        &secret(5).public(),
        Timestamp::from(Unix(1_777_552_496_123_456_789)),
        Some(([10, 0, 0, 7], 4400).into()),
    );
    let printed = encode_peer(&peer);
    assert_eq!(decode_peer(&printed), Ok(peer));
    for at in 1..printed.len() {
        for byte in *b"0a9\",}\\ :" {
            let mut plain = printed.clone();
            plain[at] = byte;
            let mut spaced = plain.clone();
            spaced.insert(1, b' ');
            let (plain, spaced) = (decode_peer(&plain), decode_peer(&spaced));
            assert_eq!(plain.ok(), spaced.ok(), "{byte} at {at}");
        }
    }
}

#[test]
fn times_are_read_without_unescaping() {
    let peer = |time: &str| decode_peer(format!("{{\"last_seen\":{time}}}").as_bytes());
    assert!(peer("\"2026-04-30T12:34:56Z\"").is_ok());
    assert_eq!(peer("null"), Ok(WirePeer::default()));
    assert!(peer("\"2026-04-30T12:34:56\\u005a\"").is_err());
}

#[test]
fn of_equal_names_the_last_wins_and_parts_are_merged() {
    let json =
        b"{\"item\":{\"seq\":1,\"v\":\"YQ==\"},\"Item\":{\"SEQ\":2,\"v\":null},\"item\":null}";
    let message = request(Method::PutValue, json).unwrap();
    let Request::PutValue { item, .. } = message.request else {
        panic!("{message:?}");
    };
    let WireItem::Keyless(item) = item else {
        panic!("{item:?}");
    };
    assert_eq!((item.seq, item.value.is_null()), (Seq(2), true));

    let null_last = response(Method::GetValue, b"{\"item\":{\"seq\":1},\"item\":null}").unwrap();
    assert_eq!(
        null_last.response,
        Response::GetValue {
            item: None,
            closest: PeerList::default()
        }
    );
    let lists = response(
        Method::PutBatch,
        b"{\"stored\":[true,true],\"stored\":[null]}",
    )
    .unwrap();
    assert_eq!(
        lists.response,
        Response::PutBatch {
            stored: vec![false],
            errors: vec![]
        }
    );
    let numbers = b"{\"since_seq\":7,\"since_seq\":null,\"limit\":-5,\"limit\":null,\"salt\":\"a\",\"salt\":null}";
    assert_eq!(
        request(Method::GetItems, numbers).unwrap().request,
        Request::GetItems {
            salt: "a".to_string(),
            since_seq: Seq(7),
            limit: -5
        }
    );
}

#[test]
fn a_zero_mirror_target_is_none() {
    let mirror = |json: &str| match request(Method::PutValue, json.as_bytes()).unwrap().request {
        Request::PutValue { mirror_target, .. } => mirror_target,
        other => panic!("{other:?}"),
    };
    for json in [
        "{}",
        "{\"mirror_target\":null}",
        "{\"mirror_target\":[0,0]}",
    ] {
        assert_eq!(mirror(json), None);
    }
    let mut expected = [0; 32];
    expected[1] = 2;
    let json = "{\"mirror_target\":[0,2]}";
    assert_eq!(mirror(json), Some(Target::from_bytes(expected)));
}

#[test]
fn values_and_salts_above_their_limits_are_read_and_then_judged() {
    for item in [item(&[7; MAX_VALUE_LEN + 1]), {
        let salt = Salt::new(&[7; MAX_SALT_LEN + 1]);
        Item { salt, ..item(b"") }
    }] {
        let expected = item.check_sizes();
        assert!(expected.is_err());
        let message = RequestMessage {
            sender: Sender::of(&secret(5).public()),
            ext: None,
            request: Request::PutValue {
                item: item.into(),
                mirror_target: None,
            },
        };
        let bytes = encode_request(&message).unwrap();
        let read = decode_request(&frame(Side::Request, &bytes)).unwrap();
        let Request::PutValue { item, .. } = &read.request else {
            panic!("{read:?}");
        };
        assert_eq!(item.check_sizes(), expected);
    }
    let keyless = |value: usize, salt: usize| {
        WireItem::Keyless(KeylessItem {
            value: Value::from(vec![0; value]),
            salt: Salt::new(&vec![0; salt]),
            ..KeylessItem::default()
        })
        .check_sizes()
    };
    assert_eq!(keyless(MAX_VALUE_LEN, MAX_SALT_LEN), Ok(()));
    assert_eq!(
        keyless(MAX_VALUE_LEN + 1, MAX_SALT_LEN + 1),
        Err(ItemError::ValueTooLarge)
    );
    assert_eq!(
        keyless(MAX_VALUE_LEN, MAX_SALT_LEN + 1),
        Err(ItemError::SaltTooLong)
    );
}

#[test]
fn ids_are_taken_as_stated() {
    let json = b"{\"responder_id\":[1,2,3],\"responder_pk\":\"\"}";
    let Response::Ping { responder } = response(Method::Ping, json).unwrap().response else {
        panic!("no ping");
    };
    let mut id = [0; 32];
    id[..3].copy_from_slice(&[1, 2, 3]);
    assert_eq!(responder.id, NodeId::from_bytes(id));
    assert_eq!(responder.key, None);
}
