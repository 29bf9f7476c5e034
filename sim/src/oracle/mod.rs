//! What must hold, whatever happens: a reference model beside the world, and the invariants.
//!
//! | invariant | module |
//! |---|---|
//! | what h holders acknowledged survives while fewer than h of them fail within its life | [`promises`] |
//! | a healed network never reads an older rank than was acknowledged | [`promises`] |
//! | the items of the dead disappear in time, and stay gone | [`promises`] |
//! | at every holder ranks only rise | [`holdings`] |
//! | what storage said is durable is there at the next start | [`durability`] |
//! | no unproven key in any table; memory within its limits | [`bounds`] |
//! | each operation finishes once, before its deadline | [`operations`] |

pub mod bounds;
pub mod durability;
pub mod holdings;
pub mod operations;
pub mod promises;

use std::fmt;

use crate::clock::SimTime;

/// Violations that are kept in words; more are only counted.
const KEPT: usize = 20;

/// What broke.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Violations {
    kept: Vec<String>,
    count: u64,
}

impl Violations {
    /// An invariant broke.
    pub fn note(&mut self, at: SimTime, what: impl fmt::Display) {
        self.count += 1;
        if self.kept.len() < KEPT {
            self.kept.push(format!("{at}: {what}"));
        }
    }

    /// Adds another one's.
    pub fn append(&mut self, other: Self) {
        self.count += other.count;
        let room = KEPT.saturating_sub(self.kept.len());
        self.kept.extend(other.kept.into_iter().take(room));
    }

    /// How many there were.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The first of them, in words.
    #[must_use]
    pub fn into_words(mut self) -> Vec<String> {
        let more = self.count - self.kept.len() as u64;
        if more > 0 {
            self.kept.push(format!("and {more} more"));
        }
        self.kept
    }
}
