//! Versions of an item as server-sent events (WHATWG HTML, section 9.2).
//!
//! The id of each event is the version's sequence number. A client that reconnects with
//! `Last-Event-ID`, as browsers and libraries do automatically, therefore continues where it
//! stopped.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use futures::stream;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use skydht_core::item::Seq;
use skydht_tokio::Watch;
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use super::schema::GetBody;
use crate::failure::{Code, Failure, Result};
use crate::operation_failure;
use crate::report::VersionReport;

/// Interval of comments, which let both ends detect a dead connection.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Returns the sequence number after which to resume: that of the last event seen, else the query's
/// `after`.
pub(super) fn resume_after(headers: &HeaderMap, query: Option<&str>) -> Result<Option<Seq>> {
    let last = headers.get("last-event-id");
    let last = last.map(|value| value.to_str().unwrap_or("?").to_owned());
    let mut asked = last.filter(|text| !text.is_empty());
    for pair in query.unwrap_or_default().split('&') {
        match pair.split_once('=') {
            Some(("after", value)) => asked = asked.or_else(|| Some(value.to_owned())),
            _ if pair.is_empty() => {}
            _ => {
                let text = format!("{pair:?} is not understood: the query may hold after=SEQUENCE");
                return Err(Failure::new(Code::Usage, text));
            }
        }
    }
    let Some(asked) = asked else { return Ok(None) };
    let seq = asked.parse().map_err(|_| {
        let text = format!("{asked:?} is no sequence number to go on after");
        Failure::new(Code::Usage, text)
    })?;
    Ok(Some(Seq(seq)))
}

struct Events {
    watch: Watch,
    body: GetBody,
    heartbeat: Interval,
}

impl Events {
    /// Returns the next piece of the stream; `None` at its end.
    async fn next(&mut self) -> Option<String> {
        let version = tokio::select! {
            version = self.watch.next() => version?,
            _ = self.heartbeat.tick() => return Some(":\n\n".to_owned()),
        };
        Some(match version {
            Ok(found) => {
                let report = VersionReport::new(&found);
                let kind = if report.deleted { "deleted" } else { "version" };
                let id = format!("id: {}\n", report.seq);
                id + &event(kind, &report)
            }
            Err(error) => event("error", &operation_failure::get_failed(&error, &self.body)),
        })
    }
}

fn event(kind: &str, data: &impl Serialize) -> String {
    // JSON has line ends only within strings, where they are escaped.
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("event: {kind}\ndata: {data}\n\n")
}

/// Streams versions until the node stops or the client disconnects.
pub(super) fn stream(watch: Watch, body: GetBody) -> Response {
    let mut heartbeat = interval_at(tokio::time::Instant::now() + HEARTBEAT, HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let events = Events {
        watch,
        body,
        heartbeat,
    };
    let pieces = stream::unfold(events, |mut events| async {
        let piece = events.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(piece)), events))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_reconnects_resumes_after_the_last_version_it_saw() {
        let with = |id: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("last-event-id", HeaderValue::from_static(id));
            headers
        };
        let none = HeaderMap::new();
        for (headers, query, after) in [
            (none.clone(), None, None),
            (none.clone(), Some(""), None),
            (none.clone(), Some("after=7"), Some(Seq(7))),
            (with("9"), Some("after=7"), Some(Seq(9))),
            (with(""), Some("after=7"), Some(Seq(7))),
            (with("18446744073709551615"), None, Some(Seq(u64::MAX))),
        ] {
            assert_eq!(resume_after(&headers, query).unwrap(), after);
        }
        for (headers, query) in [
            (with("x"), None),
            (with("-1"), None),
            (none.clone(), Some("after=")),
            (none.clone(), Some("since=3")),
            (none, Some("after=18446744073709551616")),
        ] {
            let failure = resume_after(&headers, query).unwrap_err();
            assert_eq!(failure.code, Code::Usage);
        }
    }
}
