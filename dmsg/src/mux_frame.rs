//! yamux's frames, as far as we look at them: where each begins, and the pings.

/// Bytes of a frame's header: version, type, flags (2), stream (4), length (4), big-endian.
pub(crate) const HEADER_LEN: usize = 12;
/// A header.
pub(crate) type Header = [u8; HEADER_LEN];

const TYPE_DATA: u8 = 0;
const TYPE_WINDOW: u8 = 1;
const TYPE_PING: u8 = 2;
const TYPE_GO_AWAY: u8 = 3;
const FLAG_SYN: u8 = 1;
const FLAG_RST: u8 = 8;
const FLAGS_REQUEST: [u8; 2] = [0, 1];
const FLAGS_ANSWER: [u8; 2] = [0, 2];

/// Asks the peer to answer with the same number.
pub(crate) fn ping(number: u32) -> Header {
    let mut header = [0; HEADER_LEN];
    header[1] = TYPE_PING;
    header[2..4].copy_from_slice(&FLAGS_REQUEST);
    header[8..].copy_from_slice(&number.to_be_bytes());
    header
}

/// The number of an answered ping, if this is one.
pub(crate) fn pong(header: &Header) -> Option<u32> {
    let answer = header[1] == TYPE_PING && header[2..4] == FLAGS_ANSWER;
    answer.then(|| length(header))
}

/// Bytes that follow a header. Only data frames have any; a window update's length is its credit.
pub(crate) fn body_len(header: &Header) -> usize {
    match header[1] {
        TYPE_DATA => length(header) as usize,
        _ => 0,
    }
}

/// The stream of a frame that belongs to one.
pub(crate) fn stream_of(header: &Header) -> Option<u32> {
    let id = [header[4], header[5], header[6], header[7]];
    matches!(header[1], TYPE_DATA | TYPE_WINDOW).then(|| u32::from_be_bytes(id))
}

/// Whether a frame of a stream is its first.
pub(crate) fn opens_stream(header: &Header) -> bool {
    header[3] & (FLAG_SYN | FLAG_RST) == FLAG_SYN
}

/// Whether a session that begins with this byte is smux's: it is the version, 1 or 2 there and 0 in
/// yamux.
pub(crate) const fn is_smux(first: u8) -> bool {
    matches!(first, 1 | 2)
}

fn length(header: &Header) -> u32 {
    let [.., a, b, c, d] = *header;
    u32::from_be_bytes([a, b, c, d])
}

/// What the driver wants to know of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Frame {
    /// A ping that is no answer.
    PingRequest,
    /// The end of the session, for a fault of the peer's.
    GoAway,
    /// Anything else, and the middle of a frame.
    Other,
}

/// Where in a sequence of frames one is that sees their bytes.
#[derive(Default)]
pub(crate) struct FrameTracker {
    header: Header,
    /// How much of the header has passed.
    passed: usize,
    /// How much of the body is still to come.
    body: usize,
}

impl FrameTracker {
    /// Whether everything so far is whole frames.
    pub(crate) fn is_between_frames(&self) -> bool {
        self.passed == 0 && self.body == 0
    }

    /// What `next` starts. yamux writes a header by itself, and offers it whole.
    pub(crate) fn starts(&self, next: &[u8]) -> Frame {
        if !self.is_between_frames() || next.len() != HEADER_LEN {
            return Frame::Other;
        }
        match next[1] {
            TYPE_PING if next[2..4] == FLAGS_REQUEST => Frame::PingRequest,
            TYPE_GO_AWAY => Frame::GoAway,
            _ => Frame::Other,
        }
    }

    /// These bytes have passed. Says how many of them were data.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> usize {
        self.advance_with(bytes, |_| ())
    }

    /// The same, and gives each header as soon as it is complete.
    pub(crate) fn advance_with(
        &mut self,
        mut bytes: &[u8],
        mut on_header: impl FnMut(&Header),
    ) -> usize {
        let mut data = 0;
        while !bytes.is_empty() {
            let part = if self.body > 0 {
                let part = self.body.min(bytes.len());
                self.body -= part;
                data += part;
                part
            } else {
                let part = (HEADER_LEN - self.passed).min(bytes.len());
                self.header[self.passed..self.passed + part].copy_from_slice(&bytes[..part]);
                self.passed += part;
                if self.passed == HEADER_LEN {
                    self.passed = 0;
                    self.body = body_len(&self.header);
                    on_header(&self.header);
                }
                part
            };
            bytes = &bytes[part..];
        }
        data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: Header = [0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7];
    const PONG: [u8; 12] = [0, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7];
    const WINDOW: [u8; 12] = [0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0];
    const DATA: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 12];

    #[test]
    fn frames_are_told_apart() {
        let outgoing = FrameTracker::default();
        assert_eq!(outgoing.starts(&PING), Frame::PingRequest);
        assert_eq!(outgoing.starts(&PONG), Frame::Other);
        assert_eq!((ping(7), pong(&PONG), pong(&PING)), (PING, Some(7), None));
        assert_eq!((body_len(&DATA), body_len(&WINDOW)), (12, 0));
        assert_eq!(
            outgoing.starts(&[0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            Frame::GoAway
        );
    }

    #[test]
    fn data_that_looks_like_a_ping_is_data() {
        let mut outgoing = FrameTracker::default();
        for (i, byte) in DATA.iter().enumerate() {
            assert_eq!(outgoing.advance(&[*byte]), 0);
            let expected = i + 1 == DATA.len();
            assert_eq!(outgoing.body > 0, expected);
            assert_eq!(outgoing.starts(&PING), Frame::Other);
        }
        assert_eq!(outgoing.advance(&PING), PING.len());
        assert_eq!(outgoing.starts(&PING), Frame::PingRequest);
        let data = outgoing.advance(&[WINDOW, DATA, PING, PONG].concat());
        assert_eq!(data, PING.len());
        assert_eq!(outgoing.starts(&PING), Frame::PingRequest);
    }
}
