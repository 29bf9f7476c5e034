//! Positions in the 256-bit key space: nodes, targets and the XOR distance between them.
//!
//! Kademlia (Maymounkov & Mazières 2002, §2): distance is the bitwise XOR of two
//! identifiers, compared as a big-endian number.

use core::cmp::Ordering;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes in an identifier.
pub const ID_LEN: usize = 32;
/// Bits in an identifier.
pub const ID_BITS: u16 = 256;

/// Text that is not 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected 64 hexadecimal digits")]
pub struct ParseIdError;

/// The first eight bytes as a number.
fn leading(bytes: &[u8; ID_LEN]) -> u64 {
    let [first, ..] = bytes.as_chunks::<8>().0 else {
        return 0;
    };
    u64::from_be_bytes(*first)
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub struct $name([u8; ID_LEN]);

        impl $name {
            /// Wraps 32 raw bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; ID_LEN]) -> Self {
                Self(bytes)
            }

            /// The 32 raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; ID_LEN] {
                &self.0
            }
        }

        impl Ord for $name {
            /// Compares as big-endian numbers. The first eight bytes decide almost always.
            #[inline]
            fn cmp(&self, other: &Self) -> Ordering {
                let (a, b) = (leading(&self.0), leading(&other.0));
                a.cmp(&b).then_with(|| self.0.cmp(&other.0))
            }
        }

        impl PartialOrd for $name {
            #[inline]
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                crate::key::write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                crate::key::parse_hex(text.as_bytes()).map(Self).ok_or(ParseIdError)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                crate::key::deserialize_text(d)
            }
        }
    };
}

identifier! {
    /// A node's position: SHA-256 of its 33-byte compressed public key.
    NodeId
}
identifier! {
    /// Where an item lives: SHA-256(public key ‖ salt); with an empty salt, the owner's node id.
    Target
}
identifier! {
    /// XOR of two positions; ordered as a big-endian number.
    Distance
}

impl NodeId {
    /// Distance to another node.
    #[must_use]
    pub fn distance(&self, other: &Self) -> Distance {
        xor(&self.0, &other.0)
    }
}

impl Target {
    /// Distance from a node to this target.
    #[must_use]
    pub fn distance(&self, node: &NodeId) -> Distance {
        xor(&self.0, &node.0)
    }
}

impl From<NodeId> for Target {
    /// The node's position as a target to look up.
    fn from(id: NodeId) -> Self {
        Self(id.0)
    }
}

impl Distance {
    /// The largest possible distance.
    pub const MAX: Self = Self([0xff; ID_LEN]);

    /// Number of leading zero bits, which is the length of the common prefix of the two positions:
    /// 0 to 255, and 256 if they are equal.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "at most 8")]
    pub fn common_prefix(&self) -> u16 {
        for (i, byte) in (0u16..).zip(self.0.iter()) {
            if *byte != 0 {
                return i * 8 + byte.leading_zeros() as u16;
            }
        }
        ID_BITS
    }

    /// Bit `index`, counted from the most significant.
    #[must_use]
    pub fn bit(&self, index: u8) -> bool {
        self.0[usize::from(index / 8)] & (0x80 >> (index % 8)) != 0
    }

    /// The 128 most significant bits, enough to compare densities.
    #[must_use]
    pub fn high(&self) -> u128 {
        let mut high = [0; 16];
        high.copy_from_slice(&self.0[..16]);
        u128::from_be_bytes(high)
    }
}

fn xor(a: &[u8; ID_LEN], b: &[u8; ID_LEN]) -> Distance {
    let mut out = *a;
    for (x, y) in out.iter_mut().zip(b) {
        *x ^= y;
    }
    Distance(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_prefix_counts_leading_equal_bits() {
        let zero = NodeId::from_bytes([0; 32]);
        assert_eq!(zero.distance(&zero).common_prefix(), 256);
        let mut last = [0; 32];
        last[31] = 1;
        assert_eq!(
            zero.distance(&NodeId::from_bytes(last)).common_prefix(),
            255
        );
        assert_eq!(
            zero.distance(&NodeId::from_bytes([0x80; 32]))
                .common_prefix(),
            0
        );
    }

    #[test]
    fn identifiers_are_ordered_as_their_bytes() {
        let with = |at: usize, byte| {
            let mut bytes = [7; 32];
            bytes[at] = byte;
            bytes
        };
        for at in 0..32 {
            for (a, b) in [(6, 9), (0, 255), (9, 6), (7, 7)] {
                let (a, b) = (with(at, a), with(at, b));
                let ids = (NodeId::from_bytes(a), NodeId::from_bytes(b));
                assert_eq!(ids.0.cmp(&ids.1), a.cmp(&b));
            }
        }
    }

    #[test]
    fn bits_are_counted_from_the_most_significant() {
        let mut bytes = [0; 32];
        bytes[1] = 0x40;
        let d = Distance::from_bytes(bytes);
        assert!(d.bit(9) && !d.bit(8) && !d.bit(10));
        assert_eq!(d.common_prefix(), 9);
    }

    #[test]
    fn text_round_trips_and_refuses_other_lengths() {
        let id = Target::from_bytes([0xab; 32]);
        assert_eq!(alloc::string::ToString::to_string(&id).parse(), Ok(id));
        assert_eq!("abcd".parse::<Target>(), Err(ParseIdError));
    }
}
