//! Frames: `length` u32 big-endian ‖ method u8 ‖ body, where `length` = 1 + bytes of the body.

use alloc::vec::Vec;

use crate::wire::error::EncodeError;
use crate::wire::method::{MAX_MESSAGE, Method, Side};

/// One whole frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// What it asks or answers.
    pub method: Method,
    /// The bytes after the method: JSON, except for a [`Method::Renew`] request.
    pub body: Vec<u8>,
}

impl Frame {
    /// Bytes that it takes on the wire, header included.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        HEADER_LEN + self.body.len()
    }
}

/// Why a stream cannot be read on. The stream is to be dropped; upstream sends no answer either.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// A frame without even a method. The text is upstream's.
    #[error("dht rpc: invalid message length 0")]
    ZeroLength,
    /// More than the limit of its method. The text is upstream's.
    #[error("dht rpc: invalid message length {len}")]
    TooLong {
        /// What the peer announced.
        len: u32,
        /// The most that is accepted.
        max: u32,
    },
    /// The number is that of no known method.
    #[error("dht rpc: unknown method {0}")]
    UnknownMethod(u8),
}

/// Takes a stream's bytes in any pieces and gives back whole frames.
///
/// Length and method are judged before anything is allocated; then memory grows with the bytes
/// that arrived, whatever length was announced. After an error the decoder stays failed.
#[derive(Clone, Debug)]
pub struct FrameDecoder {
    side: Side,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Header { bytes: [u8; HEADER_LEN], have: u8 },
    Body { frame: Frame, missing: usize },
    Failed(FrameError),
}

const LENGTH_LEN: usize = 4;
const HEADER_LEN: usize = LENGTH_LEN + 1;

impl State {
    const START: Self = Self::Header {
        bytes: [0; HEADER_LEN],
        have: 0,
    };
}

impl FrameDecoder {
    /// A decoder at the start of a stream; `side` says which limits apply to what arrives.
    #[must_use]
    pub const fn new(side: Side) -> Self {
        Self {
            side,
            state: State::START,
        }
    }

    /// Consumes from `bytes` up to the end of one frame. None: all consumed, more is needed.
    ///
    /// # Errors
    /// [`FrameError`], now and from then on; nothing more is consumed.
    pub fn push(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame>, FrameError> {
        if let State::Header {
            bytes: header,
            have,
        } = &mut self.state
        {
            loop {
                let Some((byte, rest)) = bytes.split_first() else {
                    return Ok(None);
                };
                *bytes = rest;
                header[usize::from(*have)] = *byte;
                *have += 1;
                if usize::from(*have) >= LENGTH_LEN {
                    match judge(self.side, header, usize::from(*have) == HEADER_LEN) {
                        Err(error) => {
                            self.state = State::Failed(error);
                            return Err(error);
                        }
                        Ok(None) => {}
                        Ok(Some((method, missing))) => {
                            let body = Vec::new();
                            let frame = Frame { method, body };
                            self.state = State::Body { frame, missing };
                            break;
                        }
                    }
                }
            }
        }
        match &mut self.state {
            State::Body { frame, missing } => {
                let (taken, rest) = bytes.split_at(bytes.len().min(*missing));
                *bytes = rest;
                frame.body.extend_from_slice(taken);
                *missing -= taken.len();
                if *missing > 0 {
                    return Ok(None);
                }
                match core::mem::replace(&mut self.state, State::START) {
                    State::Body { frame, .. } => Ok(Some(frame)),
                    _ => Ok(None),
                }
            }
            State::Failed(error) => Err(*error),
            State::Header { .. } => Ok(None),
        }
    }

    /// Whether the stream would end inside a frame if it ended now.
    #[must_use]
    pub const fn is_mid_frame(&self) -> bool {
        match &self.state {
            State::Header { have, .. } => *have > 0,
            State::Body { .. } => true,
            State::Failed(_) => false,
        }
    }

    /// Bytes held of a frame that is not yet whole.
    #[must_use]
    pub fn buffered(&self) -> usize {
        match &self.state {
            State::Header { have, .. } => usize::from(*have),
            State::Body { frame, .. } => HEADER_LEN + frame.body.len(),
            State::Failed(_) => 0,
        }
    }
}

impl FrameDecoder {
    /// Bytes of memory that the frame which is not yet whole takes.
    #[must_use]
    pub fn allocated(&self) -> usize {
        match &self.state {
            State::Body { frame, .. } => frame.body.capacity(),
            State::Header { .. } | State::Failed(_) => 0,
        }
    }
}

/// A buffer for a frame of `method` with room for some `body` bytes.
pub(super) fn start(method: Method, body: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LEN + body);
    out.extend_from_slice(&[0; LENGTH_LEN]);
    out.push(method.as_byte());
    out
}

/// Fills in the length.
#[allow(
    clippy::cast_possible_truncation,
    reason = "every limit fits into 32 bits"
)]
pub(super) fn finish(
    mut frame: Vec<u8>,
    method: Method,
    side: Side,
) -> Result<Vec<u8>, EncodeError> {
    let (len, max) = (frame.len() - LENGTH_LEN, side.limit(method));
    if len > max {
        return Err(EncodeError { method, len, max });
    }
    frame[..LENGTH_LEN].copy_from_slice(&(len as u32).to_be_bytes());
    Ok(frame)
}

/// What the header says: the method and the body's length, once the method's byte is there.
#[allow(
    clippy::cast_possible_truncation,
    reason = "every limit is at most MAX_MESSAGE"
)]
fn judge(
    side: Side,
    header: &[u8; HEADER_LEN],
    with_method: bool,
) -> Result<Option<(Method, usize)>, FrameError> {
    let [a, b, c, d, byte] = *header;
    let len = u32::from_be_bytes([a, b, c, d]);
    let at_most = |max: usize| {
        let max = max as u32;
        if len > max {
            Err(FrameError::TooLong { len, max })
        } else {
            Ok(())
        }
    };
    if len == 0 {
        return Err(FrameError::ZeroLength);
    }
    at_most(MAX_MESSAGE)?;
    if !with_method {
        return Ok(None);
    }
    let method = Method::from_byte(byte).ok_or(FrameError::UnknownMethod(byte))?;
    at_most(side.limit(method))?;
    Ok(Some((method, len as usize - 1)))
}

#[cfg(test)]
mod tests;
