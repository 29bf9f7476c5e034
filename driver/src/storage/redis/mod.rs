//! Storage in Redis (or Valkey), which several nodes and Go programs may share: each key is `dht:`
//! and the target in hexadecimal, each value an item in upstream's JSON.
//!
//! Redis applies no rules: a script replaces a value only if it is still the one that was read, and
//! the core's merge rule decides which of two stays. Values that are read are never trusted: they
//! are passed to the core as unproven, which verifies their signatures.
//!
//! A forgotten target stays in Redis while its item lives, since another node may store it. It is
//! removed when its life is over or its signature is invalid; Redis also removes it by the key's
//! expiry.

mod changes;
mod connection;
mod fault;
mod resp;
mod scan;
mod seen_contents;
mod servers;
mod url;
mod value;

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use skydht_core::id::Target;
use skydht_core::node::StoreChange;
use skydht_core::record::StoredRecord;
use skydht_core::store::merge::{Judgement, Rank, judge};
use skydht_core::time::{Unix, nanos};

use self::changes::Changes;
use self::fault::Fault;
use self::resp::{Command, MAX_BULK, Reply};
use self::scan::{Scan, Window};
use self::seen_contents::SeenContents;
use self::servers::Servers;
use self::value::{Found, decode, key_of};
use crate::storage::contract::{Kept, News, Page, Storage, StorageError, target_of};

pub use resp::Reply as RedisReply;
pub use url::{RedisUrl, RedisUrlError};
pub use value::{redis_record, redis_value};

/// Interval between two polls of the change streams.
const POLL: Duration = Duration::from_millis(200);
/// Minimum interval between two scans for writes that were not announced, see [`SCAN_SHARE`].
const SCAN_EVERY: Duration = Duration::from_secs(60);
/// The pause after a scan is at least this many times as long as the scan took.
const SCAN_SHARE: u32 = 20;
/// Maximum number of keys read or written in one batch.
const CHUNK: usize = 256;
/// How often a value is compared again because another writer was faster.
const MAX_ROUNDS: usize = 16;
/// Records that may wait to be taken; storage is not read further while there are more.
const MAX_NEWS: usize = 1_024;
/// Maximum number of lost targets in one [`News`].
const MAX_WANTED: usize = 256;
/// A renewal that extends the expiry by no more than this is not written.
const MIN_EXTENSION: Duration = Duration::from_secs(1);

/// Replaces or removes a value if it is still the one that was read. A value that was too long to
/// be read is identified only by that.
const SWAP: &[u8] = b"\
local old = redis.call('GET', KEYS[1])
if ARGV[1] == '' then
  if old and old ~= '' then return 0 end
elseif ARGV[1] == '>' then
  if not old or #old <= tonumber(ARGV[4]) then return 0 end
elseif old ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) return 1 end
redis.call('SET', KEYS[1], ARGV[2])
if ARGV[3] ~= '' then redis.call('PEXPIREAT', KEYS[1], ARGV[3]) end
return 1";

/// The content of a key.
enum Content {
    Absent,
    Bytes(Vec<u8>),
    /// A value longer than any item.
    Oversized,
    /// Not a string, so it belongs to another program.
    Foreign,
}

/// What a change requires.
enum Step {
    Done,
    /// Replace the first value by the second, or remove it if the second is empty. The third is
    /// when Redis may remove the key.
    Swap(Vec<u8>, Vec<u8>, String),
}

/// Storage of items in Redis.
pub struct RedisStorage {
    servers: Servers,
    changes: Changes,
    seen_contents: SeenContents,
    /// Life of items whose writer has not stored one.
    ttl: Duration,
    /// Whether to use only a Redis that syncs each write.
    sync: bool,
    /// Generation of the connections that were checked.
    generation: u64,
    news: VecDeque<Kept>,
    /// Targets whose record Redis has lost.
    lost: Vec<Target>,
    damaged: usize,
    scan: Option<Scan>,
    next_scan: Instant,
    scan_every: Duration,
    window: Window,
}

