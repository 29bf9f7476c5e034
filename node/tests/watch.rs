//! Watching an item with the command, and as server-sent events.

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::Stdio;

use serde_json::Value;
use support::{DEADLINE, Node, TempDir, program, signal};

/// Starts two nodes that know each other.
fn pair(home: &TempDir) -> (Node, Node) {
    let mut first = Node::start(home, "first", &[]);
    let mut second = Node::start(home, "second", &[&first]);
    first.knows(1);
    second.knows(1);
    (first, second)
}

fn put(node: &Node, home: &TempDir, value: &str) -> String {
    let words = ["put", value, "--salt", "news", "--json"];
    let put = node.run(home, &words).exits(0).json();
    put["seq"].as_str().unwrap().to_owned()
}

/// A stream of events, read one at a time.
struct Events(BufReader<TcpStream>);

impl Events {
    fn open(node: &Node, path: &str, last: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(node.api()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let last = last.map(|id| format!("Last-Event-ID: {id}\r\n"));
        let (host, token) = (node.api(), node.token());
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{}\r\n",
            last.unwrap_or_default()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut events = Self(BufReader::new(stream));
        assert!(events.line().starts_with("HTTP/1.1 200"));
        events.until("content-type: text/event-stream");
        events
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Returns the rest of the next line that starts with `start`.
    fn until(&mut self, start: &str) -> String {
        loop {
            if let Some(rest) = self.line().strip_prefix(start) {
                return rest.to_owned();
            }
        }
    }

    /// Returns the next event: id, kind, data.
    fn next(&mut self) -> (String, String, Value) {
        let id = self.until("id: ");
        let (kind, data) = (self.until("event: "), self.until("data: "));
        (id, kind, serde_json::from_str(&data).unwrap())
    }
}

#[test]
fn the_command_shows_each_version_and_resumes_where_requested() {
    let home = TempDir::new();
    let (first, second) = pair(&home);
    let key = first.text("key").to_owned();
    let words = ["watch", &key, "news", "--json", "--state-dir", &second.dir];
    let mut watching = program(&home)
        .args(words)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&shown.next().unwrap().unwrap()).unwrap() };
    let mut seqs = Vec::new();
    for value in ["one", "two", "three"] {
        let seq = put(&first, &home, value);
        let version = next();
        assert_eq!(
            (&version["text"], &version["seq"]),
            (&value.into(), &seq.clone().into())
        );
        seqs.push(seq);
    }
    first.run(&home, &["delete", "self", "news"]).exits(0);
    assert_eq!(next()["deleted"], true);
    signal(watching.id(), "TERM");
    watching.wait().unwrap();

    let fourth = put(&first, &home, "four");
    let words = ["watch", &key, "news", "--after", &seqs[2], "--count", "1"];
    let resumed = second.run(&home, &words).exits(0);
    assert_eq!(resumed.text(), "four\n");
    assert!(resumed.stderr.contains(&seqs[2]) && resumed.stderr.contains(&fourth));
    let words = ["watch", &key, "news", "--after", &fourth, "--timeout", "1"];
    let nothing = second.run(&home, &words).exits(7);
    assert!(
        nothing.stderr.contains(&format!("--after {fourth}")),
        "{nothing:?}"
    );
}

#[test]
fn events_resume_after_the_last_one_seen_and_end_with_the_node() {
    let home = TempDir::new();
    let (first, second) = pair(&home);
    let path = format!("/watch/{}/news", first.text("key"));
    let one = put(&first, &home, "one");
    let mut events = Events::open(&second, &path, None);
    let (id, kind, data) = events.next();
    assert_eq!(
        (&id, kind.as_str(), &data["text"]),
        (&one, "version", &"one".into())
    );
    let two = put(&first, &home, "two");
    assert_eq!(events.next().0, two);
    drop(events);

    let three = put(&first, &home, "three");
    let mut events = Events::open(&second, &path, Some(&two));
    let (id, _, data) = events.next();
    assert_eq!((&id, &data["text"]), (&three, &"three".into()));
    first.run(&home, &["delete", "self", "news"]).exits(0);
    let (_, kind, data) = events.next();
    assert_eq!((kind.as_str(), &data["deleted"]), ("deleted", &true.into()));
    second.run(&home, &["stop"]).exits(0);
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut events.0, &mut rest).unwrap();
}
