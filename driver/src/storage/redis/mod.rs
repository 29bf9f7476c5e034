//! Storage in Redis (or Valkey), which several nodes may share with each other and with Go's
//! programs: `dht:` and the target in hexadecimal, each an item in upstream's JSON.
//!
//! Redis has no rules: a script swaps a value if it is still what was read, and the merge rule of
//! the core decides which of two stays. Of what is read nothing is believed: it is given to the
//! core without proof, which checks its signature.
//!
//! A forgotten target stays in Redis while its item lives: another node may hold it. It is removed
//! once its life is over, or when its signature is wrong; Redis does so, too, by the key's expiry.

mod changes;
mod connection;
mod fault;
mod known;
mod resp;
mod scan;
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
use self::known::Known;
use self::resp::{Command, MOST_BULK, Reply};
use self::scan::{Scan, Window};
use self::servers::Servers;
use self::value::{Found, decode, key_of};
use crate::storage::contract::{Kept, News, Page, Storage, StorageError, target_of};

pub use resp::Reply as RedisReply;
pub use url::{RedisUrl, RedisUrlError};
pub use value::{redis_record, redis_value};

/// Between two looks at what others wrote.
const POLL: Duration = Duration::from_millis(200);
/// Between two scans for writers that announce nothing; at least, see [`SCAN_SHARE`].
const SCAN_EVERY: Duration = Duration::from_secs(60);
/// A scan that takes long is followed by a pause so many times as long.
const SCAN_SHARE: u32 = 20;
/// Keys read or written at once.
const CHUNK: usize = 256;
/// Times that a value is compared again because another writer was faster.
const ROUNDS: usize = 16;
/// Records that wait to be taken; nothing more is read then.
const MOST_NEWS: usize = 1_024;
/// Targets asked for again in one answer.
const WANTED: usize = 256;
/// A renewal that extends a life by less is not worth a write.
const WORTH_WRITING: Duration = Duration::from_secs(1);

/// Swaps a value, or removes it, if it is still the one that was read. What was too long to be
/// read is told by its length.
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

/// What lies at a key.
enum Content {
    Absent,
    Bytes(Vec<u8>),
    /// Longer than any item.
    Oversized,
    /// Not a string: another program's.
    Foreign,
}

/// What to do about a change.
enum Step {
    Done,
    /// Swap this for that; nothing for that removes. The last is when Redis may drop it.
    Swap(Vec<u8>, Vec<u8>, String),
}

/// Items in Redis.
pub struct RedisStorage {
    servers: Servers,
    changes: Changes,
    known: Known,
    /// How long an item lives whose writer did not say.
    ttl: Duration,
    /// Only a Redis that syncs each write will do.
    sync: bool,
    /// Of the connections that were checked.
    generation: u64,
    news: VecDeque<Kept>,
    /// Targets that Redis has lost.
    lost: Vec<Target>,
    damaged: usize,
    scan: Option<Scan>,
    next_scan: Instant,
    scan_every: Duration,
    window: Window,
}

