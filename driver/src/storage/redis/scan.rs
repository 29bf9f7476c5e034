//! Going through all keys: in the order of targets for a page, or in Redis' own order for what
//! no node announced.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use skydht_core::id::Target;

use super::connection::Place;
use super::fault::Fault;
use super::resp::{Command, Reply};
use super::servers::Servers;
use super::value::{PATTERN, target_of_key};

/// Keys that one step of a scan looks at, about.
const STEP: &[u8] = b"256";
/// The same where nothing else is done with them.
const LONG_STEP: &[u8] = b"4096";
/// Targets of a window: 32 bytes each, and their set.
const WINDOW: usize = 262_144;

/// A way through all keys of all servers.
pub(super) struct Scan {
    /// Those still to be gone through; the last is the next.
    places: Vec<Place>,
    cursor: Vec<u8>,
    count: &'static [u8],
    begun: Instant,
}

impl Scan {
    pub(super) fn begin(servers: &mut Servers) -> Result<Self, Fault> {
        Self::with_steps(servers, STEP)
    }

    fn with_steps(servers: &mut Servers, count: &'static [u8]) -> Result<Self, Fault> {
        Ok(Self {
            places: servers.masters()?,
            cursor: b"0".to_vec(),
            count,
            begun: Instant::now(),
        })
    }

    /// The next targets; perhaps none, and perhaps some twice.
    pub(super) fn step(&mut self, servers: &mut Servers) -> Result<Vec<Target>, Fault> {
        let Some(place) = self.places.last() else {
            return Ok(Vec::new());
        };
        let words = [
            b"SCAN",
            self.cursor.as_slice(),
            b"MATCH",
            PATTERN.as_bytes(),
            b"COUNT",
            self.count,
        ];
        let replies = servers.run_on(place, &[Command::new(&words)])?;
        let reply = replies.first().and_then(Reply::list);
        let Some([cursor, keys]) = reply else {
            return Err(Fault::Refused("ERR the answer to SCAN is no list".into()));
        };
        self.cursor = cursor.bytes().unwrap_or(b"0").to_vec();
        if self.cursor == b"0" {
            self.places.pop();
        }
        let keys = keys.list().unwrap_or_default().iter();
        Ok(keys.filter_map(|key| target_of_key(key.bytes()?)).collect())
    }

    /// How long it took, once it has gone through everything.
    pub(super) fn ended(&self) -> Option<Duration> {
        self.places.is_empty().then(|| self.begun.elapsed())
    }
}

/// The lowest targets from some target on, in order, as far as memory shall hold them.
#[derive(Default)]
pub(super) struct Window {
    targets: BTreeSet<Target>,
    /// Where the next page would begin; it is only for pages that follow each other.
    next: Option<Target>,
    /// There are more behind it.
    cut: bool,
}

impl Window {
    /// The first `most` targets from `from` on, and where the next page begins.
    pub(super) fn take(
        &mut self,
        servers: &mut Servers,
        from: Target,
        most: usize,
    ) -> Result<(Vec<Target>, Option<Target>), Fault> {
        // The last ones of a window that was cut are looked for again with what is behind them.
        let is_short = self.cut && self.targets.len() <= most;
        if self.next != Some(from) || is_short {
            self.fill(servers, from)?;
        }
        let mut page = Vec::new();
        while page.len() < most
            && let Some(target) = self.targets.pop_first()
        {
            page.push(target);
        }
        self.next = self.targets.first().copied();
        Ok((page, self.next))
    }

    fn fill(&mut self, servers: &mut Servers, from: Target) -> Result<(), Fault> {
        *self = Self::default();
        let mut scan = Scan::with_steps(servers, LONG_STEP)?;
        while scan.ended().is_none() {
            for target in scan.step(servers)? {
                if target >= from {
                    self.targets.insert(target);
                }
                if self.targets.len() > WINDOW {
                    self.targets.pop_last();
                    self.cut = true;
                }
            }
        }
        Ok(())
    }
}
