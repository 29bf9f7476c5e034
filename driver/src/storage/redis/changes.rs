//! The stream by which the nodes on one Redis learn of each other's writes.
//!
//! `dht:changes`, at most some 65,536 entries. An entry has one field: the writer's name, and as
//! its value the targets written, 32 bytes each. In a cluster there are sixteen streams,
//! `dht:changes:{0}` to `dht:changes:{15}`, by the first four bits of the target: each lies on one
//! server, and together they lie on several. An entry says that something was written, not what:
//! a reader fetches the value, and one entry too many costs only that.

use skydht_core::id::Target;

use super::fault::Fault;
use super::resp::{Command, Reply};
use super::servers::Servers;

/// Entries that a stream keeps, about: what some minutes of many writes make.
const MOST_ENTRIES: &[u8] = b"65536";
/// Targets of one entry.
const ENTRY_TARGETS: usize = 16;
/// Entries of one stream that are read at once.
const READ_ENTRIES: usize = 32;
/// Streams in a cluster.
const CLUSTER_STREAMS: u8 = 16;

/// An entry's number: milliseconds, and a count within them.
type EntryId = (u64, u64);

struct Stream {
    key: Vec<u8>,
    /// The last entry read; none before the first connection.
    last: Option<EntryId>,
}

/// The streams, and how far they are read.
pub(super) struct Changes {
    /// Whose entries are its own.
    name: Vec<u8>,
    streams: Vec<Stream>,
}

/// What was read.
#[derive(Default)]
pub(super) struct Read {
    pub(super) targets: Vec<Target>,
    /// Entries were dropped before they were read.
    pub(super) gap: bool,
    /// There is more to read.
    pub(super) more: bool,
}

impl Changes {
    pub(super) fn new(name: String, cluster: bool) -> Self {
        let stream = |key: String| Stream {
            key: key.into_bytes(),
            last: None,
        };
        let streams = match cluster {
            false => vec![stream("dht:changes".into())],
            true => (0..CLUSTER_STREAMS)
                .map(|n| stream(format!("dht:changes:{{{n}}}")))
                .collect(),
        };
        Self {
            name: name.into_bytes(),
            streams,
        }
    }

    fn stream_of(&self, target: &Target) -> usize {
        match self.streams.len() {
            1 => 0,
            _ => usize::from(target.as_bytes()[0] >> 4),
        }
    }

    /// Commands that tell the others of writes.
    pub(super) fn announce(&self, targets: &[Target]) -> Vec<Command> {
        let mut by_stream = vec![Vec::new(); self.streams.len()];
        for target in targets {
            by_stream[self.stream_of(target)].extend_from_slice(target.as_bytes());
        }
        let mut commands = Vec::new();
        for (stream, targets) in self.streams.iter().zip(&by_stream) {
            for some in targets.chunks(ENTRY_TARGETS * 32) {
                let key = stream.key.as_slice();
                let words = [
                    b"XADD",
                    key,
                    b"MAXLEN",
                    b"~",
                    MOST_ENTRIES,
                    b"*",
                    &self.name,
                    some,
                ];
                commands.push(Command::on(key, &words));
            }
        }
        commands
    }

    /// Begins with what comes after now, unless it has begun already.
    pub(super) fn begin(&mut self, servers: &mut Servers) -> Result<(), Fault> {
        if self.streams.iter().all(|stream| stream.last.is_some()) {
            return Ok(());
        }
        let newest = self.streams.iter().map(|stream| {
            Command::on(
                &stream.key,
                &[b"XREVRANGE", &stream.key, b"+", b"-", b"COUNT", b"1"],
            )
        });
        let replies = servers.run(&newest.collect::<Vec<_>>())?;
        for (stream, reply) in self.streams.iter_mut().zip(&replies) {
            stream.last = Some(first_id(reply)?.unwrap_or_default());
        }
        Ok(())
    }

    /// Reads on. Call [`Changes::begin`] before.
    pub(super) fn read(&mut self, servers: &mut Servers) -> Result<Read, Fault> {
        let mut commands = Vec::with_capacity(2 * self.streams.len());
        let count = READ_ENTRIES.to_string();
        for Stream { key, last } in &self.streams {
            let oldest: [&[u8]; 6] = [b"XRANGE", key, b"-", b"+", b"COUNT", b"1"];
            commands.push(Command::on(key, &oldest));
            let (ms, n) = last.unwrap_or_default();
            let after = format!("{ms}-{n}");
            let next: [&[u8]; 6] = [
                b"XREAD",
                b"COUNT",
                count.as_bytes(),
                b"STREAMS",
                key,
                after.as_bytes(),
            ];
            commands.push(Command::on(key, &next));
        }
        let replies = servers.run(&commands)?;
        let mut read = Read::default();
        for (stream, replies) in self.streams.iter_mut().zip(replies.chunks(2)) {
            let [oldest, next] = replies else {
                return Err(unexpected());
            };
            let last = stream.last.unwrap_or_default();
            let oldest = first_id(oldest)?;
            let mut at = last;
            // The entry read last is the oldest that may be missing: without it, others may be.
            if last != EntryId::default() && oldest.is_none_or(|oldest| oldest > last) {
                read.gap = true;
                at = oldest.map_or(EntryId::default(), before);
            }
            let entries = match next {
                Reply::Nil => &[],
                reply => entries_of(reply).ok_or_else(unexpected)?,
            };
            for entry in entries {
                let [id, fields] = entry.list().ok_or_else(unexpected)? else {
                    return Err(unexpected());
                };
                at = at.max(parse_id(id).ok_or_else(unexpected)?);
                for pair in fields.list().unwrap_or_default().chunks(2) {
                    let [writer, targets] = pair else { continue };
                    let (Some(writer), Some(targets)) = (writer.bytes(), targets.bytes()) else {
                        continue;
                    };
                    if writer != self.name {
                        let targets = targets.as_chunks().0.iter().take(ENTRY_TARGETS);
                        read.targets
                            .extend(targets.map(|it| Target::from_bytes(*it)));
                    }
                }
            }
            read.more |= entries.len() == READ_ENTRIES;
            stream.last = Some(at);
        }
        read.targets.sort_unstable();
        read.targets.dedup();
        Ok(read)
    }
}

fn unexpected() -> Fault {
    Fault::Refused("WRONGTYPE the stream of changes has no entries as expected".into())
}

/// The number just below.
fn before((ms, n): EntryId) -> EntryId {
    match n.checked_sub(1) {
        Some(n) => (ms, n),
        None => (ms.saturating_sub(1), u64::MAX),
    }
}

fn parse_id(reply: &Reply) -> Option<EntryId> {
    let (ms, n) = reply.text()?.split_once('-')?;
    Some((ms.parse().ok()?, n.parse().ok()?))
}

/// The number of the first entry of a range.
fn first_id(reply: &Reply) -> Result<Option<EntryId>, Fault> {
    if let Reply::Error(text) = reply {
        return Err(Fault::Refused(text.clone()));
    }
    let entries = reply.list().ok_or_else(unexpected)?;
    let Some(entry) = entries.first() else {
        return Ok(None);
    };
    let id = entry.list().and_then(|entry| parse_id(entry.first()?));
    id.map(Some).ok_or_else(unexpected)
}

/// The entries of the one stream that was read.
fn entries_of(reply: &Reply) -> Option<&[Reply]> {
    let [stream] = reply.list()? else {
        return None;
    };
    let [_, entries] = stream.list()? else {
        return None;
    };
    entries.list()
}
