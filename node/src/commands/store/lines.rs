//! Items as lines of text: the format of `skydht store export`, and the formats of upstream's
//! stores.

use std::fmt;
use std::io::{self, BufRead, Read as _};

use serde::{Serialize, Serializer};
use skydht_core::id::Target;
use skydht_core::item::ItemError;
use skydht_core::key::PublicKey;
use skydht_core::record::StoredRecord;
use skydht_core::time::{Unix, nanos};
use skydht_driver::storage::redis_record;

use crate::config::Settings;

/// Longest line, in bytes; an item of 64 KiB needs some 90,000.
const LONGEST_LINE: u64 = 1 << 20;

/// Why a line is not an item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum LineFault {
    TooLong,
    /// Neither a record nor an item, nor a key followed by one.
    NoItem,
    /// A key without an item on the same or the next line.
    KeyAlone,
    Item(ItemError),
    /// Signed by a key that is not the target's owner, without a binding signature, and not in
    /// `mirror_pks`.
    Mirror(PublicKey),
    /// The signature that binds the item to its target is invalid.
    Binding,
}

impl LineFault {
    /// Returns a stable identifier.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::NoItem => "no_item",
            Self::KeyAlone => "key_alone",
            Self::Item(ItemError::Signature(_)) => "signature",
            Self::Item(_) => "size",
            Self::Mirror(_) => "mirror",
            Self::Binding => "binding",
        }
    }
}

impl fmt::Display for LineFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "longer than {LONGEST_LINE} bytes"),
            Self::NoItem => write!(f, "no item, nor a key and an item"),
            Self::KeyAlone => write!(f, "a key without an item"),
            Self::Item(error) => error.fmt(f),
            Self::Mirror(key) => write!(
                f,
                "a mirror's item; to take it, set mirror_pks to {key} in the configuration"
            ),
            Self::Binding => write!(f, "the signature that binds it to its target is wrong"),
        }
    }
}

impl Serialize for LineFault {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.code())
    }
}

/// A line with its number, from 1.
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) item: Result<StoredRecord, LineFault>,
}

fn key_alone(number: u64) -> Line {
    let item = Err(LineFault::KeyAlone);
    Line { number, item }
}

/// Parses a text line by line.
pub(super) struct Lines<'a, R> {
    from: R,
    settings: &'a Settings,
    now: Unix,
    number: u64,
    line: Vec<u8>,
    /// Line number and target of a preceding line that contains only a key.
    key: Option<(u64, Target)>,
    /// A parsed line that is returned by the next call.
    behind: Option<Line>,
}

impl<'a, R: BufRead> Lines<'a, R> {
    pub(super) fn new(from: R, settings: &'a Settings, now: Unix) -> Self {
        Self {
            from,
            settings,
            now,
            number: 0,
            line: Vec::new(),
            key: None,
            behind: None,
        }
    }

