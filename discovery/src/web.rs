//! HTTP requests and responses with complete bodies, and responses in the format of Go's services.

use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde::Serialize;

/// A request with its body.
pub type Request = http::Request<Vec<u8>>;
/// A response with its body.
pub type Response = http::Response<Vec<u8>>;

/// Creates a request.
///
/// # Panics
/// Panics if `path` is not the path and query of a URL.
#[must_use]
pub fn request(method: Method, path: &str, body: Vec<u8>) -> Request {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().expect("the path and query of a URL");
    request
}

/// Decodes percent-encoding in a part of a path or a query value; `None` if it is malformed.
#[must_use]
pub fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    let (mut bytes, mut decoded) = (text.bytes(), Vec::new());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => u8::try_from(digit(bytes.next())? * 16 + digit(bytes.next())?).ok()?,
            other => other,
        });
    }
    Some(decoded)
}

/// Creates a response with `content` as JSON.
#[must_use]
pub fn json(status: StatusCode, content: &impl Serialize) -> Response {
    match serde_json::to_vec(content) {
        Ok(text) => json_text(status, text),
        Err(_) => empty(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// Creates a response with a JSON text.
#[must_use]
pub fn json_text(status: StatusCode, text: Vec<u8>) -> Response {
    let mut response = Response::new(text);
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// Creates a response with a line of plain text, in the format of Go's `http.Error`.
#[must_use]
pub fn plain(status: StatusCode, line: &str) -> Response {
    let mut response = Response::new(format!("{line}\n").into_bytes());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, content_type);
    let no_guess = HeaderValue::from_static("nosniff");
    headers.insert(HeaderName::from_static("x-content-type-options"), no_guess);
    response
}

/// Returns Go's response for a path that does not exist.
#[must_use]
pub fn no_such_path() -> Response {
    plain(StatusCode::NOT_FOUND, "404 page not found")
}

/// Returns the response for a path that does not support the method.
#[must_use]
pub fn method_not_allowed(allowed: &'static str) -> Response {
    let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
    let allowed = HeaderValue::from_static(allowed);
    response.headers_mut().insert(ALLOW, allowed);
    response
}

/// Creates a response without a body.
#[must_use]
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Vec::new());
    *response.status_mut() = status;
    response
}