impl RedisStorage {
    /// Storage behind `url`; nothing is connected before it is used. `ttl` is how long items live
    /// whose writers say nothing about that. With `sync`, nothing is written unless Redis syncs
    /// each write (`appendfsync always`).
    #[must_use]
    pub fn new(url: RedisUrl, ttl: Duration, sync: bool) -> Self {
        let name = RandomState::new().hash_one(SystemTime::now());
        let servers = Servers::new(url);
        let changes = Changes::new(format!("{name:016x}"), servers.is_cluster());
        Self {
            servers,
            changes,
            known: Known::default(),
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

    /// Sets how often it looks through everything for writers that announce nothing; a minute
    /// unless set. A scan that takes long is followed by a longer pause all the same.
    #[must_use]
    pub fn with_scan_every(mut self, every: Duration) -> Self {
        self.scan_every = every;
        self.next_scan = Instant::now() + every;
        self
    }

    /// Connects, and checks that Redis is fit for use.
    ///
    /// # Errors
    /// [`StorageError`], with what to do about it.
    pub fn check(&mut self) -> Result<(), StorageError> {
        let checked = self.ready();
        self.told(checked)
    }

    fn told<T>(&self, result: Result<T, Fault>) -> Result<T, StorageError> {
        result.map_err(|fault| {
            let url = self.servers.url();
            match fault {
                Fault::Unsuitable(_) => StorageError::Unsuitable(format!("{url}: {fault}")),
                _ => StorageError::Unavailable(format!("{url}: {fault}")),
            }
        })
    }

    /// Connects if need be. What is new is checked, and compared with what is known.
    fn ready(&mut self) -> Result<(), Fault> {
        let masters = self.servers.masters()?;
        if self.servers.generation() == self.generation {
            return Ok(());
        }
        if self.sync {
            for master in &masters {
                let settings = [b"appendonly".as_slice(), b"appendfsync"]
                    .map(|name| Command::new(&[b"CONFIG", b"GET", name]));
                let replies = self.servers.run_on(master, &settings).map_err(unsynced)?;
                check_sync(&replies)?;
            }
        }
        self.changes.begin(&mut self.servers)?;
        if self.generation != 0 {
            // Others wrote meanwhile, and a server that failed over may have lost writes.
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

    /// Reads a content that is there, unless it was seen before.
    fn take(&mut self, target: &Target, content: &Content) -> Option<Found> {
        let (bytes, is_value) = match content {
            Content::Absent => return None,
            Content::Bytes(bytes) => (bytes.as_slice(), true),
            Content::Oversized | Content::Foreign => (b"".as_slice(), false),
        };
        if !self.known.note(target, bytes) {
            return None;
        }
        let found = decode(target, bytes).filter(|_| is_value);
        self.damaged += usize::from(found.is_none());
        found
    }

    /// Reads targets, and keeps what is new for [`Storage::poll`].
    fn look_at(&mut self, targets: &[Target]) -> Result<(), Fault> {
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
        for _ in 0..ROUNDS {
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

    /// Tries to write some changes once, and takes out those that are done.
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
                    let most = MOST_BULK.to_string();
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
        // Behind the writes on the way: who hears of one that did not happen looks for nothing.
        let written: Vec<Target> = swapping.iter().map(|(target, _)| *target).collect();
        commands.extend(self.changes.announce(&written));
        let replies = self.servers.run(&commands)?;
        if self.sync && self.servers.generation() != self.generation {
            // A server that was not checked may have taken some.
            return Err(Fault::Refused("TRYAGAIN its servers changed".into()));
        }
        for ((target, new), reply) in swapping.into_iter().zip(replies) {
            match (reply, new.as_slice()) {
                (Reply::Number(1), b"") => self.known.forget(&target),
                (Reply::Number(1), new) => drop(self.known.note(&target, new)),
                // Another was faster: it is compared again.
                _ => continue,
            }
            left.remove(&target);
        }
        Ok(())
    }

    /// What a change means, given what lies there.
    fn step(&mut self, target: &Target, change: &StoreChange, content: Content) -> Step {
        let old = match content {
            // Another program's: neither read nor written.
            Content::Foreign => return Step::Done,
            Content::Absent => Vec::new(),
            Content::Oversized => b">".to_vec(),
            Content::Bytes(bytes) => bytes,
        };
        let found = decode(target, &old);
        match change {
            StoreChange::Keep(record) => {
                let new = redis_value(record);
                let keeps =
                    old == new || found.is_some_and(|found| self.yields(&found, record, &old));
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

    /// Whether a record of this node's gives way to what lies there.
    fn yields(&mut self, found: &Found, record: &StoredRecord, content: &[u8]) -> bool {
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
                if stays && self.known.note(&held.target, content) {
                    self.news.push_back(unproven(found.clone()));
                }
                stays
            }
        }
    }

    /// Whether a record that this node forgets is of no use to others either.
    fn may_remove(&self, found: &Found, target: &Target, content: &[u8]) -> bool {
        // What says nothing of its life was judged by a node.
        let is_judged = !found.has_life
            && found.record.item.seq.as_time().is_none()
            && self.known.is_last(target, content);
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
                self.known.note(target, &bytes);
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
                self.known.note(target, &bytes);
                decode(target, &bytes).map(unproven)
            }
            _ => None,
        })
    }

    fn try_poll(&mut self) -> Result<News, Fault> {
        self.ready()?;
        let mut more = false;
        if self.news.len() < MOST_NEWS {
            let read = self.changes.read(&mut self.servers)?;
            if read.gap {
                self.scan = None;
                self.next_scan = Instant::now();
            }
            more = read.more;
            self.look_at(&read.targets)?;
        }
        if self.news.len() < MOST_NEWS && self.lost.is_empty() {
            more |= self.scan()?;
        }
        let kept = self.news.len().min(MOST_NEWS);
        let rest = self.lost.len().saturating_sub(WANTED);
        let news = News {
            kept: self.news.drain(..kept).collect(),
            damaged: std::mem::take(&mut self.damaged),
            wanted: self.lost.split_off(rest),
            more: more || !self.news.is_empty() || !self.lost.is_empty(),
        };
        Ok(news)
    }

    /// Takes a step of the scan that is due; whether there are more.
    fn scan(&mut self) -> Result<bool, Fault> {
        if self.scan.is_none() {
            if Instant::now() < self.next_scan {
                return Ok(false);
            }
            self.known.begin_scan();
            self.scan = Some(Scan::begin(&mut self.servers)?);
        }
        let Some(scan) = &mut self.scan else {
            return Ok(false);
        };
        let step = scan.step(&mut self.servers);
        let targets = match step {
            Ok(targets) => targets,
            Err(fault) => {
                // From the beginning: servers or their keys may have moved.
                self.scan = None;
                return Err(fault);
            }
        };
        self.look_at(&targets)?;
        if let Some(took) = self.scan.as_ref().and_then(Scan::ended) {
            self.scan = None;
            self.next_scan = Instant::now() + self.scan_every.max(took * SCAN_SHARE);
            self.lost = self.known.end_scan();
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

/// Whether a record lives longer, or says more, than an equal one.
fn is_later(record: &StoredRecord, held: &StoredRecord) -> bool {
    let gains_binding = record.bound.is_some() && held.bound.is_none();
    gains_binding
        || match (record.expires, held.expires) {
            (None, held) => held.is_some(),
            (Some(_), None) => false,
            (Some(expires), Some(held)) => expires > held.plus(WORTH_WRITING),
        }
}

/// When Redis may drop a record, in milliseconds; nothing for never. Only for when no node runs:
/// while one does, it removes what is over.
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

fn unsynced(fault: Fault) -> Fault {
    match fault {
        Fault::Refused(text) if text.starts_with("NOPERM") || text.starts_with("ERR") => {
            Fault::Unsuitable(format!(
                "durability is \"sync\", and Redis does not say whether it syncs each write ({text}); let the user run config|get, or set durability to \"async\""
            ))
        }
        fault => fault,
    }
}

/// Whether Redis syncs each write before it answers.
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
        self.told(page)
    }

    fn get(&mut self, target: &Target) -> Result<Option<Kept>, StorageError> {
        let kept = self.try_get(target);
        self.told(kept)
    }

    fn write(&mut self, changes: &[StoreChange], _: bool) -> Result<(), StorageError> {
        let written = self.try_write(changes);
        self.told(written)
    }

    fn is_durable(&self) -> bool {
        // Else nothing was written.
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
        self.told(news)
    }
}
