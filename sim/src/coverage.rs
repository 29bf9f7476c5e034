//! Coverage: evidence that rare events happened, as counters summed over hosts and their lives.

use std::collections::BTreeMap;

use skydht_core::node::{Counters, LimitUse};

/// The counts of a run, by name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Coverage {
    counts: BTreeMap<String, u64>,
}

impl Coverage {
    /// Adds the counters of a node at the end of its life.
    pub fn add(&mut self, counters: &Counters) {
        for (counter, count) in counters.iter() {
            self.count(counter.name(), count);
        }
    }

    /// Adds how often a node reached each of its limits, at the end of its life.
    pub fn add_limits(&mut self, limits: &[LimitUse]) {
        for limit in limits {
            if limit.hits > 0 {
                self.count(&format!("hit_{}", limit.limit.name()), limit.hits);
            }
        }
    }

    /// Counts an event of the run itself.
    pub fn count(&mut self, name: &str, count: u64) {
        if count > 0 {
            *self.counts.entry(name.into()).or_default() += count;
        }
    }

    /// Adds the counts of another run.
    pub fn merge(&mut self, other: &Self) {
        for (name, count) in &other.counts {
            self.count(name, *count);
        }
    }

    /// The count of `name`; zero if it never happened.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    /// All non-zero counts, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counts
            .iter()
            .map(|(name, count)| (name.as_str(), *count))
    }

    /// The counts that are below their required minimum: name, required, actual.
    #[must_use]
    pub fn missing(&self, wanted: &BTreeMap<String, u64>) -> Vec<(String, u64, u64)> {
        wanted
            .iter()
            .map(|(name, wanted)| (name.clone(), *wanted, self.get(name)))
            .filter(|(_, wanted, reached)| reached < wanted)
            .collect()
    }
}
