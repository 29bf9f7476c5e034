//! A limit that may be absent.

use core::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

/// A maximum number, or no limit. In JSON and in configuration files a number, where 0 means
/// unlimited, as in upstream. The default is unlimited.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(from = "usize", into = "usize")]
pub struct Cap(Option<NonZeroUsize>);

impl Cap {
    /// No limit.
    pub const UNLIMITED: Self = Self(None);

    /// A limit of `most`; unlimited for 0.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Self(NonZeroUsize::new(most))
    }

    /// The limit; `None` if unlimited.
    #[must_use]
    pub const fn most(self) -> Option<usize> {
        match self.0 {
            Some(most) => Some(most.get()),
            None => None,
        }
    }

    /// Whether one more is allowed in addition to `used`.
    #[must_use]
    pub const fn has_room(self, used: usize) -> bool {
        match self.0 {
            Some(most) => used < most.get(),
            None => true,
        }
    }

    /// The amount by which `used` exceeds the limit.
    #[must_use]
    pub const fn excess(self, used: usize) -> usize {
        match self.0 {
            Some(most) => used.saturating_sub(most.get()),
            None => 0,
        }
    }

    /// The number for configuration files, 0 if unlimited.
    pub(crate) const fn number(self) -> usize {
        match self.0 {
            Some(most) => most.get(),
            None => 0,
        }
    }
}

impl From<usize> for Cap {
    fn from(most: usize) -> Self {
        Self::new(most)
    }
}

impl From<Cap> for usize {
    fn from(cap: Cap) -> Self {
        cap.number()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_has_room_for_anything_and_is_never_exceeded() {
        for (cap, used, room, excess) in [
            (Cap::new(3), 0, true, 0),
            (Cap::new(3), 2, true, 0),
            (Cap::new(3), 3, false, 0),
            (Cap::new(3), 5, false, 2),
            (Cap::UNLIMITED, 0, true, 0),
            (Cap::UNLIMITED, usize::MAX, true, 0),
        ] {
            assert_eq!((cap.has_room(used), cap.excess(used)), (room, excess));
        }
    }

    #[test]
    fn in_json_no_limit_is_0() {
        for (cap, text) in [(Cap::UNLIMITED, "0"), (Cap::new(7), "7")] {
            assert_eq!(serde_json::to_string(&cap).unwrap(), text);
            assert_eq!(serde_json::from_str::<Cap>(text).unwrap(), cap);
        }
        assert_eq!((Cap::new(0), Cap::new(0).most()), (Cap::UNLIMITED, None));
    }
}
