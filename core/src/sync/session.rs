//! The initiator of a session: a state machine that sends requests until it has found every
//! difference.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::id::Target;
use crate::item::{Item, Life};
use crate::sync::bytes::MessageError;
use crate::sync::entry::{Lead, Stamp};
use crate::sync::item_bytes::item_bytes;
use crate::sync::message::{
    FetchedItem, MAX_IDS, MAX_SYNC_MESSAGE, RequestPart, ResponsePart, Short, SyncRequest,
    SyncResponse,
};
use crate::sync::prefix::Prefix;
use crate::sync::respond::{
    FEW, MAX_PAGE_BYTES, MAX_RANGE_BYTES, MAX_RESPOND_WORK, PART_BYTES, name, split, sum,
};
use crate::sync::source::Source;

/// Maximum number of fingerprints in an answer: its first part may exceed the byte limit, if all of
/// 1,024 ranges differ and each is split in sixteen.
const MAX_SPLIT: usize = 1_024 * 16 + MAX_RANGE_BYTES / 4;
/// Maximum number of items that one request asks for by name.
const WANTS_AT_ONCE: usize = 8 * MAX_IDS;

/// Limits of a session. Beyond them it ends with an error; what it has fetched is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionLimits {
    /// Number of requests.
    pub rounds: u32,
    /// Bytes of messages received.
    pub bytes_in: u64,
    /// Bytes of messages sent.
    pub bytes_out: u64,
    /// Number of ranges to compare, items to request and items to give that are pending at one
    /// time.
    pub waiting: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            rounds: 4_096,
            bytes_in: 256 << 20,
            bytes_out: 256 << 20,
            waiting: 1 << 17,
        }
    }
}

/// Why a session failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The answer is not a valid message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The answer contains something that was not requested, or repeats something.
    #[error("the peer answers what it was not asked")]
    NotAsked,
    /// The answer answers no part of the request.
    #[error("the peer answers nothing of what it was asked")]
    NoProgress,
    /// The limit on requests was reached.
    #[error("more than {0} rounds; the next session goes on")]
    Rounds(u32),
    /// A limit on bytes was reached.
    #[error("more than {0} bytes; the next session goes on")]
    Bytes(u64),
    /// The limit on pending differences was reached.
    #[error("more than {0} differences wait; the next session goes on")]
    Waiting(usize),
}

/// Cost and yield of a session.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Summary {
    /// Requests sent.
    pub rounds: u32,
    /// Bytes of requests.
    pub bytes_out: u64,
    /// Bytes of responses.
    pub bytes_in: u64,
    /// Items received.
    pub fetched: u64,
    /// Items sent.
    pub given: u64,
    /// Encoded size of those items.
    pub item_bytes: u64,
}

/// A received item; its signature is not verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Received {
    /// The item.
    pub item: Arc<Item>,
    /// The lifetime that the peer states.
    pub life: Life,
}

/// An action that a session requests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SessionOutput {
    /// Send this request, and pass its response to [`Session::handle`].
    Send(Vec<u8>),
    /// Verify and store this item.
    Item(Received),
    /// Both sides have the same items, apart from what changed meanwhile and what one side does not
    /// accept.
    Finished(Summary),
}

/// The next question about a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum RangeStep {
    /// Compare the fingerprint of all entries.
    Whole,
    /// Compare the subranges.
    Split(Prefix),
    /// Name the entries; split the range if there are too many.
    Name(Prefix),
    /// Request its items from a target on.
    Pull(Prefix, Target),
}

/// A part of the pending request.
enum SentPart {
    Range(RangeStep),
    Want(Vec<Lead>),
    Given,
}

/// A range whose items are requested.
struct Pull {
    prefix: Prefix,
    /// The target from which items are requested.
    from: Target,
    /// The lowest target that the next item may have.
    next: Target,
}

/// A session, on the initiator's side.
pub struct Session {
    salt: [u8; 8],
    limits: SessionLimits,
    ranges: VecDeque<RangeStep>,
    wants: VecDeque<Lead>,
    gives: VecDeque<Target>,
    /// Ranges that the responder lacks, with the target at which to continue.
    pushes: VecDeque<(Prefix, Target)>,
    /// The parts of the pending request; `None` if no answer is awaited.
    sent: Option<Vec<SentPart>>,
    /// Ranges that the answer may refer to.
    asked: BTreeSet<Prefix>,
    /// Ranges whose entries were named, with their targets in this order.
    named: BTreeMap<Prefix, Vec<Target>>,
    /// Leads of the items that the answer may contain.
    wanted: BTreeSet<Lead>,
    pulls: Vec<Pull>,
    outputs: VecDeque<SessionOutput>,
    summary: Summary,
}

