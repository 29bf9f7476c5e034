//! Writing a journal while the node runs.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};

use serde::Serialize;
use skydht_core::journal::{Digest, Header, RunDigest, Step};
use skydht_core::key::Signature;
use skydht_core::node::{Command, Deadline, Input, Output, StoreChange};
use skydht_core::time::Time;

use super::format::{CONTAINER, End, HEAD, Head, Kind, MAGIC, PREAMBLE};
use crate::recorder::Recorder;

/// Minimum limit of a journal, in bytes.
pub const MIN_LIMIT: u64 = 64 * 1024;

/// Memory that steps waiting for the disk may take, in bytes, approximately.
const MAX_QUEUED: usize = 32 << 20;
/// Estimated memory of a queued input or output besides its payload, in bytes.
const OVERHEAD: usize = 256;
/// Bytes reserved for the end record.
const END_ROOM: u64 = HEAD as u64 + 32;

/// The result of writing a journal.
#[derive(Debug)]
pub struct Closed {
    /// Why recording ended, or the error if the file could not be written.
    pub end: io::Result<End>,
    /// Number of complete steps in the file.
    pub steps: u64,
    /// Number of bytes written.
    pub bytes: u64,
    /// The running digest after the last step.
    pub digest: Digest,
}

/// The thread that writes a journal. Dropping it detaches the thread.
pub struct Written(JoinHandle<Closed>);

impl Written {
    /// Waits until the journal is closed and synced to disk. Blocks until the node has stopped or
    /// recording has ended before.
    ///
    /// # Errors
    /// If the thread panicked, which is a bug.
    pub fn wait(self) -> io::Result<Closed> {
        self.0
            .join()
            .map_err(|_| io::Error::other("the journal's thread panicked"))
    }
}

/// Records a node in a file.
///
/// The event loop passes each step on and continues; a separate thread computes the digest and
/// writes. Recording ends, without affecting the node, when the file reaches its limit, when it
/// cannot be written, or when more than 32 MiB wait for the disk: a journal is replayed from its
/// beginning, so steps after a gap, or without their beginning, would be useless.
pub struct FileRecorder {
    /// `None` once recording has ended.
    messages: Option<Sender<Message>>,
    queued: Arc<AtomicUsize>,
    pending: Option<(Time, Input<'static>)>,
    outputs: Vec<Output>,
    weight: usize,
}

enum Message {
    Header(Box<Header>),
    Step(Box<Drained>),
    Overrun,
}

/// A step as the event loop passes it to the thread.
struct Drained {
    now: Time,
    input: Input<'static>,
    outputs: Vec<Output>,
    deadline: Option<Deadline>,
    signed: Vec<Signature>,
    weight: usize,
}

impl FileRecorder {
    /// Starts the thread, which writes at most `limit` bytes, but at least [`MIN_LIMIT`], to the
    /// empty `file`. `closed` is called once on that thread, when recording has ended.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(
        file: File,
        limit: u64,
        closed: impl FnOnce(&Closed) + Send + 'static,
    ) -> io::Result<(Self, Written)> {
        let (sender, receiver) = channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let mut writer = Writer {
            file: BufWriter::with_capacity(64 * 1024, file),
            limit: limit.max(MIN_LIMIT),
            offset: 0,
            steps: 0,
            flushed: 0,
            digest: RunDigest::default(),
        };
        let done = Arc::clone(&queued);
        let thread = thread::Builder::new()
            .name("skydht-journal".into())
            .spawn(move || {
                let end = writer.run(&receiver, &done);
                // From here on, sends fail, so that the event loop stops cloning its inputs and
                // outputs.
                drop(receiver);
                let steps = if end.is_ok() {
                    writer.steps
                } else {
                    writer.flushed
                };
                let report = Closed {
                    end,
                    steps,
                    bytes: writer.offset,
                    digest: writer.digest.value(),
                };
                closed(&report);
                report
            })?;
        let recorder = Self {
            messages: Some(sender),
            queued,
            pending: None,
            outputs: Vec::new(),
            weight: 0,
        };
        Ok((recorder, Written(thread)))
    }

    fn send(&mut self, message: Message) {
        let sent = self.messages.as_ref().map(|to| to.send(message));
        if sent.is_some_and(|result| result.is_err()) {
            self.messages = None;
        }
    }
}

impl Recorder for FileRecorder {
    fn start(&mut self, header: Header) {
        self.send(Message::Header(Box::new(header)));
    }

    fn input(&mut self, now: Time, input: &Input<'_>) {
        if self.messages.is_some() {
            self.weight = input_weight(input);
            self.pending = Some((now, input.clone().into_owned()));
        }
    }

    fn output(&mut self, output: &Output) {
        if self.messages.is_some() {
            self.weight += output_weight(output);
            self.outputs.push(output.clone());
        }
    }

