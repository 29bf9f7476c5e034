use super::*;
use crate::id::Target;
use crate::item::{Life, Origin};
use crate::key::write_hex;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, self.0)
    }
}

/// One message of each kind with every part.
fn messages() -> (SyncRequest, SyncResponse) {
    let target = item(1, 0, 0).target();
    let prefix = Prefix::of(&target, 11);
    let life = Life {
        age: Duration::from_millis(1500),
        left: Duration::from_secs(7200),
    };
    let stamp = Stamp {
        lead: Lead::of(&target),
        origin: Origin::Owner,
        seq: Seq(1_790_000_000_000_000_000),
    };
    let request = SyncRequest {
        salt: *b"8 bytes!",
        parts: alloc::vec![
            RequestPart::Whole([0x11; 16]),
            RequestPart::Split(prefix, 2, alloc::vec![[1, 2, 3, 4]; 4]),
            RequestPart::Ids(prefix, alloc::vec![[5; 4], [6; 4]]),
            RequestPart::Want(alloc::vec![Lead::of(&target)]),
            RequestPart::Pull(Prefix::ALL, target),
            RequestPart::Give((item(2, 9, 3), life)),
            RequestPart::Offer(alloc::vec![stamp]),
        ],
    };
    let response = SyncResponse {
        answered: 6,
        parts: alloc::vec![
            ResponsePart::Same,
            ResponsePart::Split(prefix, 1, alloc::vec![[9; 4], [8; 4]]),
            ResponsePart::Leaf(prefix),
            ResponsePart::Empty(Prefix::of(&target, 16)),
            ResponsePart::Entries(prefix, 0b10, alloc::vec![stamp]),
            ResponsePart::Item((item(3, 9, 0), life)),
            ResponsePart::More(prefix, target),
            ResponsePart::Wanted(5),
        ],
    };
    (request, response)
}

/// The bytes equal those in `tests/vectors/own/sync.json`.
#[test]
fn messages_are_those_of_the_vectors() {
    let text = include_str!("../../../../tests/vectors/own/sync.json");
    let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
    let (request, response) = messages();
    let hex = |bytes: &[u8]| alloc::string::ToString::to_string(&Hex(bytes));
    let version = Version {
        origin: Origin::Owner,
        seq: Seq(7),
        payload: [3; 32],
    };
    let digest = version.digest(&Target::from_bytes([1; 32]));
    let mut sum = Sum::default();
    sum.add(&digest);
    sum.add(&digest);
    let actual = serde_json::json!({
        "request": hex(&request.encode()),
        "response": hex(&response.encode()),
        "digest": hex(&digest),
        "fingerprint": hex(&sum.fingerprint(b"8 bytes!")),
    });
    assert_eq!(vectors, actual, "now: {actual}");
}

#[test]
fn messages_round_trip() {
    let (request, response) = messages();
    assert_eq!(SyncRequest::decode(&request.encode()), Ok(request));
    assert_eq!(SyncResponse::decode(&response.encode()), Ok(response));
}

#[test]
fn damaged_messages_are_refused_with_the_place() {
    let (request, response) = messages();
    let (request, response) = (request.encode(), response.encode());
    for len in 0..request.len() {
        match SyncRequest::decode(&request[..len]) {
            // Cut between two parts.
            Ok(shorter) => assert_eq!(shorter.encode(), request[..len]),
            Err(error) => assert!(error.fault == Fault::Truncated && error.offset <= len),
        }
    }
    for len in 0..response.len() {
        match SyncResponse::decode(&response[..len]) {
            Ok(shorter) => assert_eq!(shorter.encode(), response[..len]),
            Err(error) => assert!(error.fault == Fault::Truncated && error.offset <= len),
        }
    }
    let fault = |bytes: &[u8]| SyncRequest::decode(bytes).map_err(|error| error.fault);
    let after = |part: &[u8]| {
        let mut bytes: Vec<u8> = [&[1][..], &[0; 8]].concat();
        bytes.extend_from_slice(part);
        fault(&bytes)
    };
    assert_eq!(fault(&[2]), Err(Fault::Version(2)));
    assert_eq!(after(&[0]), Err(Fault::Part(0)));
    assert_eq!(after(&[2, 249]), Err(Fault::Truncated));
    assert_eq!(
        after(&[&[2, 249][..], &[0; 32]].concat()),
        Err(Fault::Prefix)
    );
    assert_eq!(after(&[2, 1, 0x40, 1]), Err(Fault::Prefix));
    assert_eq!(after(&[2, 0, 0]), Err(Fault::Step));
    assert_eq!(after(&[2, 0, 11]), Err(Fault::Step));
    assert_eq!(after(&[4, 65]), Err(Fault::Length));
    assert_eq!(after(&[&[6][..], &[9; 33]].concat()), Err(Fault::Key));
    let long = alloc::vec![1; MAX_SYNC_MESSAGE + 1];
    assert_eq!(fault(&long), Err(Fault::TooLong));
    let text: String = alloc::format!("{}", SyncRequest::decode(&[2]).unwrap_err());
    assert_eq!(
        text,
        "reconciliation message, byte 0: version 2 is not known"
    );
}
