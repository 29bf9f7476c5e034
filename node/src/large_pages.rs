//! Huge pages for simulations of many gigabytes, which exceed all caches: they save about a fifth
//! of the time.

#[cfg(all(unix, feature = "jemalloc"))]
mod allocator {
    use std::env;
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    /// Variable from which the allocator reads its settings when a program starts.
    const VARIABLE: &str = "_RJEM_MALLOC_CONF";
    /// Requests transparent huge pages. A node does not use them: they would double its memory.
    const SETTING: &str = "thp:always";
    /// Number of nodes from which huge pages are worthwhile.
    const MIN_NODES: u32 = 20_000;

    /// Requests huge pages for a simulation of `nodes` nodes. May restart the program, and so must
    /// be called before anything else has begun.
    pub(crate) fn for_nodes(nodes: u32) {
        if nodes >= MIN_NODES {
            restart();
        }
    }

    /// Restarts this program with the setting, unless the variable is set, by the user or by an
    /// earlier restart. Returns if that fails; pages stay small then.
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

/// Does nothing: this allocator has no such setting.
#[cfg(not(all(unix, feature = "jemalloc")))]
pub(crate) fn for_nodes(_: u32) {}
