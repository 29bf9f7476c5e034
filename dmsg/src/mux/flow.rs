//! State of one stream: received data, both windows, and which sides have ended.

use std::collections::VecDeque;

use super::frame;

/// What each side may send on a stream before the other has read any of it, in bytes.
pub(super) const WINDOW: u32 = 256 * 1024;
/// Bounds of a buffer's size, in bytes: large enough that single-byte frames do not multiply the
/// memory, small enough that a header alone allocates little.
const MIN_CHUNK: usize = 512;
const MAX_CHUNK: usize = 32 * 1024;
/// Credit is granted in steps of this many bytes.
const CREDIT_STEP: u32 = WINDOW / 2;

/// Result of reading from a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Read {
    Data(usize),
    /// No data has arrived.
    Nothing,
    /// The peer has finished the stream.
    End,
    /// Either side has reset it.
    Reset,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Open,
    /// We have finished our direction.
    Finished,
    /// The peer has finished its direction.
    PeerFinished,
    BothFinished,
    /// The peer has reset it.
    Reset,
    /// We have reset it for holding too much unread data, and its user does not know yet.
    Cut,
}

pub(super) struct StreamState {
    pub(super) phase: Phase,
    /// Flags to set in the next frame of this stream.
    pub(super) flags_due: u16,
    /// Bytes that we may send.
    pub(super) credit: u32,
    /// Whether the peer has acknowledged this stream of ours.
    pub(super) is_acknowledged: bool,
    /// Whether it is kept only until the peer has ended it.
    pub(super) is_abandoned: bool,
    /// Bytes that were read and that the reader still holds.
    pub(super) kept: usize,
    /// Value of the read counter at the last read of this stream.
    pub(super) read_at: u64,
    chunks: VecDeque<Chunk>,
    /// Sum of the sizes of all chunks.
    allocated: usize,
    /// Bytes that the peer may still send, not counting frames whose header has arrived.
    window: u32,
    /// Bytes read since credit was last granted.
    read: u32,
}

/// A buffer: `read` bytes were read, those up to `filled` were received, the rest is free.
struct Chunk {
    bytes: Vec<u8>,
    read: usize,
    filled: usize,
}

impl StreamState {
    pub(super) fn new(flags_due: u16, credit: u32) -> Self {
        Self {
            phase: Phase::Open,
            flags_due,
            credit,
            is_acknowledged: false,
            is_abandoned: false,
            kept: 0,
            read_at: 0,
            chunks: VecDeque::new(),
            allocated: 0,
            window: WINDOW,
            read: 0,
        }
    }

    pub(super) fn may_write(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::PeerFinished)
    }

    pub(super) fn finish(&mut self) {
        self.phase = match self.phase {
            Phase::PeerFinished => Phase::BothFinished,
            _ => Phase::Finished,
        };
    }

    pub(super) fn peer_finished(&mut self) {
        self.phase = match self.phase {
            Phase::Open => Phase::PeerFinished,
            Phase::Finished => Phase::BothFinished,
            other => other,
        };
    }

    /// Discards the received data.
    pub(super) fn forget(&mut self) {
        (self.chunks, self.allocated, self.kept) = (VecDeque::new(), 0, 0);
    }

    /// Returns the bytes that the peer may still send.
    pub(super) fn window(&self) -> u32 {
        self.window
    }

    pub(super) fn held(&self) -> usize {
        self.allocated + self.kept
    }

    /// Accounts for a frame with `bytes`. `None` if the peer may not send as many.
    pub(super) fn expect(&mut self, bytes: u32) -> Option<()> {
        self.window = self.window.checked_sub(bytes)?;
        Some(())
    }

    /// Returns whether received data is kept. After the peer's end there should be none.
    pub(super) fn takes_data(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Finished) && !self.is_abandoned
    }

    /// Allocates space for the next of the `left` bytes that a frame still has, unless there is
    /// some.
    pub(super) fn reserve(&mut self, left: usize) {
        let has_space = self
            .chunks
            .back()
            .is_some_and(|last| last.filled < last.bytes.len());
        if !has_space {
            let size = left.clamp(MIN_CHUNK, MAX_CHUNK);
            self.allocated += size;
            self.chunks.push_back(Chunk {
                bytes: vec![0; size],
                read: 0,
                filled: 0,
            });
        }
    }

    /// Returns the allocated space.
    pub(super) fn space(&mut self, left: usize) -> &mut [u8] {
        let last = self.chunks.back_mut();
        last.map_or(&mut [], |last| {
            let end = last.bytes.len().min(last.filled + left);
            &mut last.bytes[last.filled..end]
        })
    }

    /// Records that `bytes` are in the space. Returns whether a reader may have waited for them.
    pub(super) fn received(&mut self, bytes: usize) -> bool {
        if !self.takes_data() {
            return false;
        }
        let was_empty = self.is_empty();
        if let Some(last) = self.chunks.back_mut() {
            last.filled += bytes;
        }
        was_empty
    }

    fn is_empty(&self) -> bool {
        self.chunks.iter().all(|chunk| chunk.read == chunk.filled)
    }

    /// Reads received data; 0 if there is none.
    pub(super) fn take(&mut self, buf: &mut [u8]) -> usize {
        let mut taken = 0;
        while taken < buf.len()
            && let Some(first) = self.chunks.front_mut()
        {
            let part = (first.filled - first.read).min(buf.len() - taken);
            buf[taken..taken + part].copy_from_slice(&first.bytes[first.read..first.read + part]);
            first.read += part;
            taken += part;
            // Free a chunk once it is read, even if it has space left: `reserve` allocates a new
            // one.
            if first.read == first.filled {
                self.allocated -= first.bytes.len();
                self.chunks.pop_front();
            }
        }
        self.read += frame::length(taken);
        taken
    }

    /// Grants credit if a step of it is due, and returns how many bytes.
    pub(super) fn take_credit_due(&mut self) -> u32 {
        if self.read < CREDIT_STEP || !self.takes_data() {
            return 0;
        }
        self.window += self.read;
        std::mem::take(&mut self.read)
    }

    /// Returns the result of a read without data.
    pub(super) fn without_data(&self) -> Read {
        match self.phase {
            Phase::Open | Phase::Finished => Read::Nothing,
            Phase::PeerFinished | Phase::BothFinished => Read::End,
            Phase::Reset | Phase::Cut => Read::Reset,
        }
    }
}
