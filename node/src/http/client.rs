//! The HTTP client: one request per connection.

use std::error::Error;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{DATE, HOST, HeaderValue, USER_AGENT};
use hyper::http::uri::Authority;
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use skydht_discovery::web;
use skydht_discovery::{Carrier, Exchange, ExchangeError};
use skydht_runtime::BoxFuture;
use tokio::net::TcpStream;

use super::over_dmsg::ServiceDialer;
use super::stream::HttpStream;
use super::tls;
use crate::clock::Clock;
use crate::names;

/// Largest accepted response, in bytes; a discovery's list of 4096 servers is far smaller.
const LONGEST_ANSWER: usize = 16 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends a request over `io`, and reads a response of at most `longest` bytes.
pub(crate) async fn send<T>(
    io: T,
    request: Request<Full<Bytes>>,
    longest: usize,
) -> Result<Response<Bytes>, Box<dyn Error + Send + Sync>>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    let answer = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, longest).collect().await?.to_bytes();
        Ok(Response::from_parts(head, body))
    };
    // The connection must be polled to transfer data; it ends no earlier than the response.
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answer = answer.as_mut() => answer,
        end = connection.as_mut() => match end {
            Ok(()) => answer.await,
            Err(error) => Err(error.into()),
        },
    }
}

/// Sends the requests of discovery clients over TCP, TLS or DMSG, according to the URI, on the
/// surrounding tokio runtime. The `Date` headers of responses set `clock`.
pub(crate) struct Exchanger {
    pub(crate) clock: Clock,
    pub(crate) dialer: ServiceDialer,
}

impl Exchange for Exchanger {
    fn exchange(
        &self,
        request: web::Request,
    ) -> BoxFuture<'static, Result<web::Response, ExchangeError>> {
        let (clock, dialer) = (self.clock.clone(), self.dialer.clone());
        Box::pin(async move { exchange(request, &clock, &dialer).await })
    }
}

async fn exchange(
    request: web::Request,
    clock: &Clock,
    dialer: &ServiceDialer,
) -> Result<web::Response, ExchangeError> {
    let (mut head, body) = request.into_parts();
    let carrier = Carrier::of(&head.uri)?;
    let authority = head.uri.authority().ok_or("no host")?.clone();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    head.uri = path.parse::<Uri>()?;
    let host = HeaderValue::from_str(authority.as_str())?;
    head.headers.insert(HOST, host);
    let program = HeaderValue::from_static(concat!("skydht/", env!("CARGO_PKG_VERSION")));
    head.headers.insert(USER_AGENT, program);
    let request = Request::from_parts(head, Full::new(body.into()));
    let response = match carrier {
        Carrier::Dmsg { key, port } => {
            let stream = HttpStream(dialer.dial(key, port).await?);
            send(stream, request, LONGEST_ANSWER).await?
        }
        Carrier::Tcp => {
            let stream = connect(&authority, 80).await?;
            send(TokioIo::new(stream), request, LONGEST_ANSWER).await?
        }
        Carrier::Tls => {
            let stream = connect(&authority, 443).await?;
            let stream = tls::connect(stream, name(&authority)).await?;
            send(TokioIo::new(stream), request, LONGEST_ANSWER).await?
        }
    };
    let date = response.headers().get(DATE);
    if let Some(date) = date.and_then(|date| date.to_str().ok()) {
        clock.note_date(date);
    }
    Ok(response.map(|body| body.to_vec()))
}

/// Returns the host name or address without the brackets of an IPv6 address.
fn name(authority: &Authority) -> &str {
    let name = authority.host();
    let name = name.strip_prefix('[').unwrap_or(name);
    name.strip_suffix(']').unwrap_or(name)
}

/// Connects to a host, whose name is resolved each time.
async fn connect(authority: &Authority, default_port: u16) -> Result<TcpStream, ExchangeError> {
    let mut causes = Vec::new();
    let port = authority.port_u16().unwrap_or(default_port);
    for addr in names::resolve(name(authority), port).await? {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(addr));
        match connecting.await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => causes.push(format!("{addr}: {}", error.kind())),
            Err(_) => causes.push(format!("{addr}: no connection within {CONNECT_TIMEOUT:?}")),
        }
    }
    Err(causes.join("; ").into())
}
