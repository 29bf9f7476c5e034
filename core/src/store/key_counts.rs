//! Counts by key that vanish at zero, so that keys leave no trace.

use alloc::collections::BTreeMap;

use crate::key::PublicKey;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct KeyCounts(BTreeMap<PublicKey, usize>);

impl KeyCounts {
    pub(super) fn get(&self, key: &PublicKey) -> usize {
        self.0.get(key).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, key: Option<PublicKey>) {
        if let Some(key) = key {
            *self.0.entry(key).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, key: Option<PublicKey>) {
        if let Some(key) = key
            && let Some(count) = self.0.get_mut(&key)
        {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&key);
            }
        }
    }

    pub(super) fn total(&self) -> usize {
        self.0.values().sum()
    }
}
