//! Frames: a u16 big-endian length, then that many bytes.
//!
//! Handshake messages and records both travel in them. A frame is at most 4096 bytes.

use crate::cipher::RECORD_OVERHEAD;

/// Length of the prefix, in bytes.
pub const PREFIX_LEN: usize = 2;
/// Maximum length of a body, in bytes.
pub const MAX_BODY: usize = 4096 - PREFIX_LEN;
/// Maximum length of the plaintext in one record, in bytes, so that it fits a frame.
pub const MAX_PLAINTEXT: usize = MAX_BODY - RECORD_OVERHEAD;

/// A length prefix above [`MAX_BODY`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("frame of {0} bytes exceeds {MAX_BODY}")]
pub struct FrameTooLong(pub u16);

/// Reads a length prefix.
///
/// # Errors
/// [`FrameTooLong`].
pub fn body_len(prefix: [u8; PREFIX_LEN]) -> Result<usize, FrameTooLong> {
    let len = u16::from_be_bytes(prefix);
    if usize::from(len) > MAX_BODY {
        return Err(FrameTooLong(len));
    }
    Ok(len.into())
}

/// Returns the length prefix of a body.
///
/// # Errors
/// [`FrameTooLong`].
pub fn prefix(body_len: usize) -> Result<[u8; PREFIX_LEN], FrameTooLong> {
    let len = u16::try_from(body_len).unwrap_or(u16::MAX);
    if usize::from(len) > MAX_BODY {
        return Err(FrameTooLong(len));
    }
    Ok(len.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_upstreams() {
        assert_eq!((MAX_BODY, MAX_PLAINTEXT), (4094, 4070));
        for len in [0, 1, 4094] {
            assert_eq!(body_len(prefix(len).unwrap()), Ok(len));
        }
        assert_eq!(body_len(4095u16.to_be_bytes()), Err(FrameTooLong(4095)));
        assert_eq!(body_len([0xff; 2]), Err(FrameTooLong(65535)));
        assert_eq!(prefix(4095), Err(FrameTooLong(4095)));
        assert_eq!(prefix(1 << 20), Err(FrameTooLong(u16::MAX)));
    }
}
