//! gob.json, and the objects of dmsg_2026.json: DMSG's requests and responses, byte for byte.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use skydht_core::key::{PublicKey, SecretKey};
use skydht_dmsg::object::{
    ErrorCode, ObjectError, RawAddress, SignedObject, StreamRequest, StreamResponse,
};

use crate::hex::{Hex, hex};
use crate::report::{Case, Report};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    name: Option<String>,
    i: Option<usize>,
    timestamp: String,
    src_pk: Hex,
    src_port: u16,
    dst_pk: Hex,
    dst_port: u16,
    ip_info: bool,
    /// A later field, which this implementation does not write, and skips when it reads.
    #[serde(rename = "geo_info")]
    _geo_info: Option<bool>,
    noise_msg: Hex,
    /// A nil and an empty message have the same bytes.
    #[serde(rename = "noise_msg_nil")]
    _noise_msg_nil: Option<bool>,
    gob: Hex,
    decode_error: Option<String>,
    old_reader_ok: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Response {
    name: Option<String>,
    i: Option<usize>,
    req_hash: Hex,
    accepted: bool,
    ip: Hex,
    #[serde(rename = "ip_nil")]
    _ip_nil: Option<bool>,
    #[serde(rename = "geo_country")]
    _geo_country: Option<String>,
    #[serde(rename = "geo_region")]
    _geo_region: Option<String>,
    #[serde(rename = "geo_lat")]
    _geo_lat: Option<f64>,
    #[serde(rename = "geo_lon")]
    _geo_lon: Option<f64>,
    err_code: u16,
    noise_msg: Hex,
    gob: Hex,
    decode_error: Option<String>,
    old_reader_ok: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    i: usize,
    request_gob: Hex,
    request_sig: Hex,
    request_signed_object: Hex,
    request_hash_sha256_of_whole_object: Hex,
    request_verify_error: String,
    /// Go's check takes the last timestamp, but no caller ever had one (specification §5.3).
    #[serde(rename = "request_verify_error_last_timestamp_equal")]
    _last_timestamp_equal: String,
    response_gob: Hex,
    response_sig: Hex,
    response_signed_object: Hex,
    response_verify_error: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Verification {
    name: String,
    signed_object: Hex,
    error: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Code {
    error_string: String,
    /// Go's text; this implementation has its own.
    #[serde(rename = "message")]
    _message: String,
    temporary: bool,
    timeout: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(non_snake_case)]
struct Keys {
    A_sk: Hex,
    A_pk: Hex,
    B_sk: Hex,
    B_pk: Hex,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Process {
    first_type_encoded: String,
    keys: Keys,
    requests: Vec<Request>,
    responses: Vec<Response>,
    signed: Vec<Signed>,
    request_verification: Vec<Verification>,
    error_codes: BTreeMap<u16, Code>,
}

pub(crate) fn run(file: &Value, report: &mut Report) {
    // A Go process numbers types in the order of their first use, from 3 for a request and from 2
    // for a response.
    for (name, first_request, first_response) in
        [("request_first", 64, 67), ("response_first", 66, 64)]
    {
        let Some(process) = report.section::<Process>(file, name) else {
            continue;
        };
        let first = if first_request == 64 { "req" } else { "resp" };
        let mut case = report.case(format!("{name}/first_type_encoded"));
        case.check("first_type_encoded", first, &process.first_type_encoded);
        drop(case);
        for vector in &process.requests {
            request(name, vector, Some(first_request), report);
        }
        for vector in &process.responses {
            response(name, vector, Some(first_response), report);
        }
        for vector in &process.signed {
            signed(name, vector, &process.keys, report);
        }
        for vector in &process.request_verification {
            verification(name, vector, report);
        }
        codes(name, &process.error_codes, report);
    }
}

/// The layouts of 2026 have more fields than this implementation writes; they are only read.
pub(crate) fn run_2026(file: &Value, report: &mut Report) {
    let requests: Vec<Request> = report.section(file, "stream_requests").unwrap_or_default();
    for vector in &requests {
        request("stream_requests", vector, None, report);
    }
    let responses: Vec<Response> = report.section(file, "stream_responses").unwrap_or_default();
    for vector in &responses {
        response("stream_responses", vector, None, report);
    }
    // This vector is about upstream's reader. The other vectors show that this implementation reads
    // both layouts.
    let reads_old: Option<bool> = report.section(file, "new_reader_reads_old_request");
    let ours = requests.first().is_some_and(|vector| {
        StreamRequest::from_gob(&request_of(vector).to_gob()) == Ok(request_of(vector))
    });
    let mut case = report.case("new_reader_reads_old_request");
    case.check("reads", ours, reads_old);
}

fn request_of(vector: &Request) -> StreamRequest {
    StreamRequest {
        timestamp: vector.timestamp.parse().expect("a decimal number"),
        source: RawAddress {
            key: vector.src_pk.array(),
            port: vector.src_port,
        },
        destination: RawAddress {
            key: vector.dst_pk.array(),
            port: vector.dst_port,
        },
        ip_info: vector.ip_info,
        noise: vector.noise_msg.0.clone(),
    }
}

/// `first_type`: number of the first type of the writing process, if this implementation writes all
/// of the vector's fields.
fn request(section: &str, vector: &Request, first_type: Option<u32>, report: &mut Report) {
    let name = vector.name.clone().or(vector.i.map(|i| i.to_string()));
    let mut case = report.case(format!("{section}/request {}", name.unwrap_or_default()));
    let expected = request_of(vector);
    let read = StreamRequest::from_gob(&vector.gob.0);
    let ok = vector.decode_error.as_deref().unwrap_or("").is_empty();
    case.check(
        "read",
        read == Ok(expected.clone()),
        ok && vector.old_reader_ok != Some(false),
    );
    if let Some(first_type) = first_type {
        case.check(
            "gob",
            hex(expected.to_gob_numbered(first_type)),
            &vector.gob,
        );
    }
}

fn response(section: &str, vector: &Response, first_type: Option<u32>, report: &mut Report) {
    let name = vector.name.clone().or(vector.i.map(|i| i.to_string()));
    let mut case = report.case(format!("{section}/response {}", name.unwrap_or_default()));
    let expected = StreamResponse {
        request_hash: vector.req_hash.array(),
        accepted: vector.accepted,
        ip: vector.ip.0.clone(),
        error_code: vector.err_code,
        noise: vector.noise_msg.0.clone(),
    };
    let read = StreamResponse::from_gob(&vector.gob.0);
    let ok = vector.decode_error.as_deref().unwrap_or("").is_empty();
    case.check(
        "read",
        read == Ok(expected.clone()),
        ok && vector.old_reader_ok != Some(false),
    );
    if let Some(first_type) = first_type {
        case.check(
            "gob",
            hex(expected.to_gob_numbered(first_type)),
            &vector.gob,
        );
    }
}

/// Parses the number in Go's text; other errors of Go have none.
fn number(text: &str) -> Option<u16> {
    let rest = text.strip_prefix("dmsg error ")?;
    rest.split(' ').next()?.parse().ok()
}

/// Compares the error's number with Go's.
fn check_error(case: &mut Case<'_>, ours: Option<ObjectError>, theirs: &str) {
    case.check("accepted", ours.is_none(), theirs.is_empty());
    let ours = match ours {
        Some(ObjectError::Code(code)) => Some(code.number()),
        _ => None,
    };
    case.check("error", ours, number(theirs));
}

fn object(bytes: &Hex) -> Result<SignedObject, ObjectError> {
    Ok(SignedObject::from_bytes(bytes.0.clone())?)
}

fn verification(section: &str, vector: &Verification, report: &mut Report) {
    let mut case = report.case(format!("{section}/request_verification {}", vector.name));
    let verified = object(&vector.signed_object).and_then(|object| object.verify_request());
    check_error(&mut case, verified.err(), &vector.error);
}

fn signed(section: &str, vector: &Signed, keys: &Keys, report: &mut Report) {
    let mut case = report.case(format!("{section}/signed {}", vector.i));
    let (request, response) = (
        object(&vector.request_signed_object),
        object(&vector.response_signed_object),
    );
    let (Ok(request), Ok(response)) = (request, response) else {
        return case.fail("an object is too short");
    };
    let whole = [&vector.request_sig.0[..], &vector.request_gob.0].concat();
    case.check("request object", hex(&whole), &vector.request_signed_object);
    let whole = [&vector.response_sig.0[..], &vector.response_gob.0].concat();
    case.check(
        "response object",
        hex(&whole),
        &vector.response_signed_object,
    );
    case.check(
        "request hash",
        hex(request.hash()),
        &vector.request_hash_sha256_of_whole_object,
    );
    let verified = request.verify_request();
    check_error(&mut case, verified.err(), &vector.request_verify_error);
    drop(case);

    let mut case = report.case(format!("{section}/signed {} response", vector.i));
    let key = |pk: &Hex| PublicKey::from_bytes(&pk.0).expect("a key of the vectors");
    let answer = response.verify_response(&request.hash(), &key(&keys.B_pk));
    check_error(&mut case, answer.err(), &vector.response_verify_error);
    drop(case);

    // A request signed by this implementation verifies, and so does a response to it.
    let mut case = report.case(format!("{section}/signed {} by us", vector.i));
    let secret = |sk: &Hex| SecretKey::from_bytes(&sk.0).expect("a key of the vectors");
    let (a, b) = (secret(&keys.A_sk), secret(&keys.B_sk));
    case.check("A", hex(a.public().as_bytes()), &keys.A_pk);
    let ours = StreamRequest::from_gob(&vector.request_gob.0).map(|request| request.sign(&a));
    let Ok(ours) = ours else {
        return case.fail("the request cannot be read");
    };
    case.check("ours verifies", ours.verify_request().is_ok(), true);
    let refusal = StreamResponse::refusal(ours.hash(), ErrorCode::NoListener).sign(&b);
    let verified = refusal.verify_response(&ours.hash(), &key(&keys.B_pk));
    let code = verified.ok().and_then(|response| response.refused());
    case.check("refusal", code.map(ErrorCode::number), 306);
}

fn codes(section: &str, codes: &BTreeMap<u16, Code>, report: &mut Report) {
    for (number, code) in codes {
        let mut case = report.case(format!("{section}/error_codes {number}"));
        let ours = ErrorCode::from_number(*number);
        case.check(
            "temporary",
            ours.map(ErrorCode::is_temporary),
            code.temporary,
        );
        // None of Go's codes is a timeout; this implementation has a separate type for it.
        case.check("timeout", false, code.timeout);
        let start = format!("dmsg error {number} - ");
        let text = ours.map(|code| code.to_string()).unwrap_or_default();
        case.check(
            "text form",
            text.starts_with(&start),
            code.error_string.starts_with(&start),
        );
    }
    let mut case = report.case(format!("{section}/error_codes, all"));
    let ours = ErrorCode::ALL.iter().map(|code| code.number());
    // Code 308 is newer than the vectors.
    let ours: Vec<u16> = ours.filter(|number| *number != 308).collect();
    case.check("numbers", ours, codes.keys().collect::<Vec<_>>());
}
