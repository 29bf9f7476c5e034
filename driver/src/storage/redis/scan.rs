//! Enumeration of all keys: in the order of targets for pages, or in Redis' own order to find
//! writes that were not announced.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use skydht_core::id::Target;

use super::connection::Endpoint;
use super::fault::Fault;
use super::resp::{Command, Reply};
use super::servers::Servers;
use super::value::{PATTERN, target_of_key};

/// Approximate number of keys per step of a scan.
const STEP: &[u8] = b"256";
/// Approximate number of keys per step when the keys are only collected.
const LONG_STEP: &[u8] = b"4096";
/// Maximum number of targets in a window: 32 bytes each, plus the set.
const WINDOW: usize = 262_144;

/// An enumeration of all keys of all servers.
pub(super) struct Scan {
    /// Servers that are left; the last one is the current.
    endpoints: Vec<Endpoint>,
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
            endpoints: servers.masters()?,
            cursor: b"0".to_vec(),
            count,
            begun: Instant::now(),
        })
    }

    /// Returns the next targets; perhaps none, and perhaps some repeatedly.
    pub(super) fn step(&mut self, servers: &mut Servers) -> Result<Vec<Target>, Fault> {
        let Some(endpoint) = self.endpoints.last() else {
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
        let replies = servers.run_on(endpoint, &[Command::new(&words)])?;
        let reply = replies.first().and_then(Reply::list);
        let Some([cursor, keys]) = reply else {
            return Err(Fault::Refused("ERR the answer to SCAN is no list".into()));
        };
        self.cursor = cursor.bytes().unwrap_or(b"0").to_vec();
        if self.cursor == b"0" {
            self.endpoints.pop();
        }
        let keys = keys.list().unwrap_or_default().iter();
        Ok(keys.filter_map(|key| target_of_key(key.bytes()?)).collect())
    }

    /// Returns how long the scan took, once it is complete.
    pub(super) fn ended(&self) -> Option<Duration> {
        self.endpoints.is_empty().then(|| self.begun.elapsed())
    }
}

/// A sorted window of the lowest targets from some target on, limited by [`WINDOW`].
#[derive(Default)]
pub(super) struct Window {
    targets: BTreeSet<Target>,
    /// Where the next page must begin to use the window.
    next: Option<Target>,
    /// Whether there are more targets after the window.
    cut: bool,
}

impl Window {
    /// Returns the first `most` targets from `from` on, and where the next page begins.
    pub(super) fn take(
        &mut self,
        servers: &mut Servers,
        from: Target,
        most: usize,
    ) -> Result<(Vec<Target>, Option<Target>), Fault> {
        // Refill a truncated window when it runs out, so that the page also has the targets after
        // it.
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
