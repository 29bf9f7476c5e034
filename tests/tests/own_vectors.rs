//! The frozen vectors of this program's protocol extensions (`tests/vectors/own`), read and
//! written.
//!
//! With `SKYDHT_WRITE_VECTORS=1`, new cases are added to the files; existing ones are never
//! changed.

#[path = "own_vectors/cases.rs"]
mod cases;

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use skydht_core::key::SecretKey;
use skydht_core::record::StoredRecord;
use skydht_core::wire::{
    Frame, FrameDecoder, Method, Side, WireItem, decode_item, decode_request, decode_response,
    encode_item, encode_request, encode_response,
};

use cases::Message;

fn file(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/own")).join(name)
}

/// Returns the frozen cases of a section, in the order of `ours`; adds missing ones if requested.
fn frozen(name: &str, section: &str, ours: Vec<Value>) -> Vec<Value> {
    let path = file(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|_| "{}".into());
    let mut content: Value = serde_json::from_str(&text).unwrap();
    let mut known = content[section].as_array().cloned().unwrap_or_default();
    let missing: Vec<Value> = ours
        .iter()
        .filter(|case| !known.iter().any(|known| known["name"] == case["name"]))
        .cloned()
        .collect();
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|case| case["name"].clone()).collect();
        let write = std::env::var_os("SKYDHT_WRITE_VECTORS").is_some();
        assert!(write, "{name}: {section} lacks {names:?}");
        known.extend(missing);
        content[section] = Value::Array(known.clone());
        let text = serde_json::to_string_pretty(&content).unwrap() + "\n";
        std::fs::write(&path, text).unwrap();
    }
    let listed: Vec<_> = ours.iter().map(|case| &case["name"]).collect();
    for case in &known {
        let name = &case["name"];
        assert!(
            listed.contains(&name),
            "{section}: {name} is no longer checked"
        );
    }
    known
}

fn hex(case: &Value, field: &str) -> Vec<u8> {
    HEXLOWER
        .decode(case[field].as_str().unwrap().as_bytes())
        .unwrap()
}

fn array<const N: usize>(case: &Value, field: &str) -> [u8; N] {
    hex(case, field).try_into().unwrap()
}

fn only_frame(side: Side, mut bytes: &[u8]) -> Frame {
    let frame = FrameDecoder::new(side).push(&mut bytes).unwrap().unwrap();
    assert!(bytes.is_empty());
    frame
}

#[test]
fn messages_are_read_and_written_as_frozen() {
    let messages = cases::messages();
    let ours = messages.iter().map(|(name, message)| {
        let (side, frame) = match message {
            Message::Request(request) => ("request", encode_request(request)),
            Message::Response(response) => ("response", encode_response(response)),
        };
        let frame = frame.unwrap();
        json!({
            "name": name,
            "side": side,
            "method": frame[4],
            "frame": HEXLOWER.encode(&frame),
            "body": str::from_utf8(&frame[5..]).ok(),
        })
    });
    let frozen = frozen("extensions.json", "messages", ours.collect());
    for case in &frozen {
        let (_, message) = messages
            .iter()
            .find(|(name, _)| case["name"] == *name)
            .unwrap();
        let frame = hex(case, "frame");
        match message {
            Message::Request(request) => {
                assert_eq!(encode_request(request).unwrap(), frame, "{}", case["name"]);
                assert_eq!(
                    decode_request(&only_frame(Side::Request, &frame)).as_ref(),
                    Ok(request)
                );
            }
            Message::Response(response) => {
                assert_eq!(
                    encode_response(response).unwrap(),
                    frame,
                    "{}",
                    case["name"]
                );
                assert_eq!(
                    decode_response(&only_frame(Side::Response, &frame)).as_ref(),
                    Ok(response)
                );
            }
        }
        if let Some(body) = case["body"].as_str() {
            assert_eq!(body.as_bytes(), &frame[5..]);
        }
    }
}