impl Session {
    /// Starts a session, whose first request is then ready. The caller draws `salt` at random.
    ///
    /// # Errors
    /// Only if a limit is 0.
    pub fn start(
        source: &impl Source,
        salt: [u8; 8],
        limits: SessionLimits,
    ) -> Result<Self, SessionError> {
        let first = match source.tree().total().count() {
            0 => RangeStep::Pull(Prefix::ALL, Target::default()),
            _ => RangeStep::Whole,
        };
        let mut session = Self {
            salt,
            limits,
            ranges: VecDeque::from([first]),
            wants: VecDeque::new(),
            gives: VecDeque::new(),
            pushes: VecDeque::new(),
            sent: None,
            asked: BTreeSet::new(),
            named: BTreeMap::new(),
            wanted: BTreeSet::new(),
            pulls: Vec::new(),
            outputs: VecDeque::new(),
            summary: Summary::default(),
        };
        session.compose(source)?;
        Ok(session)
    }

    /// Cost and yield so far.
    #[must_use]
    pub const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Returns the next action. Drain until `None`.
    pub fn poll_output(&mut self) -> Option<SessionOutput> {
        self.outputs.pop_front()
    }

    /// Takes the response to the pending request, and prepares the next one.
    ///
    /// # Errors
    /// The session has failed; see [`SessionError`].
    pub fn handle(&mut self, source: &impl Source, response: &[u8]) -> Result<(), SessionError> {
        let sent = self.sent.take().ok_or(SessionError::NotAsked)?;
        self.summary.bytes_in += response.len() as u64;
        if self.summary.bytes_in > self.limits.bytes_in {
            return Err(SessionError::Bytes(self.limits.bytes_in));
        }
        let response = SyncResponse::decode(response)?;
        let split = response.parts.iter().map(|part| match part {
            ResponsePart::Split(_, _, parts) => parts.len(),
            _ => 0,
        });
        if split.sum::<usize>() > MAX_SPLIT {
            return Err(SessionError::NotAsked);
        }
        for part in response.parts {
            self.part(source, part)?;
        }
        let answered = usize::from(response.answered);
        if answered > sent.len() {
            return Err(SessionError::NotAsked);
        }
        if answered == 0 {
            return Err(SessionError::NoProgress);
        }
        for unanswered in sent.into_iter().skip(answered) {
            match unanswered {
                SentPart::Range(todo) => self.ranges.push_back(todo),
                SentPart::Want(leads) => {
                    let missing = leads.into_iter().filter(|lead| self.wanted.contains(lead));
                    self.wants.extend(missing);
                }
                // The responder answers all of them, since they come first.
                SentPart::Given => return Err(SessionError::NoProgress),
            }
        }
        let waiting = self.ranges.len() + self.wants.len() + self.gives.len() + self.pushes.len();
        if waiting > self.limits.waiting {
            return Err(SessionError::Waiting(self.limits.waiting));
        }
        self.compose(source)
    }

    /// Takes a part of a response.
    fn part(&mut self, source: &impl Source, part: ResponsePart) -> Result<(), SessionError> {
        match part {
            ResponsePart::Same => self.answered(&Prefix::ALL)?,
            ResponsePart::Empty(prefix) => {
                self.answered(&prefix)?;
                self.pushes.push_back((prefix, prefix.first()));
            }
            ResponsePart::Leaf(prefix) => {
                self.answered(&prefix)?;
                self.ranges.push_back(RangeStep::Name(prefix));
            }
            ResponsePart::Split(prefix, step, theirs) => {
                self.answered(&prefix)?;
                let mut work = 0;
                for (index, theirs) in theirs.iter().enumerate() {
                    let child = prefix.child(step, index).ok_or(SessionError::NotAsked)?;
                    let sum = sum(source, &child, &mut work);
                    if sum.fingerprint(&self.salt)[..4] != theirs[..] {
                        self.ranges.push_back(match sum.count() {
                            0 => RangeStep::Pull(child, child.first()),
                            1..=FEW => RangeStep::Name(child),
                            _ => RangeStep::Split(child),
                        });
                    }
                }
            }
            ResponsePart::Entries(prefix, unknown, stamps) => {
                self.answered(&prefix)?;
                let named = self.named.remove(&prefix).ok_or(SessionError::NotAsked)?;
                self.entries(source, &prefix, unknown, &stamps, &named)?;
            }
            ResponsePart::Wanted(_) => return Err(SessionError::NotAsked),
            ResponsePart::Item(item) => self.item(item)?,
            ResponsePart::More(prefix, next) => {
                let pull = self.pulls.iter().position(|pull| pull.prefix == prefix);
                let pull = self.pulls.remove(pull.ok_or(SessionError::NotAsked)?);
                if next <= pull.from || next < pull.next || !prefix.contains(&next) {
                    return Err(SessionError::NotAsked);
                }
                self.ranges.push_back(RangeStep::Pull(prefix, next));
            }
        }
        Ok(())
    }

