//! Bounds on what a peer can send: accepted at the limit, refused or cut above.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::{format, vec};
use core::time::Duration;

use super::*;
use crate::id::Target;

#[test]
fn no_message_of_real_items_holds_more_than_the_limit() {
    let smallest = Item {
        seq: Seq(0),
        salt: Salt::default(),
        ..item(b"")
    };
    let with_comma = encoded_item_len(&smallest) + 1;
    assert_eq!(MAX_MESSAGE / with_comma, MAX_ITEMS);
}

#[test]
fn lists_fail_above_their_limit() {
    let list = |name: &str, element: &str, count: usize| {
        let elements = vec![element; count].join(",");
        format!("{{\"{name}\":[{elements}]}}")
    };
    for (method, name, element) in [
        (Method::GetItems, "items", "{}"),
        (Method::GetItems, "targets", "[]"),
        (Method::PutBatch, "stored", "true"),
        (Method::PutBatch, "errors", "\"\""),
    ] {
        let read = |count| response(method, list(name, element, count).as_bytes());
        assert!(read(MAX_ITEMS).is_ok(), "{name}");
        let error = read(MAX_ITEMS + 1).unwrap_err();
        assert!(matches!(error, WireError::TooMany { .. }), "{name}");
    }
    for (name, element) in [("items", "{}"), ("targets", "[]")] {
        let read = |count| request(Method::PutBatch, list(name, element, count).as_bytes());
        assert!(read(MAX_ITEMS).is_ok(), "{name}");
        assert!(read(MAX_ITEMS + 1).is_err(), "{name}");
    }
}

#[test]
fn peers_are_cut_at_their_limit_and_counted() {
    let read = |count: usize| {
        let json = format!("{{\"closest\":[{}]}}", vec!["{}"; count].join(","));
        match response(Method::GetValue, json.as_bytes())
            .unwrap()
            .response
        {
            Response::GetValue { closest, .. } => (closest.peers.len(), closest.excess),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(read(MAX_PEERS), (MAX_PEERS, 0));
    assert_eq!(read(MAX_PEERS + 1), (MAX_PEERS, 1));
    assert_eq!(read(5_000), (MAX_PEERS, 5_000 - MAX_PEERS as u32));
}

#[test]
fn bombs_are_refused() {
    for open in ["[", "{\"a\":", "{\"ext\":{\"a\":", "{\"items\":["] {
        let json = open.repeat((4 << 20) / open.len());
        for method in Method::ALL {
            let passes = matches!(method, Method::Ping | Method::Renew);
            assert_eq!(request(method, json.as_bytes()).is_ok(), passes);
            assert!(response(method, json.as_bytes()).is_err());
        }
    }
    // Deeper than upstream allows, though closed, in an unknown field.
    let deep = 1_000_000;
    let json = format!("{{\"x\":{}{}}}", "[".repeat(deep), "]".repeat(deep));
    let error = request(Method::FindNode, json.as_bytes()).unwrap_err();
    assert!(matches!(error, WireError::Depth { .. }));
}

/// A put with a value of `value` bytes, and its length field.
fn put(value: usize) -> Result<usize, EncodeError> {
    let message = RequestMessage {
        sender: Sender::default(),
        ext: None,
        request: Request::PutValue {
            item: item(&vec![0; value]).into(),
            mirror_target: None,
        },
    };
    encode_request(&message).map(|frame| frame.len() - 4)
}

#[test]
fn nothing_above_a_limit_is_sent() {
    let fixed = put(0).unwrap();
    let most = (MAX_PUT_VALUE_REQUEST - fixed) / 4 * 3;
    assert!(put(most).unwrap() > MAX_PUT_VALUE_REQUEST - 4);
    let error = put(most + 3).unwrap_err();
    assert_eq!(
        (error.method, error.max),
        (Method::PutValue, MAX_PUT_VALUE_REQUEST)
    );
    assert!(error.len > MAX_PUT_VALUE_REQUEST);

    let refusal = |error: usize| {
        let response = Response::PutValue {
            stored: false,
            error: "x".repeat(error),
        };
        encode_response(&ResponseMessage {
            ext: None,
            response,
        })
    };
    let fixed = refusal(1).unwrap().len() - 4 - 1;
    assert_eq!(
        refusal(MAX_SMALL_RESPONSE - fixed).unwrap().len(),
        4 + MAX_SMALL_RESPONSE
    );
    assert!(refusal(MAX_SMALL_RESPONSE - fixed + 1).is_err());
}

#[test]
fn a_full_page_of_the_foretold_length_is_sent() {
    let held = Arc::new(item(&[1; 1_000]));
    let target = Target::from_bytes([200; 32]);
    let each = encoded_item_len(&held) + 1 + encoded_target_len(&target) + 1;
    let fixed = 1 + r#"{"items":[],"targets":[],"has_more":true}"#.len() - 2;
    let page = |count: usize| {
        encode_response(&ResponseMessage {
            ext: None,
            response: Response::GetItems {
                items: vec![WireItem::from(&held); count],
                targets: vec![target; count],
                has_more: true,
            },
        })
    };
    let count = (MAX_GET_ITEMS_RESPONSE - fixed) / each;
    assert_eq!(page(count).unwrap().len() - 4, fixed + count * each);
    assert!(page(count + 1).is_err());
}

#[test]
fn requests_with_everything_stay_far_below_the_small_limit() {
    let message = RequestMessage {
        sender: Sender::of(&secret(5).public()),
        ext: Some(RequestExt {
            version: u8::MAX,
            serves: true,
            addr: "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"
                .parse()
                .ok(),
            life: Some(Life::default()),
            bind: Some(Default::default()),
            want: Want::Peers,
            poll: Some(LongPoll {
                time: Duration::from_millis(u64::MAX),
                after: Some(Seq(u64::MAX)),
            }),
        }),
        request: Request::GetItems {
            salt: "<".repeat(200),
            since_seq: Seq(u64::MAX),
            limit: i64::MIN,
        },
    };
    assert!(encode_request(&message).unwrap().len() < MAX_SMALL_REQUEST / 3);
    let closest: PeerList = vec![
        WirePeer {
            addr: "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"
                .parse()
                .ok(),
            id: crate::id::NodeId::from_bytes([255; 32]),
            ..WirePeer::default()
        };
        20
    ]
    .into();
    let ext = Some(ResponseExt {
        closest,
        ..ResponseExt::default()
    });
    let response = Response::PutValue {
        stored: false,
        error: String::from("dht: rate limit exceeded for public key"),
    };
    let bytes = encode_response(&ResponseMessage { ext, response }).unwrap();
    assert!(bytes.len() < MAX_SMALL_RESPONSE / 2);
}
