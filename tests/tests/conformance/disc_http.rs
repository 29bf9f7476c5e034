//! disc_entry.json: the HTTP API of the DMSG discovery, server and client.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use skydht_core::time::{Mono, Time, Unix};
use skydht_discovery::dmsg::{Answer, AnswerError, Call, DmsgDiscovery, Rules};
use skydht_discovery::health::{self, Health};
use skydht_discovery::web::{self, Request};
use skydht_dmsg::entry::SignedEntry;

use crate::report::Report;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Served {
    name: String,
    test_mode: bool,
    method: String,
    path: String,
    request_body: String,
    status: u16,
    content_type: String,
    response_body: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    method: String,
    request_uri: String,
    content_type: String,
    body: String,
    server_answers_status: u16,
    server_answers_body: String,
    client_returns_error: String,
    /// Headers that Go's HTTP library adds.
    #[serde(rename = "accept_encoding")]
    _accept_encoding: String,
    #[serde(rename = "user_agent")]
    _user_agent: String,
}

pub(crate) fn run(file: &Value, report: &mut Report) {
    let served: Vec<Served> = report.section(file, "discovery_http").unwrap_or_default();
    serve(&served, report);
    let asked: Vec<Asked> = report.section(file, "client_http").unwrap_or_default();
    for (index, vector) in asked.iter().enumerate() {
        ask(index, vector, report);
    }
}

fn request(method: &str, path: &str, body: &str) -> Request {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    web::request(method, path, body.as_bytes().to_vec())
}

fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    value.unwrap_or_default().to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Sends all requests in order to one service, at the time of the vectors' latest entry.
fn serve(vectors: &[Served], report: &mut Report) {
    let entries = vectors
        .iter()
        .filter_map(|vector| SignedEntry::from_json(vector.request_body.as_bytes()).ok());
    let latest = entries.map(|entry| entry.entry().timestamp).max();
    let latest = latest.and_then(|latest| u64::try_from(latest).ok());
    let now = Time {
        mono: Mono(0),
        unix: Unix(latest.unwrap_or_default()),
    };
    let mut discovery = DmsgDiscovery::new(Rules::default(), now);
    for vector in vectors {
        let mut case = report.case(format!("discovery_http/{}", vector.name));
        discovery.set_rules(Rules {
            allow_loopback: vector.test_mode,
            passphrase: "pass".to_owned(),
        });
        let asked = request(&vector.method, &vector.path, &vector.request_body);
        let response = discovery.handle(now, &asked);
        case.check("status", response.status().as_u16(), vector.status);
        let kind = content_type(response.headers());
        case.check("content_type", kind, &vector.content_type);
        let (mut ours, mut theirs) = (text(response.body()), vector.response_body.clone());
        if vector.path == health::PATH {
            // The start times differ.
            let started = |text: &str| match serde_json::from_str::<Health>(text) {
                Ok(health) => health.started_at,
                Err(error) => error.to_string(),
            };
            ours = ours.replace(&started(&ours), "…");
            theirs = theirs.replace(&started(&theirs), "…");
        }
        case.check("body", ours, theirs);
    }
}

fn ask(index: usize, vector: &Asked, report: &mut Report) {
    let Asked {
        method,
        request_uri,
        ..
    } = vector;
    let mut case = report.case(format!("client_http/{index} {method} {request_uri}"));
    let call = match Call::read(&request(method, request_uri, &vector.body)) {
        Ok(call) => call,
        Err(refusal) => return case.fail(refusal),
    };
    let ours = call.write();
    case.check("method", ours.method().as_str(), method);
    case.check("uri", ours.uri().to_string(), request_uri);
    case.check("body", text(ours.body()), &vector.body);
    let kind = content_type(ours.headers());
    case.check("content_type", kind, &vector.content_type);

    let status = StatusCode::from_u16(vector.server_answers_status).expect("a status");
    let response = web::json_text(status, vector.server_answers_body.clone().into_bytes());
    let read = Answer::read(&call, &response);
    let unreadable = |text: &str| text.starts_with("skipThreeBytes");
    match read {
        // Go's JSON library has its own error texts.
        Err(AnswerError::Malformed(_)) => {
            case.check("unreadable", true, unreadable(&vector.client_returns_error));
        }
        other => {
            let error = other.err().map_or(String::new(), |error| error.to_string());
            case.check("error", error, &vector.client_returns_error);
        }
    }
}
