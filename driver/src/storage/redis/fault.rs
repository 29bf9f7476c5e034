//! Errors of Redis, and advice for the operator.

use std::fmt;
use std::io;

/// Why a command was not executed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// The server cannot be reached, or the connection ended.
    Lost(String),
    /// The server answered with an error.
    Refused(String),
    /// The server works, but does not provide what the configuration requires.
    Unsuitable(String),
}

impl Fault {
    pub(super) fn of_io(error: &io::Error) -> Self {
        Self::Lost(match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer in time".into(),
            io::ErrorKind::UnexpectedEof => "the connection was closed".into(),
            _ => error.to_string(),
        })
    }

    /// Returns whether all connections must be closed because other servers may have the data now.
    pub(super) fn ends_connections(&self) -> bool {
        match self {
            Self::Lost(_) => true,
            Self::Refused(text) => matches!(
                code(text),
                "READONLY" | "MASTERDOWN" | "CLUSTERDOWN" | "LOADING" | "TRYAGAIN" | "NOAUTH"
            ),
            Self::Unsuitable(_) => false,
        }
    }
}

/// Returns the first word of an error, which is its code.
pub(super) fn code(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

/// Returns advice for the operator about an error of Redis.
fn advice(text: &str) -> &'static str {
    match code(text) {
        "NOAUTH" => {
            "it wants a password: write it into the URL, redis://:PASSWORD@HOST, or set the URL by SKYDHT_STORAGE"
        }
        "WRONGPASS" => "correct user and password in the URL",
        "NOPERM" => {
            "let the user run get, set, del, pexpireat, eval, scan, xadd, xread, xrange, xrevrange and config|get on the keys dht:*"
        }
        "READONLY" => {
            "it is a replica: name the master, or the sentinels; while they fail over, this ends by itself"
        }
        "OOM" => {
            "its memory is full: raise maxmemory, or let it evict keys that expire (maxmemory-policy volatile-ttl)"
        }
        "LOADING" => "it reads its data from the disk; this ends by itself",
        "MISCONF" => "it cannot write to its disk: make room there",
        "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "NOREPLICAS" => {
            "some of its servers are away: look at them if this stays"
        }
        "MOVED" | "ASK" | "CROSSSLOT" => "it is a cluster: write redis+cluster://HOST:PORT,…",
        "WRONGTYPE" => "another program uses the key dht:changes: give this one another database",
        "ERR" if text.contains("without any password configured") => {
            "it has no password: leave it out of the URL"
        }
        "ERR" if text.contains("invalid password") => "correct the password in the URL",
        "ERR" if text.contains("max number of clients") => "raise its maxclients",
        "ERR" if text.contains("DB index") => "choose a database that it has",
        "ERR" if text.contains("unknown command") => {
            "at least Redis 5 is needed, with eval and streams"
        }
        _ => "look at the server's log",
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(why) => write!(f, "{why}; is it running, and is this its address?"),
            Self::Refused(text) => {
                // The text is the server's, which may be long or contain control characters.
                let shown: String = text.chars().filter(|c| !c.is_control()).take(160).collect();
                write!(f, "{shown}; {}", advice(text))
            }
            Self::Unsuitable(why) => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_error_says_what_to_do() {
        for text in [
            "NOAUTH Authentication required.",
            "WRONGPASS invalid username-password pair or user is disabled.",
            "NOPERM this user has no permissions",
            "READONLY You can't write against a read only replica.",
            "OOM command not allowed when used memory > 'maxmemory'.",
            "LOADING Redis is loading the dataset in memory",
            "MISCONF Redis is configured to save RDB snapshots",
            "CLUSTERDOWN The cluster is down",
            "MOVED 1 127.0.0.1:1",
            "WRONGTYPE Operation against a key",
            "ERR AUTH <password> called without any password configured",
            "ERR max number of clients reached",
            "ERR DB index is out of range",
            "ERR unknown command 'XREAD'",
        ] {
            assert_ne!(advice(text), advice("ERR what"), "{text}");
        }
        let long = Fault::Refused(format!("ERR {}\u{7}", "x".repeat(10_000)));
        assert!(long.to_string().len() < 250 && !long.to_string().contains('\u{7}'));
    }
}
