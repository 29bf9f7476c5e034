//! The bounds of a node, with their defaults.

use serde::{Deserialize, Serialize};

use crate::cap::Cap;
use crate::key::PublicKey;

/// A field of [`Config`](crate::node::Config) with an invalid value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Outside its range.
    #[error("{field} must be {allowed}, got {got}")]
    OutOfRange {
        /// The field's name.
        field: &'static str,
        /// The allowed range.
        allowed: &'static str,
        /// The given value.
        got: u64,
    },
    /// A key that is no point on the curve.
    #[error("{field} holds {key}, which is not a point on secp256k1")]
    Key {
        /// The field's name.
        field: &'static str,
        /// The key.
        key: PublicKey,
    },
}

/// The code for each kind of bound: a `count` is a plain number, a `cap` may be unlimited.
macro_rules! bound {
    (type count) => {
        usize
    };
    (type cap) => {
        Cap
    };
    (default count $value:expr) => {
        $value
    };
    (default cap $value:expr) => {
        Cap::new($value)
    };
    (number count $value:expr) => {
        $value
    };
    (number cap $value:expr) => {
        $value.number()
    };
    (optional count) => {
        false
    };
    (optional cap) => {
        true
    };
    (most count $value:expr) => {
        Some($value)
    };
    (most cap $value:expr) => {
        $value.most()
    };
}

