//! Answers that no browser guesses about or keeps.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use serde::Serialize;

use crate::failure::{Code, Failure, Result};

/// What a path says.
pub(super) type Answer = Result<Response>;

/// What was asked for.
pub(super) fn ok(report: &impl Serialize) -> Answer {
    answer(StatusCode::OK, report)
}

fn answer(status: StatusCode, report: &impl Serialize) -> Answer {
    let text = serde_json::to_vec(report).map_err(|error| Failure::new(Code::Local, error))?;
    Ok(unkept(status, "application/json", text))
}

/// What no browser guesses about or keeps.
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
