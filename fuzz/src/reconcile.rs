//! Messages of set reconciliation, for the side that answers and for the side that starts.

use std::sync::Arc;

use skydht_core::item::{Item, Salt, Seq, Value};
use skydht_core::key::{PublicKey, Signature};
use skydht_core::sync::{
    ItemSet, MAX_SYNC_MESSAGE, Session, SessionLimits, SessionOutput, SyncRequest, SyncResponse,
    respond,
};

fn set() -> ItemSet {
    let mut set = ItemSet::default();
    for number in 0..120_u8 {
        let mut key = [number.wrapping_mul(83); 33];
        key[0] = 2;
        set.insert(Arc::new(Item {
            key: PublicKey::from_bytes(&key).unwrap(),
            seq: Seq(u64::from(number)),
            signature: Signature::default(),
            value: Value::new(&[number; 8]),
            salt: Salt::from("fuzz"),
        }));
    }
    set
}

/// Input: messages, each after its length in two bytes. Each is tested as a request, and together
/// they are the responses of one session.
///
/// - A message that decodes encodes to the same bytes; the position of an error is within the
///   bytes.
/// - An answer is a valid message and answers something.
/// - A session accepts each response or is over, and its requests are valid messages.
pub fn reconcile(mut data: &[u8]) {
    let set = set();
    let mut session = Session::start(&set, [7; 8], SessionLimits::default()).ok();
    while let [high, low, rest @ ..] = data {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (message, rest) = rest.split_at(len);
        data = rest;
        match SyncRequest::decode(message) {
            Ok(request) => {
                assert_eq!(request.encode(), message);
                let any = !request.parts.is_empty();
                let reply = respond(&set, request);
                assert_eq!(reply.response.answered > 0, any);
                let bytes = reply.response.encode();
                assert!(bytes.len() <= MAX_SYNC_MESSAGE);
                assert_eq!(SyncResponse::decode(&bytes).unwrap().encode(), bytes);
            }
            Err(error) => assert!(error.offset <= message.len(), "{error}"),
        }
        if let Ok(response) = SyncResponse::decode(message) {
            assert_eq!(response.encode(), message);
        }
        if let Some(running) = &mut session {
            let over = running.handle(&set, message).is_err();
            while let Some(output) = running.poll_output() {
                if let SessionOutput::Send(bytes) = output {
                    assert!(SyncRequest::decode(&bytes).is_ok());
                }
            }
            if over {
                session = None;
            }
        }
    }
}
