//! tp_svc.json: transports with their ids and signatures, and services.

use serde::Deserialize;
use serde_json::Value;
use skydht_core::key::{PublicKey, SecretKey};
use skydht_discovery::record::{
    Service, ServiceAddress, Services, Signed, SignedTransport, Transport, TransportId,
};

use crate::hex::{Hex, hex};
use crate::report::Report;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    a_pk: PublicKey,
    b_pk: PublicKey,
    #[serde(rename = "type")]
    kind: String,
    label: String,
    id: String,
    id_when_swapped: Option<String>,
    binary_signed: Hex,
    json: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedEntry {
    name: Option<String>,
    a_is_edge_index: Option<usize>,
    a_pk: Option<PublicKey>,
    a_sk: Option<Hex>,
    b_pk: Option<PublicKey>,
    b_sk: Option<Hex>,
    binary_signed: Option<Hex>,
    json_signed_by_a_only: Option<String>,
    json_signed_by_both: Option<String>,
    json_with_registered: String,
    signatures_verify: Option<[bool; 2]>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceVector {
    name: String,
    addr_hex: Hex,
    check_error: String,
    json_of_pointer: String,
    json_of_slice: String,
    json_of_value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decoding {
    accepted: bool,
    addr_hex: Hex,
    /// Mostly a text of Go's JSON library.
    #[serde(rename = "error")]
    _error: String,
    json: String,
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

pub(crate) fn run(file: &Value, report: &mut Report) {
    let entries: Vec<Entry> = report
        .section(file, "transport_entries")
        .unwrap_or_default();
    for (index, vector) in entries.iter().enumerate() {
        transport(index, vector, report);
    }
    let signed: Vec<SignedEntry> = report.section(file, "signed_entries").unwrap_or_default();
    for (index, vector) in signed.iter().enumerate() {
        signed_entry(index, vector, report);
    }
    let services: Vec<ServiceVector> = report.section(file, "services").unwrap_or_default();
    for vector in &services {
        service(vector, report);
    }
    let decoding: Vec<Decoding> = report.section(file, "service_decoding").unwrap_or_default();
    for (index, vector) in decoding.iter().enumerate() {
        let mut case = report.case(format!("service_decoding/{index}"));
        let read = serde_json::from_str::<Service>(&vector.json);
        case.check("accepted", read.is_ok(), vector.accepted);
        if let Ok(service) = read {
            case.check(
                "addr_hex",
                hex(service.address.to_bytes()),
                &vector.addr_hex,
            );
        }
    }
}

fn transport(index: usize, vector: &Entry, report: &mut Report) {
    let mut case = report.case(format!("transport_entries/{index}"));
    let ours = Transport::new(vector.a_pk, vector.b_pk, &vector.kind, &vector.label);
    case.check("id", ours.id.to_string(), &vector.id);
    if let Some(swapped) = &vector.id_when_swapped {
        let id = TransportId::of(&vector.b_pk, &vector.a_pk, &vector.kind);
        case.check("id_when_swapped", id.to_string(), swapped);
    }
    case.check(
        "binary_signed",
        hex(ours.signed_bytes()),
        &vector.binary_signed,
    );
    case.check("json", text(ours.to_json()), &vector.json);
    match serde_json::from_str::<Transport>(&vector.json) {
        Ok(read) => {
            case.check("read", read == ours, true);
            case.check("valid", read.validate().is_ok(), true);
        }
        Err(error) => case.fail(error),
    }
}

fn signed_entry(index: usize, vector: &SignedEntry, report: &mut Report) {
    let name = vector.name.clone().unwrap_or_else(|| index.to_string());
    let mut case = report.case(format!("signed_entries/{name}"));
    let mut read = |field: &str, json: &str| {
        let read = serde_json::from_str::<SignedTransport>(json);
        let written = read.as_ref().ok().map(|it| text(it.to_json()));
        case.check(field, written, json);
        read.ok()
    };
    read("json_with_registered", &vector.json_with_registered);
    let (Some(one), Some(both)) = (&vector.json_signed_by_a_only, &vector.json_signed_by_both)
    else {
        return;
    };
    let one = read("json_signed_by_a_only", one);
    let both = read("json_signed_by_both", both);
    let (Some(one), Some(both)) = (one, both) else {
        return;
    };
    let (Some(a), Some(b), Some(kind)) = (vector.a_pk, vector.b_pk, &vector.kind) else {
        return case.fail("no keys");
    };
    case.check(
        "by one",
        one.verify().ok() == Some(Signed::One) || a == b,
        true,
    );
    let holds = both.verify() == Ok(Signed::Both);
    case.check("signatures_verify", [holds; 2], vector.signatures_verify);
    let mut ours = SignedTransport::new(Transport::new(a, b, kind, "user"));
    let entry = ours.entry.clone().expect("just given");
    case.check(
        "binary_signed",
        hex(entry.signed_bytes()),
        &vector.binary_signed,
    );
    let at = entry.edges.iter().position(|edge| *edge == a);
    case.check("a_is_edge_index", at, vector.a_is_edge_index);
    for sk in [&vector.a_sk, &vector.b_sk].into_iter().flatten() {
        let secret = SecretKey::from_bytes(&sk.0).expect("a key of the vectors");
        if let Err(error) = ours.sign(&secret) {
            return case.fail(error);
        }
    }
    case.check("ours holds", ours.verify() == Ok(Signed::Both), true);
}

fn service(vector: &ServiceVector, report: &mut Report) {
    let mut case = report.case(format!("services/{}", vector.name));
    let service: Service = match serde_json::from_str(&vector.json_of_pointer) {
        Ok(service) => service,
        Err(error) => return case.fail(error),
    };
    let bytes = service.address.to_bytes();
    case.check("addr_hex", hex(bytes), &vector.addr_hex);
    case.check(
        "json_of_pointer",
        text(service.to_json()),
        &vector.json_of_pointer,
    );
    let list = Services {
        list: vec![service.clone()],
    };
    case.check("json_of_slice", text(list.to_json()), &vector.json_of_slice);
    // Go's defect: the address is encoded as a list of numbers.
    let numbers = serde_json::to_string(&bytes.to_vec()).expect("numbers are JSON");
    let quoted = format!("\"{}\"", service.address);
    let by_value = vector.json_of_pointer.replacen(&quoted, &numbers, 1);
    case.check("json_of_value", by_value, &vector.json_of_value);
    let error = service.address.validate().err();
    let error = error.map_or(String::new(), |error| error.to_string());
    case.check("check_error", error, &vector.check_error);
    let again = service.address.to_string().parse::<ServiceAddress>();
    case.check("address", again.ok() == Some(service.address), true);
}
