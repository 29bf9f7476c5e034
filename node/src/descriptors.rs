//! Room for connections: the limit on open files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::failure::{Code, Failure};

/// Raises this process's limit as far as the system lets it, and returns it.
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

/// The failure of something that needs more than the limit.
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
    fn the_limit_is_raised_to_the_hard_one() {
        let limit = raise();
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, now.maximum);
        assert_eq!(now.current.unwrap_or(u64::MAX), limit);
    }
}
