//! A real `redis-server` for a test: on a socket and a port, in a temporary directory.
#![allow(dead_code, reason = "not every user needs all of it")]

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(60);
const NOT_INSTALLED: &str =
    "redis-server and redis-cli are needed for this test: apt-get install redis-server";

/// A running server, killed on drop.
pub(crate) struct RedisServer {
    child: Option<Child>,
    arguments: Vec<String>,
    pub(crate) dir: PathBuf,
    pub(crate) port: u16,
    is_sentinel: bool,
}

/// Returns a port that is currently free.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

impl RedisServer {
    /// Starts a server that keeps everything in memory, with further arguments.
    pub(crate) fn start(more: &[&str]) -> Self {
        let dir = new_dir();
        let port = free_port();
        let mut arguments: Vec<String> = ["--save", "", "--appendonly", "no"]
            .map(String::from)
            .to_vec();
        arguments.extend(more.iter().map(ToString::to_string));
        let mut server = Self {
            child: None,
            arguments,
            dir,
            port,
            is_sentinel: false,
        };
        server.launch();
        server
    }

    /// Starts a sentinel with these lines of configuration.
    pub(crate) fn sentinel(lines: &str) -> Self {
        let dir = new_dir();
        let path = dir.join("sentinel.conf");
        std::fs::write(&path, lines).unwrap();
        let arguments = vec![path.to_str().unwrap().to_owned(), "--sentinel".into()];
        let mut server = Self {
            child: None,
            arguments,
            dir,
            port: free_port(),
            is_sentinel: true,
        };
        server.launch();
        server
    }

    /// Starts the server again, with the data on its disk.
    pub(crate) fn launch(&mut self) {
        let mut command = Command::new("redis-server");
        command
            .args(&self.arguments)
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--dir", self.dir.to_str().unwrap()]);
        if !self.is_sentinel {
            command.args(["--unixsocket", self.socket().to_str().unwrap()]);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{error}: {NOT_INSTALLED}"));
        let lines = lines_of(child.stdout.take().unwrap());
        self.child = Some(child);
        let end = Instant::now() + DEADLINE;
        let mut seen = Vec::new();
        let ready = if self.is_sentinel {
            "Sentinel ID"
        } else {
            "Ready to accept"
        };
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = lines.recv_timeout(left);
            let line = line.unwrap_or_else(|why| panic!("{why}: redis-server: {seen:#?}"));
            if line.contains(ready) {
                return;
            }
            seen.push(line);
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("redis.sock")
    }

    /// Returns the URL of its socket.
    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Kills the server before it can write anything.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Returns the answer of `redis-cli` to a command.
    #[track_caller]
    pub(crate) fn cli(&self, words: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(words)
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("{error}: {NOT_INSTALLED}"));
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{words:?}: {text}");
        text.trim().to_owned()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn lines_of(from: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        // Read to the end, so that the server never blocks on its output.
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

fn new_dir() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("skydht-redis-{}-{n}", std::process::id());
    let dir = Path::new("/tmp").join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
