//! The control API's client, for this program's own commands.

use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::auth::OPEN_PATH;
use crate::failure::{Code, Failure, Result};
use crate::http::send;
use crate::output::Human;

/// Largest accepted answer, in bytes; a full list of peers is far smaller.
const LONGEST_ANSWER: usize = 16 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of requests that the node answers without asking a peer.
const LOCAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Added to the timeout that a request carries, for the transfer of the answer.
const GRACE: Duration = Duration::from_secs(2);
/// Upper bound of every request; above the server's own limit.
const LONGEST: Duration = Duration::from_secs(700);
/// Interval between liveness checks while a request without a timeout is in progress.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Timeout of one request.
#[derive(Clone, Copy)]
struct Limit {
    time: Duration,
    /// Whether the caller set it; chooses the error text.
    is_asked: bool,
}

/// Client of a node's control API.
pub(crate) struct Client {
    authority: String,
    token: Zeroizing<String>,
}

impl Client {
    /// Creates a client for the API at `url`; `token` is only read if the URL is valid.
    pub(crate) fn new(
        url: &str,
        token: impl FnOnce() -> Result<Zeroizing<String>>,
    ) -> Result<Self> {
        let wrong = || {
            Failure::new(
                Code::Usage,
                format_args!("{url:?} is no URL of a control API"),
            )
            .hint("write http://HOST:PORT, such as http://127.0.0.1:7471")
        };
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        let plain = uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/");
        if !plain || authority.as_str().contains('@') {
            return Err(wrong());
        }
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self {
            authority: format!("{}:{port}", authority.host()),
            token: token()?,
        })
    }

    /// Returns the URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.authority)
    }

    /// Requests a path that the node answers without asking peers.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let limit = Limit {
            time: LOCAL_TIMEOUT,
            is_asked: false,
        };
        self.call(Method::GET, path, Bytes::new(), limit).await
    }

    /// Sends `body` to a path. Its member `timeout_ms` bounds the wait; without one, the request
    /// fails when the node stops answering liveness checks.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        let wrong = |error| Failure::new(Code::Usage, error);
        let body = serde_json::to_value(body).map_err(wrong)?;
        let asked = body.get("timeout_ms").and_then(Value::as_u64);
        let limit = Limit {
            time: asked.map_or(LONGEST, |ms| Duration::from_millis(ms) + GRACE),
            is_asked: asked.is_some(),
        };
        let body = serde_json::to_vec(&body).map_err(wrong)?;
        let call = self.call(Method::POST, path, body.into(), limit);
        if limit.is_asked {
            return call.await;
        }
        tokio::select! {
            answer = call => answer,
            silent = self.silence() => Err(silent),
        }
    }

    /// Completes with a failure when a liveness check fails.
    async fn silence(&self) -> Box<Failure> {
        loop {
            let begun = Instant::now();
            tokio::time::sleep(HEARTBEAT).await;
            match self.get::<Value>(OPEN_PATH).await {
                Ok(_) => {}
                // The node has been silent since before this check began.
                Err(failure) if failure.code == Code::Timeout => {
                    let limit = Limit {
                        time: begun.elapsed(),
                        is_asked: false,
                    };
                    return self.late(limit);
                }
                Err(failure) => return failure,
            }
        }
    }

    /// Returns whether a connection to the API succeeds.
    pub(crate) async fn is_there(&self) -> bool {
        let connect = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(&self.authority));
        matches!(connect.await, Ok(Ok(_)))
    }

    /// Requests a path whose answer is plain text.
    pub(crate) async fn text(&self, path: &str) -> Result<String> {
        let limit = Limit {
            time: LOCAL_TIMEOUT,
            is_asked: false,
        };
        let bytes = self.answer(Method::GET, path, Bytes::new(), limit).await?;
        String::from_utf8(bytes.into()).map_err(|error| self.strange(&error))
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        limit: Limit,
    ) -> Result<T> {
        let bytes = self.answer(method, path, body, limit).await?;
        serde_json::from_slice(&bytes).map_err(|error| self.strange(&error))
    }

    /// Sends a request and returns the body of a successful response.
    async fn answer(&self, method: Method, path: &str, body: Bytes, limit: Limit) -> Result<Bytes> {
        let begun = Instant::now();
        let connecting = TcpStream::connect(&self.authority);
        let patience = CONNECT_TIMEOUT.min(limit.time);
        let stream = match tokio::time::timeout(patience, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(self.unreachable(&error)),
            Err(_) => {
                let text = format!("no connection within {}", Human(patience));
                return Err(self.unreachable(&text));
            }
        };
        let exchange = self.exchange(stream, method, path, body);
        let left = limit.time.saturating_sub(begun.elapsed());
        let (status, bytes) = tokio::time::timeout(left, exchange)
            .await
            .map_err(|_| self.late(limit))?
            .map_err(|error| {
                // Something answers there, but does not speak HTTP.
                let http = error.downcast_ref::<hyper::Error>();
                match http.is_some_and(hyper::Error::is_parse) {
                    true => self.strange(&"its answer is no HTTP"),
                    false => self.unreachable(&error),
                }
            })?;
        if status.is_success() {
            return Ok(bytes);
        }
        Err(match serde_json::from_slice::<Failure>(&bytes) {
            Ok(failure) if failure.schema == Failure::SCHEMA => Box::new(failure),
            _ => self.strange(&status),
        })
    }

    async fn exchange(
        &self,
        stream: TcpStream,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> std::result::Result<(hyper::StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>>
    {
        let bearer = Zeroizing::new(format!("Bearer {}", *self.token));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.authority)
            .header(AUTHORIZATION, bearer.as_str())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let response = send(TokioIo::new(stream), request, LONGEST_ANSWER).await?;
        Ok((response.status(), response.into_body()))
    }

    fn unreachable(&self, error: &dyn std::fmt::Display) -> Box<Failure> {
        Failure::new(
            Code::Unreachable,
            format_args!("no node answers at http://{}: {error}", self.authority),
        )
        .hint(NO_NODE_HINT)
    }

    fn late(&self, limit: Limit) -> Box<Failure> {
        let (authority, time) = (&self.authority, Human(limit.time));
        let of = if limit.is_asked {
            let asked = Human(limit.time.saturating_sub(GRACE));
            format!(" (--timeout {asked}, and {} for the way)", Human(GRACE))
        } else {
            String::new()
        };
        let text = format!(
            "the node at http://{authority} takes the connection, but did not answer within {time}{of}"
        );
        Failure::new(Code::Timeout, text).hint(
            "is its process stopped (then: kill -CONT PID), or the machine overloaded? Its log may say",
        )
    }

    fn strange(&self, what: &dyn std::fmt::Display) -> Box<Failure> {
        Failure::new(
            Code::Unreachable,
            format_args!(
                "http://{} does not answer as a control API of this version: {what}",
                self.authority
            ),
        )
        .hint(
            "is it another program's port, or another version of skydht? `--api URL` names another",
        )
    }
}

/// Hint shown when no node answers.
pub(crate) const NO_NODE_HINT: &str = "start one with `skydht run`, or join for this one operation with --bootstrap PK@HOST:PORT or --discovery URL";
