//! Frames to be sent, in the order in which they were made, except for a few urgent ones.

use super::frame::{self, ACK, Frame, HEADER_LEN, Kind, RST, SYN};

/// Maximum number of resets that wait for the connection.
const MAX_RESETS: usize = 256;
/// Maximum data in one frame, in bytes. Other streams wait no longer for such a frame than for what
/// the socket buffers anyway.
pub(super) const MAX_DATA: usize = 32 * 1024;
/// Maximum number of the peer's pings that wait for their answers. More than one, since two ends
/// that cannot write would otherwise wait for each other.
const MAX_PONGS: usize = 8;
/// Up to this many queued bytes are sent together with urgent frames.
const MAX_BATCHED: usize = 4 * 1024;

#[derive(Default)]
pub(super) struct Output {
    /// Bytes offered to the connection, of which `sent` were taken.
    writing: Vec<u8>,
    sent: usize,
    /// Bytes that follow `writing`.
    queued: Vec<u8>,
    /// Frames that precede `queued`: pings, and credit, at most one frame per stream and step of
    /// credit.
    urgent: Vec<u8>,
    /// Numbers of pings to be answered.
    pongs: Vec<u32>,
    /// Start of the last frame in `queued` and its stream, if it is a data frame to which more can
    /// be appended.
    last: Option<(usize, u32)>,
    resets_writing: usize,
    resets_queued: usize,
}

impl Output {
    /// Queues data of a stream.
    pub(super) fn data(&mut self, stream: u32, flags: u16, data: &[u8]) {
        if flags == 0
            && let Some((start, last)) = self.last
            && last == stream
        {
            let len = self.queued.len() - start - HEADER_LEN + data.len();
            if len <= MAX_DATA {
                self.queued[start + 8..start + HEADER_LEN]
                    .copy_from_slice(&frame::length(len).to_be_bytes());
                self.queued.extend_from_slice(data);
                return;
            }
        }
        let start = self.queued.len();
        self.queued.reserve(HEADER_LEN + data.len());
        self.frame(Frame::of(
            Kind::Data,
            flags,
            stream,
            frame::length(data.len()),
        ));
        self.queued.extend_from_slice(data);
        self.last = Some((start, stream));
    }

    /// Queues a frame without a body.
    pub(super) fn frame(&mut self, frame: Frame) {
        self.queued.extend_from_slice(&frame.header());
        self.last = None;
    }

    pub(super) fn reset(&mut self, stream: u32) {
        self.frame(Frame::of(Kind::Data, RST, stream, 0));
        self.resets_queued += 1;
    }

    /// Queues a frame without a body ahead of data.
    pub(super) fn urgent(&mut self, frame: Frame) {
        debug_assert_eq!(frame.flags & !ACK, 0);
        self.urgent.extend_from_slice(&frame.header());
    }

    pub(super) fn pong(&mut self, number: u32) {
        self.pongs.push(number);
    }

    /// Returns whether the limit of waiting resets or of waiting answers to pings is reached.
    pub(super) fn is_full(&self) -> bool {
        self.resets() >= MAX_RESETS || self.pongs.len() >= MAX_PONGS
    }

    /// Queues a ping.
    pub(super) fn ping(&mut self, number: u32) {
        self.urgent
            .extend_from_slice(&Frame::of(Kind::Ping, SYN, 0, number).header());
    }

    /// Returns the number of resets that the connection has not taken.
    fn resets(&self) -> usize {
        self.resets_writing + self.resets_queued
    }

    pub(super) fn unsent(&self) -> usize {
        let pongs = self.pongs.len() * HEADER_LEN;
        self.writing.len() - self.sent + self.queued.len() + self.urgent.len() + pongs
    }

    /// Returns what to send next.
    pub(super) fn next(&mut self) -> &[u8] {
        if self.sent == self.writing.len() {
            self.refill();
        }
        &self.writing[self.sent..]
    }

    fn refill(&mut self) {
        self.writing.clear();
        (self.sent, self.resets_writing) = (0, 0);
        for number in self.pongs.drain(..) {
            self.urgent
                .extend_from_slice(&Frame::of(Kind::Ping, ACK, 0, number).header());
        }
        let is_urgent = !self.urgent.is_empty();
        if is_urgent {
            std::mem::swap(&mut self.writing, &mut self.urgent);
        }
        if !is_urgent || self.queued.len() <= MAX_BATCHED {
            if is_urgent {
                self.writing.append(&mut self.queued);
            } else {
                std::mem::swap(&mut self.writing, &mut self.queued);
            }
            self.last = None;
            self.resets_writing = std::mem::take(&mut self.resets_queued);
        }
        // Free empty buffers, so that an idle session has none.
        for buffer in [&mut self.writing, &mut self.queued, &mut self.urgent] {
            if buffer.is_empty() {
                *buffer = Vec::new();
            }
        }
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
    }
}
