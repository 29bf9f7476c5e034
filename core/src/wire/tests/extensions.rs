//! Extensions: their position, that upstream does not see them, and that invalid ones count as
//! absent.

use alloc::string::{String, ToString};
use alloc::{format, vec};
use core::time::Duration;

use super::*;
use crate::id::Target;
use crate::key::Signature;

fn find_node(ext: Option<RequestExt>) -> RequestMessage {
    RequestMessage {
        sender: Sender::default(),
        ext,
        request: Request::FindNode {
            target: Target::default(),
        },
    }
}

fn json(message: &RequestMessage) -> String {
    String::from_utf8(body_of(encode_request(message).unwrap())).unwrap()
}

/// The extension decoded from `{"ext":…}`.
fn read(ext: &str) -> Option<RequestExt> {
    let json = format!("{{\"ext\":{ext},\"target\":[7]}}");
    let message = request(Method::FindNode, json.as_bytes()).unwrap();
    let mut target = [0; 32];
    target[0] = 7;
    let target = Target::from_bytes(target);
    assert_eq!(message.request, Request::FindNode { target });
    message.ext
}

#[test]
fn a_request_without_it_is_upstreams_and_with_it_only_longer_at_the_end() {
    let plain = json(&find_node(None));
    assert!(!plain.contains("ext"));
    let ext = RequestExt {
        serves: true,
        addr: Some(":7000".parse().unwrap()),
        life: Some(Life {
            age: Duration::from_micros(1_999),
            left: Duration::from_secs(7_200),
        }),
        bind: Some(Signature::from_bytes([0xab; 65])),
        want: Want::Peers,
        poll: Some(LongPoll {
            time: Duration::from_millis(25_000),
            after: Some(Seq(9)),
        }),
        ..RequestExt::default()
    };
    let expected = format!(
        "{},\"ext\":{{\"v\":2,\"serve\":true,\"addr\":\":7000\",\"life\":{{\"age\":1,\"left\":7200000}},\"bind\":\"{}\",\"want\":\"peers\",\"wait\":25000,\"after\":9}}}}",
        &plain[..plain.len() - 1],
        "ab".repeat(65)
    );
    assert_eq!(json(&find_node(Some(ext))), expected);
    let least = json(&find_node(Some(RequestExt::default())));
    assert!(least.ends_with(",\"ext\":{\"v\":2}}"));
}

#[test]
fn a_response_has_it_at_the_end_also_when_it_is_alone() {
    let answer = |ext: ResponseExt| {
        let response = Response::GetValue {
            item: None,
            closest: PeerList::default(),
        };
        let ext = Some(ext);
        let frame = encode_response(&ResponseMessage { ext, response }).unwrap();
        String::from_utf8(body_of(frame)).unwrap()
    };
    assert_eq!(answer(ResponseExt::default()), "{\"ext\":{\"v\":2}}");
    let peer = WirePeer {
        addr: Some("10.0.0.1:80".parse().unwrap()),
        ..WirePeer::default()
    };
    let peer_json = String::from_utf8(encode_peer(&peer)).unwrap();
    assert!(
        peer_json.ends_with("\"last_seen\":\"0001-01-01T00:00:00Z\",\"addr\":\"10.0.0.1:80\"}")
    );
    let all = ResponseExt {
        keep: true,
        addr: Some("[::1]:9".parse().unwrap()),
        closest: vec![peer].into(),
        held: Some(Seq(u64::MAX)),
        ..ResponseExt::default()
    };
    assert_eq!(
        answer(all),
        format!(
            "{{\"ext\":{{\"v\":2,\"keep\":true,\"addr\":\"[::1]:9\",\"closest\":[{peer_json}],\"held\":18446744073709551615}}}}"
        )
    );
}

#[test]
fn nonsense_is_absent_and_does_not_harm_the_message() {
    for ext in [
        "null",
        "5",
        "[]",
        "\"x\"",
        "{}",
        "{\"v\":0}",
        "{\"v\":256}",
        "{\"v\":\"1\"}",
        "{\"v\":2,\"serve\":1}",
        "{\"v\":2,\"addr\":5}",
        "{\"v\":2,\"addr\":\"nowhere\"}",
        "{\"v\":2,\"life\":{\"age\":-1}}",
        "{\"v\":2,\"life\":[]}",
        "{\"v\":2,\"bind\":\"00\"}",
        "{\"v\":2,\"want\":{}}",
    ] {
        assert_eq!(read(ext), None, "{ext}");
    }
    let answer = response(
        Method::PutValue,
        b"{\"ext\":{\"v\":2,\"closest\":[{\"id\":\"x\"}]},\"stored\":true}",
    )
    .unwrap();
    assert_eq!(answer.ext, None);
    let broken = b"{\"ext\":{\"v\":2,}}";
    assert!(
        request(Method::FindNode, broken).is_err(),
        "that is no JSON"
    );
}

