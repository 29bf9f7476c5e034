//! Journals as files: the container around the lines of [`crate::journals`].

use k256::sha2::{Digest as _, Sha256};
use skydht_core::Seed;
use skydht_core::journal::{Header, Step};
use skydht_core::key::SecretKey;
use skydht_core::node::Config;
use skydht_core::time::Time;
use skydht_driver::journal::{Ending, JournalError, Reader};

use crate::cursor::Cursor;

/// Maximum number of steps of a file. More steps only repeat.
const MAX_STEPS: usize = 64;

/// Input: whether the rest is a raw file or a script. A script says how to damage a file (how,
/// where, with which byte) and how it ends, followed by its steps as lines.
///
/// - Anything that is not a journal gives an error, never a panic.
/// - A file in the format of `docs/journal.md` is read to its end, and its steps are those that
///   serde reads. An invalid step is reported at its place.
/// - After any change, the records before it are read unchanged. Then follows an error that names
///   the changed record, or the report that the file is torn there. A changed record is never
///   returned.
pub fn journal_files(data: &[u8]) {
    let mut script = Cursor::new(data);
    if script.byte() == 0 {
        read(script.rest());
        return;
    }
    let (how, place, byte) = (script.byte(), script.u16(), script.byte());
    let closed = script.byte() % 2 == 1;
    let file = File::new(script.rest(), closed);
    let whole = read(&file.bytes);
    check(&file, &whole, file.bytes.len());
    assert_eq!(whole.closed, closed && whole.error.is_none());

    let damaged = damage(&file.bytes, how, place.into(), byte);
    let same = file.bytes.iter().zip(&damaged);
    let changed = same.take_while(|(a, b)| a == b).count();
    if changed < file.bytes.len() || damaged.len() > changed {
        let found = read(&damaged);
        check(&file, &found, changed);
        assert!(!found.closed, "a changed file is read to its end");
    }
}

/// A file, and the offsets of its records.
struct File {
    bytes: Vec<u8>,
    records: Vec<usize>,
    steps: Vec<Vec<u8>>,
}

impl File {
    fn new(lines: &[u8], closed: bool) -> Self {
        let key = SecretKey::from_entropy(&[1; 32]).public();
        let header = Header::new(Config::default(), key, Seed([7; 32]), Time::default());
        let mut file = Self {
            bytes: [b"SKYDHTJ\n".as_slice(), &1u32.to_le_bytes()].concat(),
            records: Vec::new(),
            steps: Vec::new(),
        };
        file.record(b'H', &serde_json::to_vec(&header).unwrap());
        for line in lines.split(|byte| *byte == b'\n').take(MAX_STEPS) {
            file.record(b'S', line);
            file.steps.push(line.to_vec());
        }
        if closed {
            file.record(b'E', b"\"stopped\"");
        }
        file
    }

    /// A second implementation of the format, so that reader and writer cannot have the same bug.
    fn record(&mut self, kind: u8, contents: &[u8]) {
        let place = (self.bytes.len() as u64).to_le_bytes();
        let length = (contents.len() as u32).to_le_bytes();
        let head = Sha256::digest([&place[..], &length, &[kind]].concat());
        let check = Sha256::digest([&place[..], &[kind], contents].concat());
        self.records.push(self.bytes.len());
        let record = [&length[..], &[kind], &head[..3], &check[..8], contents];
        self.bytes.extend(record.concat());
    }

    /// Number of the record that contains this byte; the number of records for bytes after the last
    /// one.
    fn record_of(&self, byte: usize) -> Option<usize> {
        let begun = self.records.partition_point(|begin| *begin <= byte);
        match byte < self.bytes.len() {
            true => begun.checked_sub(1),
            false => Some(self.records.len()),
        }
    }
}

/// What a reader finds in a file.
#[derive(Default)]
struct Found {
    has_header: bool,
    /// Each step as JSON.
    steps: Vec<Vec<u8>>,
    closed: bool,
    error: Option<JournalError>,
    /// Offset of a torn record.
    torn: Option<u64>,
}

fn read(bytes: &[u8]) -> Found {
    let mut found = Found::default();
    let mut reader = match Reader::new(bytes) {
        Ok(reader) => reader,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            found.error = Some(error);
            return found;
        }
    };
    found.has_header = true;
    loop {
        assert!(reader.offset() <= bytes.len() as u64);
        match reader.step() {
            Ok(Some(step)) => found.steps.push(serde_json::to_vec(&step).unwrap()),
            Ok(None) => break,
            Err(error) => {
                found.error = Some(error);
                return found;
            }
        }
    }
    match reader.ending().expect("there is no more") {
        Ending::Closed(_) => found.closed = true,
        Ending::Open => {}
        Ending::Torn { offset, bytes: len } => {
            assert_eq!(offset + len, bytes.len() as u64);
            found.torn = Some(offset);
        }
    }
    assert!(reader.step().is_ok_and(|step| step.is_none()));
    found
}

/// Checks the result of reading a file that is unchanged before byte `changed`.
fn check(file: &File, found: &Found, changed: usize) {
    let Some(record) = file.record_of(changed).filter(|record| *record > 0) else {
        assert!(
            !found.has_header,
            "read without the header that was written"
        );
        return;
    };
    assert!(found.has_header);
    // The header is the first record; steps follow.
    let sound = file.steps.iter().take(record - 1);
    for (i, line) in sound.enumerate() {
        let step = serde_json::from_slice::<Step<'_>>(line).ok();
        let written = step.map(|step| serde_json::to_vec(&step).unwrap());
        if written.is_none() {
            let at = file.records[i + 1] as u64;
            assert_eq!(found.steps.len(), i);
            assert!(
                matches!(found.error, Some(JournalError::Content { offset, .. }) if offset == at)
            );
            return;
        }
        assert_eq!(found.steps.get(i), written.as_ref());
    }
    assert_eq!(found.steps.len(), file.steps.len().min(record - 1));
    let at = file.records.get(record).map(|at| *at as u64);
    let at = at.unwrap_or(file.bytes.len() as u64);
    match (&found.error, found.torn) {
        (None, torn) => assert!(torn.is_none_or(|torn| torn == at)),
        (Some(JournalError::Damaged { offset, .. }), None) => assert_eq!(*offset, at),
        (error, torn) => panic!("{error:?}, torn {torn:?}"),
    }
}

fn damage(bytes: &[u8], how: u8, place: usize, byte: u8) -> Vec<u8> {
    let place = place % (bytes.len() + 1);
    let (before, behind) = bytes.split_at(place);
    match how % 5 {
        0 => bytes.to_vec(),
        1 => {
            let mut bytes = bytes.to_vec();
            if let Some(changed) = bytes.get_mut(place) {
                *changed ^= byte;
            }
            bytes
        }
        2 => before.to_vec(),
        3 => [before, &[byte], behind].concat(),
        _ => [before, behind.get(1..).unwrap_or_default()].concat(),
    }
}