impl RedisStorage {
    /// Creates storage at `url` without connecting. `ttl` is the life of items whose writers have
    /// not stored one. With `sync`, nothing is written unless Redis syncs each write (`appendfsync
    /// always`).
    #[must_use]
    pub fn new(url: RedisUrl, ttl: Duration, sync: bool) -> Self {
        let name = RandomState::new().hash_one(SystemTime::now());
        let servers = Servers::new(url);
        let changes = Changes::new(format!("{name:016x}"), servers.is_cluster());
        Self {
            servers,
            changes,
            seen_contents: SeenContents::default(),
            ttl,
            sync,
            generation: 0,
            news: VecDeque::new(),
            lost: Vec::new(),
            damaged: 0,
            scan: None,
            next_scan: Instant::now() + SCAN_EVERY,
            scan_every: SCAN_EVERY,
            window: Window::default(),
        }
    }

    /// Sets the interval of scans for writes that were not announced; the default is a minute.
    /// After a long scan, the pause is longer regardless.
    #[must_use]
    pub fn with_scan_every(mut self, every: Duration) -> Self {
        self.scan_every = every;
        self.next_scan = Instant::now() + every;
        self
    }

    /// Connects, and checks that Redis is suitable.
    ///
    /// # Errors
    /// [`StorageError`], with advice for the operator.
    pub fn check(&mut self) -> Result<(), StorageError> {
        let checked = self.ready();
        self.to_storage_error(checked)
    }

    fn to_storage_error<T>(&self, result: Result<T, Fault>) -> Result<T, StorageError> {
        result.map_err(|fault| {
            let url = self.servers.url();
            match fault {
                Fault::Unsuitable(_) => StorageError::Unsuitable(format!("{url}: {fault}")),
                _ => StorageError::Unavailable(format!("{url}: {fault}")),
            }
        })
    }

    /// Connects if necessary. New connections are checked, and the contents are scanned again.
    fn ready(&mut self) -> Result<(), Fault> {
        let masters = self.servers.masters()?;
        if self.servers.generation() == self.generation {
            return Ok(());
        }
        if self.sync {
            for master in &masters {
                let settings = [b"appendonly".as_slice(), b"appendfsync"]
                    .map(|name| Command::new(&[b"CONFIG", b"GET", name]));
                let replies = self
                    .servers
                    .run_on(master, &settings)
                    .map_err(sync_setting_unknown)?;
                check_sync(&replies)?;
            }
        }
        self.changes.begin(&mut self.servers)?;
        if self.generation != 0 {
            // Other nodes may have written meanwhile, and a server that failed over may have lost
            // writes.
            self.scan = None;
            self.next_scan = Instant::now();
        }
        self.generation = self.servers.generation();
        Ok(())
    }

    fn read(&mut self, targets: &[Target]) -> Result<Vec<Content>, Fault> {
        let command = |target: &Target| {
            let key = key_of(target);
            Command::on(&key, &[b"GET", &key])
        };
        let commands: Vec<Command> = targets.iter().map(command).collect();
        let replies = self.servers.run(&commands)?;
        let content = |reply| match reply {
            Reply::Nil => Content::Absent,
            Reply::Bulk(bytes) => Content::Bytes(bytes),
            Reply::Oversized(_) => Content::Oversized,
            _ => Content::Foreign,
        };
        Ok(replies.into_iter().map(content).collect())
    }

    /// Decodes a content, unless it was seen before.
    fn take(&mut self, target: &Target, content: &Content) -> Option<Found> {
        let (bytes, is_value) = match content {
            Content::Absent => return None,
            Content::Bytes(bytes) => (bytes.as_slice(), true),
            Content::Oversized | Content::Foreign => (b"".as_slice(), false),
        };
        if !self.seen_contents.record(target, bytes) {
            return None;
        }
        let found = decode(target, bytes).filter(|_| is_value);
        self.damaged += usize::from(found.is_none());
        found
    }

