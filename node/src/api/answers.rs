//! Responses of the control API, with headers that forbid caching and content sniffing.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use serde::Serialize;

use crate::failure::{Code, Failure, Result};

/// Result of a handler.
pub(super) type Answer = Result<Response>;

/// Responds with `report` as JSON and status 200.
pub(super) fn ok(report: &impl Serialize) -> Answer {
    answer(StatusCode::OK, report)
}

fn answer(status: StatusCode, report: &impl Serialize) -> Answer {
    let text = serde_json::to_vec(report).map_err(|error| Failure::new(Code::Local, error))?;
    Ok(unkept(status, "application/json", text))
}

/// Builds a response that browsers neither cache nor sniff.
pub(super) fn unkept(status: StatusCode, kind: &'static str, content: impl Into<Body>) -> Response {
    let mut response = Response::new(content.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    );
    response
}

impl IntoResponse for Box<Failure> {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = match answer(status, &self) {
            Ok(response) => response,
            Err(_) => status.into_response(),
        };
        if status == StatusCode::UNAUTHORIZED {
            let headers = response.headers_mut();
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
