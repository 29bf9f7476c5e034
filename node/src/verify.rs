//! Verifies that the node's own items can be found: each one is read back from the closest peers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use skydht_core::key::PublicKey;
use skydht_core::node::{GetError, GetRequest, OwnItem, ReadPolicy};
use skydht_driver::Dht;

use crate::report::{VerifiedItem, VerifyOutcome, VerifyReport};

/// Maximum number of concurrent reads.
const CONCURRENTLY: usize = 8;
/// How long the verdict uses a result.
const LIFE: Duration = Duration::from_secs(60 * 60);

/// The latest verification of own items. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Verified(Arc<Mutex<Option<(Instant, VerifyReport)>>>);

impl Verified {
    /// Replaces the previous report.
    fn note(&self, report: VerifyReport) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((Instant::now(), report));
    }

    /// Returns the report and its age; `None` if it is older than an hour.
    pub(crate) fn last(&self) -> Option<(Duration, VerifyReport)> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, report) = last.as_ref()?;
        let age = at.elapsed();
        (age < LIFE).then(|| (age, report.clone()))
    }
}

/// Reads these items of `key` back, each for at most `patience`.
pub(crate) async fn read_back(
    dht: &Dht,
    key: PublicKey,
    items: Vec<OwnItem>,
    patience: Duration,
    verified: &Verified,
) -> VerifyReport {
    let reading = items.into_iter().map(|item| async move {
        let mut request = GetRequest::of(key, item.salt.clone(), ReadPolicy::Freshest);
        request.timeout = Some(patience);
        let read = dht.get(request).await;
        verdict_on(&item, read)
    });
    let reading = futures::stream::iter(reading).buffer_unordered(CONCURRENTLY);
    let report = VerifyReport::new(key, reading.collect().await);
    verified.note(report.clone());
    report
}

fn verdict_on(
    item: &OwnItem,
    read: Result<skydht_core::node::GetOutcome, GetError>,
) -> VerifiedItem {
    let (outcome, held, asked) = match read {
        Ok(found) if found.item.seq > item.seq => {
            (VerifyOutcome::Superseded, found.agree, found.asked)
        }
        // Only this node's own copy was found.
        Ok(found) if found.agree == 0 => (VerifyOutcome::Lost, 0, found.asked),
        Ok(found) if u32::from(found.agree) * 2 < u32::from(found.asked) => {
            (VerifyOutcome::Thin, found.agree, found.asked)
        }
        Ok(found) => (VerifyOutcome::Held, found.agree, found.asked),
        Err(GetError::NotFound { stats }) => (VerifyOutcome::Lost, 0, stats.answered),
        Err(GetError::Deleted { stats, .. }) => (VerifyOutcome::Superseded, 0, stats.answered),
        Err(GetError::Timeout { stats, best }) => {
            let held = best.map_or(0, |best| best.agree);
            (VerifyOutcome::Unknown, held, stats.answered)
        }
        Err(_) => (VerifyOutcome::Unknown, 0, 0),
    };
    VerifiedItem::new(item, outcome, held, asked)
}
