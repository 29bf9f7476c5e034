//! The latest operations of this node's users, for the status page.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::failure::Result;
use crate::report::{GetReport, HopReport, LookupReport, PutReport};

/// Maximum number of operations.
const MOST: usize = 20;

/// A finished operation.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Ended {
    /// Time since it finished.
    pub(crate) ago: Duration,
    /// "put" or "get".
    pub(crate) kind: &'static str,
    /// Owner and salt of the item.
    pub(crate) item: String,
    /// Result in one line.
    pub(crate) outcome: String,
    /// Cost of the lookup; `None` if the operation failed.
    pub(crate) lookup: Option<LookupReport>,
    /// Steps of a read; empty for a put.
    pub(crate) hops: Vec<HopReport>,
}

/// The latest operations, newest first. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Recent(Arc<Mutex<VecDeque<(Instant, Ended)>>>);

impl Recent {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(Instant, Ended)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, ended: Ended) {
        let mut all = self.lock();
        all.push_front((Instant::now(), ended));
        all.truncate(MOST);
    }

    /// Adds a put.
    pub(crate) fn put(&self, salt: &str, result: &Result<PutReport>) {
        let lookup = result.as_ref().ok().map(|report| report.lookup.clone());
        self.add(Ended {
            ago: Duration::ZERO,
            kind: "put",
            item: salt.to_owned(),
            outcome: line(result),
            lookup,
            hops: Vec::new(),
        });
    }

    /// Adds a read.
    pub(crate) fn get(
        &self,
        owner: &str,
        salt: &str,
        result: &Result<GetReport>,
        hops: &[HopReport],
    ) {
        let lookup = result.as_ref().ok().map(|report| report.lookup.clone());
        self.add(Ended {
            ago: Duration::ZERO,
            kind: "get",
            item: format!("{owner} {salt}").trim_end().to_owned(),
            outcome: line(result),
            lookup,
            hops: hops.to_vec(),
        });
    }

    /// Returns all operations.
    pub(crate) fn all(&self) -> Vec<Ended> {
        let all = self.lock();
        let ended = all.iter().map(|(at, ended)| Ended {
            ago: at.elapsed(),
            ..ended.clone()
        });
        ended.collect()
    }
}

fn line<T: std::fmt::Display>(result: &Result<T>) -> String {
    match result {
        Ok(report) => report.to_string(),
        Err(failure) => failure
            .message
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Code, Failure};

    #[test]
    fn the_newest_come_first_and_the_oldest_go() {
        let recent = Recent::default();
        for n in 0..MOST + 5 {
            let failed = Err(Failure::new(Code::NotFound, format_args!("no {n}\nmore")));
            recent.get("02ab", &n.to_string(), &failed, &[]);
        }
        let all = recent.all();
        assert_eq!(all.len(), MOST);
        assert_eq!(
            (all[0].item.as_str(), all[0].outcome.as_str()),
            ("02ab 24", "no 24")
        );
        assert!(all.windows(2).all(|pair| pair[0].ago <= pair[1].ago));
    }
}
