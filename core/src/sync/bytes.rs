//! Reading bytes that a peer sent.

/// Why bytes are not a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes end within a field.
    #[error("cut off")]
    Truncated,
    /// Written by a later version.
    #[error("version {0} is not known")]
    Version(u8),
    /// A kind of part that this version does not know.
    #[error("part {0} is not known")]
    Part(u8),
    /// Not a valid range of targets.
    #[error("not a prefix")]
    Prefix,
    /// A range is split by too many bits or by none.
    #[error("a range is split by 1 to 10 bits")]
    Step,
    /// A number exceeds its limit.
    #[error("a length is too large")]
    Length,
    /// The key's tag is neither 2 nor 3.
    #[error("not a public key")]
    Key,
    /// The origin is neither owner nor mirror.
    #[error("not an origin")]
    Origin,
    /// The message is too long.
    #[error("longer than a message may be")]
    TooLong,
}

/// Bytes that are not a message of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("reconciliation message, byte {offset}: {fault}")]
pub struct MessageError {
    /// Offset of the invalid part.
    pub offset: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// The bytes that have not been read.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            len: bytes.len(),
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Number of bytes read.
    pub(super) const fn offset(&self) -> usize {
        self.len - self.rest.len()
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Fault> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Reads a number of `len` bytes, at most 8.
    pub(super) fn number(&mut self, len: usize) -> Result<u64, Fault> {
        let bytes = self.take(len)?;
        Ok(bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Reads a number of `len` bytes, at most 3.
    pub(super) fn small(&mut self, len: usize) -> Result<usize, Fault> {
        Ok(self
            .take(len)?
            .iter()
            .fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }
}
