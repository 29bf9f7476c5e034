//! Renews the items of an earlier run: each one as stored, with a new sequence number, unless the
//! network has a newer version.

use std::time::Duration;

use skydht_core::item::{Salt, Seq, Value};
use skydht_core::key::PublicKey;
use skydht_core::node::{GetError, GetRequest, PutOptions, ReadPolicy};
use skydht_driver::Dht;
use skydht_driver::storage::StorageHealth;

use crate::lapsed::Lapsed;

/// Pause between two attempts.
const RETRY: Duration = Duration::from_secs(5);

/// Result of an attempt.
enum Resumed {
    /// The item is renewed from now on, or will not be renewed.
    Done,
    /// No peer answered, or the storage is still being loaded; the attempt is repeated.
    Later,
}

/// Renews the items in `lapsed` as soon as peers answer for them.
pub(crate) async fn run(dht: Dht, key: PublicKey, lapsed: Lapsed) {
    let mut left = lapsed.salts();
    while !left.is_empty() {
        let mut later = Vec::new();
        for salt in left {
            match resume(&dht, &key, &lapsed, &salt).await {
                Resumed::Done => {}
                Resumed::Later => later.push(salt),
            }
        }
        left = later;
        if !left.is_empty() {
            tokio::time::sleep(RETRY).await;
            // Items that were put or expired in the meantime are not renewed.
            let still = lapsed.salts();
            left.retain(|salt| still.contains(salt));
        }
    }
}

async fn resume(dht: &Dht, key: &PublicKey, lapsed: &Lapsed, salt: &str) -> Resumed {
    let read = |policy| dht.get(GetRequest::of(*key, Salt::from(salt), policy));
    let held: (Seq, Value) = match read(ReadPolicy::Local).await {
        Ok(outcome) => (outcome.item.seq, outcome.item.value.clone()),
        Err(GetError::Deleted { .. }) => {
            lapsed.published(salt, false).await;
            return Resumed::Done;
        }
        Err(_) => {
            let storage = dht.storage_stats().await.map(|stats| stats.health);
            return match storage {
                Ok(StorageHealth::Loading | StorageHealth::Failing(_)) => Resumed::Later,
                // The item is not in storage: it stays among those reported as not renewed.
                _ => Resumed::Done,
            };
        }
    };
    match read(ReadPolicy::Freshest).await {
        Ok(found) if found.item.seq > held.0 => {
            tracing::info!("{salt:?} is not renewed: it has been published elsewhere meanwhile");
            lapsed.published(salt, false).await;
            return Resumed::Done;
        }
        Err(GetError::Deleted { seq, .. }) if seq >= held.0 => {
            tracing::info!("{salt:?} is not renewed: it has been deleted meanwhile");
            lapsed.published(salt, false).await;
            return Resumed::Done;
        }
        Ok(found) if found.asked > 0 => {}
        Err(GetError::NotFound { stats }) if stats.answered > 0 => {}
        _ => return Resumed::Later,
    }
    let put = dht
        .put(Salt::from(salt), held.1, PutOptions::default())
        .await;
    let items = dht.own_items().await.unwrap_or_default();
    if items
        .iter()
        .any(|item| item.salt.as_bytes() == salt.as_bytes())
    {
        tracing::info!("{salt:?} of an earlier run is renewed again");
        lapsed.published(salt, true).await;
        return Resumed::Done;
    }
    match put {
        Ok(_) => Resumed::Done,
        Err(error) => {
            tracing::debug!("{salt:?} is not renewed yet: {error}");
            Resumed::Later
        }
    }
}
