//! DMSG's requests, announcements and responses in Go's gob encoding, signed objects, and discovery
//! entries.

use std::sync::LazyLock;

use skydht_core::key::SecretKey;
use skydht_dmsg::entry::{Entry, SignedEntry};
use skydht_dmsg::object::{Address, PeerAnnounce, SignedObject, StreamRequest, StreamResponse};

use crate::cursor::Cursor;

/// Input: a byte that selects the kind of the rest.
///
/// - A request, an announcement or a response that can be read can be written, whatever numbers its
///   types have, and is then read as the same.
/// - Arbitrary objects are refused, because none has a valid signature.
/// - Every changed byte of a correct object is detected.
/// - An entry that can be read keeps its text, and its content is the same after writing and
///   reading again. An entry that verifies still verifies when stored. Setting a server's type
///   changes nothing else.
pub fn dmsg_objects(data: &[u8]) {
    let mut input = Cursor::new(data);
    let which = input.byte();
    if which >= 250 {
        return announce(input);
    }
    match which % 5 {
        0 => request(input),
        1 => response(input),
        2 => arbitrary_object(input.rest()),
        3 => changed_object(input),
        _ => entry(input.rest()),
    }
}

fn request(mut input: Cursor<'_>) {
    let first_type = 64 + u32::from(input.u16());
    if let Ok(request) = StreamRequest::from_gob(input.rest()) {
        let gob = request.to_gob_numbered(first_type);
        assert_eq!(StreamRequest::from_gob(&gob), Ok(request));
    }
}

fn response(mut input: Cursor<'_>) {
    let first_type = 64 + u32::from(input.u16());
    if let Ok(response) = StreamResponse::from_gob(input.rest()) {
        let _ = (response.ip(), response.refused());
        let gob = response.to_gob_numbered(first_type);
        assert_eq!(StreamResponse::from_gob(&gob), Ok(response));
    }
}

fn announce(mut input: Cursor<'_>) {
    let first_type = 64 + u32::from(input.u16());
    if let Ok(announce) = PeerAnnounce::from_gob(input.rest()) {
        let gob = announce.to_gob_numbered(first_type);
        assert_eq!(PeerAnnounce::from_gob(&gob), Ok(announce));
    }
}

fn arbitrary_object(bytes: &[u8]) {
    let Ok(object) = SignedObject::from_bytes(bytes.to_vec()) else {
        return;
    };
    assert_eq!(object.as_bytes(), bytes);
    assert!(object.verify_request().is_err(), "a forged request");
    let author = HONEST.0.public();
    let announced = object.verify_announce(&author);
    assert!(!matches!(announced, Ok(Some(_))), "a forged announcement");
    let verified = object.verify_response(&[7; 32], &author);
    assert!(verified.is_err(), "a forged response");
}

static HONEST: LazyLock<(SecretKey, SignedObject)> = LazyLock::new(|| {
    let secret = SecretKey::from_entropy(&[1; 32]);
    let address = |port| Address {
        key: secret.public(),
        port,
    };
    let request = StreamRequest {
        timestamp: 1_777_000_000_000_000_000,
        source: address(50_000).into(),
        destination: address(100).into(),
        ip_info: false,
        noise: vec![9; 49],
    };
    let object = request.sign(&secret);
    (secret, object)
});

fn changed_object(mut input: Cursor<'_>) {
    let (_, honest) = &*HONEST;
    let mut bytes = honest.as_bytes().to_vec();
    let at = usize::from(input.u16()) % bytes.len();
    let by = input.byte();
    bytes[at] ^= by;
    let object = SignedObject::from_bytes(bytes).expect("as long as before");
    let announced = object.verify_announce(&HONEST.0.public());
    assert!(
        !matches!(announced, Ok(Some(_))),
        "a request announces nobody"
    );
    let verified = object.verify_request();
    assert_eq!(verified.is_ok(), by == 0, "byte {at} changed by {by}");
}

fn entry(json: &[u8]) {
    let Ok(signed) = SignedEntry::from_json(json) else {
        return;
    };
    assert_eq!(signed.json(), json);
    let content = signed.entry();
    let written = serde_json::to_vec(content).expect("an entry is JSON");
    let again: Entry = serde_json::from_slice(&written).expect("what we wrote");
    assert_eq!(again, *content);
    let _ = (content.validate(), content.validate_public());
    let mut plain = content.clone();
    plain.remove_later_members();
    assert!(!plain.has_later_members());
    assert_eq!(content.has_later_members(), plain != *content);
    if let Ok(typed) = signed.with_server_type("official") {
        assert_typed(content, typed.entry());
    }
    if signed.verify().is_ok() {
        assert_eq!(signed.verify_stored(), Ok(()));
    }
}

/// Checks that at most the type of the server differs.
fn assert_typed(before: &Entry, after: &Entry) {
    let mut expected = before.clone();
    if let Some(server) = &mut expected.server {
        "official".clone_into(&mut server.server_type);
    }
    assert_eq!(*after, expected);
}
