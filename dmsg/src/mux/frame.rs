//! A frame's header, 12 bytes, big-endian: version 0 (1 byte), kind (1), flags (2), stream (4),
//! length (4). Only data frames have a body, of that length; in a window update it is credit, in a
//! ping a number, in a go-away a code.

pub(super) const HEADER_LEN: usize = 12;
pub(super) type Header = [u8; HEADER_LEN];

/// Opens a stream; on a ping: asks for an answer.
pub(super) const SYN: u16 = 1;
/// Acknowledges a stream.
pub(super) const ACK: u16 = 2;
/// Finishes the sender's side of a stream.
pub(super) const FIN: u16 = 4;
/// Ends a stream for both sides.
pub(super) const RST: u16 = 8;

/// Converts the length of something in memory, which is always less than 4 GiB here.
pub(super) fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Data = 0,
    WindowUpdate = 1,
    Ping = 2,
    GoAway = 3,
}

/// How a peer violated the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Violation {
    #[error("a frame of version {0}")]
    Version(u8),
    #[error("a frame of kind {0}")]
    Kind(u8),
    #[error("a frame longer than the window it goes into")]
    TooLong,
    #[error("a stream with a number that is not the peer's to give")]
    StreamNumber,
    #[error("a stream that is opened twice")]
    OpenedTwice,
    #[error("more credit than there can be")]
    Credit,
    #[error("an answer to no ping")]
    Pong,
    /// The peer speaks smux.
    #[error("smux")]
    Smux,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) flags: u16,
    /// Id of the stream; 0 for frames that belong to none.
    pub(super) stream: u32,
    pub(super) length: u32,
}

impl Frame {
    pub(super) fn of(kind: Kind, flags: u16, stream: u32, length: u32) -> Self {
        Self {
            kind,
            flags,
            stream,
            length,
        }
    }

    pub(super) fn of_header(header: &Header) -> Result<Self, Violation> {
        let [version, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = *header;
        if version != 0 {
            return Err(Violation::Version(version));
        }
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::WindowUpdate,
            2 => Kind::Ping,
            3 => Kind::GoAway,
            other => return Err(Violation::Kind(other)),
        };
        let (stream, length) = ([s0, s1, s2, s3], [l0, l1, l2, l3]);
        Ok(Self {
            kind,
            flags: u16::from_be_bytes([f0, f1]),
            stream: u32::from_be_bytes(stream),
            length: u32::from_be_bytes(length),
        })
    }

    pub(super) fn header(self) -> Header {
        let mut header = [0; HEADER_LEN];
        header[1] = self.kind as u8;
        header[2..4].copy_from_slice(&self.flags.to_be_bytes());
        header[4..8].copy_from_slice(&self.stream.to_be_bytes());
        header[8..].copy_from_slice(&self.length.to_be_bytes());
        header
    }
}
