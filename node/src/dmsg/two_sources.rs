//! Reads an entry from the DHT and from the discovery, and prefers the one that its owner signed
//! later.

use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::stream::{FuturesUnordered, StreamExt as _};
use skydht_core::time::Mono;
use skydht_discovery::hybrid::{
    Answer, Ask, Breaker, Lookup, Outcome, Said, Signed, Source, Stats,
};
use skydht_dmsg::discovery::DiscoveryError;
use skydht_dmsg::entry::Entry;

use super::answering::now;
use super::entries::EntryFuture;

/// State shared by all lookups: the circuit breaker of the discovery, and counts.
#[derive(Default)]
pub(super) struct TwoSources(Mutex<SourceState>);

#[derive(Default)]
struct SourceState {
    breaker: Breaker,
    stats: Stats,
}

/// Entries are compared by the time of their signature, because a discovery rewrites a server's
/// type, and host names in addresses are resolved here.
struct Dated(Entry);

impl PartialEq for Dated {
    fn eq(&self, other: &Self) -> bool {
        signed(&self.0) == signed(&other.0)
    }
}

fn signed(entry: &Entry) -> Signed {
    Signed {
        timestamp: entry.timestamp,
        sequence: entry.sequence,
    }
}

impl TwoSources {
    fn lock(&self) -> MutexGuard<'_, SourceState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records whether the discovery answered any request.
    pub(super) fn note<T>(&self, answer: &Result<T, DiscoveryError>) {
        let breaker = &mut self.lock().breaker;
        match answer {
            Err(DiscoveryError::Unavailable(_)) => breaker.failed(now().mono),
            Err(DiscoveryError::TooOften(wait)) => breaker.asked_too_often(now().mono, *wait),
            _ => breaker.answered(),
        }
    }

    /// Returns the counts so far.
    pub(super) fn stats(&self) -> Stats {
        self.lock().stats
    }

    /// Asks both sources. A discovery that failed repeatedly is not asked for a while.
    pub(super) async fn find(
        &self,
        dht: EntryFuture,
        http: EntryFuture,
    ) -> Result<Entry, DiscoveryError> {
        let (mut dht, mut http) = (Some(dht), Some(http));
        let mut lookup = Lookup::new(now(), true);
        let mut asked = FuturesUnordered::new();
        loop {
            while let Some(output) = lookup.poll_output() {
                let from = match output {
                    Ask::Done(outcome) => {
                        self.lock().stats.count(&outcome);
                        return result(outcome);
                    }
                    Ask::Source(source) => source,
                };
                let rests = from == Source::Http && !self.lock().breaker.may_ask(now().mono);
                let finding = match from {
                    Source::Dht => dht.take(),
                    Source::Http => http.take(),
                };
                let Some(finding) = finding.filter(|_| !rests) else {
                    let said = Said::Failed("left alone for a while, as it failed before".into());
                    lookup.handle(now(), Some(Answer { from, said }));
                    continue;
                };
                asked.push(async move {
                    let said = said(finding.await);
                    Answer { from, said }
                });
            }
            let deadline = lookup.next_deadline().unwrap_or(Mono(0));
            let left = deadline.since(now().mono);
            let answer = tokio::time::timeout(left, asked.next()).await;
            lookup.handle(now(), answer.ok().flatten());
        }
    }
}

fn said(answer: Result<Entry, DiscoveryError>) -> Said<Dated> {
    match answer {
        Ok(entry) => Said::Record {
            signed: Some(signed(&entry)),
            record: Dated(entry),
        },
        Err(DiscoveryError::NotFound) => Said::Nothing,
        Err(error) => Said::Failed(error.to_string()),
    }
}

fn result(outcome: Outcome<Dated>) -> Result<Entry, DiscoveryError> {
    match outcome {
        Outcome::Found(found) => Ok(found.record.0),
        Outcome::Nothing {
            failed: Some((Source::Http, why)),
        } => Err(DiscoveryError::Unavailable(why)),
        Outcome::Nothing { .. } | Outcome::Deleted(_) => Err(DiscoveryError::NotFound),
        Outcome::Unknown(causes) => {
            let causes: Vec<String> = causes.into_iter().map(|(_, why)| why).collect();
            Err(DiscoveryError::Unavailable(causes.join("; ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use skydht_core::key::SecretKey;

    use super::*;

    fn entry(at: i64) -> Entry {
        let key = SecretKey::from_bytes(&[1; 32]).unwrap().public();
        Entry::new(key, 0, at)
    }

    fn says(answer: Result<Entry, DiscoveryError>) -> EntryFuture {
        Box::pin(ready(answer))
    }

    fn away() -> DiscoveryError {
        DiscoveryError::Unavailable("refused".into())
    }

    #[tokio::test]
    async fn the_entry_that_was_signed_later_counts() {
        let none = || Err(DiscoveryError::NotFound);
        let signed = |at| Ok(entry(at));
        for (dht, http, expected) in [
            (signed(5), signed(6), signed(6)),
            (signed(6), signed(5), signed(6)),
            (signed(5), Err(away()), signed(5)),
            (signed(5), none(), signed(5)),
            (none(), signed(5), signed(5)),
            (none(), none(), none()),
            (none(), Err(away()), Err(away())),
        ] {
            let sources = TwoSources::default();
            let found = sources.find(says(dht), says(http)).await;
            let (found, expected) = (
                found.map(|it| it.timestamp),
                expected.map(|it| it.timestamp),
            );
            match (found, expected) {
                (Err(found), Err(expected)) => {
                    assert_eq!(
                        std::mem::discriminant(&found),
                        std::mem::discriminant(&expected)
                    );
                }
                (found, expected) => assert_eq!(found, expected),
            }
        }
    }

    #[tokio::test]
    async fn a_source_that_hangs_keeps_nothing_waiting_that_the_other_has() {
        let sources = TwoSources::default();
        let found = sources.find(Box::pin(pending()), says(Ok(entry(5)))).await;
        assert_eq!(found.unwrap().timestamp, 5);
        let found = sources.find(says(Ok(entry(6))), Box::pin(pending())).await;
        assert_eq!(found.unwrap().timestamp, 6);
        let stats = sources.stats();
        assert_eq!((stats.lookup_dht_hits, stats.lookup_http_hits), (1, 1));
        assert_eq!(stats.disagreements, 0);
    }

    #[tokio::test]
    async fn a_discovery_that_fails_again_and_again_is_left_alone() {
        let sources = TwoSources::default();
        for _ in 0..3 {
            sources.note::<()>(&Err(away()));
        }
        let asked = Box::pin(async { panic!("it rests") });
        let found = sources.find(says(Ok(entry(5))), asked).await;
        assert_eq!(found.unwrap().timestamp, 5);
        sources.note(&Ok(()));
        let found = sources.find(says(Ok(entry(5))), says(Ok(entry(6)))).await;
        assert_eq!(found.unwrap().timestamp, 6);
    }
}