#[test]
fn what_a_later_version_adds_is_ignored() {
    let ext = read("{\"v\":2,\"new\":[{}],\"want\":\"soup\",\"serve\":true}").unwrap();
    assert_eq!((ext.version, ext.want, ext.serves), (2, Want::All, true));
    assert_eq!(
        read("{\"v\":2,\"serve\":null}"),
        Some(RequestExt::default())
    );
}

#[test]
fn peers_in_it_drop_alone_and_are_cut_as_elsewhere() {
    let peers = vec!["{}"; MAX_PEERS + 1].join(",");
    let json = format!(
        "{{\"ext\":{{\"v\":2,\"closest\":[{{\"pk\":\"02zz\"}},{peers}]}},\"stored\":true}}"
    );
    let ext = response(Method::PutValue, json.as_bytes())
        .unwrap()
        .ext
        .unwrap();
    let PeerList {
        peers,
        bad_keys,
        excess,
    } = ext.closest;
    assert_eq!((peers.len(), bad_keys, excess), (MAX_PEERS, 1, 1));
}

#[test]
fn a_peers_address_is_no_reason_to_refuse_it() {
    let addr = |json: &str| {
        let json = format!("{{\"addr\":{json}}}");
        decode_peer(json.as_bytes()).unwrap().addr
    };
    assert_eq!(addr("\"10.0.0.1:80\""), "10.0.0.1:80".parse().ok());
    assert_eq!(
        addr("\"[2001:db8::1]:80\""),
        "[2001:db8::1]:80".parse().ok()
    );
    for nonsense in [
        "null",
        "5",
        "{}",
        "\"\"",
        "\"10.0.0.1\"",
        "\"10.0.0.1:0\"",
        "\":80\"",
    ] {
        assert_eq!(addr(nonsense), None, "{nonsense}");
    }
}

#[test]
fn advertised_addresses_are_read_strictly() {
    for text in ["10.0.0.1:80", "[::1]:65535", ":1", ":65535"] {
        let parsed: Advertised = text.parse().unwrap();
        assert_eq!(parsed.to_string(), text);
    }
    for text in [
        "",
        ":",
        ":0",
        ":+5",
        ":65536",
        ":x",
        "10.0.0.1",
        "10.0.0.1:0",
        "::1:80",
        "host:80",
        " :80",
    ] {
        assert_eq!(
            text.parse::<Advertised>(),
            Err(ParseAdvertisedError),
            "{text}"
        );
    }
}

#[test]
fn a_renewal_is_137_bytes_and_perhaps_an_extension() {
    let mut message = RequestMessage {
        sender: Sender::default(),
        ext: None,
        request: Request::Renew {
            target: Target::from_bytes([1; 32]),
            seq: Seq(0x0203_0405_0607_0809),
            signature: Signature::from_bytes([10; 65]),
            content_hash: [11; 32],
        },
    };
    let body = body_of(encode_request(&message).unwrap());
    let seq = [2, 3, 4, 5, 6, 7, 8, 9];
    assert_eq!(body, [&[1; 32][..], &seq, &[10; 65], &[11; 32]].concat());
    for len in 0..137 {
        let error = request(Method::Renew, &body[..len]);
        assert_eq!(error, Err(WireError::ShortRenewal { len }));
    }
    assert_eq!(request(Method::Renew, &body), Ok(message.clone()));
    for junk in ["", "{", "{\"v\":2} x", "\u{0}"] {
        let body = [&body, junk.as_bytes()].concat();
        assert_eq!(request(Method::Renew, &body), Ok(message.clone()));
    }
    message.ext = Some(RequestExt::default());
    let with_ext = body_of(encode_request(&message).unwrap());
    assert_eq!(with_ext, [&body, &b"{\"v\":2}"[..]].concat());
    assert_eq!(request(Method::Renew, &with_ext), Ok(message));
}

