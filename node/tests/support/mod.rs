//! Runs the built program, waits for its output, and uses its control API.
#![allow(dead_code, reason = "not every test file uses all of it")]

pub(crate) mod commands;
pub(crate) mod old_visor;
pub(crate) mod terminal;

use std::fmt;
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for anything; not reached on a working machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// Returns a node's status.
pub(crate) fn status(node: &Node, home: &TempDir) -> Value {
    node.run(home, &["status", "--json"]).exits(0).json()
}

/// Requests the status until the condition holds.
#[track_caller]
pub(crate) fn until(
    node: &Node,
    home: &TempDir,
    what: &str,
    holds: impl Fn(&Value) -> bool,
) -> Value {
    let end = Instant::now() + DEADLINE;
    loop {
        let status = status(node, home);
        if holds(&status) {
            return status;
        }
        assert!(Instant::now() < end, "not {what}: {status:#}");
    }
}

/// A directory of one test, removed when this is dropped.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("skydht-it-{}-{n}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().into()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns a command for the program, with an environment that contains only `HOME`.
pub(crate) fn program(home: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skydht"));
    command
        .env_clear()
        .env("HOME", home.path())
        // Files at relative paths are removed with the directory.
        .current_dir(home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Exit status and output of a program.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl fmt::Debug for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stdout = self.stdout.escape_ascii();
        write!(
            f,
            "exit {:?}\nstdout: {stdout}\nstderr: {}",
            self.code, self.stderr
        )
    }
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
        let text = String::from_utf8(self.stdout.clone()).unwrap();
        let last = text
            .lines()
            .last()
            .unwrap_or_else(|| panic!("no stdout: {self:?}"));
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error} in {text:?}"))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// Fails the test unless the exit status is `code`.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }
}

/// Runs the program to its end.
pub(crate) fn run(home: &TempDir, args: &[&str]) -> Ran {
    finish(program(home).args(args), b"")
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command, stdin: &[u8]) -> Ran {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // A program that does not read its stdin closes the pipe.
    let _ = pipe.write_all(stdin);
    drop(pipe);
    let out = collect(child.stdout.take().unwrap());
    let err = collect(child.stderr.take().unwrap());
    let end = Instant::now() + DEADLINE;
    let left = || end.saturating_duration_since(Instant::now());
    match (out.recv_timeout(left()), err.recv_timeout(left())) {
        (Ok(stdout), Ok(stderr)) => Ran {
            code: child.wait().unwrap().code(),
            stdout,
            stderr: String::from_utf8_lossy(&stderr).into(),
        },
        _ => {
            let _ = child.kill();
            let _ = child.wait();
            panic!("did not end in time: {command:?}");
        }
    }
}

fn collect(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}

/// A node in a process of its own, which is killed when this is dropped.
pub(crate) struct Node {
    child: Child,
    log: Receiver<String>,
    seen: Vec<String>,
    stdout: BufReader<ChildStdout>,
    /// The start-up message, which is its first line.
    pub(crate) about: Value,
    pub(crate) dir: String,
}

impl Node {
    /// Starts a node with its own state directory on free ports, and waits until it has started.
    pub(crate) fn start(home: &TempDir, name: &str, bootstrap: &[&Node]) -> Self {
        let peers: Vec<String> = bootstrap.iter().map(|node| node.address()).collect();
        let mut args = vec!["run", "--listen", "127.0.0.1:0"];
        for peer in &peers {
            args.extend(["--bootstrap", peer]);
        }
        Self::start_with(home, name, &args)
    }

    /// Starts a node with these arguments.
    pub(crate) fn start_with(home: &TempDir, name: &str, args: &[&str]) -> Self {
        let dir = home.join(name);
        let mut command = program(home);
        command
            .args(args)
            .args(["--json", "--api-listen", "127.0.0.1:0"]);
        command.args(["--state-dir", &dir, "--log", "info,skydht=debug"]);
        Self::spawn(command, name, dir)
    }

    /// Runs a command that starts a node in this state directory, and waits until it has started.
    pub(crate) fn spawn(mut command: Command, name: &str, dir: String) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, log) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, first) = channel();
        std::thread::spawn(move || {
            let mut stdout = stdout;
            let mut line = String::new();
            let _ = stdout.read_line(&mut line);
            let _ = sender.send((line, stdout));
        });
        let Ok((line, stdout)) = first.recv_timeout(DEADLINE) else {
            let _ = child.kill();
            panic!("{name} said nothing in time");
        };
        let about = serde_json::from_str(&line).unwrap_or_else(|error| {
            let _ = child.kill();
            let log: Vec<String> = log.iter().collect();
            panic!("{name}: {error} in {line:?}; {log:#?}")
        });
        Self {
            child,
            log,
            seen: Vec::new(),
            stdout,
            about,
            dir,
        }
    }

    pub(crate) fn text(&self, field: &str) -> &str {
        self.about[field]
            .as_str()
            .unwrap_or_else(|| panic!("no {field} in {}", self.about))
    }

    /// Returns `PK@HOST:PORT`.
    pub(crate) fn address(&self) -> String {
        format!("{}@{}", self.text("key"), self.text("listen"))
    }

    /// Returns HOST:PORT of its control API.
    pub(crate) fn api(&self) -> &str {
        self.text("api").strip_prefix("http://").unwrap()
    }

    pub(crate) fn token(&self) -> String {
        fs::read_to_string(self.text("token_file"))
            .unwrap()
            .trim()
            .into()
    }

    /// Waits for a log line that contains `part`.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, part: &str) {
        self.wait_until(part, |line| line.contains(part));
    }

    /// Waits until the node knows at least this many peers.
    #[track_caller]
    pub(crate) fn knows(&mut self, peers: usize) {
        self.wait_until("enough peers", |line| {
            let count = line
                .split_once(" peers now=")
                .and_then(|(_, n)| n.parse().ok());
            count.is_some_and(|count: usize| count >= peers)
        });
    }

    #[track_caller]
    fn wait_until(&mut self, what: &str, holds: impl Fn(&str) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !self.seen.iter().any(|line| holds(line)) {
            match self
                .log
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(line) => self.seen.push(line),
                Err(why) => panic!("{why}: no {what:?} in {:#?}", self.seen),
            }
        }
    }

    /// Runs a command on this node.
    pub(crate) fn run(&self, home: &TempDir, args: &[&str]) -> Ran {
        finish(
            program(home).args(args).args(["--state-dir", &self.dir]),
            b"",
        )
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process and waits for it.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until the process ends by itself.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Option<i32> {
        // Its log ends with the process.
        let end = Instant::now() + DEADLINE;
        loop {
            match self
                .log
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("did not end: {:#?}", self.seen),
            }
        }
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "more than one line on stdout");
        self.child.wait().unwrap().code()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal, given without the prefix SIG.
#[track_caller]
pub(crate) fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill")
        .args([format!("-{name}"), pid.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// An HTTP response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// Sends a request as it is, and reads the response to its end.
pub(crate) fn http(api: &str, request: &str) -> Answer {
    let mut stream = TcpStream::connect(api).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no head in {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        head: head.to_ascii_lowercase(),
        body: body.into(),
    }
}

/// Builds a request with these headers, `Connection: close`, and the body's length.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!(
        "Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    ));
    text
}
