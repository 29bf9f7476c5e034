//! The index of stored records: services by type, and transports by id and by edge.
//!
//! It is updated when it is read. An update visits every stored item, and parses each record that
//! has changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use skydht_core::id::Target;
use skydht_core::item::{Item, Origin, Salt, Seq};
use skydht_core::key::PublicKey;
use skydht_core::store::{Filter, Listed};
use skydht_discovery::index::{Index, IndexLimits};
use skydht_driver::{Dht, Stopped};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

/// An index younger than this is not updated.
const FRESH: Duration = Duration::from_secs(1);
/// Items per page.
const PAGE: usize = 1_024;
/// Maximum number of keys in a mirrored record that are tried as its owner.
const MOST_OWNERS: usize = 16;

/// Salt, owner and sequence number of an indexed record.
type Version = (Salt, PublicKey, Seq);

/// A shared index. Clones share its content.
#[derive(Clone)]
pub(crate) struct RecordIndex(Arc<Mutex<IndexState>>);

struct IndexState {
    index: Index,
    seen: BTreeMap<Target, Version>,
    refreshed: Option<Instant>,
}

impl Default for RecordIndex {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(IndexState {
            index: Index::new(IndexLimits::default()),
            seen: BTreeMap::new(),
            refreshed: None,
        })))
    }
}

/// A lock guard that gives access to the index.
pub(crate) struct IndexGuard<'a>(MutexGuard<'a, IndexState>);

impl std::ops::Deref for IndexGuard<'_> {
    type Target = Index;

    fn deref(&self) -> &Index {
        &self.0.index
    }
}

impl RecordIndex {
    /// Updates the index if necessary, and returns access to it.
    ///
    /// # Errors
    /// [`Stopped`].
    pub(crate) async fn read(&self, dht: &Dht) -> Result<IndexGuard<'_>, Stopped> {
        let mut state = self.0.lock().await;
        let is_fresh = state.refreshed.is_some_and(|at| at.elapsed() < FRESH);
        if !is_fresh {
            state.refresh(dht).await?;
        }
        Ok(IndexGuard(state))
    }
}

impl IndexState {
    async fn refresh(&mut self, dht: &Dht) -> Result<(), Stopped> {
        let mut versions = BTreeMap::new();
        let mut from = Some(Target::default());
        while let Some(at) = from {
            let page = dht.list(Filter::default(), at, PAGE).await?;
            for listed in &page.items {
                if let Some(version) = self.update(listed) {
                    versions.insert(listed.target, version);
                }
            }
            from = page.next;
        }
        for (target, (salt, owner, _)) in &self.seen {
            if !versions.contains_key(target) {
                // The error cannot occur: a removal parses nothing.
                let _ = self.index.update(salt.as_bytes(), owner, None);
            }
        }
        self.seen = versions;
        self.refreshed = Some(Instant::now());
        Ok(())
    }

    /// Indexes a stored item; `None` if it is not a record of a supported type.
    fn update(&mut self, listed: &Listed) -> Option<Version> {
        let item = &listed.item;
        let salt = item.salt.as_bytes();
        let is_indexed = [&b"tp"[..], b"svc"]
            .iter()
            .any(|base| salt == *base || (salt.starts_with(base) && salt[base.len()] == b':'));
        if !is_indexed {
            return None;
        }
        if let Some((salt, owner, seq)) = self.seen.get(&listed.target)
            && *seq == item.seq
        {
            return Some((salt.clone(), *owner, *seq));
        }
        let before = self.seen.get(&listed.target).map(|(_, owner, _)| *owner);
        let owner = match (listed.origin, before) {
            (_, Some(owner)) => owner,
            (Origin::Owner, None) => item.key,
            (Origin::Mirror, None) => owner_of(&listed.target, item)?,
        };
        let now = (!item.reads_as_deleted()).then(|| (item.seq, item.value.as_bytes()));
        // The index counts records that it cannot parse, and then reports itself as incomplete.
        let _ = self.index.update(salt, &owner, now);
        Some((item.salt.clone(), owner, item.seq))
    }
}

/// Finds the owner of a mirrored record: the key in its value whose target is `target`.
fn owner_of(target: &Target, item: &Item) -> Option<PublicKey> {
    let salt = item.salt.as_bytes();
    let text = item.value.as_bytes();
    let is_digit = |byte: &u8| byte.is_ascii_hexdigit();
    let words = text
        .split(|byte| !is_digit(byte))
        .filter(|it| it.len() == 66);
    let keys = words.filter_map(|word| std::str::from_utf8(word).ok()?.parse::<PublicKey>().ok());
    keys.take(MOST_OWNERS)
        .find(|key| Target::of(key, salt) == *target)
}

#[cfg(test)]
mod tests {
    use skydht_core::item::Value;
    use skydht_core::key::SecretKey;
    use skydht_discovery::index::ServiceQuery;
    use skydht_discovery::record::{Service, ServiceAddress, ServiceKind, Services, Transport};

    use super::*;

    fn secret(n: u8) -> SecretKey {
        SecretKey::from_bytes(&[n; 32]).unwrap()
    }

    fn state() -> IndexState {
        IndexState {
            index: Index::new(IndexLimits::default()),
            seen: BTreeMap::new(),
            refreshed: None,
        }
    }

    fn listed(signer: u8, owner: u8, salt: &str, seq: u64, value: &[u8]) -> Listed {
        let item = Item::sign(
            &secret(signer),
            Seq(seq),
            Value::new(value),
            Salt::from(salt),
        );
        let target = Target::of(&secret(owner).public(), salt.as_bytes());
        Listed {
            target,
            origin: item.origin_at(&target),
            item: Arc::new(item),
            age: None,
            left: None,
        }
    }

    #[test]
    fn records_of_owners_and_mirrored_ones_are_indexed() {
        let mut state = state();
        let transport = Transport::new(secret(1).public(), secret(2).public(), "stcpr", "user");
        let list = [b"[", &transport.to_json()[..], b"]"].concat();
        // A mirror signs records of either edge; an edge signs its own.
        for (signer, owner) in [(9, 1), (2, 2)] {
            let it = listed(signer, owner, "tp", 5, &list);
            let (_, found, _) = state.update(&it).unwrap();
            assert_eq!(found, secret(owner).public());
        }
        let claim = state.index.transport(&transport.id).unwrap();
        assert_eq!(
            claim.standing(),
            skydht_discovery::index::Standing::BothEdges
        );
        let address = ServiceAddress {
            key: Some(secret(3).public()),
            port: 44,
        };
        let list = vec![Service::new(address, &ServiceKind::Vpn)];
        let value = Services { list }.to_json();
        let it = listed(9, 3, "svc", 5, &value);
        let version = state.update(&it).unwrap();
        state.seen.insert(it.target, version);
        let query = ServiceQuery::of(ServiceKind::Vpn);
        assert_eq!(state.index.services(&query).count(), 1);
        // Upstream deletes a record by an empty list.
        state.update(&listed(9, 3, "svc", 6, b"[]")).unwrap();
        assert_eq!(state.index.services(&query).count(), 0);
        // Records without an owner, and those of other types, are not indexed.
        assert!(state.update(&listed(9, 4, "svc", 6, b"[]")).is_none());
        assert!(state.update(&listed(1, 1, "dmsg", 6, b"{}")).is_none());
        assert!(state.update(&listed(1, 1, "tps", 6, b"[]")).is_none());
    }
}
