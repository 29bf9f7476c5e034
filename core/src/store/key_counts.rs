//! Counts by key that vanish at zero, so that keys leave no trace.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use crate::key::PublicKey;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct KeyCounts(BTreeMap<Arc<PublicKey>, usize>);

impl KeyCounts {
    pub(super) fn get(&self, key: &PublicKey) -> usize {
        self.0.get(key).copied().unwrap_or(0)
    }

    /// The key as it is counted, if it is: to keep it costs nothing then.
    pub(super) fn shared(&self, key: PublicKey) -> Arc<PublicKey> {
        let counted = self.0.get_key_value(&key).map(|(key, _)| Arc::clone(key));
        counted.unwrap_or_else(|| Arc::new(key))
    }

    pub(super) fn add(&mut self, key: Option<PublicKey>) {
        if let Some(key) = key {
            let key = self.shared(key);
            *self.0.entry(key).or_default() += 1;
        }
    }

    pub(super) fn add_shared(&mut self, key: Option<&Arc<PublicKey>>) {
        if let Some(key) = key {
            *self.0.entry(Arc::clone(key)).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, key: Option<&PublicKey>) {
        if let Some(key) = key
            && let Some(count) = self.0.get_mut(key)
        {
            *count -= 1;
            if *count == 0 {
                self.0.remove(key);
            }
        }
    }

    pub(super) fn total(&self) -> usize {
        self.0.values().sum()
    }
}
