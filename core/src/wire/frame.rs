//! Frames: `length` u32 big-endian ‖ method u8 ‖ body, where `length` = 1 + bytes of the body.

use alloc::vec::Vec;

use crate::wire::error::EncodeError;
use crate::wire::method::{MAX_MESSAGE, Method, Side};

/// A complete frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The method.
    pub method: Method,
    /// The bytes after the method: JSON, except for a [`Method::Renew`] request.
    pub body: Vec<u8>,
}

impl Frame {
    /// Size on the wire in bytes, header included.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        HEADER_LEN + self.body.len()
    }
}

/// Why a stream cannot be read any further. It must be closed; upstream sends no answer either.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// A frame without a method. The text is upstream's.
    #[error("dht rpc: invalid message length 0")]
    ZeroLength,
    /// A frame exceeds the limit of its method. The text is upstream's.
    #[error("dht rpc: invalid message length {len}")]
    TooLong {
        /// The length that the peer announced.
        len: u32,
        /// The maximum length.
        max: u32,
    },
    /// The method byte is not that of a known method.
    #[error("dht rpc: unknown method {0}")]
    UnknownMethod(u8),
}

/// Splits the bytes of a stream, in any fragmentation, into frames.
///
/// Length and method are checked before anything is allocated; then memory grows with the bytes
/// that arrive, whatever length was announced. After an error the decoder stays failed.
#[derive(Clone, Debug)]
pub struct FrameDecoder {
    side: Side,
    state: DecoderState,
}

#[derive(Clone, Debug)]
enum DecoderState {
    Header { bytes: [u8; HEADER_LEN], have: u8 },
    Body { frame: Frame, missing: usize },
    Failed(FrameError),
}

const LENGTH_LEN: usize = 4;
const HEADER_LEN: usize = LENGTH_LEN + 1;

impl DecoderState {
    const START: Self = Self::Header {
        bytes: [0; HEADER_LEN],
        have: 0,
    };
}

impl FrameDecoder {
    /// Creates a decoder for the start of a stream; `side` determines which limits apply.
    #[must_use]
    pub const fn new(side: Side) -> Self {
        Self {
            side,
            state: DecoderState::START,
        }
    }

    /// Consumes `bytes` up to the end of one frame. `None`: all bytes are consumed, and more are
    /// needed.
    ///
    /// # Errors
    /// [`FrameError`], now and in every later call; nothing more is consumed.
    pub fn push(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame>, FrameError> {
        if let DecoderState::Header {
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
                    match check_header(self.side, header, usize::from(*have) == HEADER_LEN) {
                        Err(error) => {
                            self.state = DecoderState::Failed(error);
                            return Err(error);
                        }
                        Ok(None) => {}
                        Ok(Some((method, missing))) => {
                            let body = Vec::new();
                            let frame = Frame { method, body };
                            self.state = DecoderState::Body { frame, missing };
                            break;
                        }
                    }
                }
            }
        }
        match &mut self.state {
            DecoderState::Body { frame, missing } => {
                let (taken, rest) = bytes.split_at(bytes.len().min(*missing));
                *bytes = rest;
                frame.body.extend_from_slice(taken);
                *missing -= taken.len();
                if *missing > 0 {
                    return Ok(None);
                }
                match core::mem::replace(&mut self.state, DecoderState::START) {
                    DecoderState::Body { frame, .. } => Ok(Some(frame)),
                    _ => Ok(None),
                }
            }
            DecoderState::Failed(error) => Err(*error),
            DecoderState::Header { .. } => Ok(None),
        }
    }

    /// Whether the end of the stream now would be inside a frame.
    #[must_use]
    pub const fn is_mid_frame(&self) -> bool {
        match &self.state {
            DecoderState::Header { have, .. } => *have > 0,
            DecoderState::Body { .. } => true,
            DecoderState::Failed(_) => false,
        }
    }

    /// Number of bytes received of an incomplete frame.
    #[must_use]
    pub fn buffered(&self) -> usize {
        match &self.state {
            DecoderState::Header { have, .. } => usize::from(*have),
            DecoderState::Body { frame, .. } => HEADER_LEN + frame.body.len(),
            DecoderState::Failed(_) => 0,
        }
    }
}

impl FrameDecoder {
    /// Memory that the incomplete frame occupies, in bytes.
    #[must_use]
    pub fn allocated(&self) -> usize {
        match &self.state {
            DecoderState::Body { frame, .. } => frame.body.capacity(),
            DecoderState::Header { .. } | DecoderState::Failed(_) => 0,
        }
    }
}

/// Starts a frame of `method` with capacity for `body` bytes.
pub(super) fn start(method: Method, body: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LEN + body);
    out.extend_from_slice(&[0; LENGTH_LEN]);
    out.push(method.as_byte());
    out
}

/// Completes a frame by its length.
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

/// Checks a header. Returns the method and the length of the body, once the method byte is there.
#[allow(
    clippy::cast_possible_truncation,
    reason = "every limit is at most MAX_MESSAGE"
)]
fn check_header(
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
