//! HTTP client of a DMSG discovery.

use skydht_runtime::opaque_debug;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use skydht_core::key::PublicKey;
use skydht_dmsg::discovery::{Discovery, DiscoveryError, KnownServer};
use skydht_dmsg::entry::{Entry, SignedEntry};
use skydht_runtime::BoxFuture;

use crate::base_url::BaseUrl;
use crate::dmsg::{Answer, AnswerError, Call, Refusal};
use crate::web::{Request, Response};

/// Why a request was not answered.
pub type ExchangeError = Box<dyn Error + Send + Sync>;

/// Sends requests and returns their responses; implemented by the owner of the sockets. The
/// implementation bounds the length of responses; the caller enforces timeouts, and may drop a call
/// at any time.
pub trait Exchange: Send + Sync + 'static {
    /// Sends a request to the host in its URI.
    fn exchange(&self, request: Request) -> BoxFuture<'static, Result<Response, ExchangeError>>;
}

/// A client of the DMSG discovery at a URL. Clones share the [`Exchange`].
pub struct HttpDiscovery<E> {
    base: BaseUrl,
    exchange: Arc<E>,
}

opaque_debug!(HttpDiscovery<E>);

impl<E> Clone for HttpDiscovery<E> {
    fn clone(&self) -> Self {
        Self {
            base: self.base.clone(),
            exchange: Arc::clone(&self.exchange),
        }
    }
}

impl<E: Exchange> HttpDiscovery<E> {
    /// Creates a client of the discovery at `base`.
    #[must_use]
    pub fn new(base: BaseUrl, exchange: E) -> Self {
        Self {
            base,
            exchange: Arc::new(exchange),
        }
    }

    /// Returns the entries of servers that accept clients. A server's address may contain a host
    /// name; [`Discovery::servers`] omits such servers.
    pub fn server_entries(&self) -> BoxFuture<'static, Result<Vec<Entry>, DiscoveryError>> {
        let answer = self.call(Call::AvailableServers);
        Box::pin(async move {
            match answer.await {
                Ok(Answer::Servers(servers)) => {
                    Ok(servers.iter().map(|it| it.entry().clone()).collect())
                }
                Ok(_) => Err(strange()),
                Err(error) if error == Refusal::NoServers.into() => Ok(Vec::new()),
                Err(error) => Err(error),
            }
        })
    }

    /// Sends any call.
    fn call(&self, call: Call) -> BoxFuture<'static, Result<Answer, DiscoveryError>> {
        let unavailable = |error: &dyn fmt::Display| DiscoveryError::Unavailable(error.to_string());
        let mut request = call.write();
        match self.base.join(request.uri()) {
            Ok(uri) => *request.uri_mut() = uri,
            Err(error) => return Box::pin(std::future::ready(Err(unavailable(&error)))),
        }
        let exchange = self.exchange.exchange(request);
        Box::pin(async move {
            let response = exchange.await.map_err(|error| unavailable(&error))?;
            match Answer::read(&call, &response) {
                Ok(answer) => Ok(answer),
                Err(AnswerError::Refused(refusal)) => Err(refusal.into()),
                Err(error) => Err(unavailable(&error)),
            }
        })
    }
}

/// Returns the entry if it can be trusted. A client's entry must be signed. A server's is modified
/// by the discovery, so that its signature is invalid; dialling authenticates the server.
fn believed(signed: &SignedEntry) -> Result<Entry, DiscoveryError> {
    if signed.entry().server.is_none() {
        signed.verify()?;
    }
    Ok(signed.entry().clone())
}

fn strange() -> DiscoveryError {
    Refusal::Unexpected.into()
}

impl<E: Exchange> Discovery for HttpDiscovery<E> {
    fn entry(&self, key: PublicKey) -> BoxFuture<'static, Result<Entry, DiscoveryError>> {
        let answer = self.call(Call::Entry(key));
        Box::pin(async move {
            match answer.await? {
                Answer::Entry(signed) if signed.entry().key == key => believed(&signed),
                _ => Err(strange()),
            }
        })
    }

    fn stored(&self, key: PublicKey) -> BoxFuture<'static, Result<SignedEntry, DiscoveryError>> {
        let answer = self.call(Call::Entry(key));
        Box::pin(async move {
            match answer.await? {
                Answer::Entry(signed) if signed.entry().key == key => Ok(signed),
                _ => Err(strange()),
            }
        })
    }

    fn servers(&self) -> BoxFuture<'static, Result<Vec<KnownServer>, DiscoveryError>> {
        let asked = self.server_entries();
        Box::pin(async move {
            let entries = asked.await?;
            Ok(entries.iter().filter_map(KnownServer::of).collect())
        })
    }

    fn publish(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        let answer = self.call(Call::Publish {
            entry,
            expiring: false,
        });
        Box::pin(async move { answer.await.map(drop) })
    }

    fn remove(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        let answer = self.call(Call::Remove(entry));
        Box::pin(async move { answer.await.map(drop) })
    }
}

#[cfg(test)]
mod tests;
