use std::net::IpAddr;

use super::*;

fn key(byte: u8) -> SecretKey {
    SecretKey::from_bytes(&[byte; 32]).unwrap()
}

fn request() -> StreamRequest {
    StreamRequest {
        timestamp: 5,
        source: Address {
            key: key(1).public(),
            port: 50_000,
        }
        .into(),
        destination: Address {
            key: key(2).public(),
            port: 100,
        }
        .into(),
        ip_info: false,
        noise: vec![1, 2, 3],
    }
}

fn refused(change: impl FnOnce(&mut StreamRequest)) -> ErrorCode {
    let mut request = request();
    change(&mut request);
    request.sign(&key(1)).verify_request().unwrap_err().code()
}

#[test]
fn a_good_request_passes() {
    let object = request().sign(&key(1));
    let verified = object.verify_request().unwrap();
    assert_eq!(
        verified.source,
        Address {
            key: key(1).public(),
            port: 50_000
        }
    );
    assert_eq!(verified.destination.port, 100);
    assert_eq!(
        (verified.noise, verified.hash),
        (vec![1, 2, 3], object.hash())
    );
}

/// Each defective request also has all later defects: the first one in upstream's order is
/// reported.
#[test]
fn request_checks_go_in_upstreams_order() {
    let other = request().sign(&key(3));
    assert_eq!(
        other.verify_request().unwrap_err().code(),
        ErrorCode::RequestSignature
    );
    let code = refused(|r| r.timestamp = 0);
    assert_eq!(code, ErrorCode::RequestTimestamp);
    let code = refused(|r| (r.timestamp, r.destination.port) = (-1, 0));
    assert_eq!(code, ErrorCode::RequestDestinationPort);
    let code = refused(|r| (r.destination, r.timestamp) = (RawAddress::default(), 0));
    assert_eq!(code, ErrorCode::RequestDestinationKey);
    let code = refused(|r| (r.source.port, r.destination) = (0, RawAddress::default()));
    assert_eq!(code, ErrorCode::RequestSourcePort);
    let code = refused(|r| (r.source, r.destination) = Default::default());
    assert_eq!(code, ErrorCode::RequestSourceKey);
}

/// Tag 5, and an x beyond the prime: Go accepts both before it checks the signature.
#[test]
fn invalid_keys_are_refused() {
    assert_eq!(
        refused(|r| r.source.key[0] = 5),
        ErrorCode::RequestSignature
    );
    assert_eq!(
        refused(|r| r.source.key = [3; 33]),
        ErrorCode::RequestSignature
    );
    assert_eq!(
        refused(|r| r.destination.key[0] = 5),
        ErrorCode::RequestDestinationKey
    );
}

#[test]
fn objects_are_longer_than_a_signature_and_not_too_long() {
    for len in [0, 1, 64, 65, MAX_OBJECT + 1] {
        let object = SignedObject::from_bytes(vec![0; len]);
        assert_eq!(object.unwrap_err(), ErrorCode::InvalidObject);
    }
    for len in [66, MAX_OBJECT] {
        let object = SignedObject::from_bytes(vec![1; len]).unwrap();
        assert_eq!(
            object.verify_request().unwrap_err().code(),
            ErrorCode::InvalidObject
        );
    }
}

/// Type ids of another process and a field of later versions: the received bytes are what was
/// signed.
#[test]
fn signed_bytes_are_never_encoded_anew() {
    let gob = request().to_gob_numbered(900);
    let object = SignedObject::sign(&gob, &key(1));
    let bytes = object.as_bytes().to_vec();
    assert_ne!(bytes[SIGNATURE_LEN..], request().to_gob());
    let again = SignedObject::from_bytes(bytes).unwrap();
    assert_eq!(again.verify_request().unwrap().hash, object.hash());
}

#[test]
fn a_response_must_name_its_request_and_be_signed_by_the_destination() {
    let hash = [7; 32];
    let object = StreamResponse::refusal(hash, ErrorCode::NoListener).sign(&key(2));
    let response = object.verify_response(&hash, &key(2).public()).unwrap();
    assert_eq!(response.refused(), Some(ErrorCode::NoListener));
    let error = object
        .verify_response(&[8; 32], &key(1).public())
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::ResponseHash);
    let error = object.verify_response(&hash, &key(1).public()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ResponseSignature);
    let unknown = StreamResponse {
        error_code: 999,
        ..StreamResponse::default()
    };
    assert_eq!(unknown.refused(), Some(ErrorCode::NoReason));
}

#[test]
fn addresses_come_in_4_and_in_16_bytes() {
    let ip = |bytes: &[u8]| {
        StreamResponse {
            ip: bytes.to_vec(),
            ..StreamResponse::default()
        }
        .ip()
    };
    assert_eq!(ip(&[1, 2, 3, 4]), Some([1, 2, 3, 4].into()));
    let ours = StreamResponse::of_ip([0; 32], [1, 2, 3, 4].into());
    assert_eq!((ours.ip.len(), ours.ip()), (16, Some([1, 2, 3, 4].into())));
    let v6: IpAddr = "2001:db8::1".parse().unwrap();
    assert_eq!(StreamResponse::of_ip([0; 32], v6).ip(), Some(v6));
    assert_eq!((ip(&[]), ip(&[1; 5])), (None, None));
}
