//! Where DMSG's servers and clients are found: an HTTP discovery, or a configured list.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_discovery::HttpDiscovery;
use skydht_dmsg::discovery::{Discovery, DiscoveryError, FixedServers, KnownServer};
use skydht_dmsg::entry::{Entry, SignedEntry};
use skydht_runtime::BoxFuture;

use crate::config::DmsgSettings;
use crate::http::Exchanger;

/// How long the discovery is waited for.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The first and the longest wait before it is asked again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What a discovery says that says nothing.
const NONE: &str = "the discovery knows no server";

#[derive(Clone)]
enum Source {
    Http(HttpDiscovery<Exchanger>),
    Fixed(FixedServers),
}

/// The discovery of this process. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Directory {
    source: Source,
    configured: Vec<KnownServer>,
    /// Why our entry was not taken the last time.
    refused: Arc<Mutex<Option<String>>>,
}

impl Directory {
    /// The discovery that is configured; without one the servers that are.
    pub(crate) fn new(settings: &DmsgSettings) -> Self {
        let source = match &settings.discovery {
            Some(url) => Source::Http(HttpDiscovery::new(url.clone(), Exchanger)),
            None => Source::Fixed(FixedServers::new(settings.servers.iter().copied())),
        };
        Self {
            source,
            configured: settings.servers.clone(),
            refused: Arc::default(),
        }
    }

    fn inner(&self) -> &dyn Discovery {
        match &self.source {
            Source::Http(discovery) => discovery,
            Source::Fixed(servers) => servers,
        }
    }

    /// Why our entry was not taken the last time, if it was not.
    pub(crate) fn refused(&self) -> Option<String> {
        let refused = self.refused.lock();
        refused.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The servers that are configured, and those that the discovery tells; why it tells none.
    pub(crate) async fn ask_servers(&self) -> (Vec<KnownServer>, Result<(), String>) {
        let asked = tokio::time::timeout(TIMEOUT, self.inner().servers());
        let mut known = self.configured.clone();
        let answer = match asked.await {
            Ok(Ok(found)) => {
                known.extend(found);
                Ok(())
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the discovery does not answer".to_owned()),
        };
        known.sort();
        known.dedup();
        (known, answer)
    }

    /// Why there is no server to connect to, if there is none.
    pub(crate) async fn no_server(&self) -> Option<String> {
        match self.ask_servers().await {
            (known, _) if !known.is_empty() => None,
            (_, Err(why)) => Some(why),
            (_, Ok(())) => Some(NONE.to_owned()),
        }
    }

    /// The servers that are known: waits until there are any.
    pub(crate) async fn known_servers(&self) -> Vec<KnownServer> {
        let mut wait = RETRY.0;
        loop {
            let (known, answer) = self.ask_servers().await;
            if !known.is_empty() {
                return known;
            }
            let why = answer.err();
            let why = why.as_deref().unwrap_or(NONE);
            tracing::warn!("no DMSG server yet: {why}; asking again in {wait:?}");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY.1);
        }
    }
}

impl Discovery for Directory {
    fn entry(&self, key: PublicKey) -> BoxFuture<'static, Result<Entry, DiscoveryError>> {
        self.inner().entry(key)
    }

    fn servers(&self) -> BoxFuture<'static, Result<Vec<KnownServer>, DiscoveryError>> {
        self.inner().servers()
    }

    fn publish(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        let (published, refused) = (self.inner().publish(entry), Arc::clone(&self.refused));
        Box::pin(async move {
            let result = published.await;
            let why = result.as_ref().err().map(ToString::to_string);
            *refused.lock().unwrap_or_else(PoisonError::into_inner) = why;
            result
        })
    }

    fn remove(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        self.inner().remove(entry)
    }
}

/// The other servers of a directory, for a server's own sessions with them. It publishes nothing:
/// there is one entry for a key, and that is the server's.
pub(crate) struct Others {
    directory: Directory,
    own: PublicKey,
}

impl Others {
    /// All servers but the one with this key.
    pub(crate) fn new(directory: Directory, own: PublicKey) -> Self {
        Self { directory, own }
    }
}

impl Discovery for Others {
    fn entry(&self, key: PublicKey) -> BoxFuture<'static, Result<Entry, DiscoveryError>> {
        self.directory.entry(key)
    }

    fn servers(&self) -> BoxFuture<'static, Result<Vec<KnownServer>, DiscoveryError>> {
        let (asked, own) = (self.directory.servers(), self.own);
        Box::pin(async move {
            let mut servers = asked.await?;
            servers.retain(|server| server.key != own);
            Ok(servers)
        })
    }

    fn publish(&self, _: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn remove(&self, _: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
