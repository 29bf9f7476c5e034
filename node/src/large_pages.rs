//! Large pages for simulations of many gigabytes, most of which no cache holds: about a fifth of
//! the time.

#[cfg(all(unix, feature = "jemalloc"))]
mod allocator {
    use std::env;
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    /// Where the allocator reads its settings, once, when a program starts.
    const VARIABLE: &str = "_RJEM_MALLOC_CONF";
    /// Ask the kernel for large pages. A node goes without: they would double what it takes.
    const SETTING: &str = "thp:always";
    /// From this many nodes on it pays.
    const WORTH: u32 = 20_000;

    /// Call it before anything else has begun: the program may start again from its beginning.
    pub(crate) fn for_nodes(nodes: u32) {
        if nodes >= WORTH {
            restart();
        }
    }

    /// Starts this program again with the setting, unless the user or the first start made one.
    /// Comes back when it cannot be done; then pages stay small.
    fn restart() {
        if env::var_os(VARIABLE).is_some() {
            return;
        }
        let mut words = env::args_os();
        let (Some(name), Ok(program)) = (words.next(), env::current_exe()) else {
            return;
        };
        let error = Command::new(program)
            .arg0(name)
            .args(words)
            .env(VARIABLE, SETTING)
            .exec();
        tracing::debug!(%error, "no restart for large pages");
    }
}

#[cfg(all(unix, feature = "jemalloc"))]
pub(crate) use allocator::for_nodes;

/// Nothing: the system's allocator decides.
#[cfg(not(all(unix, feature = "jemalloc")))]
pub(crate) fn for_nodes(_: u32) {}
