//! Ranges of targets that share a prefix of bits.

use core::cmp::Ordering;

use crate::id::{ID_LEN, Target};

/// Maximum length of a prefix in bits. A range of this length contains 2^8 of the 2^256 targets.
pub const MAX_PREFIX_BITS: u8 = 248;

/// The range of all targets that begin with certain bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Prefix {
    bits: u8,
    /// The first target of the range: the bits after the prefix are 0.
    start: [u8; ID_LEN],
}

/// The default is the range of all targets.
impl Default for Prefix {
    fn default() -> Self {
        Self::ALL
    }
}

impl PartialOrd for Prefix {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Prefix {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.start, self.bits).cmp(&(other.start, other.bits))
    }
}

impl Prefix {
    /// The range of all targets.
    pub const ALL: Self = Self {
        bits: 0,
        start: [0; ID_LEN],
    };

    /// The range with a prefix of `bits` bits, at most [`MAX_PREFIX_BITS`], that contains `target`.
    #[must_use]
    pub fn of(target: &Target, bits: u8) -> Self {
        let bits = bits.min(MAX_PREFIX_BITS);
        let mut start = *target.as_bytes();
        let whole = usize::from(bits / 8);
        start[whole] &= !(0xff_u8 >> (bits % 8));
        start[whole + 1..].fill(0);
        Self { bits, start }
    }

    /// Length of the prefix in bits.
    #[must_use]
    pub const fn bits(&self) -> u8 {
        self.bits
    }

    /// The first target of the range.
    #[must_use]
    pub const fn first(&self) -> Target {
        Target::from_bytes(self.start)
    }

    /// Whether the range contains `target`.
    #[must_use]
    pub fn contains(&self, target: &Target) -> bool {
        let whole = usize::from(self.bits / 8);
        let mask = !(0xff_u8 >> (self.bits % 8));
        let bytes = target.as_bytes();
        bytes[..whole] == self.start[..whole] && (bytes[whole] ^ self.start[whole]) & mask == 0
    }

    /// Returns subrange `index` after splitting the range by `step` more bits, at most 16. `None`
    /// if the prefix would be too long or there is no such subrange.
    #[must_use]
    pub fn child(&self, step: u8, index: usize) -> Option<Self> {
        let bits = self.bits.checked_add(step)?;
        if bits > MAX_PREFIX_BITS || step > 16 || index >> step != 0 {
            return None;
        }
        let mut start = self.start;
        for place in 0..step {
            if index >> (step - 1 - place) & 1 == 1 {
                let bit = self.bits + place;
                start[usize::from(bit / 8)] |= 0x80 >> (bit % 8);
            }
        }
        Some(Self { bits, start })
    }

    /// Group `depth` of four bits, counted from the first; bits after the prefix are 0.
    pub(super) fn nibble(&self, depth: u8) -> usize {
        nibble(&self.start, depth)
    }

    /// The bytes that contain the prefix.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.start[..usize::from(self.bits.div_ceil(8))]
    }

    /// The range with this encoding; `None` if bits after the prefix are set.
    pub(super) fn from_bytes(bits: u8, bytes: &[u8]) -> Option<Self> {
        if bits > MAX_PREFIX_BITS || bytes.len() != usize::from(bits.div_ceil(8)) {
            return None;
        }
        let mut start = [0; ID_LEN];
        start[..bytes.len()].copy_from_slice(bytes);
        let prefix = Self::of(&Target::from_bytes(start), bits);
        (prefix.start == start).then_some(prefix)
    }
}

/// Group `depth` of four bits of a target, counted from the first.
pub(super) fn nibble(bytes: &[u8; ID_LEN], depth: u8) -> usize {
    let byte = bytes[usize::from(depth / 2) % ID_LEN];
    usize::from(if depth.is_multiple_of(2) {
        byte >> 4
    } else {
        byte & 15
    })
}