    /// Reads targets, and keeps new records for [`Storage::poll`].
    fn read_news(&mut self, targets: &[Target]) -> Result<(), Fault> {
        for some in targets.chunks(CHUNK) {
            let contents = self.read(some)?;
            for (target, content) in some.iter().zip(&contents) {
                if let Some(found) = self.take(target, content) {
                    self.news.push_back(unproven(found));
                }
            }
        }
        Ok(())
    }

    fn try_write(&mut self, changes: &[StoreChange]) -> Result<(), Fault> {
        self.ready()?;
        let mut left: BTreeMap<Target, &StoreChange> = BTreeMap::new();
        for change in changes {
            left.insert(target_of(change), change);
        }
        for _ in 0..MAX_ROUNDS {
            if left.is_empty() {
                return Ok(());
            }
            let targets: Vec<Target> = left.keys().copied().collect();
            for some in targets.chunks(CHUNK) {
                self.swap(some, &mut left)?;
            }
        }
        match left.len() {
            0 => Ok(()),
            n => Err(Fault::Refused(format!(
                "TRYAGAIN others write {n} of its items faster than they can be compared"
            ))),
        }
    }

    /// Tries to write some changes once, and removes those that are done from `left`.
    fn swap(
        &mut self,
        targets: &[Target],
        left: &mut BTreeMap<Target, &StoreChange>,
    ) -> Result<(), Fault> {
        let contents = self.read(targets)?;
        let (mut commands, mut swapping) = (Vec::new(), Vec::new());
        for (target, content) in targets.iter().zip(contents) {
            let Some(change) = left.get(target) else {
                continue;
            };
            match self.step(target, change, content) {
                Step::Done => drop(left.remove(target)),
                Step::Swap(old, new, until) => {
                    let key = key_of(target);
                    let most = MAX_BULK.to_string();
                    let words: [&[u8]; 8] = [
                        b"EVAL",
                        SWAP,
                        b"1",
                        &key,
                        &old,
                        &new,
                        until.as_bytes(),
                        most.as_bytes(),
                    ];
                    commands.push(Command::on(&key, &words));
                    swapping.push((*target, new));
                }
            }
        }
        if swapping.is_empty() {
            return Ok(());
        }
        // The announcements follow the writes in the pipeline. Announcing a write that did not
        // happen only costs the readers a lookup.
        let written: Vec<Target> = swapping.iter().map(|(target, _)| *target).collect();
        commands.extend(self.changes.announce(&written));
        let replies = self.servers.run(&commands)?;
        if self.sync && self.servers.generation() != self.generation {
            // A server that was not checked may have taken some of the writes.
            return Err(Fault::Refused("TRYAGAIN its servers changed".into()));
        }
        for ((target, new), reply) in swapping.into_iter().zip(replies) {
            match (reply, new.as_slice()) {
                (Reply::Number(1), b"") => self.seen_contents.forget(&target),
                (Reply::Number(1), new) => drop(self.seen_contents.record(&target, new)),
                // Another writer was faster, so the value is compared again.
                _ => continue,
            }
            left.remove(&target);
        }
        Ok(())
    }

    /// Decides what a change requires, given the current content.
    fn step(&mut self, target: &Target, change: &StoreChange, content: Content) -> Step {
        let old = match content {
            // Content of another program is neither read nor written.
            Content::Foreign => return Step::Done,
            Content::Absent => Vec::new(),
            Content::Oversized => b">".to_vec(),
            Content::Bytes(bytes) => bytes,
        };
        let found = decode(target, &old);
        match change {
            StoreChange::Keep(record) => {
                let new = redis_value(record);
                let keeps = old == new
                    || found
                        .is_some_and(|found| self.stored_takes_precedence(&found, record, &old));
                match keeps {
                    true => Step::Done,
                    false => Step::Swap(old, new, until(record)),
                }
            }
            StoreChange::Forget(_) => match found {
                Some(found) if self.may_remove(&found, target, &old) => {
                    Step::Swap(old, Vec::new(), String::new())
                }
                _ => Step::Done,
            },
        }
    }