#[test]
fn null_is_nothing_in_every_field() {
    let nulls = r#"{"v":2,"serve":null,"addr":null,"life":null,"bind":null,"want":null}"#;
    assert_eq!(read(nulls), Some(RequestExt::default()));
    let json = br#"{"ext":{"v":2,"keep":null,"life":null,"bind":null,"closest":null,"held":null}}"#;
    let message = response(Method::FindNode, json).unwrap();
    assert_eq!(message.ext, Some(ResponseExt::default()));
}

#[test]
fn a_life_without_end_is_the_longest_that_is_read() {
    let life = |left| RequestExt {
        life: Some(Life {
            age: Duration::ZERO,
            left,
        }),
        ..RequestExt::default()
    };
    let bytes = encode_request(&find_node(Some(life(Duration::MAX)))).unwrap();
    let message = decode_request(&frame(Side::Request, &bytes)).unwrap();
    assert_eq!(message.ext, Some(life(Duration::from_millis(u64::MAX))));
}

/// An answer with three peers, in either form.
fn answer_with_peers(compact: bool) -> ResponseMessage {
    let addrs = ["192.0.2.7:7070", "[2001:db8::7]:7070"].map(|addr| addr.parse().ok());
    let peers = [(2, addrs[0]), (3, addrs[1]), (4, None)].map(|(n, addr)| {
        let key = crate::key::SecretKey::from_bytes(&[n; 32])
            .unwrap()
            .public();
        WirePeer::new(
            &key,
            crate::time::Unix(1_790_000_000_123_456_789).into(),
            addr,
        )
    });
    let ext = ResponseExt {
        compact,
        ..ResponseExt::default()
    };
    ResponseMessage {
        ext: Some(ext),
        response: Response::FindNode {
            closest: peers.to_vec().into(),
        },
    }
}

#[test]
fn compact_peers_say_the_same_in_far_fewer_bytes() {
    let [plain, compact] = [false, true].map(|compact| {
        let message = answer_with_peers(compact);
        let bytes = encode_response(&message).unwrap();
        let read = decode_response(&frame(Side::Response, &bytes)).unwrap();
        assert_eq!(read, message);
        bytes.len()
    });
    assert!(compact * 3 < plain, "{compact} of {plain}");
    // The rest of the answer does not matter, and the compact list replaces Go's.
    let json =
        String::from_utf8(body_of(encode_response(&answer_with_peers(true)).unwrap())).unwrap();
    let both = json.replacen('{', "{\"closest\":null,", 1);
    let read = response(Method::FindNode, both.as_bytes()).unwrap();
    assert_eq!(read, answer_with_peers(true));
}

#[test]
fn compact_peers_that_are_none_are_dropped_alone_or_with_the_extension() {
    let message = answer_with_peers(true);
    let entry = |bytes: &[u8]| {
        let near = data_encoding::BASE64.encode(bytes);
        let json = alloc::format!("{{\"ext\":{{\"v\":2,\"near\":\"{near}\"}}}}");
        response(Method::FindNode, json.as_bytes()).unwrap()
    };
    let peers = |message: &ResponseMessage| match &message.response {
        Response::FindNode { closest } => closest.clone(),
        other => panic!("{other:?}"),
    };
    let one = |tag: u8, rest: &[u8]| [&[tag], &[7; 32][..], &[0; 8], rest].concat();
    let no_key = entry(&one(9, &[0]));
    assert_eq!(
        (peers(&no_key).peers.len(), peers(&no_key).bad_keys),
        (0, 1)
    );
    let no_port = entry(&one(2, &[6, 1, 2, 3, 4, 0, 0]));
    assert_eq!(peers(&no_port).peers[0].addr, None);
    let many: Vec<u8> = (0..70).flat_map(|_| one(2, &[0])).collect();
    assert_eq!(
        (
            peers(&entry(&many)).peers.len(),
            peers(&entry(&many)).excess
        ),
        (64, 6)
    );
    // With another length or truncated: no extension, and hence no peers.
    let bytes = encode_response(&message).unwrap();
    assert!(bytes.len() < 400);
    for rest in [
        &[1, 2][..],
        &[6, 1, 2, 3, 4, 5],
        &[4, 1, 2, 3, 4],
        &[18, 0],
        &[],
    ] {
        let read = entry(&one(2, rest));
        assert_eq!(
            (&read.ext, peers(&read).peers.len()),
            (&None, 0),
            "{rest:?}"
        );
    }
}
