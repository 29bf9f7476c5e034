//! Tests with a real node driven by hand, recorded into real files and pipes, read back, truncated
//! and damaged.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use skydht_core::item::{Salt, Value};
use skydht_core::journal::{Digest, Header, Replay};
use skydht_core::key::SecretKey;
use skydht_core::node::{
    Command, Config, Identity, Input, OperationId, Path, PutOptions, Reach, StreamId,
};
use skydht_core::time::{Mono, Time, Unix};
use skydht_core::{Node, Seed};

use super::*;
use crate::recorder::Recorder as _;

struct TempFile(PathBuf);

impl TempFile {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("skydht-journal-{}-{n}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn create(&self) -> File {
        File::create(&self.0).unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(&self.0).unwrap()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn secret() -> SecretKey {
    SecretKey::from_entropy(&[7; 32])
}

/// A recorded node, driven by hand.
struct Bench {
    node: Node,
    recorder: FileRecorder,
    now: Time,
    operations: u64,
}

impl Bench {
    fn new(mut recorder: FileRecorder) -> Self {
        let now = Time {
            mono: Mono(0),
            unix: Unix(1_790_000_000_000_000_000),
        };
        let (config, seed) = (Config::default(), Seed([3; 32]));
        let key = secret().public();
        recorder.start(Header::new(config.clone(), key, seed, now));
        let mut node = Node::new(config, Identity::Keyed(secret()), seed, now).unwrap();
        node.record_signatures();
        Self {
            node,
            recorder,
            now,
            operations: 0,
        }
    }

    /// Performs one turn of an event loop.
    fn feed(&mut self, input: Input<'_>) {
        self.now.mono = self.now.mono.plus(Duration::from_millis(1));
        self.now.unix = self.now.unix.plus(Duration::from_millis(1));
        self.recorder.input(self.now, &input);
        self.node.handle(self.now, input).unwrap();
        while let Some(output) = self.node.poll_output() {
            self.recorder.output(&output);
        }
        let signed = self.node.take_signatures();
        self.recorder.drained(self.node.next_deadline(), signed);
    }

    fn put(&mut self) {
        self.operations += 1;
        let command = Command::Put {
            salt: Salt::from(format!("salt {}", self.operations % 3).as_str()),
            value: Value::new(self.operations.to_string().as_bytes()),
            options: PutOptions {
                local_only: true,
                ..PutOptions::default()
            },
        };
        let op = OperationId(self.operations);
        self.feed(Input::Command { op, command });
    }
}

/// Returns a journal of `puts` puts.
fn journal(puts: usize) -> (Vec<u8>, Closed) {
    let file = TempFile::new();
    let (recorder, written) = FileRecorder::start(file.create(), u64::MAX, |_| {}).unwrap();
    let mut bench = Bench::new(recorder);
    for _ in 0..puts {
        bench.put();
    }
    drop(bench);
    let closed = written.wait().unwrap();
    (file.bytes(), closed)
}

/// Replays what can be read of a journal. Returns its steps, digest, and ending.
fn replay(bytes: &[u8]) -> Result<(u64, Digest, Ending), (u64, JournalError)> {
    let mut reader = Reader::new(bytes).map_err(|error| (0, error))?;
    let mut replay = Replay::new(reader.header().clone()).unwrap();
    let (mut steps, mut digest) = (0, Digest::default());
    loop {
        match reader.step() {
            Ok(Some(step)) => {
                replay.step(&step).unwrap();
                digest = step.digest;
                steps += 1;
            }
            Ok(None) => return Ok((steps, digest, reader.ending().unwrap())),
            Err(error) => return Err((steps, error)),
        }
    }
}

/// Returns where each record begins, and the end.
fn records(bytes: &[u8]) -> Vec<usize> {
    let mut at = vec![12];
    while at[at.len() - 1] < bytes.len() {
        let begin = at[at.len() - 1];
        let length = u32::from_le_bytes(bytes[begin..begin + 4].try_into().unwrap());
        at.push(begin + 16 + length as usize);
    }
    at
}

#[test]
fn what_was_recorded_replays_from_the_file() {
    let (bytes, closed) = journal(20);
    assert_eq!(closed.end.unwrap(), End::Stopped);
    assert_eq!((closed.steps, closed.bytes), (20, bytes.len() as u64));
    let (steps, digest, ending) = replay(&bytes).unwrap();
    assert_eq!(steps, 20);
    assert_eq!(digest, closed.digest);
    assert_eq!(ending, Ending::Closed(End::Stopped));
}

#[test]
fn no_encoding_of_the_secret_key_is_in_the_file() {
    let (bytes, _) = journal(20);
    let secret = secret().to_bytes();
    // Within longer bytes, base64 may begin at any of three offsets.
    let shifted = |shift: usize| base64(&[&[0; 2][..shift], &*secret].concat());
    let encodings = [
        secret.to_vec(),
        secret.iter().rev().copied().collect(),
        hex(&*secret, false),
        hex(&*secret, true),
        shifted(0),
        shifted(1),
        shifted(2),
        format!("{:?}", &*secret).replace(' ', "").into_bytes(),
    ];
    for needle in encodings {
        let part = &needle[4..needle.len() - 4];
        assert!(!bytes.windows(part.len()).any(|window| window == part));
    }
    // The search finds what is in the file: the public key.
    let public = hex(secret_public().as_bytes(), false);
    assert!(bytes.windows(public.len()).any(|window| window == public));
}

fn secret_public() -> skydht_core::key::PublicKey {
    secret().public()
}

fn hex(bytes: &[u8], upper: bool) -> Vec<u8> {
    let digit = |b: &u8| {
        if upper {
            format!("{b:02X}")
        } else {
            format!("{b:02x}")
        }
    };
    bytes.iter().map(digit).collect::<String>().into_bytes()
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: String = bytes.iter().map(|b| format!("{b:08b}")).collect();
    bits.as_bytes()
        .chunks_exact(6)
        .map(|six| {
            let index = six.iter().fold(0, |n, bit| n * 2 + usize::from(bit - b'0'));
            DIGITS[index]
        })
        .collect()
}

#[test]
fn a_torn_tail_is_usable_up_to_the_last_whole_record() {
    let (bytes, _) = journal(4);
    let at = records(&bytes);
    assert_eq!(at.len(), 1 + 1 + 4 + 1);
    for cut in at[1]..bytes.len() {
        let whole = at.iter().filter(|begin| **begin <= cut).count() as u64 - 2;
        let begin = at[whole as usize + 1];
        let (steps, _, ending) = replay(&bytes[..cut]).unwrap();
        assert_eq!(steps, whole);
        let expected = if begin == cut {
            Ending::Open
        } else {
            let bytes = (cut - begin) as u64;
            let offset = begin as u64;
            Ending::Torn { offset, bytes }
        };
        assert_eq!(ending, expected, "cut at {cut}");
    }
    for cut in 0..at[1] {
        match (cut, replay(&bytes[..cut])) {
            (0, Err((0, JournalError::Magic))) => {}
            (_, Err((0, JournalError::NoHeader { offset }))) => assert_eq!(offset, cut as u64),
            (_, other) => panic!("cut at {cut}: {other:?}"),
        }
    }
}

#[test]
fn each_changed_byte_is_found_at_its_record() {
    let (bytes, _) = journal(3);
    let at = records(&bytes);
    for position in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[position] ^= 0x10;
        let (steps, error) = replay(&changed).unwrap_err();
        match (position, error) {
            (0..8, JournalError::Magic) | (8..12, JournalError::Container { .. }) => {}
            (_, JournalError::Damaged { offset, .. }) => {
                let record = at.iter().filter(|begin| **begin <= position).count() - 1;
                assert_eq!(offset, at[record] as u64, "at {position}");
                assert_eq!(steps, record.saturating_sub(1) as u64);
            }
            (_, error) => panic!("at {position}: {error:?}"),
        }
    }
}

#[test]
fn records_cannot_be_moved_repeated_or_added() {
    let (bytes, _) = journal(3);
    let at = records(&bytes);
    let left_out = [&bytes[..at[1]], &bytes[at[2]..]].concat();
    let repeated = [&bytes[..at[2]], &bytes[at[1]..]].concat();
    let added = [&bytes[..], b"x"].concat();
    for (changed, offset) in [(left_out, at[1]), (repeated, at[2]), (added, bytes.len())] {
        match replay(&changed) {
            Err((_, JournalError::Damaged { offset: found, .. })) => {
                assert_eq!(found, offset as u64);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_length_does_not_size_an_allocation_and_other_versions_are_named() {
    // An intact head that announces 16 MiB, without data after it.
    let (bytes, _) = journal(1);
    let at = records(&bytes);
    let payload = vec![b' '; MAX_RECORD];
    let head = format::Head::write(at[1] as u64, format::Kind::Step, &payload).unwrap();
    let promising = [&bytes[..at[1]], &head].concat();
    let mut reader = Reader::new(&promising[..]).unwrap();
    assert!(reader.step().unwrap().is_none());
    assert!(reader.payload_capacity() < 4096);
    assert!(format::Head::write(0, format::Kind::Step, &vec![0; MAX_RECORD + 1]).is_none());

    let header = serde_json::json!({"format": 77, "version": "9.9.9", "unknown": []});
    let header = serde_json::to_vec(&header).unwrap();
    let head = format::Head::write(12, format::Kind::Header, &header).unwrap();
    let other = [&bytes[..12], &head, &header].concat();
    let error = replay(&other).unwrap_err().1;
    assert_eq!(
        error.to_string(),
        "journal format 77, recorded by skydht-core 9.9.9; this program reads format 1"
    );
}

#[test]
fn at_the_limit_recording_ends_and_the_node_goes_on() {
    let file = TempFile::new();
    let said = Arc::new(Mutex::new(0));
    let saying = Arc::clone(&said);
    let closed = move |_: &Closed| *saying.lock().unwrap() += 1;
    let (recorder, written) = FileRecorder::start(file.create(), 1, closed).unwrap();
    let mut bench = Bench::new(recorder);
    for _ in 0..400 {
        bench.put();
    }
    assert_eq!(bench.operations, 400);
    drop(bench);
    let closed = written.wait().unwrap();
    assert_eq!(closed.end.unwrap(), End::Limit);
    assert_eq!(*said.lock().unwrap(), 1);
    let bytes = file.bytes();
    assert!(bytes.len() as u64 <= MIN_LIMIT);
    assert!(bytes.len() as u64 > MIN_LIMIT - 2048, "{}", bytes.len());
    let (steps, digest, ending) = replay(&bytes).unwrap();
    assert!(steps < 400);
    assert_eq!((steps, digest), (closed.steps, closed.digest));
    assert_eq!(ending, Ending::Closed(End::Limit));
}

#[test]
fn a_full_disk_ends_the_journal_and_not_the_node() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (recorder, written) = FileRecorder::start(full, u64::MAX, |_| {}).unwrap();
    let mut bench = Bench::new(recorder);
    for _ in 0..200 {
        bench.put();
    }
    assert_eq!(bench.node.snapshot().store.items, 3);
    drop(bench);
    let closed = written.wait().unwrap();
    let error = closed.end.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(closed.steps, 0, "none of them is on disk");
}

#[test]
fn a_disk_that_hangs_does_not_stop_the_loop() {
    // A pipe that is not read takes 64 KiB; then writing to it blocks.
    let (mut reader, writer) = std::io::pipe().unwrap();
    let file = File::from(OwnedFd::from(writer));
    let (recorder, written) = FileRecorder::start(file, u64::MAX, |_| {}).unwrap();
    let mut bench = Bench::new(recorder);
    let peer = SecretKey::from_entropy(&[9; 32]).public();
    let path = Path {
        reach: Reach::Accepted,
        remote: None,
    };
    bench.feed(Input::StreamAccepted {
        stream: StreamId(1),
        peer,
        path,
    });
    let bytes = vec![0xFF; 64 * 1024];
    for _ in 0..1_000 {
        bench.feed(Input::Bytes {
            stream: StreamId(1),
            bytes: Cow::Borrowed(&bytes),
        });
    }
    // The event loop reached this point although nothing could be written. Now the disk continues.
    drop(bench);
    let mut journal = Vec::new();
    reader.read_to_end(&mut journal).unwrap();
    let (steps, _, ending) = replay(&journal).unwrap();
    assert_eq!(ending, Ending::Closed(End::Overrun));
    // A pipe cannot be synced, which is the last step.
    assert!(written.wait().unwrap().end.is_err());
    assert!((480..600).contains(&steps), "{steps} of 64 KiB each");
}
