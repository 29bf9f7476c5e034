//! The list of attacks.

use crate::failure::{Code, Failure, Result};

/// Kind of an attack, with its parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Requests that are started and never finished.
    HalfSent { keys: usize, streams: usize },
    /// Requests that arrive at one byte a second.
    Trickle { keys: usize, streams: usize },
    /// Pages of items requested on all streams and not read; `pause_ms` between two streams.
    NeverRead {
        keys: usize,
        streams: usize,
        pause_ms: u64,
    },
    /// As `NeverRead`, and the sockets are not read, either.
    DeafSocket { keys: usize, streams: usize },
    /// Pages of items, read as fast as they arrive.
    GetItems { keys: usize, streams: usize },
    /// Large bodies that fail to decode.
    Junk {
        keys: usize,
        streams: usize,
        escaped: bool,
    },
    /// Batches of items with invalid signatures.
    Forged {
        keys: usize,
        streams: usize,
        items: usize,
    },
    /// All slots occupied by puts under verification, and empty batches that wait for one.
    WaitQueue { holders: usize, waiters: usize },
    /// Connections that send nothing, or only the handshake's first message.
    HalfOpen { a_second: u32, greets: bool },
    /// Relayed streams that are opened and kept.
    RelayStreams { keys: usize, streams: usize },
    /// Relayed streams that are written to until they stall, and not read.
    RelayStalled { keys: usize, streams: usize },
    /// Sessions with a DMSG server, with a stream each.
    RelaySessions { keys: usize },
    /// HTTP requests without a token, pipelined, whose answers are not read.
    ApiPipelined { connections: usize },
    /// HTTP connections that send a byte of a request a second.
    ApiSlow { connections: usize },
}

/// A named attack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Attack {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) kind: Kind,
}

const fn attack(name: &'static str, what: &'static str, kind: Kind) -> Attack {
    Attack { name, what, kind }
}

pub(super) const ATTACKS: &[Attack] = &[
    attack(
        "half-sent",
        "64 keys with 32 half-sent requests each",
        Kind::HalfSent {
            keys: 64,
            streams: 32,
        },
    ),
    attack(
        "half-sent-1100",
        "44 keys with 25 half-sent requests each",
        Kind::HalfSent {
            keys: 44,
            streams: 25,
        },
    ),
    attack(
        "half-sent-trickle",
        "48 keys with 32 requests each of which a byte comes a second",
        Kind::Trickle {
            keys: 48,
            streams: 32,
        },
    ),
    attack(
        "never-read",
        "16 keys ask for pages of large items on 32 streams each and read none",
        Kind::NeverRead {
            keys: 16,
            streams: 32,
            pause_ms: 0,
        },
    ),
    attack(
        "never-read-in-turn",
        "4 keys ask for pages of large items on 120 streams in turn and read none",
        Kind::NeverRead {
            keys: 4,
            streams: 120,
            pause_ms: 20,
        },
    ),
    attack(
        "never-read-socket",
        "16 keys ask for pages of large items on 32 streams each and stop reading their sockets",
        Kind::DeafSocket {
            keys: 16,
            streams: 32,
        },
    ),
    attack(
        "get-items",
        "8 keys read pages of large items, 16 at the same time",
        Kind::GetItems {
            keys: 8,
            streams: 16,
        },
    ),
    attack(
        "junk-1",
        "1 key sends bodies of 4 MiB that do not decode, 16 at the same time",
        Kind::Junk {
            keys: 1,
            streams: 16,
            escaped: false,
        },
    ),
    attack(
        "junk-8",
        "8 keys send bodies of 4 MiB that do not decode, 16 at the same time",
        Kind::Junk {
            keys: 8,
            streams: 16,
            escaped: false,
        },
    ),
    attack(
        "junk-escaped",
        "4 keys send bodies of 4 MiB full of escapes, 16 at the same time",
        Kind::Junk {
            keys: 4,
            streams: 16,
            escaped: true,
        },
    ),
    attack(
        "verify-batches",
        "32 keys send batches of 1,000 items with wrong signatures, 4 at the same time",
        Kind::Forged {
            keys: 32,
            streams: 4,
            items: 1_000,
        },
    ),
    attack(
        "verify-forged",
        "8 keys send batches of 100 items with wrong signatures, 16 at the same time",
        Kind::Forged {
            keys: 8,
            streams: 16,
            items: 100,
        },
    ),
    attack(
        "wait-queue",
        "8 keys hold all slots with forged batches while 16 others queue 32 empty batches each",
        Kind::WaitQueue {
            holders: 8,
            waiters: 16,
        },
    ),
    attack(
        "half-open",
        "1,500 connections a second that say nothing",
        Kind::HalfOpen {
            a_second: 1_500,
            greets: false,
        },
    ),
    attack(
        "half-open-greeting",
        "1,500 connections a second that send the handshake's first message alone",
        Kind::HalfOpen {
            a_second: 1_500,
            greets: true,
        },
    ),
    attack(
        "relay-streams",
        "5 keys open 2,040 streams each to 5 others through a DMSG server, and hold them",
        Kind::RelayStreams {
            keys: 5,
            streams: 2_040,
        },
    ),
    attack(
        "relay-stalled",
        "8 keys fill 128 streams each through a DMSG server to peers that do not read",
        Kind::RelayStalled {
            keys: 8,
            streams: 128,
        },
    ),
    attack(
        "relay-sessions",
        "2,100 keys have a session with a DMSG server and a stream on it",
        Kind::RelaySessions { keys: 2_100 },
    ),
    attack(
        "api",
        "64 connections to the control API pipeline requests without a token and read nothing",
        Kind::ApiPipelined { connections: 64 },
    ),
    attack(
        "api-1000",
        "1,000 connections to the control API pipeline requests without a token and read nothing",
        Kind::ApiPipelined { connections: 1_000 },
    ),
    attack(
        "api-slow",
        "1,000 connections to the control API send a byte a second",
        Kind::ApiSlow { connections: 1_000 },
    ),
];

