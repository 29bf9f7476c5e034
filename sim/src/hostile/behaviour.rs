//! What a hostile peer does, as a scenario says it.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::text;

/// What a hostile peer does. Everything that a variant does not name it does as upstream's node
/// would, so that it is known, listed and asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Behaviour {
    /// Answers with invented peers near whatever is asked for, and with a false value; takes
    /// every put and keeps nothing.
    Liar {
        /// What the invented peers are.
        peers: Forgery,
        /// How many there are in an answer, at most 200: more do not fit into one.
        count: u16,
        /// Which value is claimed.
        value: ValueLie,
    },
    /// Keeps the first version of an item for ever, and says of every later one that it took it.
    Stale,
    /// Accepts streams and never answers.
    Silent {
        /// But pings, so that it stays listed.
        pings: bool,
    },
    /// Answers in small pieces, and not to the end.
    Slow {
        /// Bytes in a piece.
        piece: u16,
        /// From one to the next.
        #[serde(with = "text")]
        every: Duration,
        /// How much of an answer comes; the stream stays open after it. 100: all of it.
        percent: u8,
    },
    /// Keeps opening streams to every peer it knows.
    Flood {
        /// What comes on them.
        what: Flood,
        /// How many a second, to all its victims together.
        per_second: u32,
    },
    /// Answers with attackers only, and claims in requests to be others.
    Poison {
        /// Claims a minute.
        per_minute: u32,
    },
    /// Denies to have what the [`Collusion`](super::Collusion) besieges, takes it and drops it, and
    /// names only attackers to those who look for it.
    Eclipse,
    /// Serves the oldest version that the collusion ever saw, and puts old versions to
    /// the peers near their targets again and again.
    Replay {
        /// Puts a minute.
        per_minute: u32,
    },
    /// Signs items with its own key and the highest sequence, and puts them to the targets of
    /// others as mirrors.
    ForgedMirror {
        /// Puts a minute.
        per_minute: u32,
        /// With our `bind` extension, which proves that it means that target.
        bound: bool,
    },
    /// Tells false things in our extensions: an address, for itself and for every peer in its
    /// answers, and a long life for every item.
    FalseClaims {
        /// The address: the victim of a reflected flood, or an unused one.
        addr: SocketAddr,
        /// The life that is left.
        #[serde(with = "text")]
        left: Duration,
        /// Pings and puts with such claims, a minute.
        per_minute: u32,
    },
}

/// What an invented peer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Forgery {
    /// A point on the curve whose secret is not known.
    Points,
    /// No point: Go refuses the whole answer, we drop the peer.
    OffCurve,
    /// Not below the field prime: ends Go's process.
    BeyondField,
    /// A good key under an id that is not its own, next to the target.
    FalseIds,
}

/// Which value is claimed at a target.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueLie {
    /// None at all.
    Denied,
    /// The owner's, of sequence 2^64 − 1, with a signature that is not the owner's.
    BadSignature,
    /// The liar's own, well signed, of sequence 2^64 − 1.
    OwnKey,
}

/// What a flood consists of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flood {
    /// Searches for random targets.
    Requests,
    /// Good items under random salts.
    Puts,
    /// Frames that announce more than any node takes, and a great deal of it.
    Oversized,
    /// Random bytes.
    Garbage,
    /// Batches of items without a valid signature, so that every slot is taken, and behind them
    /// batches that need no signature.
    Batches,
    /// Pages of everything, which are not read.
    Pages,
    /// One byte, and the stream stays open.
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