    fn drained(&mut self, deadline: Option<Deadline>, signed: Vec<Signature>) {
        let outputs = std::mem::take(&mut self.outputs);
        let Some((now, input)) = self.pending.take() else {
            return;
        };
        if self.queued.load(Ordering::Relaxed) > MAX_QUEUED {
            self.send(Message::Overrun);
            self.messages = None;
            return;
        }
        let weight = self.weight;
        self.queued.fetch_add(weight, Ordering::Relaxed);
        self.send(Message::Step(Box::new(Drained {
            now,
            input,
            outputs,
            deadline,
            signed,
            weight,
        })));
    }
}

fn input_weight(input: &Input<'_>) -> usize {
    let bytes = match input {
        Input::Bytes { bytes, .. } => bytes.len(),
        Input::Command {
            command: Command::Put { value, .. },
            ..
        } => value.as_bytes().len(),
        Input::Command {
            command: Command::PutSigned { item, .. },
            ..
        } => item.value.as_bytes().len(),
        Input::Loaded { record, .. } => record.item.value.as_bytes().len(),
        _ => 0,
    };
    OVERHEAD + bytes
}

fn output_weight(output: &Output) -> usize {
    let bytes = match output {
        Output::Send { bytes, .. } => bytes.len(),
        Output::Persist {
            what: StoreChange::Keep(record),
            ..
        } => record.item.value.as_bytes().len(),
        _ => 0,
    };
    OVERHEAD + bytes
}

struct Writer {
    file: BufWriter<File>,
    limit: u64,
    offset: u64,
    steps: u64,
    /// Number of steps that were certainly passed to the file.
    flushed: u64,
    digest: RunDigest,
}

impl Writer {
    fn run(&mut self, messages: &Receiver<Message>, queued: &AtomicUsize) -> io::Result<End> {
        let end = self.record(messages, queued)?;
        let json = serde_json::to_vec(&end)?;
        self.record_bytes(Kind::End, &json)?;
        self.flush()?;
        self.file.get_ref().sync_all()?;
        Ok(end)
    }

    fn record(&mut self, messages: &Receiver<Message>, queued: &AtomicUsize) -> io::Result<End> {
        loop {
            let message = match messages.try_recv() {
                Ok(message) => message,
                Err(TryRecvError::Disconnected) => return Ok(End::Stopped),
                Err(TryRecvError::Empty) => {
                    // The writer is idle: flush, so that readers of the file see all steps.
                    self.flush()?;
                    match messages.recv() {
                        Ok(message) => message,
                        Err(_) => return Ok(End::Stopped),
                    }
                }
            };
            match message {
                Message::Overrun => return Ok(End::Overrun),
                Message::Header(header) => self.begin(&header)?,
                Message::Step(step) => {
                    let weight = step.weight;
                    let fits = self.step(*step)?;
                    queued.fetch_sub(weight, Ordering::Relaxed);
                    if !fits {
                        return Ok(End::Limit);
                    }
                }
            }
        }
    }

    fn begin(&mut self, header: &Header) -> io::Result<()> {
        self.file.write_all(&MAGIC)?;
        self.file.write_all(&CONTAINER.to_le_bytes())?;
        self.offset = PREAMBLE;
        if self.put(Kind::Header, header)? {
            Ok(())
        } else {
            Err(io::Error::other(
                "the node's configuration alone is longer than the journal may be",
            ))
        }
    }

    fn step(&mut self, step: Drained) -> io::Result<bool> {
        let before = self.digest.clone();
        for output in &step.outputs {
            self.digest.output(output);
        }
        self.digest.deadline(step.deadline);
        let step = Step {
            now: step.now,
            input: step.input,
            signed: step.signed,
            digest: self.digest.value(),
        };
        let fits = self.put(Kind::Step, &step)?;
        if fits {
            self.steps += 1;
        } else {
            self.digest = before;
        }
        Ok(fits)
    }

    /// Writes a record, unless it would exceed the file's limit. Returns whether it did.
    fn put(&mut self, kind: Kind, contents: &impl Serialize) -> io::Result<bool> {
        let json = serde_json::to_vec(contents)?;
        let after = self.offset + HEAD as u64 + json.len() as u64;
        if after + END_ROOM > self.limit {
            return Ok(false);
        }
        self.record_bytes(kind, &json)?;
        Ok(true)
    }

    fn record_bytes(&mut self, kind: Kind, json: &[u8]) -> io::Result<()> {
        let head = Head::write(self.offset, kind, json)
            .ok_or_else(|| io::Error::other("a record longer than any may be"))?;
        self.file.write_all(&head)?;
        self.file.write_all(json)?;
        self.offset += (HEAD + json.len()) as u64;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.flushed = self.steps;
        Ok(())
    }
}
