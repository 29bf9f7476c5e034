//! Publishes the entry of one key, when it changes and periodically, and continues the sequence
//! that the discovery has (specification of DMSG, §7 to §9).

use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use skydht_core::key::SecretKey;
use skydht_runtime::{Runtime, within};

use crate::discovery::{Discovery, DiscoveryError};
use crate::entry::{Entry, EntryError, Half, SignedEntry};
use crate::signal::Signal;

/// When an entry is published.
#[derive(Clone, Copy)]
pub(crate) struct Cadence {
    /// Interval while the content is unchanged.
    pub(crate) interval: Duration,
    /// How long changes are collected before publishing.
    pub(crate) debounce: Duration,
    /// First and longest wait after a failure.
    pub(crate) retry: (Duration, Duration),
}

/// The client or server whose entry is published.
pub(crate) trait EntryOwner: Send + Sync + 'static {
    /// Content of the entry, compared to find out whether it has changed.
    type Content: PartialEq + Send + Sync;

    /// Returns the current content; `None` while there is nothing to publish.
    fn content(&self) -> Option<Self::Content>;
    /// Writes the content into the entry.
    fn fill(&self, entry: &mut Entry, content: &Self::Content);
    /// Receives the result of an attempt to publish.
    fn published(&self, answer: Result<SignedEntry, DiscoveryError>);
    /// Called when the discovery turns out not to know a member of the entry: from now on the entry
    /// is published without later members.
    fn published_plain(&self) {}
    /// Raised when the content changes and when the owner closes.
    fn changes(&self) -> &Signal;
    /// Returns whether the owner is closed, which ends publishing.
    fn is_closed(&self) -> bool;
}

/// Spawns the task that publishes until the owner closes.
pub(crate) fn spawn<R: Runtime, O: EntryOwner>(
    publisher: Publisher<R>,
    owner: &Arc<O>,
    cadence: Cadence,
) {
    let runtime = publisher.runtime.clone();
    runtime.spawn(Box::pin(run(publisher, Arc::clone(owner), cadence)));
}

/// Longest pause that a discovery may ask for after it was asked too often.
const MAX_REQUESTED_PAUSE: Duration = Duration::from_secs(10 * 60);

async fn run<R: Runtime, O: EntryOwner>(
    mut publisher: Publisher<R>,
    owner: Arc<O>,
    cadence: Cadence,
) {
    let runtime = publisher.runtime.clone();
    let now = || runtime.clocks().monotonic;
    let mut last: Option<(O::Content, Duration)> = None;
    let mut wait = Duration::ZERO;
    loop {
        let seen = owner.changes().version();
        if owner.is_closed() {
            return;
        }
        let content = owner.content();
        match (&last, &content) {
            (None, None) => {
                owner.changes().above(seen).await;
                continue;
            }
            (Some((published, at)), content)
                if content.as_ref().is_none_or(|it| it == published) =>
            {
                let left = (*at + cadence.interval).saturating_sub(now());
                if !left.is_zero() {
                    let changed = std::pin::pin!(owner.changes().above(seen));
                    select(changed, runtime.sleep(left)).await;
                    continue;
                }
            }
            (Some(_), _) => runtime.sleep(cadence.debounce).await,
            (None, Some(_)) => {}
        }
        let Some(content) = owner.content() else {
            continue;
        };
        let was_plain = publisher.plain_since.is_some();
        let answer = publisher.publish(|entry| owner.fill(entry, &content)).await;
        if publisher.plain_since.is_some() && !was_plain {
            owner.published_plain();
        }
        let backoff = (wait * 2).clamp(cadence.retry.0, cadence.retry.1);
        wait = match &answer {
            Ok(_) => {
                last = Some((content, now()));
                Duration::ZERO
            }
            Err(DiscoveryError::TooOften(wanted)) => (*wanted).clamp(backoff, MAX_REQUESTED_PAUSE),
            Err(_) => backoff,
        };
        owner.published(answer);
        pause(&runtime, &*owner, wait).await;
    }
}

/// Waits, but not beyond the owner's end.
async fn pause<R: Runtime, O: EntryOwner>(runtime: &R, owner: &O, wait: Duration) {
    let mut timer = runtime.sleep(wait);
    loop {
        let seen = owner.changes().version();
        if owner.is_closed() {
            return;
        }
        let changed = std::pin::pin!(owner.changes().above(seen));
        match select(changed, timer).await {
            Either::Left((_, left)) => timer = left,
            Either::Right(_) => return,
        }
    }
}

/// Publishes one half of a key's entry, and tracks what the discovery holds.
pub(crate) struct Publisher<R: Runtime> {
    runtime: R,
    discovery: Arc<dyn Discovery>,
    secret: SecretKey,
    half: Half,
    timeout: Duration,
    /// What the discovery holds, as far as is known.
    stored: Stored,
    /// Since when the entry is published without later members; `None` with them.
    plain_since: Option<Duration>,
}

enum Stored {
    /// The discovery was not asked yet.
    Unknown,
    /// Only our half, with this sequence; `None` if there is no entry.
    OwnHalf(Option<u64>),
    /// An entry with the half that another process of this key publishes.
    Shared(Box<SignedEntry>),
}

