//! A cache of entries for the DHT's dials, which never wait for the discovery: a missing entry is
//! requested in the background, one at a time, and found by a later dial.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_dmsg::client::LocalEntries;
use skydht_dmsg::discovery::{DiscoveryError, KnownServer};
use skydht_dmsg::entry::{Entry, ServerFields};
use skydht_runtime::BoxFuture;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::Instant;

/// Maximum number of cached answers.
const MOST_ENTRIES: usize = 4096;
/// Maximum number of queued requests; further ones are dropped.
const MOST_REQUESTS: usize = 256;
/// How long a found entry is used without asking again.
const ENTRY_LIFE: Duration = Duration::from_secs(60);
/// How long a missing entry is not requested again.
const MISS_LIFE: Duration = Duration::from_secs(10);
/// Longest duration of one request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A pending request for an entry.
pub(super) type EntryFuture = BoxFuture<'static, Result<Entry, DiscoveryError>>;

/// Requests an entry.
pub(super) trait FindEntry: Fn(PublicKey) -> EntryFuture + Send + Sync + 'static {}

impl<F: Fn(PublicKey) -> EntryFuture + Send + Sync + 'static> FindEntry for F {}

/// Entries of configured servers, and cached entries of clients.
pub(super) struct Entries {
    servers: BTreeMap<PublicKey, Entry>,
    answers: Mutex<BTreeMap<PublicKey, CachedAnswer>>,
    requests: Sender<PublicKey>,
}

/// A cached answer.
struct CachedAnswer {
    /// When the request was queued, or answered.
    at: Instant,
    entry: Option<Entry>,
}

impl CachedAnswer {
    fn is_fresh(&self) -> bool {
        let life = if self.entry.is_some() {
            ENTRY_LIFE
        } else {
            MISS_LIFE
        };
        self.at.elapsed() < life
    }
}

impl Entries {
    /// Creates the cache with these servers; `find` requests other entries.
    pub(super) fn new(servers: &[KnownServer], find: impl FindEntry) -> Arc<Self> {
        let entries = servers.iter().map(|server| {
            let mut entry = Entry::new(server.key, 0, 0);
            entry.server = Some(ServerFields {
                address: server.address.to_string(),
                ..ServerFields::default()
            });
            (server.key, entry)
        });
        let (requests, asked) = channel(MOST_REQUESTS);
        let entries = Arc::new(Self {
            servers: entries.collect(),
            answers: Mutex::default(),
            requests,
        });
        tokio::spawn(ask(Arc::downgrade(&entries), find, asked));
        entries
    }

    fn answers(&self) -> MutexGuard<'_, BTreeMap<PublicKey, CachedAnswer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, key: PublicKey, entry: Option<Entry>) {
        let mut answers = self.answers();
        if answers.len() >= MOST_ENTRIES && !answers.contains_key(&key) {
            let oldest = answers.iter().min_by_key(|(_, answer)| answer.at);
            let oldest = oldest.map(|(key, _)| *key);
            oldest.and_then(|key| answers.remove(&key));
        }
        let at = Instant::now();
        answers.insert(key, CachedAnswer { at, entry });
    }
}

impl LocalEntries for Entries {
    fn entry(&self, key: &PublicKey) -> Option<Entry> {
        if let Some(known) = self.servers.get(key) {
            return Some(known.clone());
        }
        let known = {
            let answers = self.answers();
            let answer = answers.get(key);
            if let Some(fresh) = answer.filter(|answer| answer.is_fresh()) {
                return fresh.entry.clone();
            }
            answer.and_then(|old| old.entry.clone())
        };
        // The old value is cached again, so that no second request is queued meanwhile. If the
        // queue is full, a later dial tries again.
        if self.requests.try_send(*key).is_ok() {
            self.set(*key, known.clone());
        }
        known
    }
}