    /// Returns whether a record of this node is not written because of the stored one.
    fn stored_takes_precedence(
        &mut self,
        found: &Found,
        record: &StoredRecord,
        content: &[u8],
    ) -> bool {
        let Found { record: held, .. } = found;
        let rank = |record: &StoredRecord| Rank::of(&record.target, &record.item);
        match judge(&rank(held), &rank(record)) {
            Judgement::Newer { .. } => false,
            Judgement::Same => {
                let is_checked =
                    held.item.signature == record.item.signature || held.item.check().is_ok();
                is_checked && found.has_life && !is_later(record, held)
            }
            Judgement::Older { .. } => {
                let stays = !found.is_over(now(), self.ttl) && held.item.check().is_ok();
                if stays && self.seen_contents.record(&held.target, content) {
                    self.news.push_back(unproven(found.clone()));
                }
                stays
            }
        }
    }

    /// Returns whether a record that this node forgets is of no use to other nodes either.
    fn may_remove(&self, found: &Found, target: &Target, content: &[u8]) -> bool {
        // A value without a life was verified and rejected by this node.
        let is_judged = !found.has_life
            && found.record.item.seq.as_time().is_none()
            && self.seen_contents.is_last(target, content);
        is_judged || found.is_over(now(), self.ttl) || found.record.item.check().is_err()
    }

    fn try_page(&mut self, from: Target, most: usize) -> Result<Page, Fault> {
        self.ready()?;
        let (targets, next) = self.window.take(&mut self.servers, from, most)?;
        let mut page = Page {
            next,
            ..Page::default()
        };
        for some in targets.chunks(CHUNK) {
            let contents = self.read(some)?;
            for (target, content) in some.iter().zip(contents) {
                let bytes = match content {
                    Content::Absent => continue,
                    Content::Bytes(bytes) => bytes,
                    Content::Oversized | Content::Foreign => Vec::new(),
                };
                self.seen_contents.record(target, &bytes);
                match decode(target, &bytes) {
                    Some(found) => page.kept.push(unproven(found)),
                    None => page.damaged += 1,
                }
            }
        }
        Ok(page)
    }

    fn try_get(&mut self, target: &Target) -> Result<Option<Kept>, Fault> {
        self.ready()?;
        Ok(match self.read(&[*target])?.pop() {
            Some(Content::Bytes(bytes)) => {
                self.seen_contents.record(target, &bytes);
                decode(target, &bytes).map(unproven)
            }
            _ => None,
        })
    }

    fn try_poll(&mut self) -> Result<News, Fault> {
        self.ready()?;
        let mut more = false;
        if self.news.len() < MAX_NEWS {
            let read = self.changes.read(&mut self.servers)?;
            if read.gap {
                self.scan = None;
                self.next_scan = Instant::now();
            }
            more = read.more;
            self.read_news(&read.targets)?;
        }
        if self.news.len() < MAX_NEWS && self.lost.is_empty() {
            more |= self.scan()?;
        }
        let kept = self.news.len().min(MAX_NEWS);
        let rest = self.lost.len().saturating_sub(MAX_WANTED);
        let news = News {
            kept: self.news.drain(..kept).collect(),
            damaged: std::mem::take(&mut self.damaged),
            wanted: self.lost.split_off(rest),
            more: more || !self.news.is_empty() || !self.lost.is_empty(),
        };
        Ok(news)
    }

