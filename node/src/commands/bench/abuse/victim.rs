//! The attacked node: this program, in a process of its own.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use skydht_core::key::PublicKey;
use zeroize::Zeroizing;

use crate::failure::{Code, Failure, Result};
use crate::state_dir::read_token;

/// The node must be up after this.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A child that is killed when this is dropped.
pub(super) struct Process(Child);

impl Process {
    /// Starts this program with other words, and with an environment that holds nothing of ours.
    pub(super) fn start(home: &Path, args: &[&str], stdin: Stdio) -> Result<Self> {
        let program = std::env::current_exe().map_err(failed)?;
        let child = Command::new(program)
            .args(args)
            .env_clear()
            .env("HOME", home)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        Ok(Self(child))
    }

    /// The first line that it writes to stdout, without blocking the runtime.
    pub(super) async fn first_line(&mut self, limit: Duration) -> Option<String> {
        let stdout = self.0.stdout.take()?;
        let (sender, line) = tokio::sync::oneshot::channel();
        // Ends with the child, whose stdout it keeps open.
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

    /// Whether it has not ended.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn failed(error: std::io::Error) -> Box<Failure> {
    Failure::new(
        Code::Local,
        format_args!("cannot start another process of this program: {error}"),
    )
}

/// What the node says of itself when it is up.
#[derive(Deserialize)]
struct About {
    key: PublicKey,
    listen: SocketAddr,
    api: String,
    token_file: std::path::PathBuf,
}

/// A full node on loopback.
pub(super) struct Victim {
    process: Process,
    pub(super) key: PublicKey,
    pub(super) peers: SocketAddr,
    pub(super) api: SocketAddr,
    pub(super) token: Zeroizing<String>,
}

impl Victim {
    /// Starts one with its state in `dir`.
    pub(super) async fn start(dir: &Path) -> Result<Self> {
        let state = dir.join("state");
        let wrong = || Failure::new(Code::Local, "the attacked node did not start");
        let state = state.to_str().ok_or_else(wrong)?;
        let args = [
            "run",
            "--full-node",
            "--json",
            "--listen",
            "127.0.0.1:0",
            "--api-listen",
            "127.0.0.1:0",
            "--advertise",
            "none",
            "--log",
            "off",
            "--state-dir",
            state,
        ];
        let mut process = Process::start(dir, &args, Stdio::null())?;
        let line = process.first_line(START_TIMEOUT).await.ok_or_else(wrong)?;
        let about: About = serde_json::from_str(&line).map_err(|_| wrong())?;
        let api = about.api.strip_prefix("http://").map(str::parse);
        let Some(Ok(api)) = api else {
            return Err(wrong());
        };
        Ok(Self {
            process,
            key: about.key,
            peers: about.listen,
            api,
            token: read_token(&about.token_file)?,
        })
    }

    /// Whether it has not ended.
    pub(super) fn is_alive(&mut self) -> bool {
        self.process.is_alive()
    }

    /// Its memory.
    pub(super) fn memory(&self) -> Memory {
        Memory {
            status: format!("/proc/{}/status", self.process.id()),
        }
    }
}

/// What a process has in memory.
pub(super) struct Memory {
    status: String,
}

impl Memory {
    /// Resident now, in MiB.
    pub(super) fn resident(&self) -> f64 {
        self.read("VmRSS:")
    }

    /// The most that was ever resident, in MiB.
    pub(super) fn peak(&self) -> f64 {
        self.read("VmHWM:")
    }

    /// Waits until no more than `enough` MiB are resident, at most until `end`; says how many are.
    pub(super) async fn settle(&self, enough: f64, end: Instant) -> f64 {
        loop {
            let now = self.resident();
            if now <= enough || Instant::now() >= end {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Zero where there is no such file, or the process has ended.
    fn read(&self, field: &str) -> f64 {
        let text = std::fs::read_to_string(&self.status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kibibytes.unwrap_or_default() / 1024.0
    }
}
