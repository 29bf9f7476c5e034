//! Frames on their way to the connection, in the order of their making but for a few that are urgent.

use super::frame::{self, ACK, Frame, HEADER_LEN, Kind, RST, SYN};

/// Resets that wait for the connection, at most.
const MOST_RESETS: usize = 256;
/// The most data in one frame, in bytes. Others' streams wait no longer for it than for what the
/// socket holds anyway.
pub(super) const MOST_DATA: usize = 32 * 1024;
/// Pings of the peer's that wait for their answers, at most. More than one, since two ends that
/// cannot write would wait for each other.
const MOST_PONGS: usize = 8;
/// So much that waits behind urgent frames goes with them, in bytes.
const TOGETHER: usize = 4 * 1024;

#[derive(Default)]
pub(super) struct Output {
    /// What the connection is given, and how much of it it has taken.
    writing: Vec<u8>,
    sent: usize,
    /// Comes after that.
    queued: Vec<u8>,
    /// Comes before `queued`: credit, at most one frame for each [`super::flow`]'s step of it.
    urgent: Vec<u8>,
    /// Pings that are to be answered.
    pongs: Vec<u32>,
    /// Where in `queued` the last frame begins, if it is data that more can be added to, and of
    /// which stream.
    last: Option<(usize, u32)>,
    resets_writing: usize,
    resets_queued: usize,
}

impl Output {
    /// Data of a stream.
    pub(super) fn data(&mut self, stream: u32, flags: u16, data: &[u8]) {
        if flags == 0
            && let Some((start, last)) = self.last
            && last == stream
        {
            let len = self.queued.len() - start - HEADER_LEN + data.len();
            if len <= MOST_DATA {
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

    /// A frame without a body.
    pub(super) fn frame(&mut self, frame: Frame) {
        self.queued.extend_from_slice(&frame.header());
        self.last = None;
    }

    pub(super) fn reset(&mut self, stream: u32) {
        self.frame(Frame::of(Kind::Data, RST, stream, 0));
        self.resets_queued += 1;
    }

    /// A frame without a body that goes before data that waits.
    pub(super) fn urgent(&mut self, frame: Frame) {
        debug_assert_eq!(frame.flags & !ACK, 0);
        self.urgent.extend_from_slice(&frame.header());
    }

    pub(super) fn pong(&mut self, number: u32) {
        self.pongs.push(number);
    }

    /// Whether as many wait for the connection as may: resets, and answers to pings.
    pub(super) fn is_full(&self) -> bool {
        self.resets() >= MOST_RESETS || self.pongs.len() >= MOST_PONGS
    }

    /// Asks for an answer.
    pub(super) fn ping(&mut self, number: u32) {
        self.urgent
            .extend_from_slice(&Frame::of(Kind::Ping, SYN, 0, number).header());
    }

    /// Resets that the connection has not taken.
    fn resets(&self) -> usize {
        self.resets_writing + self.resets_queued
    }

    pub(super) fn unsent(&self) -> usize {
        let pongs = self.pongs.len() * HEADER_LEN;
        self.writing.len() - self.sent + self.queued.len() + self.urgent.len() + pongs
    }

    /// What is to be sent next.
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
        if !is_urgent || self.queued.len() <= TOGETHER {
            if is_urgent {
                self.writing.append(&mut self.queued);
            } else {
                std::mem::swap(&mut self.writing, &mut self.queued);
            }
            self.last = None;
            self.resets_writing = std::mem::take(&mut self.resets_queued);
        }
        // An idle session keeps none of them.
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
