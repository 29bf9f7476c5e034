//! Records as storage keeps them.

use skydht_core::record::{MAX_RECORD_LEN, StoredRecord};

/// Input: a record.
///
/// - A record that decodes encodes to the same bytes and is not longer than the maximum.
/// - The position of an error is within the bytes.
/// - The JSON form of a record, used in journals, also keeps everything.
pub fn stored_records(data: &[u8]) {
    match StoredRecord::decode(data) {
        Ok(record) => {
            assert!(data.len() <= MAX_RECORD_LEN);
            assert_eq!(record.encode(), data);
            let json = serde_json::to_vec(&record).unwrap();
            let again: StoredRecord = serde_json::from_slice(&json).unwrap();
            assert_eq!(again.encode(), data);
        }
        Err(error) => assert!(error.offset <= data.len(), "{error}"),
    }
}
