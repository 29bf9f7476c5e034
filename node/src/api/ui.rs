//! Paths of the status page: the page, its assets, and the exchange of a token or a code for a
//! cookie.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use futures::stream;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue, LOCATION, SET_COOKIE};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::ApiState;
use super::answers::{Answer, ok, unkept};
use crate::failure::{Code, Failure, Result};
use crate::http::read_body;
use crate::local::Local;
use crate::ui::{self, Sort};

/// Interval between two updates sent to a browser.
const NEWS: Duration = Duration::from_secs(2);
/// Largest login form, in bytes.
const LONGEST_LOGIN: usize = 1024;
const HTML: &str = "text/html; charset=utf-8";

/// Builds an HTML response with the headers that restrict what browsers do with the page.
fn page(status: StatusCode, text: String) -> Response {
    let mut response = unkept(status, HTML, text);
    for (name, value) in [
        ("content-security-policy", ui::POLICY),
        // Without a referrer, browsers would send `Origin: null` with the login form.
        ("referrer-policy", "same-origin"),
        ("x-frame-options", "DENY"),
    ] {
        let name = HeaderName::from_static(name);
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Redirects to the page and sets its cookie.
fn admitted(cookie: &str) -> Answer {
    let mut response = page(StatusCode::SEE_OTHER, String::new());
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::from_static(ui::PATH));
    let cookie = HeaderValue::from_str(cookie).map_err(|error| Failure::new(Code::Local, error))?;
    headers.insert(SET_COOKIE, cookie);
    Ok(response)
}

fn sort(query: Option<&str>) -> Result<Sort> {
    let query = query.unwrap_or_default();
    Sort::of(query).ok_or_else(|| {
        let text = format!("{query:?} is not understood: sort=bucket, key, seen or rtt");
        Failure::new(Code::Usage, text)
    })
}

/// Shows the page, or the login form to browsers without a cookie.
pub(super) async fn show(State(shared): State<Arc<ApiState>>, request: Request) -> Answer {
    let query = request.uri().query();
    let code = query.and_then(|query| query.split('&').find_map(|it| it.strip_prefix("code=")));
    if let Some(code) = code {
        return match shared.sessions.redeem(code)? {
            Some(cookie) => admitted(&cookie),
            None => Ok(page(StatusCode::UNAUTHORIZED, ui::login_page(true))),
        };
    }
    if !shared.sessions.holds(request.headers()) {
        return Ok(page(StatusCode::UNAUTHORIZED, ui::login_page(false)));
    }
    let page_now = shared.local.page(sort(query)?).await?;
    Ok(page(StatusCode::OK, page_now.html()))
}

/// Exchanges the token for a cookie.
pub(super) async fn log_in(State(shared): State<Arc<ApiState>>, request: Request) -> Answer {
    let body = read_body(request.into_body(), LONGEST_LOGIN).await;
    let body = body.map_err(|_| Failure::new(Code::Usage, "the login cannot be read"))?;
    let text = String::from_utf8_lossy(&body);
    // A token has no character that a form escapes.
    let token = text.split('&').find_map(|pair| pair.strip_prefix("token="));
    match shared.sessions.log_in(token.unwrap_or_default())? {
        Some(cookie) => admitted(&cookie),
        None => Ok(page(StatusCode::UNAUTHORIZED, ui::login_page(true))),
    }
}

/// Creates a link that opens the page once.
pub(super) async fn new_code(State(shared): State<Arc<ApiState>>) -> Answer {
    let code = shared.sessions.new_code()?;
    ok(&json!({
        "schema": "skydht.ui/1",
        "path": format!("{}?code={}", ui::PATH, *code),
        "expires_in_ms": ui::CODE_LIFE.as_millis() as u64,
    }))
}

pub(super) async fn style() -> Response {
    unkept(StatusCode::OK, "text/css; charset=utf-8", ui::STYLE)
}

pub(super) async fn script() -> Response {
    unkept(StatusCode::OK, "text/javascript; charset=utf-8", ui::SCRIPT)
}

struct News {
    local: Local,
    sort: Sort,
    every: Interval,
    _slot: OwnedSemaphorePermit,
}

/// Streams the page's updates as server-sent events, until the node stops or the browser
/// disconnects.
pub(super) async fn events(State(shared): State<Arc<ApiState>>, request: Request) -> Answer {
    let sort = sort(request.uri().query())?;
    let slot = Arc::clone(&shared.browsers).try_acquire_owned();
    let slot = slot.map_err(|_| {
        Failure::new(Code::Busy, "too many browsers look at this node already")
            .hint("close some of them")
    })?;
    let mut every = interval(NEWS);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let news = News {
        local: shared.local.clone(),
        sort,
        every,
        _slot: slot,
    };
    let pieces = stream::unfold(news, |mut news| async {
        news.every.tick().await;
        let page = news.local.page(news.sort).await.ok()?;
        // JSON has line ends only within strings, where they are escaped.
        let piece = format!("data: {}\n\n", page.json());
        Some((Ok::<_, Infallible>(Bytes::from(piece)), news))
    });
    Ok(unkept(
        StatusCode::OK,
        "text/event-stream",
        Body::from_stream(pieces),
    ))
}
