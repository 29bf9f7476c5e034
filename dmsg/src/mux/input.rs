//! Where in the peer's bytes we are: frames come in any pieces.

use super::frame::{HEADER_LEN, Header};

/// Bytes of a body without a taker that are read at once.
const SKIPPED: usize = 4 * 1024;

/// What the next bytes belong to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    Header,
    /// With so many bytes left, at least one.
    Body {
        stream: u32,
        left: usize,
    },
}

#[derive(Default)]
pub(super) struct Input {
    header: Header,
    /// How much of the header has come.
    filled: usize,
    stream: u32,
    /// How much of the body is to come.
    left: usize,
    /// The frame is the last of its stream.
    is_last: bool,
    /// A frame of a stream has begun and [`Self::frame_ended`] was not told of its end.
    is_open: bool,
    /// Space for what is not wanted, while there is such a thing.
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

    /// Whether the first byte is the version that smux writes there, 1 or 2.
    pub(super) fn is_smux(&self) -> bool {
        matches!(self.header[0], 1 | 2)
    }

    /// The header, once all of it is there.
    pub(super) fn header_received(&mut self, bytes: usize) -> Option<Header> {
        self.filled += bytes;
        if self.filled < HEADER_LEN {
            return None;
        }
        self.filled = 0;
        Some(self.header)
    }

    /// A frame of a stream begins.
    pub(super) fn body_begins(&mut self, stream: u32, len: usize, is_last: bool) {
        (self.stream, self.left, self.is_last) = (stream, len, is_last);
        self.is_open = true;
    }

    /// Space for a part of the body that is not kept.
    pub(super) fn skip_space(&mut self) -> &mut [u8] {
        let len = self.left.min(SKIPPED);
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

    /// The stream of a frame that has just ended, and whether it is that stream's last.
    pub(super) fn frame_ended(&mut self) -> Option<(u32, bool)> {
        let ended = self.left == 0 && std::mem::replace(&mut self.is_open, self.left > 0);
        ended.then_some((self.stream, self.is_last))
    }
}