/// How long entries are published without later members before these are tried again: the discovery
/// may have been upgraded.
const PLAIN_LIFE: Duration = Duration::from_secs(3600);

impl<R: Runtime> Publisher<R> {
    pub(crate) fn new(
        runtime: R,
        discovery: Arc<dyn Discovery>,
        secret: SecretKey,
        half: Half,
        timeout: Duration,
    ) -> Self {
        Self {
            runtime,
            discovery,
            secret,
            half,
            timeout,
            stored: Stored::Unknown,
            plain_since: None,
        }
    }

    /// Publishes our half, with the content that `fill` writes. If the discovery has a later
    /// sequence, as after a restart, ours continues from there. If its entry is also newer than
    /// this one, another publisher uses this key, and its entry is left in place (specification of
    /// discovery, §2). The other half stays unchanged.
    pub(crate) async fn publish(
        &mut self,
        fill: impl Fn(&mut Entry),
    ) -> Result<SignedEntry, DiscoveryError> {
        // The other half of a shared entry may have changed or been removed.
        if !matches!(self.stored, Stored::OwnHalf(_)) {
            self.fetch_stored().await?;
        }
        let timestamp = self.timestamp();
        let now = self.runtime.clocks().monotonic;
        let is_known = |since: Duration| now.saturating_sub(since) < PLAIN_LIFE;
        let mut plain_since = self.plain_since.filter(|since| is_known(*since));
        let mut has_followed = false;
        loop {
            let mut entry = Entry::new(self.secret.public(), self.sequence(), timestamp);
            fill(&mut entry);
            let has_more = entry.has_later_members();
            if plain_since.is_some() {
                entry.remove_later_members();
            }
            let entry = match &self.stored {
                Stored::Shared(stored) => stored.with_half(self.half, &entry, &self.secret)?,
                Stored::Unknown | Stored::OwnHalf(_) => entry.sign(&self.secret),
            };
            let published = self.call(self.discovery.publish(entry.clone())).await;
            match published {
                Ok(()) => {
                    self.record_stored(entry.clone());
                    self.plain_since = plain_since;
                    return Ok(entry);
                }
                // An older discovery drops members that it does not know, and then finds the
                // signature wrong over the rest.
                Err(DiscoveryError::Refused(EntryError::Signature(_)))
                    if has_more && plain_since.is_none() =>
                {
                    plain_since = Some(now);
                }
                Err(DiscoveryError::Refused(EntryError::Sequence)) if !has_followed => {
                    has_followed = true;
                    if self.fetch_stored().await? > Some(timestamp) {
                        return Ok(entry);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn timestamp(&self) -> i64 {
        let unix = self.runtime.clocks().unix.as_nanos();
        i64::try_from(unix).unwrap_or(i64::MAX)
    }

    /// Returns the sequence of the next entry.
    fn sequence(&self) -> u64 {
        let last = match &self.stored {
            Stored::Unknown => None,
            Stored::OwnHalf(last) => *last,
            Stored::Shared(stored) => Some(stored.entry().sequence),
        };
        last.map_or(0, |last| last.saturating_add(1))
    }

    /// Records what the discovery holds. The other half is kept only if this key is shown to have
    /// signed it: otherwise we would sign what the discovery invented.
    fn record_stored(&mut self, stored: SignedEntry) {
        let is_shared = stored.entry().has_other_half(self.half);
        self.stored = if is_shared && stored.verify_stored().is_ok() {
            Stored::Shared(Box::new(stored))
        } else {
            Stored::OwnHalf(Some(stored.entry().sequence))
        };
    }

    /// Asks the discovery for the stored entry and returns its timestamp. If the call fails, the
    /// sequence must not restart at 0, which would conflict with an existing entry (specification
    /// of DMSG in 2026, §4.4).
    async fn fetch_stored(&mut self) -> Result<Option<i64>, DiscoveryError> {
        let stored = self.discovery.stored(self.secret.public());
        match self.call(stored).await {
            Ok(stored) => {
                let timestamp = stored.entry().timestamp;
                self.record_stored(stored);
                Ok(Some(timestamp))
            }
            Err(DiscoveryError::NotFound) => {
                self.stored = Stored::OwnHalf(None);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, DiscoveryError>>,
    ) -> Result<T, DiscoveryError> {
        let done = within(&self.runtime, self.timeout, call).await;
        done.unwrap_or_else(|| Err(DiscoveryError::Unavailable("no answer in time".into())))
    }

    /// Withdraws what was published: removes our half, or the whole entry if there is no other
    /// half.
    pub(crate) async fn withdraw(mut self, published: SignedEntry) {
        if published.entry().has_other_half(self.half)
            && self.fetch_stored().await.is_ok()
            && let Stored::Shared(stored) = &self.stored
        {
            let key = self.secret.public();
            let nothing = Entry::new(key, self.sequence(), self.timestamp());
            if let Ok(rest) = stored.with_half(self.half, &nothing, &self.secret) {
                let _ = self.call(self.discovery.publish(rest)).await;
            }
            return;
        }
        let _ = self.call(self.discovery.remove(published)).await;
    }
}

#[cfg(test)]
mod tests;
