//! The streams by which nodes on one Redis learn of each other's writes.
//!
//! `dht:changes` has at most about 65,536 entries. An entry has one field: the writer's name, and
//! as its value the written targets, 32 bytes each. A cluster has sixteen streams,
//! `dht:changes:{0}` to `dht:changes:{15}`, selected by the first four bits of the target: each is
//! on one server, and together they are distributed over several. An entry says only that something
//! was written: readers fetch the value, so that a superfluous entry costs no more than that.

use skydht_core::id::Target;

use super::fault::Fault;
use super::resp::{Command, Reply};
use super::servers::Servers;

/// Approximate maximum length of a stream: some minutes of many writes.
const MAX_ENTRIES: &[u8] = b"65536";
/// Maximum number of targets in one entry.
const ENTRY_TARGETS: usize = 16;
/// Maximum number of entries of one stream that are read in one command.
const READ_ENTRIES: usize = 32;
/// Number of streams in a cluster.
const CLUSTER_STREAMS: u8 = 16;

/// An entry's id: milliseconds, and a counter within them.
type EntryId = (u64, u64);

struct Stream {
    key: Vec<u8>,
    /// The last entry read; `None` before the first connection.
    last: Option<EntryId>,
}

/// The streams, and how far each was read.
pub(super) struct Changes {
    /// Name of this writer, whose own entries are skipped.
    name: Vec<u8>,
    streams: Vec<Stream>,
}

/// Result of reading the streams.
#[derive(Default)]
pub(super) struct Read {
    pub(super) targets: Vec<Target>,
    /// Whether entries were dropped before they were read.
    pub(super) gap: bool,
    /// Whether there are more entries to read.
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

    /// Returns the commands that announce writes to other nodes.
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
                    MAX_ENTRIES,
                    b"*",
                    &self.name,
                    some,
                ];
                commands.push(Command::on(key, &words));
            }
        }
        commands
    }

    /// Starts reading after the newest entry of each stream, unless it has started before.
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

    /// Reads the next entries. Call [`Changes::begin`] before.
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
            // If the oldest entry is later than the one read last, entries between them may have
            // been dropped.
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

/// Returns the id just below.
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

/// Returns the id of the first entry of a range.
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

/// Returns the entries in the reply of an `XREAD` of one stream.
fn entries_of(reply: &Reply) -> Option<&[Reply]> {
    let [stream] = reply.list()? else {
        return None;
    };
    let [_, entries] = stream.list()? else {
        return None;
    };
    entries.list()
}
