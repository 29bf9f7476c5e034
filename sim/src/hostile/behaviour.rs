//! Behaviour of hostile peers, as scenarios state it.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::text;

/// Behaviour of a hostile peer. In every other respect it behaves as upstream's node, so that other
/// nodes know it, list it and ask it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Behaviour {
    /// Answers with invented peers near the requested target, and with a false value; accepts every
    /// put and stores nothing.
    Liar {
        /// Kind of the invented peers.
        peers: Forgery,
        /// Number of invented peers per answer, at most 200: more do not fit.
        count: u16,
        /// The value that it claims.
        value: ValueLie,
    },
    /// Keeps the first version of an item forever, and claims to have stored every later one.
    Stale,
    /// Accepts streams and never answers.
    Silent {
        /// Whether it answers pings, so that it stays listed.
        pings: bool,
    },
    /// Answers in small pieces, and possibly not to the end.
    Slow {
        /// Bytes per piece.
        piece: u16,
        /// Interval between pieces.
        #[serde(with = "text")]
        every: Duration,
        /// Percentage of an answer that is sent; the stream stays open afterwards.
        percent: u8,
    },
    /// Continually opens streams to every known peer.
    Flood {
        /// Content of the streams.
        what: Flood,
        /// Streams per second, to all victims together.
        per_second: u32,
    },
    /// Answers with attackers only, and claims in requests to be other peers.
    Poison {
        /// Such claims per minute.
        per_minute: u32,
    },
    /// Denies having items of the targets that the [`Collusion`](super::Collusion) besieges,
    /// accepts and drops them, and names only attackers in lookups of these targets.
    Eclipse,
    /// Answers with the oldest version that the colluding peers ever saw, and repeatedly puts old
    /// versions to the peers near their targets.
    Replay {
        /// Puts per minute.
        per_minute: u32,
    },
    /// Signs items with its own key and the highest sequence, and puts them to the targets of other
    /// keys as mirrors.
    ForgedMirror {
        /// Puts per minute.
        per_minute: u32,
        /// Whether they carry the `bind` extension, which proves that the item is meant for that
        /// target.
        bound: bool,
    },
    /// Makes false claims in extensions: an address for itself and for every peer in its answers,
    /// and a long lifetime for every item.
    FalseClaims {
        /// The address: the victim of a reflected flood, or an unused one.
        addr: SocketAddr,
        /// The claimed remaining lifetime.
        #[serde(with = "text")]
        left: Duration,
        /// Pings and puts with such claims, per minute.
        per_minute: u32,
    },
}

/// Kind of an invented peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Forgery {
    /// A point on the curve with an unknown secret key.
    Points,
    /// Not a point: Go refuses the whole answer, we drop the peer.
    OffCurve,
    /// Not below the field prime: crashes Go's process.
    BeyondField,
    /// A valid key with an id that is not its own, next to the target.
    FalseIds,
}

/// The value that is claimed at a target.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueLie {
    /// No value.
    Denied,
    /// The owner's, with sequence 2^64 − 1 and an invalid signature.
    BadSignature,
    /// The attacker's own, validly signed, with sequence 2^64 − 1.
    OwnKey,
}

/// Content of a flood.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flood {
    /// Lookups of random targets.
    Requests,
    /// Valid items under random salts.
    Puts,
    /// Frames that announce more bytes than any node accepts, with many of these bytes.
    Oversized,
    /// Random bytes.
    Garbage,
    /// Batches of items without valid signatures, so that every slot is taken, followed by batches
    /// that need no signature check.
    Batches,
    /// Requests for pages of all items, whose answers are not read.
    Pages,
    /// One byte on a stream that then stays open.
    HalfOpen,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_name_behaviours_in_toml() {
        #[derive(Deserialize, PartialEq, Debug)]
        struct Scenario {
            behaviour: Vec<Behaviour>,
        }
        let scenario: Scenario = toml::from_str(
            r#"
            behaviour = [
                "stale",
                { silent = { pings = true } },
                { liar = { peers = "beyond_field", count = 20, value = "own_key" } },
                { flood = { what = "half_open", per_second = 5 } },
                { false_claims = { addr = "192.0.2.1:80", left = "1ms", per_minute = 2 } },
            ]
            "#,
        )
        .unwrap();
        let addr = "192.0.2.1:80".parse().unwrap();
        let expected = [
            Behaviour::Stale,
            Behaviour::Silent { pings: true },
            Behaviour::Liar {
                peers: Forgery::BeyondField,
                count: 20,
                value: ValueLie::OwnKey,
            },
            Behaviour::Flood {
                what: Flood::HalfOpen,
                per_second: 5,
            },
            Behaviour::FalseClaims {
                addr,
                left: Duration::from_millis(1),
                per_minute: 2,
            },
        ];
        assert_eq!(scenario.behaviour, expected);
        let unknown = toml::from_str::<Scenario>("behaviour = [{ silent = { x = 1 } }]");
        assert!(unknown.is_err());
    }
}
