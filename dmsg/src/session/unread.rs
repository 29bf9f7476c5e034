//! Data that has come and was not read: bounded for a session, and over all sessions that share a
//! budget.
//!
//! A peer may send 256 KiB on each stream whether its reader takes them or not, since yamux has no
//! smaller window, and not to read the connection would hold back its other streams. So the side
//! that holds too much loses streams: the address with the most, of its sessions the one with the
//! most, of its streams those that were read longest ago.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A session, as far as it has a part in a budget. Its state must not be held when it is asked.
pub(super) trait Holder: Send + Sync {
    /// Bytes unread.
    fn held(&self) -> usize;
    /// Resets streams until no more than `most` bytes are unread; says how many.
    fn cut_down_to(&self, most: usize) -> usize;
}

/// A budget unless told otherwise, in bytes.
const DEFAULT_BUDGET: usize = 64 << 20;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A bound on the unread data of many sessions together. Clones are the same budget.
#[derive(Clone)]
pub struct ReceiveBudget(Arc<Total>);

struct Total {
    limit: usize,
    held: AtomicUsize,
    cut: AtomicU64,
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Sessions {
    last_id: u64,
    /// With the address that each counts for.
    live: BTreeMap<u64, (Option<IpAddr>, Weak<dyn Holder>)>,
}

impl ReceiveBudget {
    /// One of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Total {
            limit,
            held: AtomicUsize::new(0),
            cut: AtomicU64::new(0),
            sessions: Mutex::default(),
        }))
    }

    /// Bytes held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.held.load(SeqCst)
    }

    /// Whether no session has a part in it.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0.sessions).live.is_empty()
    }

    /// Streams that were reset because too much was held.
    #[must_use]
    pub fn cut(&self) -> u64 {
        self.0.cut.load(Relaxed)
    }

    /// The session that makes room first.
    fn largest(&self) -> Option<Arc<dyn Holder>> {
        let live: Vec<_> = {
            let sessions = lock(&self.0.sessions);
            let live = sessions.live.iter().filter_map(|(id, (source, shared))| {
                // Without an address a session counts by itself.
                let group = source.map_or((None, *id), |source| (Some(source), 0));
                Some((group, shared.upgrade()?))
            });
            // None of them may end while the lock is held, since that takes it, too.
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

    /// A share of a session that counts for `source`.
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

    /// Cuts until there is some room again.
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
            // Not more at once, since another one then has the most.
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

/// What one session has of a budget.
pub(super) struct Share {
    limit: usize,
    budget: ReceiveBudget,
    /// In the budget.
    id: u64,
    held: AtomicUsize,
}

impl Share {
    /// Data has come for `holder`, whose share this is: streams are reset that hold too much, there
    /// or in another session.
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

    /// So many bytes are unread now. Not for two threads at the same time.
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
