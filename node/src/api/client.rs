//! The control API's client, for this program's own commands.

use std::path::Path;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::failure::{Code, Failure, Result};
use crate::http::send;
use crate::state_dir::read_token;

/// The longest answer, a full list of peers, is far below.
const LONGEST_ANSWER: usize = 16 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than the node lets any request take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(700);

/// A node's control API.
pub(crate) struct Client {
    authority: String,
    token: Zeroizing<String>,
}

impl Client {
    /// The API at `url`, with the token in `token_file`.
    pub(crate) fn new(url: &str, token_file: &Path) -> Result<Self> {
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
            token: read_token(token_file)?,
        })
    }

    /// Reads a path.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// Sends `body` to a path.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::new(Code::Usage, error))?;
        self.call(Method::POST, path, body.into()).await
    }

    /// Whether anything still listens there.
    pub(crate) async fn is_there(&self) -> bool {
        let connect = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(&self.authority));
        matches!(connect.await, Ok(Ok(_)))
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T> {
        let connect = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(&self.authority));
        let stream = match connect.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(self.unreachable(&error)),
            Err(_) => return Err(self.unreachable(&"no answer")),
        };
        let exchange = self.exchange(stream, method, path, body);
        let (status, bytes) = tokio::time::timeout(ANSWER_TIMEOUT, exchange)
            .await
            .map_err(|_| Failure::new(Code::Timeout, "the node did not answer in time"))?
            .map_err(|error| self.unreachable(&error))?;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|error| self.strange(&error));
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
        .hint(NOBODY)
    }

    fn strange(&self, what: &dyn std::fmt::Display) -> Box<Failure> {
        Failure::new(
            Code::Unreachable,
            format_args!(
                "http://{} does not answer as a control API of this version: {what}",
                self.authority
            ),
        )
    }
}

/// What to do when no node answers.
pub(crate) const NOBODY: &str = "start one with `skydht run`, or join for this one operation with --bootstrap PK@HOST:PORT or --discovery URL";
