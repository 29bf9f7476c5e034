//! Limits of received but unread data, per session and over all sessions that share a budget.
//!
//! A peer may send 256 KiB on each stream whether or not its reader takes them: yamux has no
//! smaller window, and pausing the connection would hold back its other streams. Over the limit,
//! streams are reset: the address with the most unread data is chosen, of its sessions the largest,
//! and of its streams those that were read least recently.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A session that takes part in a budget. Release its state lock before calling these methods.
pub(super) trait Holder: Send + Sync {
    /// Returns the number of unread bytes.
    fn held(&self) -> usize;
    /// Resets streams until at most `most` bytes are unread, and returns how many it reset.
    fn cut_down_to(&self, most: usize) -> usize;
}

/// Default limit of a budget, in bytes.
const DEFAULT_BUDGET: usize = 64 << 20;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A limit of the unread data of many sessions together. Clones share the budget.
#[derive(Clone)]
pub struct ReceiveBudget(Arc<ReceiveBudgetInner>);

struct ReceiveBudgetInner {
    limit: usize,
    held: AtomicUsize,
    cut: AtomicU64,
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Sessions {
    last_id: u64,
    /// Sessions by id, each with the address to which its data is attributed.
    live: BTreeMap<u64, (Option<IpAddr>, Weak<dyn Holder>)>,
}

impl ReceiveBudget {
    /// Creates a budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(ReceiveBudgetInner {
            limit,
            held: AtomicUsize::new(0),
            cut: AtomicU64::new(0),
            sessions: Mutex::default(),
        }))
    }

    /// Returns the number of unread bytes.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.held.load(SeqCst)
    }

    /// Returns whether no session takes part in it.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0.sessions).live.is_empty()
    }

    /// Returns how many streams were reset because a session or the budget was over its limit.
    #[must_use]
    pub fn cut(&self) -> u64 {
        self.0.cut.load(Relaxed)
    }

    /// Returns the session that loses streams first.
    fn largest(&self) -> Option<Arc<dyn Holder>> {
        let live: Vec<_> = {
            let sessions = lock(&self.0.sessions);
            let live = sessions.live.iter().filter_map(|(id, (source, shared))| {
                // Without an address, a session is a group of its own.
                let group = source.map_or((None, *id), |source| (Some(source), 0));
                Some((group, shared.upgrade()?))
            });
            // Keep them all until the lock is released: dropping the last reference to a session
            // locks it again (`Share::drop`).
            live.collect()
        };
        let mut groups = BTreeMap::<_, (usize, Vec<Arc<dyn Holder>>)>::new();
        for (group, shared) in live {
            let (held, members) = groups.entry(group).or_default();
            *held += shared.held();
            members.push(shared);
        }
        let (_, members) = groups.into_values().max_by_key(|(held, _)| *held)?;
        members.into_iter().max_by_key(|it| it.held())
    }

    /// Adds a session whose data is attributed to `source`.
    pub(super) fn enter(
        &self,
        limit: usize,
        source: Option<IpAddr>,
        shared: Weak<dyn Holder>,
    ) -> Share {
        let mut sessions = lock(&self.0.sessions);
        sessions.last_id += 1;
        let id = sessions.last_id;
        sessions.live.insert(id, (source, shared));
        Share {
            limit,
            budget: self.clone(),
            id,
            held: AtomicUsize::new(0),
        }
    }

    /// Resets streams until an eighth of the limit is free again.
    fn enforce(&self) {
        if self.held() <= self.0.limit {
            return;
        }
        let enough = self.0.limit - self.0.limit / 8;
        while self.held() > enough {
            let before = self.held();
            let Some(largest) = self.largest() else {
                return;
            };
            // Halve it only, since another session may be the largest then.
            let cut = largest.cut_down_to(largest.held() / 2);
            self.0.cut.fetch_add(cut as u64, Relaxed);
            if self.held() >= before {
                return;
            }
        }
    }
}

impl Default for ReceiveBudget {
    fn default() -> Self {
        Self::new(DEFAULT_BUDGET)
    }
}

impl std::fmt::Debug for ReceiveBudget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiveBudget")
            .field("limit", &self.0.limit)
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}

/// One session's share of a budget.
pub(super) struct Share {
    limit: usize,
    budget: ReceiveBudget,
    /// Key in `Sessions::live`.
    id: u64,
    held: AtomicUsize,
}

impl Share {
    /// Enforces both limits after data arrived for `holder`, which owns this share: resets streams
    /// of this or another session.
    pub(super) fn enforce(&self, holder: &dyn Holder) {
        if self.held() > self.limit {
            let cut = holder.cut_down_to(self.limit - self.limit / 8);
            self.budget.0.cut.fetch_add(cut as u64, Relaxed);
        }
        self.budget.enforce();
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(SeqCst)
    }

    /// Sets the number of unread bytes. Callers must not run concurrently.
    pub(super) fn set(&self, held: usize) {
        let before = self.held.swap(held, SeqCst);
        let total = &self.budget.0.held;
        if held >= before {
            total.fetch_add(held - before, SeqCst);
        } else {
            total.fetch_sub(before - held, SeqCst);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let budget = &self.budget.0;
        budget.held.fetch_sub(self.held(), SeqCst);
        lock(&budget.sessions).live.remove(&self.id);
    }
}