    /// Returns the next line that is not empty; `None` at the end.
    ///
    /// # Errors
    /// An I/O error of the text. A faulty line is not an error.
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        if let Some(line) = self.behind.take() {
            return Ok(Some(line));
        }
        loop {
            let Some(is_whole) = self.read()? else {
                return Ok(self.key.take().map(|(number, _)| key_alone(number)));
            };
            let text = self.line.trim_ascii();
            if text.is_empty() && is_whole {
                continue;
            }
            let number = self.number;
            let (mut item, mut key) = (None, None);
            match (is_whole, split_key(text), self.key) {
                (false, ..) => item = Some(Err(LineFault::TooLong)),
                (true, Some((target, b"")), _) => key = Some((number, target)),
                (true, Some((target, json)), _) => item = Some(self.keyed(&target, json)),
                (true, None, None) => item = Some(self.bare(text)),
                (true, None, Some((_, target))) => {
                    self.key = None;
                    item = Some(self.keyed(&target, text));
                }
            }
            let line = item.map(|item| Line { number, item });
            // A key without an item is reported before the line after it.
            match std::mem::replace(&mut self.key, key) {
                Some((number, _)) => {
                    self.behind = line;
                    return Ok(Some(key_alone(number)));
                }
                None if line.is_some() => return Ok(line),
                None => {}
            }
        }
    }

    /// Reads a line; `false` if it is too long, `None` at the end.
    fn read(&mut self) -> io::Result<Option<bool>> {
        self.line.clear();
        let mut limited = self.from.by_ref().take(LONGEST_LINE);
        if limited.read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let is_whole = self.line.ends_with(b"\n") || (self.line.len() as u64) < LONGEST_LINE;
        if !is_whole {
            // Skips the rest of a line that is too long.
            loop {
                let mut rest = Vec::new();
                let mut limited = self.from.by_ref().take(LONGEST_LINE);
                let read = limited.read_until(b'\n', &mut rest)?;
                if read == 0 || rest.ends_with(b"\n") {
                    break;
                }
            }
        }
        Ok(Some(is_whole))
    }

    /// Parses a line of an export, or an item, which is stored at its signer's target.
    fn bare(&self, json: &[u8]) -> Result<StoredRecord, LineFault> {
        if let Ok(record) = serde_json::from_slice::<StoredRecord>(json) {
            return self.checked(record);
        }
        let anywhere = redis_record(&Target::default(), json).ok_or(LineFault::NoItem)?;
        self.keyed(&anywhere.item.target(), json)
    }

    /// Parses an item in the format of upstream's Redis, stored at `target`.
    fn keyed(&self, target: &Target, json: &[u8]) -> Result<StoredRecord, LineFault> {
        // `redis-cli --csv` quotes the value.
        let quoted = serde_json::from_slice::<String>(json).ok();
        let json = quoted.as_deref().map_or(json, str::as_bytes);
        let mut record = redis_record(target, json).ok_or(LineFault::NoItem)?;
        if record.expires.is_none() && !says_its_life(json) {
            // The lifetime starts at the time in the sequence number; without one, half of it is
            // left.
            let ttl = self.settings.node.item_ttl;
            let since = || Unix(self.now.0.saturating_sub(nanos(ttl / 2)));
            record.vouched = record.item.seq.as_time().unwrap_or_else(since);
            record.expires = Some(record.vouched.plus(ttl));
        }
        self.checked(record)
    }

    fn checked(&self, record: StoredRecord) -> Result<StoredRecord, LineFault> {
        let StoredRecord {
            target,
            item,
            bound,
            ..
        } = &record;
        item.check_sizes().map_err(LineFault::Item)?;
        item.check().map_err(LineFault::Item)?;
        if *target != item.target() {
            match bound {
                Some(bound) => item
                    .key
                    .verify(&item.bind_digest(target), bound)
                    .map_err(|_| LineFault::Binding)?,
                None if self.settings.node.mirrors.contains(&item.key) => {}
                None => return Err(LineFault::Mirror(item.key)),
            }
        }
        Ok(record)
    }
}

fn says_its_life(json: &[u8]) -> bool {
    let fields = serde_json::from_slice::<serde_json::Value>(json);
    fields.is_ok_and(|fields| fields.get("vouched").is_some())
}

/// Splits off a key: `dht:` and 64 hexadecimal digits, or only these, optionally in quotes.
fn split_key(text: &[u8]) -> Option<(Target, &[u8])> {
    let (text, is_quoted) = match text.strip_prefix(b"\"") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let text = text.strip_prefix(b"dht:").unwrap_or(text);
    let (digits, rest) = text.split_at_checked(64)?;
    let target = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let rest = match is_quoted {
        true => rest.strip_prefix(b"\"")?,
        false => rest,
    };
    let begins = rest.first().is_none_or(|byte| b" \t,:=".contains(byte));
    let rest = rest.trim_ascii();
    let rest = rest.strip_prefix(b",").unwrap_or(rest).trim_ascii();
    begins.then_some((target, rest))
}
