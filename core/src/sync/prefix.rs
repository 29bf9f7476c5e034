//! Ranges of targets: all that begin with the same bits.

use core::cmp::Ordering;

use crate::id::{ID_LEN, Target};

/// The longest prefix. A range of this length has 2^8 targets of 2^256.
pub const MAX_PREFIX_BITS: u8 = 248;

/// The range of all targets that begin with these bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Prefix {
    bits: u8,
    /// The bits behind the prefix are 0.
    start: [u8; ID_LEN],
}

/// Everything.
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
    /// Everything.
    pub const ALL: Self = Self {
        bits: 0,
        start: [0; ID_LEN],
    };

    /// The range of `bits` bits, at most [`MAX_PREFIX_BITS`], that holds `target`.
    #[must_use]
    pub fn of(target: &Target, bits: u8) -> Self {
        let bits = bits.min(MAX_PREFIX_BITS);
        let mut start = *target.as_bytes();
        let whole = usize::from(bits / 8);
        start[whole] &= !(0xff_u8 >> (bits % 8));
        start[whole + 1..].fill(0);
        Self { bits, start }
    }

    /// How many bits.
    #[must_use]
    pub const fn bits(&self) -> u8 {
        self.bits
    }

    /// The first target of the range.
    #[must_use]
    pub const fn first(&self) -> Target {
        Target::from_bytes(self.start)
    }

    /// Whether a target lies in the range.
    #[must_use]
    pub fn contains(&self, target: &Target) -> bool {
        let whole = usize::from(self.bits / 8);
        let mask = !(0xff_u8 >> (self.bits % 8));
        let bytes = target.as_bytes();
        bytes[..whole] == self.start[..whole] && (bytes[whole] ^ self.start[whole]) & mask == 0
    }

    /// Part `index` of the range when it is split by `step` more bits, at most 16; none when that
    /// is longer than a prefix may be or there is no such part.
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

    /// Group `depth` of four bits, counted from the first; those behind the prefix are 0.
    pub(super) fn nibble(&self, depth: u8) -> usize {
        nibble(&self.start, depth)
    }

    /// The bytes that hold the bits.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.start[..usize::from(self.bits.div_ceil(8))]
    }

    /// The range that is written so; none when bits behind the prefix are set.
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

/// Group `depth` of four bits of a target.
pub(super) fn nibble(bytes: &[u8; ID_LEN], depth: u8) -> usize {
    let byte = bytes[usize::from(depth / 2) % ID_LEN];
    usize::from(if depth.is_multiple_of(2) {
        byte >> 4
    } else {
        byte & 15
    })
}
