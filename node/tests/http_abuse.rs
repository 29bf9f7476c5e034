//! The control API and the DMSG discovery while clients hold, flood or stall connections.

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use support::{DEADLINE, Node, TempDir, http, request};

/// More connections than either server has slots for.
const MANY: usize = 1_100;
/// Held connections are closed after ten seconds each; answers must not need that long.
const SOON: Duration = Duration::from_secs(30);

/// A server, and a path that is open to all.
struct Target<'a> {
    host: &'a str,
    open: &'a str,
}

impl Target<'_> {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.host).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    fn head(&self, more: &str) -> String {
        format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\n{more}",
            self.open, self.host
        )
    }

    /// Opens connections and writes these bytes to each, as far as the socket accepts them.
    fn hold(&self, bytes: &[u8]) -> Vec<TcpStream> {
        let hold = |_| {
            let mut stream = self.connect();
            stream.set_nonblocking(true).unwrap();
            // Connections that were closed meanwhile fail.
            let _ = stream.write(bytes);
            stream
        };
        (0..MANY).map(hold).collect()
    }

    /// Checks that new clients are answered.
    #[track_caller]
    fn answers(&self, what: &str, path: &str, headers: &[(&str, &str)]) {
        let begun = Instant::now();
        for _ in 0..5 {
            let mut all = vec![("Host", self.host)];
            all.extend_from_slice(headers);
            let answer = http(self.host, &request("GET", path, &all, ""));
            assert_eq!(answer.status, 200, "{what}: {answer:?}");
        }
        assert!(begun.elapsed() < SOON, "{what}: {:?}", begun.elapsed());
    }

    /// Returns the bytes for each kind of connection that sends no request, or does not read.
    fn attacks(&self) -> [(&'static str, Vec<u8>); 4] {
        [
            ("silent", Vec::new()),
            ("half a head", self.head("X: ").into_bytes()),
            ("pipelining", self.head("\r\n").repeat(2_000).into_bytes()),
            (
                "half a body",
                self.head("Content-Length: 1000\r\n\r\n{").into_bytes(),
            ),
        ]
    }

    /// Sends malformed requests, which must be harmless.
    fn nonsense(&self) {
        let send = |text: &str| {
            let mut stream = self.connect();
            let _ = stream.write_all(text.as_bytes());
            let mut answer = Vec::new();
            // The connection may be reset after the response.
            let _ = stream.read_to_end(&mut answer);
            String::from_utf8_lossy(&answer)
                .lines()
                .next()
                .map(str::to_owned)
        };
        let long = self.head(&format!("X: {}\r\n\r\n", "x".repeat(1 << 20)));
        let many = self.head(&format!("{}\r\n", "X: y\r\n".repeat(10_000)));
        for huge in [long, many] {
            let status = send(&huge);
            // A reset may arrive before the response has been read.
            let refused = status.is_none_or(|it| it.starts_with("HTTP/1.1 431"));
            assert!(refused, "a huge head");
        }
        let chunks = "fffffffffffffffff\r\n";
        let post = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}",
            self.open, self.host
        );
        let status = send(&post).unwrap_or_default();
        assert!(!status.starts_with("HTTP/1.1 2"), "{status}");
    }
}

#[test]
fn held_connections_do_not_block_the_control_api() {
    let home = TempDir::new();
    let node = Node::start(&home, "a", &[]);
    let bearer = format!("Bearer {}", node.token());
    let target = Target {
        host: node.api(),
        open: "/livez",
    };
    for (what, bytes) in target.attacks() {
        let _held = target.hold(&bytes);
        target.answers(what, "/livez", &[]);
        target.answers(what, "/status", &[("Authorization", &bearer)]);
    }
    target.nonsense();
    target.answers("nonsense", "/livez", &[]);
}

#[test]
fn held_connections_do_not_block_the_dmsg_discovery() {
    let home = TempDir::new();
    let mut command = support::program(&home);
    command.args(["dmsg-discovery", "--addr", "127.0.0.1:0", "--json"]);
    let discovery = Node::spawn(command, "discovery", String::new());
    let host = discovery.text("url").strip_prefix("http://").unwrap();
    let target = Target {
        host,
        open: "/health",
    };
    for (what, bytes) in target.attacks() {
        let _held = target.hold(&bytes);
        target.answers(what, "/health", &[]);
    }
    target.nonsense();
    target.answers("nonsense", "/health", &[]);
}

#[test]
fn a_guess_at_the_token_costs_a_connection() {
    let home = TempDir::new();
    let node = Node::start(&home, "a", &[]);
    let target = Target {
        host: node.api(),
        open: "/livez",
    };
    let guess = format!(
        "GET /status HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer 0123456789abcdef\r\n\r\n",
        node.api()
    );
    let mut stream = target.connect();
    stream.write_all(guess.repeat(50).as_bytes()).unwrap();
    let mut answers = Vec::new();
    let _ = stream.read_to_end(&mut answers);
    let answers = String::from_utf8_lossy(&answers);
    assert_eq!(answers.matches("HTTP/1.1 401").count(), 1, "{answers}");
    // Clients without a token may send a few requests to open paths.
    let mut stream = target.connect();
    let ask = target.head("\r\n").repeat(50);
    stream.write_all(ask.as_bytes()).unwrap();
    let mut answers = Vec::new();
    let _ = stream.read_to_end(&mut answers);
    let answers = String::from_utf8_lossy(&answers);
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 20, "{answers}");
}