    /// Performs a step of the scan, if one is due. Returns whether more are.
    fn scan(&mut self) -> Result<bool, Fault> {
        if self.scan.is_none() {
            if Instant::now() < self.next_scan {
                return Ok(false);
            }
            self.seen_contents.begin_scan();
            self.scan = Some(Scan::begin(&mut self.servers)?);
        }
        let Some(scan) = &mut self.scan else {
            return Ok(false);
        };
        let step = scan.step(&mut self.servers);
        let targets = match step {
            Ok(targets) => targets,
            Err(fault) => {
                // Start again later: servers or their keys may have moved.
                self.scan = None;
                return Err(fault);
            }
        };
        self.read_news(&targets)?;
        if let Some(took) = self.scan.as_ref().and_then(Scan::ended) {
            self.scan = None;
            self.next_scan = Instant::now() + self.scan_every.max(took * SCAN_SHARE);
            self.lost = self.seen_contents.end_scan();
        }
        Ok(self.scan.is_some())
    }
}

fn unproven(found: Found) -> Kept {
    Kept {
        record: found.record,
        proven: false,
    }
}

/// Returns whether a record expires later than, or has a binding that is missing in, a stored one
/// that is otherwise equal.
fn is_later(record: &StoredRecord, held: &StoredRecord) -> bool {
    let gains_binding = record.bound.is_some() && held.bound.is_none();
    gains_binding
        || match (record.expires, held.expires) {
            (None, held) => held.is_some(),
            (Some(_), None) => false,
            (Some(expires), Some(held)) => expires > held.plus(MIN_EXTENSION),
        }
}

/// Returns when Redis may remove a record, in Unix milliseconds; empty for never. Only needed while
/// no node runs, since nodes remove expired records.
fn until(record: &StoredRecord) -> String {
    match record.expires.filter(|expires| expires.is_set()) {
        Some(expires) => (expires.0.div_ceil(1_000_000)).to_string(),
        None => String::new(),
    }
}

fn now() -> Unix {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Unix(nanos(since.unwrap_or_default()))
}

fn sync_setting_unknown(fault: Fault) -> Fault {
    match fault {
        Fault::Refused(text) if text.starts_with("NOPERM") || text.starts_with("ERR") => {
            Fault::Unsuitable(format!(
                "durability is \"sync\", and Redis does not say whether it syncs each write ({text}); let the user run config|get, or set durability to \"async\""
            ))
        }
        fault => fault,
    }
}

/// Checks that Redis syncs each write before it answers.
fn check_sync(replies: &[Reply]) -> Result<(), Fault> {
    let value = |index: usize| {
        let pair = replies.get(index).and_then(Reply::list);
        pair.and_then(|pair| pair.get(1)?.text()).unwrap_or("?")
    };
    match (value(0), value(1)) {
        ("yes", "always") => Ok(()),
        (append, fsync) => Err(Fault::Unsuitable(format!(
            "durability is \"sync\", and Redis has appendonly {append} and appendfsync {fsync}; set them to yes and always, or durability to \"async\""
        ))),
    }
}

impl Storage for RedisStorage {
    fn kind(&self) -> &'static str {
        "redis"
    }

    fn page(&mut self, from: Target, most: usize) -> Result<Page, StorageError> {
        let page = self.try_page(from, most);
        self.to_storage_error(page)
    }

    fn get(&mut self, target: &Target) -> Result<Option<Kept>, StorageError> {
        let kept = self.try_get(target);
        self.to_storage_error(kept)
    }

    fn write(&mut self, changes: &[StoreChange], _: bool) -> Result<(), StorageError> {
        let written = self.try_write(changes);
        self.to_storage_error(written)
    }

    fn is_durable(&self) -> bool {
        // Without it, a write has already failed.
        self.sync
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn poll_every(&self) -> Option<Duration> {
        Some(POLL)
    }

    fn poll(&mut self) -> Result<News, StorageError> {
        let news = self.try_poll();
        self.to_storage_error(news)
    }
}
