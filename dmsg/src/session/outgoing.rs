//! Follows the frames that yamux writes, so as to know where each begins.

/// Bytes of a frame's header: version, type, flags (2), stream (4), length (4), big-endian.
const HEADER_LEN: usize = 12;
const TYPE_DATA: u8 = 0;
const TYPE_PING: u8 = 2;
const TYPE_GO_AWAY: u8 = 3;
const FLAGS_REQUEST: [u8; 2] = [0, 1];

/// What the driver wants to know of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Frame {
    /// A ping that is no answer.
    PingRequest,
    /// The end of the session, for a fault of the peer's.
    GoAway,
    /// Anything else, and the middle of a frame.
    Other,
}

#[derive(Default)]
pub(super) struct Outgoing {
    header: [u8; HEADER_LEN],
    /// How much of the header was written.
    written: usize,
    /// How much of the body is still to come.
    body: usize,
}

impl Outgoing {
    /// What `next` starts. yamux writes a header by itself, and offers it whole.
    pub(super) fn starts(&self, next: &[u8]) -> Frame {
        if self.written > 0 || self.body > 0 || next.len() != HEADER_LEN {
            return Frame::Other;
        }
        match next[1] {
            TYPE_PING if next[2..4] == FLAGS_REQUEST => Frame::PingRequest,
            TYPE_GO_AWAY => Frame::GoAway,
            _ => Frame::Other,
        }
    }

    /// These bytes were written.
    pub(super) fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let part = if self.body > 0 {
                let part = self.body.min(bytes.len());
                self.body -= part;
                part
            } else {
                let part = (HEADER_LEN - self.written).min(bytes.len());
                self.header[self.written..self.written + part].copy_from_slice(&bytes[..part]);
                self.written += part;
                if self.written == HEADER_LEN {
                    self.written = 0;
                    self.body = self.body_len();
                }
                part
            };
            bytes = &bytes[part..];
        }
    }

    /// Only data frames have a body; a window update's length is its credit.
    fn body_len(&self) -> usize {
        match self.header {
            [_, TYPE_DATA, _, _, _, _, _, _, length @ ..] => u32::from_be_bytes(length) as usize,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: [u8; 12] = [0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7];
    const PONG: [u8; 12] = [0, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7];
    const WINDOW: [u8; 12] = [0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0];
    const DATA: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 12];

    #[test]
    fn frames_are_told_apart() {
        let outgoing = Outgoing::default();
        assert_eq!(outgoing.starts(&PING), Frame::PingRequest);
        assert_eq!(outgoing.starts(&PONG), Frame::Other);
        assert_eq!(
            outgoing.starts(&[0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            Frame::GoAway
        );
    }

    #[test]
    fn data_that_looks_like_a_ping_is_data() {
        let mut outgoing = Outgoing::default();
        for (i, byte) in DATA.iter().enumerate() {
            outgoing.advance(&[*byte]);
            let expected = i + 1 == DATA.len();
            assert_eq!(outgoing.body > 0, expected);
            assert_eq!(outgoing.starts(&PING), Frame::Other);
        }
        outgoing.advance(&PING);
        assert_eq!(outgoing.starts(&PING), Frame::PingRequest);
        outgoing.advance(&[WINDOW, DATA, PING, PONG].concat());
        assert_eq!(outgoing.starts(&PING), Frame::PingRequest);
    }
}
