//! Proof that the rare things happened: counters summed over hosts and lives.

use std::collections::BTreeMap;

use skydht_core::node::{Counters, LimitUse};

/// What was counted in a run, by name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Coverage {
    counts: BTreeMap<String, u64>,
}

impl Coverage {
    /// Adds a node's counters, at its end.
    pub fn add(&mut self, counters: &Counters) {
        for (counter, count) in counters.iter() {
            self.count(counter.name(), count);
        }
    }

    /// Adds how often a node was at each of its limits, at its end.
    pub fn add_limits(&mut self, limits: &[LimitUse]) {
        for limit in limits {
            if limit.hits > 0 {
                self.count(&format!("hit_{}", limit.limit.name()), limit.hits);
            }
        }
    }

    /// Counts something that the run itself did.
    pub fn count(&mut self, name: &str, count: u64) {
        if count > 0 {
            *self.counts.entry(name.into()).or_default() += count;
        }
    }

    /// Adds another run's.
    pub fn merge(&mut self, other: &Self) {
        for (name, count) in &other.counts {
            self.count(name, *count);
        }
    }

    /// One count; zero when it never happened.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    /// All that happened, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counts
            .iter()
            .map(|(name, count)| (name.as_str(), *count))
    }

    /// What was reached less often than it must be: name, wanted, reached.
    #[must_use]
    pub fn missing(&self, wanted: &BTreeMap<String, u64>) -> Vec<(String, u64, u64)> {
        wanted
            .iter()
            .map(|(name, wanted)| (name.clone(), *wanted, self.get(name)))
            .filter(|(_, wanted, reached)| reached < wanted)
            .collect()
    }
}
