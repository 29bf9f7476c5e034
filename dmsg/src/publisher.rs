//! Publishes one key's entry: when it changes, and again and again; follows the discovery's count
//! of it (specification of DMSG, §7 to §9).

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
    /// When nothing changes.
    pub(crate) interval: Duration,
    /// How long changes collect.
    pub(crate) debounce: Duration,
    /// The first and the longest wait after a failure.
    pub(crate) retry: (Duration, Duration),
}

/// Whose entry is published.
pub(crate) trait Owner: Send + Sync + 'static {
    /// What the entry says.
    type Content: PartialEq + Send + Sync;

    /// What it should say now; nothing as long as there is nothing to say.
    fn content(&self) -> Option<Self::Content>;
    /// Says it.
    fn fill(&self, entry: &mut Entry, content: &Self::Content);
    /// The discovery has answered.
    fn published(&self, answer: Result<SignedEntry, DiscoveryError>);
    /// The discovery does not know a member of the entry, and gets entries without such from now
    /// on.
    fn published_plain(&self) {}
    /// Raised when the content changes, and at the end.
    fn changes(&self) -> &Signal;
    /// Whether it is the end.
    fn is_closed(&self) -> bool;
}

/// Publishes until the end, in a task of its own.
pub(crate) fn spawn<R: Runtime, O: Owner>(
    publisher: Publisher<R>,
    owner: &Arc<O>,
    cadence: Cadence,
) {
    let runtime = publisher.runtime.clone();
    runtime.spawn(Box::pin(run(publisher, Arc::clone(owner), cadence)));
}

/// A discovery that was asked too often is left alone for as long as it wants, up to this.
const LONGEST_WANTED: Duration = Duration::from_secs(10 * 60);

async fn run<R: Runtime, O: Owner>(mut publisher: Publisher<R>, owner: Arc<O>, cadence: Cadence) {
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
            (Some((said, at)), content) if content.as_ref().is_none_or(|it| it == said) => {
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
        let longer = (wait * 2).clamp(cadence.retry.0, cadence.retry.1);
        wait = match &answer {
            Ok(_) => {
                last = Some((content, now()));
                Duration::ZERO
            }
            Err(DiscoveryError::TooOften(wanted)) => (*wanted).clamp(longer, LONGEST_WANTED),
            Err(_) => longer,
        };
        owner.published(answer);
        pause(&runtime, &*owner, wait).await;
    }
}

/// Waits, but not beyond the end.
async fn pause<R: Runtime, O: Owner>(runtime: &R, owner: &O, wait: Duration) {
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

/// The owner's side of publishing.
pub(crate) struct Publisher<R: Runtime> {
    runtime: R,
    discovery: Arc<dyn Discovery>,
    secret: SecretKey,
    half: Half,
    timeout: Duration,
    /// What the discovery holds as far as is known.
    stored: Stored,
    /// Since when the discovery gets entries without the members that it did not know.
    plain_since: Option<Duration>,
}

enum Stored {
    /// It was not asked yet.
    Unknown,
    /// Our half alone, of this sequence; none: nothing.
    Ours(Option<u64>),
    /// Another process of this key has its half in this entry.
    Shared(Box<SignedEntry>),
}

/// How long a discovery is taken for one that does not know our members, before it gets them once
/// more: it may have been replaced.
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

    /// Publishes our half; `fill` says what it says. When the discovery has a later sequence, as
    /// after a restart, ours continues from there, unless that entry is newer than this one: then
    /// another publisher is there for this key, and we leave it (specification of discovery, §2).
    /// What the discovery holds beside our half stays as it is.
    pub(crate) async fn publish(
        &mut self,
        fill: impl Fn(&mut Entry),
    ) -> Result<SignedEntry, DiscoveryError> {
        // Of an entry that is shared, the other half may have changed or gone.
        if !matches!(self.stored, Stored::Ours(_)) {
            self.ask().await?;
        }
        let timestamp = self.timestamp();
        let now = self.runtime.clocks().monotonic;
        let is_known = |since: Duration| now.saturating_sub(since) < PLAIN_LIFE;
        let mut plain_since = self.plain_since.filter(|since| is_known(*since));
        let mut followed = false;
        loop {
            let mut entry = Entry::new(self.secret.public(), self.sequence(), timestamp);
            fill(&mut entry);
            let has_more = entry.has_later_members();
            if plain_since.is_some() {
                entry.remove_later_members();
            }
            let entry = match &self.stored {
                Stored::Shared(stored) => stored.with_half(self.half, &entry, &self.secret)?,
                Stored::Unknown | Stored::Ours(_) => entry.sign(&self.secret),
            };
            let published = self.call(self.discovery.publish(entry.clone())).await;
            match published {
                Ok(()) => {
                    self.note(entry.clone());
                    self.plain_since = plain_since;
                    return Ok(entry);
                }
                // An older discovery leaves out what it does not know, and finds our signature
                // wrong over the rest.
                Err(DiscoveryError::Refused(EntryError::Signature(_)))
                    if has_more && plain_since.is_none() =>
                {
                    plain_since = Some(now);
                }
                Err(DiscoveryError::Refused(EntryError::Sequence)) if !followed => {
                    followed = true;
                    if self.ask().await? > Some(timestamp) {
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

    /// The next entry's.
    fn sequence(&self) -> u64 {
        let last = match &self.stored {
            Stored::Unknown => None,
            Stored::Ours(last) => *last,
            Stored::Shared(stored) => Some(stored.entry().sequence),
        };
        last.map_or(0, |last| last.saturating_add(1))
    }

    /// A half that this key did not sign, or that cannot be shown to be, is not kept: it would be
    /// signed for a discovery that made it up.
    fn note(&mut self, stored: SignedEntry) {
        let is_shared = stored.entry().has_other_half(self.half);
        self.stored = if is_shared && stored.verify_stored().is_ok() {
            Stored::Shared(Box::new(stored))
        } else {
            Stored::Ours(Some(stored.entry().sequence))
        };
    }

    /// Asks what the discovery holds, and gives its timestamp. A discovery that does not say so is
    /// no reason to begin at 0, which would fight with an entry that is there (specification of
    /// DMSG in 2026, §4.4).
    async fn ask(&mut self) -> Result<Option<i64>, DiscoveryError> {
        let stored = self.discovery.stored(self.secret.public());
        match self.call(stored).await {
            Ok(stored) => {
                let timestamp = stored.entry().timestamp;
                self.note(stored);
                Ok(Some(timestamp))
            }
            Err(DiscoveryError::NotFound) => {
                self.stored = Stored::Ours(None);
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

    /// Takes back what was published: our half, and the entry with it if it is all of it.
    pub(crate) async fn withdraw(mut self, published: SignedEntry) {
        if published.entry().has_other_half(self.half)
            && self.ask().await.is_ok()
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
