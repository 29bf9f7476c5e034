//! Position in the received bytes: frames arrive in arbitrary pieces.

use super::frame::{HEADER_LEN, Header};

/// Maximum bytes of a discarded body that are read in one step.
const MAX_SKIP: usize = 4 * 1024;

/// What the next bytes belong to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    Header,
    /// A body with `left` bytes to come, at least one.
    Body {
        stream: u32,
        left: usize,
    },
}

#[derive(Default)]
pub(super) struct Input {
    header: Header,
    /// Number of header bytes received.
    filled: usize,
    stream: u32,
    /// Number of body bytes to come.
    left: usize,
    /// Whether the frame is the last of its stream.
    is_last: bool,
    /// Whether a frame of a stream has begun and [`Self::frame_ended`] has not reported its end.
    is_open: bool,
    /// Scratch space for discarded bodies; empty between them.
    skipped: Vec<u8>,
}

impl Input {
    pub(super) fn part(&self) -> Part {
        match self.left {
            0 => Part::Header,
            left => Part::Body {
                stream: self.stream,
                left,
            },
        }
    }

    pub(super) fn is_between_frames(&self) -> bool {
        self.filled == 0 && self.left == 0
    }

    pub(super) fn header_space(&mut self) -> &mut [u8] {
        &mut self.header[self.filled..]
    }

    /// Returns whether the first byte is 1 or 2, the versions that smux writes there.
    pub(super) fn is_smux(&self) -> bool {
        matches!(self.header[0], 1 | 2)
    }

    /// Returns the header once all of it was received.
    pub(super) fn header_received(&mut self, bytes: usize) -> Option<Header> {
        self.filled += bytes;
        if self.filled < HEADER_LEN {
            return None;
        }
        self.filled = 0;
        Some(self.header)
    }

    /// Begins the body of a stream's frame.
    pub(super) fn body_begins(&mut self, stream: u32, len: usize, is_last: bool) {
        (self.stream, self.left, self.is_last) = (stream, len, is_last);
        self.is_open = true;
    }

    /// Returns space for a part of a body that is discarded.
    pub(super) fn skip_space(&mut self) -> &mut [u8] {
        let len = self.left.min(MAX_SKIP);
        if self.skipped.len() < len {
            self.skipped.resize(len, 0);
        }
        &mut self.skipped[..len]
    }

    pub(super) fn body_received(&mut self, bytes: usize) {
        self.left -= bytes;
        if self.left == 0 {
            self.skipped = Vec::new();
        }
    }

    /// Returns the stream of a frame that has just ended, and whether it was the stream's last one.
    pub(super) fn frame_ended(&mut self) -> Option<(u32, bool)> {
        let ended = self.left == 0 && std::mem::replace(&mut self.is_open, self.left > 0);
        ended.then_some((self.stream, self.is_last))
    }
}
