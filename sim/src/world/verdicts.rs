//! Verdicts remembered by job: a job's result depends on its data alone, and twenty replicas
//! check the same signature.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use skydht_core::node::{Verdict, VerifyJob};

/// Verdicts kept; then all are forgotten.
const MOST: usize = 1 << 20;

/// The memory.
#[derive(Default)]
pub(super) struct Verdicts {
    known: HashMap<[u8; 32], Verdict, FixedState>,
    pub(super) run: u64,
}

impl Verdicts {
    pub(super) fn of(&mut self, job: &VerifyJob) -> Verdict {
        let digest = job.digest();
        if let Some(verdict) = self.known.get(&digest) {
            return *verdict;
        }
        if self.known.len() >= MOST {
            self.known.clear();
        }
        self.run += 1;
        let verdict = job.run();
        self.known.insert(digest, verdict);
        verdict
    }
}
