//! Starts this program in another role.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::Result;

/// A process of another role, which is killed on drop.
pub(crate) struct Process(Child);

impl Process {
    /// Starts a role and waits for the line that it prints.
    pub(crate) fn start(args: &[&str]) -> Result<(Self, String)> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(args).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("no output")?;
        let process = Self(child);
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if line.is_empty() {
            return Err(format!("{args:?} ended").into());
        }
        Ok((process, line.trim().to_owned()))
    }

    /// Starts a relay. Returns it with its key and its address.
    pub(crate) fn relay() -> Result<(Self, String, String)> {
        let (process, line) = Self::start(&["relay"])?;
        let (key, addr) = line.split_once(' ').ok_or("no address")?;
        Ok((process, key.to_owned(), addr.to_owned()))
    }

    /// Returns its resident memory in MiB.
    pub(crate) fn resident(&self) -> Result<f64> {
        let path = format!("/proc/{}/status", self.0.id());
        let status = std::fs::read_to_string(path)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next());
        Ok(kib.ok_or("no VmRSS")?.parse::<f64>()? / 1024.0)
    }

    /// Returns the number of its open files, which are mostly sockets.
    pub(crate) fn open_files(&self) -> Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.0.id()))?.count())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Prints a line, then waits until the process that started this one has ended.
pub(crate) async fn print_and_wait(line: &str) -> Result<()> {
    println!("{line}");
    let gone = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    gone.await??;
    Ok(())
}
