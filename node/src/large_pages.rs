//! Large pages for simulations of many gigabytes, most of which no cache holds: about a fifth of
//! the time.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::env;
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    /// Where glibc's allocator reads its settings, once, when a program starts.
    const VARIABLE: &str = "GLIBC_TUNABLES";
    /// Ask the kernel for large pages.
    const SETTING: &str = "glibc.malloc.hugetlb=1";

    /// Starts this program again with the setting, unless the user or the first start made one.
    /// Comes back when it cannot be done; then pages stay small.
    pub(crate) fn restart() {
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

/// From this many nodes on it pays.
const WORTH: u32 = 20_000;

/// Call it before anything else has begun: the program may start again from its beginning.
pub(crate) fn for_nodes(nodes: u32) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if nodes >= WORTH {
        glibc::restart();
    }
}
