//! One stream: what has come, what may still come, what may be sent, and how far it has ended.

use std::collections::VecDeque;

use super::frame;

/// What each side may send on a stream before the other has read any of it, in bytes.
pub(super) const WINDOW: u32 = 256 * 1024;
/// A buffer's size, in bytes: at the least, so that frames of a byte each cost a byte, and at the
/// most, so that a header alone makes nothing large.
const LEAST_CHUNK: usize = 512;
const MOST_CHUNK: usize = 32 * 1024;
/// Credit is given back in steps of this many bytes.
const CREDIT_STEP: u32 = WINDOW / 2;

/// What reading gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Read {
    Data(usize),
    /// Nothing has come.
    Nothing,
    /// The peer has finished the stream.
    End,
    /// One side has reset it.
    Reset,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Open,
    /// We send no more.
    Finished,
    /// The peer sends no more.
    PeerFinished,
    BothFinished,
    /// The peer has reset it.
    Reset,
    /// We have, and its user does not know yet.
    Cut,
}

pub(super) struct Flow {
    pub(super) phase: Phase,
    /// For the next frame of this stream.
    pub(super) flags_due: u16,
    /// What may be sent, in bytes.
    pub(super) credit: u32,
    /// The peer has acknowledged this stream of ours.
    pub(super) is_acknowledged: bool,
    /// Only the peer's end is waited for.
    pub(super) is_abandoned: bool,
    /// Bytes that were read and that the reader still has.
    pub(super) kept: usize,
    /// Of all reads, which was the last of this stream.
    pub(super) read_at: u64,
    chunks: VecDeque<Chunk>,
    /// Sizes of all chunks.
    allocated: usize,
    /// What the peer may still send, in bytes, of frames that have not begun.
    window: u32,
    /// Read since credit was given last.
    read: u32,
}

/// A buffer: what was read of it, what is filled, and free space.
struct Chunk {
    bytes: Vec<u8>,
    read: usize,
    filled: usize,
}

impl Flow {
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

    /// Forgets what has come.
    pub(super) fn forget(&mut self) {
        (self.chunks, self.allocated, self.kept) = (VecDeque::new(), 0, 0);
    }

    /// What the peer may still send, in bytes.
    pub(super) fn window(&self) -> u32 {
        self.window
    }

    pub(super) fn held(&self) -> usize {
        self.allocated + self.kept
    }

    /// A frame with so many bytes begins. `None` if it has more than the peer may send.
    pub(super) fn expect(&mut self, bytes: u32) -> Option<()> {
        self.window = self.window.checked_sub(bytes)?;
        Some(())
    }

    /// Whether data is kept; after the end there should be none.
    pub(super) fn takes_data(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Finished) && !self.is_abandoned
    }

    /// Makes space for the next of `left` bytes that a frame still has.
    pub(super) fn reserve(&mut self, left: usize) {
        let has_space = self
            .chunks
            .back()
            .is_some_and(|last| last.filled < last.bytes.len());
        if !has_space {
            let size = left.clamp(LEAST_CHUNK, MOST_CHUNK);
            self.allocated += size;
            self.chunks.push_back(Chunk {
                bytes: vec![0; size],
                read: 0,
                filled: 0,
            });
        }
    }

    /// The space that was made.
    pub(super) fn space(&mut self, left: usize) -> &mut [u8] {
        let last = self.chunks.back_mut();
        last.map_or(&mut [], |last| {
            let end = last.bytes.len().min(last.filled + left);
            &mut last.bytes[last.filled..end]
        })
    }

    /// So many bytes are in the space. Says whether a reader may have waited for them.
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

    /// Reads what is there, 0 if nothing is.
    pub(super) fn take(&mut self, buf: &mut [u8]) -> usize {
        let mut taken = 0;
        while taken < buf.len()
            && let Some(first) = self.chunks.front_mut()
        {
            let part = (first.filled - first.read).min(buf.len() - taken);
            buf[taken..taken + part].copy_from_slice(&first.bytes[first.read..first.read + part]);
            first.read += part;
            taken += part;
            // What space it has left is made anew when it is wanted.
            if first.read == first.filled {
                self.allocated -= first.bytes.len();
                self.chunks.pop_front();
            }
        }
        self.read += frame::length(taken);
        taken
    }

    /// The credit that the peer is to be given now, in bytes, as given.
    pub(super) fn take_credit_due(&mut self) -> u32 {
        if self.read < CREDIT_STEP || !self.takes_data() {
            return 0;
        }
        self.window += self.read;
        std::mem::take(&mut self.read)
    }

    /// What reading gives when there is nothing to read.
    pub(super) fn without_data(&self) -> Read {
        match self.phase {
            Phase::Open | Phase::Finished => Read::Nothing,
            Phase::PeerFinished | Phase::BothFinished => Read::End,
            Phase::Reset | Phase::Cut => Read::Reset,
        }
    }
}
