//! Invariants of a run, checked with a reference model beside the world.
//!
//! | Invariant | Module |
//! |---|---|
//! | An item acknowledged by h holders survives while fewer than h of them fail within its
//! lifetime. | [`promises`] |
//! | A healed network never reads an older rank than was acknowledged. | [`promises`] |
//! | The items of removed owners disappear in time, and stay gone. | [`promises`] |
//! | Ranks only rise at every holder. | [`holdings`] |
//! | Whatever storage acknowledged is there at the next start. | [`durability`] |
//! | No table has an unproven key, and memory stays within its limits. | [`bounds`] |
//! | Each operation finishes once, before its deadline. | [`operations`] |

pub mod bounds;
pub mod durability;
pub mod holdings;
pub mod operations;
pub mod promises;

use std::fmt;

use crate::clock::SimTime;

/// Maximum number of violations that are kept as text; more are only counted.
const KEPT: usize = 20;

/// Violated invariants.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Violations {
    kept: Vec<String>,
    count: u64,
}

impl Violations {
    /// Records a violation.
    pub fn note(&mut self, at: SimTime, what: impl fmt::Display) {
        self.count += 1;
        if self.kept.len() < KEPT {
            self.kept.push(format!("{at}: {what}"));
        }
    }

    /// Adds the violations of another run.
    pub fn append(&mut self, other: Self) {
        self.count += other.count;
        let room = KEPT.saturating_sub(self.kept.len());
        self.kept.extend(other.kept.into_iter().take(room));
    }

    /// Number of violations.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The first violations as text.
    #[must_use]
    pub fn into_words(mut self) -> Vec<String> {
        let more = self.count - self.kept.len() as u64;
        if more > 0 {
            self.kept.push(format!("and {more} more"));
        }
        self.kept
    }
}