    /// Checks that an answer refers to a requested range, for the first time.
    fn answered(&mut self, prefix: &Prefix) -> Result<(), SessionError> {
        match self.asked.remove(prefix) {
            true => Ok(()),
            false => Err(SessionError::NotAsked),
        }
    }

    /// Takes the responder's entries in a range that were not named, and the names that it does not
    /// know.
    fn entries(
        &mut self,
        source: &impl Source,
        prefix: &Prefix,
        unknown: u64,
        stamps: &[Stamp],
        named: &[Target],
    ) -> Result<(), SessionError> {
        for stamp in stamps {
            let first = stamp.lead.first();
            if !(prefix.contains(&first) || Lead::of(&prefix.first()) == stamp.lead) {
                return Err(SessionError::NotAsked);
            }
            let held = source.entries(first).next();
            let held = held.filter(|(target, _)| Lead::of(target) == stamp.lead);
            let (want, give) = match held {
                None => (source.wants(stamp), None),
                Some((target, version)) => {
                    let ours = (version.origin, version.seq);
                    let theirs = (stamp.origin, stamp.seq);
                    // If one sequence has two contents, both sides need both.
                    (theirs >= ours, (ours >= theirs).then_some(target))
                }
            };
            if want {
                self.wants.push_back(stamp.lead);
            }
            self.gives.extend(give);
        }
        for (place, target) in named.iter().enumerate() {
            let lead = Lead::of(target);
            if unknown >> place & 1 == 1 && stamps.iter().all(|stamp| stamp.lead != lead) {
                self.gives.push_back(*target);
            }
        }
        Ok(())
    }

    /// Takes an item that was requested by name or with its range.
    fn item(&mut self, (item, life): FetchedItem) -> Result<(), SessionError> {
        let target = item.target();
        if !self.wanted.remove(&Lead::of(&target)) {
            let pull = self.pulls.iter_mut();
            let mut pull = pull.filter(|pull| pull.prefix.contains(&target));
            let pull = pull.next().ok_or(SessionError::NotAsked)?;
            if target < pull.next {
                return Err(SessionError::NotAsked);
            }
            // Each item may come once: the next one must be beyond it.
            pull.next = successor(&target);
        }
        self.summary.fetched += 1;
        self.summary.item_bytes += item_bytes(&item) as u64;
        self.outputs
            .push_back(SessionOutput::Item(Received { item, life }));
        Ok(())
    }

    /// Prepares the next request, or ends the session.
    fn compose(&mut self, source: &impl Source) -> Result<(), SessionError> {
        self.asked.clear();
        self.named.clear();
        self.wanted.clear();
        self.pulls.clear();
        let mut request = SyncRequest {
            salt: self.salt,
            parts: Vec::new(),
        };
        let mut sent = Vec::new();
        self.add_gives(source, &mut request.parts);
        sent.extend(request.parts.iter().map(|_| SentPart::Given));
        self.add_ranges(source, &mut request.parts, &mut sent);
        self.add_wants(&mut request.parts, &mut sent);
        if sent.is_empty() {
            let finished = SessionOutput::Finished(self.summary);
            self.outputs.push_back(finished);
            return Ok(());
        }
        if self.summary.rounds >= self.limits.rounds {
            return Err(SessionError::Rounds(self.limits.rounds));
        }
        let bytes = request.encode();
        debug_assert!(bytes.len() <= MAX_SYNC_MESSAGE);
        self.summary.rounds += 1;
        self.summary.bytes_out += bytes.len() as u64;
        if self.summary.bytes_out > self.limits.bytes_out {
            return Err(SessionError::Bytes(self.limits.bytes_out));
        }
        self.sent = Some(sent);
        self.outputs.push_back(SessionOutput::Send(bytes));
        Ok(())
    }