/// Processes the queued requests until the cache is dropped.
async fn ask(entries: Weak<Entries>, find: impl FindEntry, mut requests: Receiver<PublicKey>) {
    while let Some(key) = requests.recv().await {
        let answer = tokio::time::timeout(TIMEOUT, find(key)).await;
        let Some(entries) = entries.upgrade() else {
            return;
        };
        if let Ok(Ok(entry)) = answer {
            entries.set(key, Some(entry));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use skydht_core::key::SecretKey;
    use skydht_dmsg::discovery::{Discovery as _, MemoryDiscovery};
    use skydht_dmsg::entry::{ClientFields, SignedEntry};
    use skydht_tokio::TokioRuntime;

    use super::*;

    fn secret(n: u16) -> SecretKey {
        let mut bytes = [1; 32];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        SecretKey::from_bytes(&bytes).unwrap()
    }

    fn client(n: u16) -> SignedEntry {
        let mut entry = Entry::new(secret(n).public(), 0, 1);
        entry.client = Some(ClientFields::default());
        entry.sign(&secret(n))
    }

    /// Runs `test` on paused time, so that other tasks run whenever it waits.
    fn run(test: impl AsyncFn(&Entries, &MemoryDiscovery, &AtomicUsize)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.unwrap().block_on(async {
            let discovery = MemoryDiscovery::new(TokioRuntime);
            let asked = Arc::new(AtomicUsize::new(0));
            let (counter, source) = (Arc::clone(&asked), discovery.clone());
            let counted = move |key| {
                counter.fetch_add(1, Ordering::Relaxed);
                source.entry(key)
            };
            let known = KnownServer {
                key: secret(9).public(),
                address: "192.0.2.9:80".parse().unwrap(),
            };
            let entries = Entries::new(&[known], counted);
            let found = entries.entry(&known.key).unwrap();
            assert_eq!(KnownServer::of(&found), Some(known));
            test(&entries, &discovery, &asked).await;
        });
    }

    async fn pass(time: Duration) {
        tokio::time::sleep(time).await;
    }

    const MOMENT: Duration = Duration::from_millis(1);

    #[test]
    fn an_entry_is_found_at_the_second_try_and_asked_for_once() {
        run(async |entries, discovery, asked| {
            discovery.publish(client(1)).await.unwrap();
            let key = secret(1).public();
            assert_eq!(entries.entry(&key), None);
            assert_eq!(entries.entry(&key), None);
            pass(MOMENT).await;
            let expected = Some(client(1).entry().clone());
            assert_eq!(entries.entry(&key), expected);
            assert_eq!(asked.load(Ordering::Relaxed), 1);
            // An outdated entry is used until the new one arrives.
            pass(ENTRY_LIFE).await;
            assert_eq!(entries.entry(&key), expected);
            pass(MOMENT).await;
            assert_eq!(entries.entry(&key), expected);
            assert_eq!(asked.load(Ordering::Relaxed), 2);
        });
    }

    #[test]
    fn a_key_that_is_not_there_is_asked_for_again_only_after_a_while() {
        run(async |entries, discovery, asked| {
            let key = secret(1).public();
            for _ in 0..10 {
                assert_eq!(entries.entry(&key), None);
                pass(MOMENT).await;
            }
            assert_eq!(asked.load(Ordering::Relaxed), 1);
            discovery.publish(client(1)).await.unwrap();
            pass(MISS_LIFE).await;
            assert_eq!(entries.entry(&key), None);
            pass(MOMENT).await;
            assert!(entries.entry(&key).is_some());
        });
    }

    #[test]
    fn questions_and_answers_are_bounded() {
        run(async |entries, _, asked| {
            for n in 0..1000 {
                assert_eq!(entries.entry(&secret(n + 10).public()), None);
            }
            pass(MOMENT).await;
            assert_eq!(asked.load(Ordering::Relaxed), MOST_REQUESTS);
            // A request that did not fit into the queue is queued later.
            entries.entry(&secret(1009).public());
            pass(MOMENT).await;
            assert_eq!(asked.load(Ordering::Relaxed), MOST_REQUESTS + 1);
            for n in 0..5000 {
                entries.set(secret(n).public(), None);
                assert!(entries.answers().len() <= MOST_ENTRIES);
            }
            assert_eq!(entries.answers().len(), MOST_ENTRIES);
            assert!(entries.answers().contains_key(&secret(4999).public()));
        });
    }
}
