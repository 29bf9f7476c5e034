//! Decoding of numbers and byte strings.

use super::error::GobError;

/// The rest of a stream, or of one of its messages.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Checks that nothing is left.
    pub(super) const fn finish(self) -> Result<(), GobError> {
        match self.0 {
            [] => Ok(()),
            _ => Err(GobError::Trailing),
        }
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], GobError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(GobError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Reads an unsigned number: one byte below 128, or the negated count of big-endian bytes and
    /// these.
    pub(super) fn uint(&mut self) -> Result<u64, GobError> {
        let first = self.take(1)?[0];
        if first < 128 {
            return Ok(first.into());
        }
        let len = usize::from(first.wrapping_neg());
        if len > 8 {
            return Err(GobError::Number);
        }
        let bytes = self.take(len)?;
        Ok(bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
    }

    /// Reads a signed number: the lowest bit is the sign, which complements the rest.
    pub(super) fn int(&mut self) -> Result<i64, GobError> {
        let raw = self.uint()?;
        let value = i64::try_from(raw >> 1).map_err(|_| GobError::Number)?;
        Ok(if raw & 1 == 1 { !value } else { value })
    }

    pub(super) fn u16(&mut self) -> Result<u16, GobError> {
        u16::try_from(self.uint()?).map_err(|_| GobError::Number)
    }

    pub(super) fn bool(&mut self) -> Result<bool, GobError> {
        Ok(self.uint()? != 0)
    }

    /// Reads a count of elements that take at least one byte each, which bounds it by the input.
    pub(super) fn count(&mut self) -> Result<usize, GobError> {
        let count = usize::try_from(self.uint()?).map_err(|_| GobError::Truncated)?;
        if count > self.0.len() {
            return Err(GobError::Truncated);
        }
        Ok(count)
    }

    /// Reads a length and that many bytes: a string, a byte slice, or a value that marshals itself.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], GobError> {
        let len = self.count()?;
        self.take(len)
    }

    /// Reads the next message: its type id (negative for a descriptor) and its body.
    pub(super) fn message(&mut self) -> Result<(i64, Self), GobError> {
        let mut body = Self(self.bytes()?);
        Ok((body.int()?, body))
    }

    /// Reads a struct: calls `field` with the index of each field that is present.
    pub(super) fn fields(
        &mut self,
        mut field: impl FnMut(usize, &mut Self) -> Result<(), GobError>,
    ) -> Result<(), GobError> {
        let mut next = 0usize;
        loop {
            let delta = self.uint()?;
            if delta == 0 {
                return Ok(());
            }
            let delta = usize::try_from(delta).map_err(|_| GobError::FieldNumber)?;
            next = next.checked_add(delta).ok_or(GobError::FieldNumber)?;
            field(next - 1, self)?;
        }
    }
}
