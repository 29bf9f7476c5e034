//! Runs this program in processes of its own: measured nodes and relays, and attackers.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::nice;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Deserialize;
use skydht_core::key::PublicKey;

use crate::failure::{Code, Failure, Result};
use crate::signals::WITH_STDIN;

/// Longest wait for a node to start.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The lowest scheduling priority, as a nice value.
const LEAST_PRIORITY: i32 = 19;

/// A child process that is killed when this is dropped.
pub(super) struct Process(Child);

impl Process {
    /// Starts this program with other arguments, on some processors, in an environment that
    /// contains only `HOME`. The child ends with this process, however that ends.
    pub(super) fn start(home: &Path, args: &[&str], processors: &Processors) -> Result<Self> {
        Self::start_after(home, args, || processors.take())
    }

    /// Starts this program with the lowest priority, so that it uses only processor time that
    /// others leave.
    pub(super) fn start_behind_others(home: &Path, args: &[&str]) -> Result<Self> {
        // Where this is not permitted, the figures are merely less precise.
        Self::start_after(home, args, || {
            let _ = nice(LEAST_PRIORITY);
        })
    }

    fn start_after(home: &Path, args: &[&str], prepare: impl FnOnce() + Send) -> Result<Self> {
        // A child inherits the processors and the priority of the thread that starts it.
        let start = move || {
            prepare();
            let mut command = Command::new(std::env::current_exe()?);
            command.args(args).env_clear().env("HOME", home);
            command.env(WITH_STDIN, "1");
            // Nothing is ever written to its stdin. The system closes it when this process ends,
            // and the child exits.
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            command.stderr(Stdio::null()).spawn()
        };
        let started = std::thread::scope(|scope| scope.spawn(start).join());
        match started {
            Ok(Ok(child)) => Ok(Self(child)),
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err(failed("the thread that should do it panicked")),
        }
    }

    /// Reads the first line of the child's stdout without blocking the runtime.
    pub(super) async fn first_line(&mut self, limit: Duration) -> Option<String> {
        let stdout = self.0.stdout.take()?;
        let (sender, line) = tokio::sync::oneshot::channel();
        // The thread keeps reading, so that the child never blocks on its stdout; it ends with the
        // child.
        std::thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut line = String::new();
            let read = stdout.read_line(&mut line);
            let _ = sender.send(read.is_ok().then_some(line));
            let _ = std::io::copy(&mut stdout, &mut std::io::sink());
        });
        let line = tokio::time::timeout(limit, line).await;
        line.ok()?.ok()?.filter(|line| !line.is_empty())
    }

    /// Returns whether the process is running.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Returns the process id.
    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // This fails if the process has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn failed(error: impl std::fmt::Display) -> Box<Failure> {
    Failure::new(
        Code::Local,
        format_args!("cannot start another process of this program: {error}"),
    )
}

/// A running node or relay.
pub(super) struct Running {
    pub(super) process: Process,
    pub(super) about: About,
}

/// The fields of a node's start-up message that are needed here.
#[derive(Deserialize)]
pub(super) struct About {
    pub(super) key: PublicKey,
    pub(super) listen: String,
    pub(super) dmsg_server: Option<String>,
    #[serde(default)]
    pub(super) gateway: Option<String>,
    pub(super) api: Option<String>,
}

impl Running {
    /// Starts a node with the command `args` and its state in `dir`.
    pub(super) async fn start(dir: &Path, args: &[&str], processors: &Processors) -> Result<Self> {
        let what = args.join(" ");
        let wrong = || {
            Failure::new(Code::Local, format_args!("`skydht {what}` did not start"))
                .hint("try it by hand: what it says then is the cause")
        };
        let mut args = args.to_vec();
        let state = dir.to_str().ok_or_else(wrong)?;
        args.extend(["--json", "--log", "off", "--api-listen", "127.0.0.1:0"]);
        args.extend(["--state-dir", state]);
        let mut process = Process::start(dir, &args, processors)?;
        let line = process.first_line(START_TIMEOUT).await.ok_or_else(wrong)?;
        let about = serde_json::from_str(&line).map_err(|_| wrong())?;
        Ok(Self { process, about })
    }
}

/// Processors that a thread or process may use; empty: no restriction.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Processors(Vec<usize>);

impl Processors {
    /// Splits the processors of this process into the first `count` and the others. Both are
    /// unrestricted if `count` is 0, or would leave none.
    pub(super) fn split(count: usize) -> (Self, Self) {
        let Ok(allowed) = sched_getaffinity(None) else {
            return Self::none();
        };
        let all = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
        Self::divide(all.collect(), count)
    }

    fn none() -> (Self, Self) {
        (Self::default(), Self::default())
    }

    fn divide(mut all: Vec<usize>, count: usize) -> (Self, Self) {
        if count == 0 || count >= all.len() {
            return Self::none();
        }
        let others = all.split_off(count);
        (Self(all), Self(others))
    }

    /// Returns the number of processors; `None`: no restriction.
    pub(super) fn count(&self) -> Option<usize> {
        (!self.0.is_empty()).then_some(self.0.len())
    }

    /// Restricts the calling thread, and what it starts from now on, to these processors.
    pub(super) fn take(&self) {
        if self.0.is_empty() {
            return;
        }
        let mut set = CpuSet::new();
        self.0.iter().for_each(|cpu| set.set(*cpu));
        // Where this is not permitted, the figures are merely less precise.
        let _ = sched_setaffinity(None, &set);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_divided_or_left_as_they_are() {
        let all = || vec![0, 1, 4, 5];
        let (node, others) = Processors::divide(all(), 1);
        assert_eq!((node.0, others.0), (vec![0], vec![1, 4, 5]));
        for count in [0, 4, 9] {
            assert_eq!(Processors::divide(all(), count), Processors::none());
        }
        assert_eq!(Processors::default().count(), None);
    }
}