macro_rules! limits {
    ($($(#[doc = $doc:literal])* $name:ident: $kind:ident $default:expr, $min:literal..=$max:literal;)*) => {
        /// Bounds on everything that peers and users can make the node hold or do. `docs/limits.md`
        /// adds up the memory that they imply: by default below 128 MiB for queues and buffers, in
        /// addition to `store_bytes`.
        #[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
        #[serde(default)]
        #[non_exhaustive]
        pub struct Limits {
            $($(#[doc = $doc])* pub $name: bound!(type $kind),)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self::DEFAULT
            }
        }

        impl Limits {
            const DEFAULT: Self = Self { $($name: bound!(default $kind $default),)* };

            /// Checks every field.
            ///
            /// # Errors
            /// The first field that is out of its range.
            pub fn validate(&self) -> Result<(), ConfigError> {
                // Compared in 64 bits: a range may exceed the addresses of the target.
                $(let value = bound!(number $kind self.$name) as u64;
                if !($min..=$max).contains(&value) {
                    return Err(ConfigError::OutOfRange {
                        field: concat!("limits.", stringify!($name)),
                        allowed: concat!(stringify!($min), " to ", stringify!($max)),
                        got: value,
                    });
                })*
                Ok(())
            }
        }

        /// Names one of the [`Limits`], for counting what it refused.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
        #[allow(non_camel_case_types, reason = "the variants are the fields' names")]
        pub enum Limit {
            $($(#[doc = $doc])* $name,)*
        }

        impl Limit {
            /// All limits, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name of the field, also the key in configuration files.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// What the limit bounds, in one clause.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),*).trim_ascii(),)* }
            }

            /// The allowed range, such as "1 to 1_000".
            #[must_use]
            pub const fn allowed(self) -> &'static str {
                match self {
                    $(Self::$name => concat!(stringify!($min), " to ", stringify!($max)),)*
                }
            }

            /// Whether the limit may be lifted, by 0 in a configuration file.
            #[must_use]
            pub const fn is_optional(self) -> bool {
                match self { $(Self::$name => bound!(optional $kind),)* }
            }

            /// The value in `limits`; `None` if unlimited.
            #[must_use]
            pub const fn of(self, limits: &Limits) -> Option<usize> {
                match self { $(Self::$name => bound!(most $kind limits.$name),)* }
            }
        }
    };
}

limits! {
    /// Open streams, both directions.
    streams: count 2_048, 8..=1_000_000;
    /// Streams that one peer may have opened here.
    streams_per_peer: count 32, 1..=1_000_000;
    /// Slots for requests whose signatures are being checked (Go's number); others need none.
    serving: count 128, 1..=1_000_000;
    /// Slots of one peer.
    serving_per_peer: count 16, 1..=1_000_000;
    /// Bytes of requests, from their first byte to their answer.
    request_bytes: count 33_554_432, 65_536..=1_073_741_824;
    /// Bytes of requests of one peer.
    request_bytes_per_peer: count 8_388_608, 65_536..=1_073_741_824;
    /// Bytes of answers that have not left. Those above 16 KiB may take three quarters.
    answer_bytes: count 33_554_432, 65_536..=1_073_741_824;
    /// Bytes of answers to one peer that have not left.
    answer_bytes_per_peer: count 8_388_608, 65_536..=1_073_741_824;
    /// Callers whose usefulness and wasted work are remembered.
    callers: count 4_096, 16..=10_000_000;
    /// Calls of this node in flight.
    calls: count 1_024, 1..=1_000_000;
    /// Idle streams that this node opened and keeps for the next call.
    idle_streams: count 512, 0..=1_000_000;
    /// Concurrent operations.
    operations: count 256, 1..=1_000_000;
    /// Verification jobs, queued or passed to the driver.
    verify_jobs: count 1_024, 1..=1_000_000;
    /// Verification jobs of one peer, queued or passed to the driver.
    verify_jobs_per_peer: count 128, 1..=1_000_000;
    /// Verification jobs passed to the driver and not yet answered; more would wait there, where
    /// peers do not take turns.
    verify_window: count 64, 1..=1_000_000;
    /// Outputs waiting to be drained.
    outputs: count 65_536, 64..=10_000_000;
    /// Items stored.
    store_items: cap 10_000, 0..=100_000_000;
    /// Bytes of items stored (value, salt and 640 per record).
    store_bytes: cap 67_108_864, 0..=1_099_511_627_776;
    /// Items in the public tier, those of keys neither whitelisted nor trusted.
    public_items: cap 5_000, 0..=100_000_000;
    /// Items of one publisher in the public tier.
    items_per_publisher: cap 50, 0..=100_000_000;
    /// Items put over streams of one peer, with any signer.
    items_per_peer: cap 2_500, 0..=100_000_000;
    /// Marks of deleted items, and as many again of expired ones.
    deletion_marks: cap 10_000, 0..=100_000_000;
    /// Own items to keep renewed.
    own_items: count 1_024, 0..=1_000_000;
    /// Items in the private read cache.
    cached_items: count 256, 0..=1_000_000;
    /// Replacement candidates of one bucket.
    replacements: count 8, 0..=1_000;
    /// Peers remembered outside the table: round trips, capabilities, addresses, back-off.
    known_peers: count 4_096, 16..=10_000_000;
    /// Newcomers that one answer may bring into a lookup.
    newcomers_per_answer: count 20, 1..=1_000;
    /// Candidates that a lookup keeps.
    lookup_candidates: count 256, 20..=10_000;
    /// Address probes in flight.
    probes: count 32, 1..=1_000;
    /// Unknown callers being pinged back.
    ping_backs: count 64, 1..=10_000;
    /// Other full nodes that are remembered as such.
    full_nodes: count 64, 1..=10_000;
    /// Reconciliation sessions that this node has started and not ended.
    sync_sessions: count 4, 1..=1_000;
    /// Changes that wait to be offered to one full node.
    offers: count 4_096, 0..=1_000_000;
    /// Requests of peers that wait for a newer item; more are answered immediately.
    watches: count 1_024, 0..=1_000_000;
    /// Targets requested from storage out of order while it is read at the start.
    loads: count 1_024, 1..=1_000_000;
}

/// Whether every default fits targets with 32-bit addresses.
const fn defaults_fit_32_bits() -> bool {
    let mut all = Limit::ALL;
    while let [first, rest @ ..] = all {
        if let Some(most) = first.of(&Limits::DEFAULT)
            && most as u64 > u32::MAX as u64
        {
            return false;
        }
        all = rest;
    }
    true
}

const _: () = assert!(defaults_fit_32_bits());
