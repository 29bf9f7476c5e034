//! The attacked node: this program, in a process of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;
use skydht_core::key::PublicKey;
use zeroize::Zeroizing;

use super::super::process::{Process, Processors, START_TIMEOUT};
use crate::failure::{Code, Failure, Result};
use crate::state_dir::read_token;

/// The fields of the node's start-up message that are needed here.
#[derive(Deserialize)]
struct About {
    key: PublicKey,
    listen: String,
    dmsg_server: Option<String>,
    api: String,
    token_file: std::path::PathBuf,
}

/// A full node or a DMSG server on loopback.
pub(super) struct Victim {
    process: Process,
    pub(super) is_relay: bool,
    pub(super) key: PublicKey,
    pub(super) peers: SocketAddr,
    pub(super) api: SocketAddr,
    pub(super) token: Zeroizing<String>,
}

impl Victim {
    /// Starts one with its state in `dir`.
    pub(super) async fn start(dir: &Path, is_relay: bool) -> Result<Self> {
        let state = dir.join("state");
        let wrong = || Failure::new(Code::Local, "the attacked node did not start");
        let state = state.to_str().ok_or_else(wrong)?;
        let command: &[_] = match is_relay {
            true => &["dmsg-server"],
            false => &["run", "--full-node", "--advertise", "none"],
        };
        let common = [
            "--json",
            "--listen",
            "127.0.0.1:0",
            "--api-listen",
            "127.0.0.1:0",
            "--log",
            "off",
            "--state-dir",
            state,
        ];
        let args = [command, &common].concat();
        let mut process = Process::start(dir, &args, &Processors::default())?;
        let line = process.first_line(START_TIMEOUT).await.ok_or_else(wrong)?;
        let about: About = serde_json::from_str(&line).map_err(|_| wrong())?;
        let api = about.api.strip_prefix("http://").map(str::parse);
        let Some(Ok(api)) = api else {
            return Err(wrong());
        };
        let peers = about.dmsg_server.unwrap_or(about.listen);
        let peers = peers.parse().map_err(|_| wrong())?;
        Ok(Self {
            process,
            is_relay,
            key: about.key,
            peers,
            api,
            token: read_token(&about.token_file)?,
        })
    }

    /// Returns whether the process is running.
    pub(super) fn is_alive(&mut self) -> bool {
        self.process.is_alive()
    }

    /// Returns a reader of the process's memory use.
    pub(super) fn memory(&self) -> Memory {
        Memory {
            status: format!("/proc/{}/status", self.process.id()),
        }
    }
}

/// Reads a process's memory use from `/proc`.
pub(super) struct Memory {
    status: String,
}

impl Memory {
    /// Returns resident memory, in MiB.
    pub(super) fn resident(&self) -> f64 {
        self.read("VmRSS:")
    }

    /// Returns the peak of resident memory, in MiB.
    pub(super) fn peak(&self) -> f64 {
        self.read("VmHWM:")
    }

    /// Waits until at most `enough` MiB are resident, but not beyond `end`; returns resident memory
    /// in MiB.
    pub(super) async fn settle(&self, enough: f64, end: Instant) -> f64 {
        loop {
            let now = self.resident();
            if now <= enough || Instant::now() >= end {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Returns a field in MiB; 0 if there is no such file, or the process has ended.
    fn read(&self, field: &str) -> f64 {
        let text = std::fs::read_to_string(&self.status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kibibytes.unwrap_or_default() / 1024.0
    }
}