    /// Adds items that the responder lacks, up to a page.
    fn add_gives(&mut self, source: &impl Source, parts: &mut Vec<RequestPart>) {
        let mut bytes = 0;
        let mut give = |target: &Target| {
            if let Some(item) = source.item(target) {
                let size = item_bytes(&item.0);
                bytes += size + PART_BYTES;
                self.summary.given += 1;
                self.summary.item_bytes += size as u64;
                parts.push(RequestPart::Give(item));
            }
            bytes < MAX_PAGE_BYTES
        };
        while let Some(target) = self.gives.pop_front() {
            if !give(&target) {
                return;
            }
        }
        while let Some((prefix, from)) = self.pushes.pop_front() {
            for (target, _) in source.entries(from) {
                if !prefix.contains(&target) {
                    break;
                }
                if !give(&target) {
                    return self.pushes.push_front((prefix, successor(&target)));
                }
            }
        }
    }

    fn add_ranges(
        &mut self,
        source: &impl Source,
        parts: &mut Vec<RequestPart>,
        sent: &mut Vec<SentPart>,
    ) {
        let (mut bytes, mut work) = (0, 0);
        while bytes < MAX_RANGE_BYTES && work < MAX_RESPOND_WORK {
            let Some(todo) = self.ranges.pop_front() else {
                return;
            };
            let part = match todo {
                RangeStep::Whole => {
                    let mut fingerprint = [0; 16];
                    let total = source.tree().total().fingerprint(&self.salt);
                    fingerprint.copy_from_slice(&total[..16]);
                    self.asked.insert(Prefix::ALL);
                    RequestPart::Whole(fingerprint)
                }
                RangeStep::Pull(prefix, from) => {
                    self.pulls.push(Pull {
                        prefix,
                        from,
                        next: from,
                    });
                    RequestPart::Pull(prefix, from)
                }
                RangeStep::Split(prefix) => self.split(source, &prefix, &mut work),
                RangeStep::Name(prefix) => match self.name(source, &prefix, &mut work) {
                    Some(ids) => RequestPart::Ids(prefix, ids),
                    None => self.split(source, &prefix, &mut work),
                },
            };
            bytes += match &part {
                RequestPart::Split(_, _, parts) => 35 + 4 * parts.len(),
                RequestPart::Ids(_, ids) => 34 + 4 * ids.len(),
                _ => 66,
            };
            parts.push(part);
            sent.push(SentPart::Range(todo));
        }
    }

    /// The subranges of a range; its names if it cannot be split further.
    fn split(&mut self, source: &impl Source, prefix: &Prefix, work: &mut usize) -> RequestPart {
        let count = sum(source, prefix, work).count();
        if let Some((step, parts)) = split(source, &self.salt, prefix, count, work) {
            let children = (0..parts.len()).filter_map(|index| prefix.child(step, index));
            self.asked.extend(children);
            RequestPart::Split(*prefix, step, parts)
        } else {
            let ids = self.name(source, prefix, work).unwrap_or_default();
            RequestPart::Ids(*prefix, ids)
        }
    }

    /// The names of the entries of a range; `None` if there are too many.
    fn name(
        &mut self,
        source: &impl Source,
        prefix: &Prefix,
        work: &mut usize,
    ) -> Option<Vec<Short>> {
        let (mut ids, mut targets) = (Vec::new(), Vec::new());
        for (target, version) in source.entries(prefix.first()) {
            if !prefix.contains(&target) {
                break;
            }
            if ids.len() == MAX_IDS {
                return None;
            }
            *work += 4;
            ids.push(name(&self.salt, &version.digest(&target)));
            targets.push(target);
        }
        self.asked.insert(*prefix);
        self.named.insert(*prefix, targets);
        Some(ids)
    }

    fn add_wants(&mut self, parts: &mut Vec<RequestPart>, sent: &mut Vec<SentPart>) {
        let now = self.wants.len().min(WANTS_AT_ONCE);
        let leads: Vec<Lead> = self.wants.drain(..now).collect();
        for leads in leads.chunks(MAX_IDS) {
            self.wanted.extend(leads);
            parts.push(RequestPart::Want(leads.to_vec()));
            sent.push(SentPart::Want(leads.to_vec()));
        }
    }
}

/// The target after another; the last one is its own successor.
fn successor(target: &Target) -> Target {
    let mut bytes = *target.as_bytes();
    for byte in bytes.iter_mut().rev() {
        let (next, over) = byte.overflowing_add(1);
        *byte = next;
        if !over {
            return Target::from_bytes(bytes);
        }
    }
    *target
}