#[test]
fn extensions_are_read_as_frozen() {
    let reads_as = |ext: &str| {
        let body = format!("{{\"ext\":{ext}}}").into_bytes();
        let message = decode_request(&Frame {
            method: Method::FindNode,
            body,
        })
        .unwrap();
        let frame = encode_request(&message).unwrap();
        let text = str::from_utf8(&frame[5..]).unwrap().to_string();
        message.ext.map(|_| {
            let ext = text.split_once(",\"ext\":").unwrap().1;
            ext.strip_suffix('}').unwrap().to_string()
        })
    };
    let ours = cases::READING
        .iter()
        .map(|(name, ext)| json!({"name": name, "ext": ext, "reads_as": reads_as(ext)}));
    for case in frozen("extensions.json", "reading", ours.collect()) {
        let read = reads_as(case["ext"].as_str().unwrap());
        assert_eq!(json!(read), case["reads_as"], "{}", case["name"]);
    }
}

#[test]
fn binding_signatures_are_as_frozen() {
    let ours = cases::binds().into_iter().map(|(name, n, target, item)| {
        let secret = SecretKey::from_bytes(&[n; 32]).unwrap();
        let digest = item.bind_digest(&target);
        json!({
            "name": name,
            "secret": HEXLOWER.encode(&[n; 32]),
            "target": target.to_string(),
            "payload_hash": HEXLOWER.encode(&item.digest()),
            "digest": HEXLOWER.encode(&digest),
            "bind": secret.sign(&digest).to_string(),
            "item": String::from_utf8(encode_item(&item.into())).unwrap(),
        })
    });
    for case in frozen("extensions.json", "binds", ours.collect()) {
        let item = decode_item(case["item"].as_str().unwrap().as_bytes()).unwrap();
        let item = item.into_item().unwrap();
        assert_eq!(item.check(), Ok(()));
        let target = case["target"].as_str().unwrap().parse().unwrap();
        assert_eq!(item.digest(), array::<32>(&case, "payload_hash"));
        assert_eq!(item.bind_digest(&target), array::<32>(&case, "digest"));
        let bind = case["bind"].as_str().unwrap().parse().unwrap();
        assert_eq!(item.key.verify(&array(&case, "digest"), &bind), Ok(()));
        let secret = SecretKey::from_bytes(&hex(&case, "secret")).unwrap();
        assert_eq!(secret.sign(&array(&case, "digest")), bind);
    }
}

#[test]
fn stored_records_are_read_and_written_as_frozen() {
    let ours = cases::records().into_iter().map(|(name, record)| {
        let bytes = record.encode();
        json!({
            "name": name,
            "version": bytes[0],
            "record": HEXLOWER.encode(&bytes),
            "item": String::from_utf8(encode_item(&record.item.into())).unwrap(),
            "target": record.target.to_string(),
            "vouched": record.vouched.0.to_string(),
            "expires": record.expires.map(|at| at.0.to_string()),
            "bound": record.bound.map(|bound| bound.to_string()),
        })
    });
    for case in frozen("stored.json", "records", ours.collect()) {
        let bytes = hex(&case, "record");
        let record = StoredRecord::decode(&bytes).unwrap();
        assert_eq!(record.encode(), bytes);
        assert_eq!(json!(record.target.to_string()), case["target"]);
        assert_eq!(json!(record.vouched.0.to_string()), case["vouched"]);
        assert_eq!(
            json!(record.expires.map(|at| at.0.to_string())),
            case["expires"]
        );
        assert_eq!(
            json!(record.bound.map(|bound| bound.to_string())),
            case["bound"]
        );
        let item = decode_item(case["item"].as_str().unwrap().as_bytes()).unwrap();
        assert_eq!(WireItem::from(record.item.clone()), item);
        assert_eq!(record.item.check(), Ok(()));
    }
}

#[test]
fn hexadecimal_text_of_either_case_is_the_same_message() {
    let (_, message) = &cases::messages()[0];
    let Message::Request(request) = message else {
        panic!("the first is a request");
    };
    let frame = encode_request(request).unwrap();
    let text = String::from_utf8(frame[5..].to_vec()).unwrap();
    let key = request.sender.key.unwrap().to_string();
    let body = text.replace(&key, &key.to_uppercase()).into_bytes();
    let method = request.request.method();
    assert_eq!(
        decode_request(&Frame { method, body }).as_ref(),
        Ok(request)
    );
}