impl Kind {
    /// Returns whether the attack is on a DMSG server.
    pub(super) const fn is_of_relay(self) -> bool {
        matches!(
            self,
            Self::RelayStreams { .. } | Self::RelayStalled { .. } | Self::RelaySessions { .. }
        )
    }
}

/// Returns the attacks that `names` select, in the order of the list: by name, prefix, or "all".
pub(super) fn chosen(names: &[String]) -> Result<Vec<Attack>> {
    let means = |name: &str, attack: &Attack| {
        name == "all" || (!name.is_empty() && attack.name.starts_with(name))
    };
    if let Some(wrong) = names
        .iter()
        .find(|name| !ATTACKS.iter().any(|attack| means(name, attack)))
    {
        let known: Vec<&str> = ATTACKS.iter().map(|attack| attack.name).collect();
        return Err(Failure::new(
            Code::Usage,
            format_args!("no attack has the name {wrong:?}, or one that begins so"),
        )
        .hint(format_args!("choose of: {}", known.join(", "))));
    }
    // A full name selects that attack alone, even if it is a prefix of others.
    let whole = |name: &str| ATTACKS.iter().any(|attack| attack.name == name);
    let chosen = ATTACKS.iter().filter(|attack| {
        names.iter().any(|name| {
            if whole(name) {
                attack.name == name
            } else {
                means(name, attack)
            }
        })
    });
    Ok(chosen.copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(chosen_by: &[&str]) -> Vec<&'static str> {
        let by: Vec<String> = chosen_by.iter().map(ToString::to_string).collect();
        chosen(&by)
            .unwrap()
            .iter()
            .map(|attack| attack.name)
            .collect()
    }

    #[test]
    fn attacks_are_chosen_by_name_beginning_or_all() {
        assert_eq!(names(&["all"]).len(), ATTACKS.len());
        assert_eq!(names(&["junk"]), ["junk-1", "junk-8", "junk-escaped"]);
        assert_eq!(names(&["api", "half-sent"]), ["half-sent", "api"]);
        let wrong = chosen(&["teardrop".into()]).unwrap_err();
        assert!(wrong.hint.unwrap().contains("wait-queue"));
        assert!(chosen(&[String::new()]).is_err());
    }

    #[test]
    fn names_are_unique() {
        let mut all: Vec<&str> = ATTACKS.iter().map(|attack| attack.name).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), ATTACKS.len());
    }
}
