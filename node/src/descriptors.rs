//! The limit of open files, and how it is divided.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::failure::{Code, Failure};

/// Upper bound of [`handshakes`].
const MOST_HANDSHAKES: usize = 1_024;

/// Files reserved for everything but peers' connections.
const OTHER_FILES: u64 = 256;

/// Raises the process's limit of open files to the hard limit, and returns it.
pub(crate) fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if limit.current != limit.maximum && setrlimit(Resource::Nofile, most).is_err() {
        return limit.current.unwrap_or(u64::MAX);
    }
    limit.maximum.unwrap_or(u64::MAX)
}

/// Returns the maximum number of concurrent inbound handshakes: enough to withstand a flood, but at
/// most a quarter of the open files.
pub(crate) fn handshakes(limit: u64) -> usize {
    usize::try_from(limit / 4)
        .unwrap_or(usize::MAX)
        .clamp(2, MOST_HANDSHAKES)
}

/// Returns the number of connections for which open files are left; at least one.
pub(crate) fn room_for_connections(limit: u64) -> usize {
    let others = OTHER_FILES + handshakes(limit) as u64;
    usize::try_from(limit.saturating_sub(others))
        .unwrap_or(usize::MAX)
        .max(1)
}

/// Returns the failure of an operation that needs more open files.
pub(crate) fn shortage(limit: u64, wanted: u64, what_for: &str) -> Box<Failure> {
    Failure::new(
        Code::Local,
        format_args!("{what_for} needs {wanted} open files; this process may have {limit}"),
    )
    .hint(format_args!(
        "run `ulimit -n {wanted}` first (above the hard limit only as root, or after a change in /etc/security/limits.conf), or use fewer nodes"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_take_a_part_of_the_files() {
        let of = [0, 1_000, 1 << 20].map(handshakes);
        assert_eq!(of, [2, 250, MOST_HANDSHAKES]);
    }

    #[test]
    fn the_limit_is_raised_to_the_hard_one() {
        let limit = raise();
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, now.maximum);
        assert_eq!(now.current.unwrap_or(u64::MAX), limit);
    }
}
