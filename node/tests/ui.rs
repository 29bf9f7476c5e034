//! The status page of the built program: access control, and its content in a browser.

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use support::{Answer, DEADLINE, Node, TempDir, http, request, until};

fn get(node: &Node, path: &str, cookie: Option<&str>) -> Answer {
    let mut headers = vec![("Host", node.api())];
    headers.extend(cookie.map(|cookie| ("Cookie", cookie)));
    http(node.api(), &request("GET", path, &headers, ""))
}

/// Returns the cookie that a response sets, as a browser would send it.
fn cookie(answer: &Answer) -> String {
    let line = answer
        .head
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "))
        .unwrap_or_else(|| panic!("no cookie: {answer:?}"));
    for part in ["httponly", "samesite=strict", "max-age=43200"] {
        assert!(line.contains(part), "{line}");
    }
    line.split(';').next().unwrap().to_owned()
}

/// Returns the page's path with a code, from the output of `skydht ui`.
fn link(node: &Node, home: &TempDir) -> String {
    let printed = node.run(home, &["ui"]).exits(0);
    let url = printed.text().trim().to_owned();
    let path = url.strip_prefix(node.text("api")).unwrap();
    path.to_owned()
}

#[test]
fn a_link_opens_the_page_once_and_the_cookie_reads_alone() {
    let home = TempDir::new();
    let node = Node::start(&home, "a", &[]);
    // Without a cookie the page shows only the login form.
    let stranger = get(&node, "/ui", None);
    assert_eq!(stranger.status, 401);
    assert!(stranger.body.contains("skydht ui"), "{stranger:?}");
    assert!(!stranger.body.contains(node.text("key")));

    let path = link(&node, &home);
    let opened = get(&node, &path, None);
    assert_eq!(opened.status, 303, "{opened:?}");
    assert!(opened.head.contains("location: /ui"));
    let cookie = cookie(&opened);
    assert_eq!(get(&node, &path, None).status, 401, "twice");

    let page = get(&node, "/ui", Some(&cookie));
    assert_eq!(page.status, 200, "{page:?}");
    for part in [
        "content-type: text/html",
        "cache-control: no-store",
        "x-frame-options: deny",
        "referrer-policy: same-origin",
        "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'",
    ] {
        assert!(page.head.contains(part), "{part}: {}", page.head);
    }
    assert!(page.body.contains(node.text("key")) && page.body.contains("YELLOW"));
    for path in ["/status", "/peers", "/items", "/metrics"] {
        assert_eq!(get(&node, path, Some(&cookie)).status, 200, "{path}");
    }
    // Its assets are available, and writes are refused.
    let mut size = page.body.len();
    for (path, kind) in [
        ("/ui/app.js", "text/javascript"),
        ("/ui/style.css", "text/css"),
    ] {
        let part = get(&node, path, None);
        assert!(part.head.contains(kind), "{}", part.head);
        size += part.body.len();
    }
    assert!(size < 150_000, "{size}");
    let headers = [("Host", node.api()), ("Cookie", &cookie)];
    for (method, path) in [
        ("POST", "/put"),
        ("POST", "/shutdown"),
        ("POST", "/ui/code"),
        ("GET", "/config"),
        ("GET", "/get/self"),
        ("GET", "/"),
    ] {
        let answer = http(node.api(), &request(method, path, &headers, "{}"));
        assert_eq!(answer.status, 401, "{method} {path}");
    }
    let odd = get(&node, "/ui?sort=size", Some(&cookie));
    assert_eq!(odd.status, 400, "{odd:?}");
    // Another host name, as after DNS rebinding.
    let headers = [("Host", "evil.example"), ("Cookie", &cookie)];
    let answer = http(node.api(), &request("GET", "/ui", &headers, ""));
    assert_eq!(answer.status, 421);
}

#[test]
fn the_token_opens_it_too_but_not_from_another_page() {
    let home = TempDir::new();
    let node = Node::start(&home, "a", &[]);
    let log_in = |token: &str, origin: Option<&str>| {
        let mut headers = vec![("Host", node.api())];
        headers.extend(origin.map(|origin| ("Origin", origin)));
        let body = format!("token={token}");
        http(node.api(), &request("POST", "/ui/login", &headers, &body))
    };
    let own = node.text("api").to_owned();
    for wrong in ["", "0", "%00", &"f".repeat(64), &"f".repeat(2_000)] {
        let answer = log_in(wrong, Some(&own));
        assert!(matches!(answer.status, 400 | 401), "{wrong}: {answer:?}");
        assert!(!answer.head.contains("set-cookie"));
    }
    let answer = log_in(&node.token(), Some("http://evil.example"));
    assert_eq!(answer.status, 403, "{answer:?}");
    let answer = log_in(&node.token(), Some(&own));
    assert_eq!(get(&node, "/ui", Some(&cookie(&answer))).status, 200);
}

#[test]
fn browsers_get_news_as_a_tree() {
    let home = TempDir::new();
    let node = Node::start(&home, "a", &[]);
    let cookie = cookie(&get(&node, &link(&node, &home), None));
    assert_eq!(get(&node, "/ui/events", None).status, 401);
    let mut stream = TcpStream::connect(node.api()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let headers = [("Host", node.api()), ("Cookie", &cookie)];
    let ask = request("GET", "/ui/events?sort=rtt", &headers, "");
    stream.write_all(ask.as_bytes()).unwrap();
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let news = lines.filter_map(|line| line.strip_prefix("data: ").map(str::to_owned));
    // Two updates show that the stream continues.
    for tree in news.take(2) {
        let tree: serde_json::Value = serde_json::from_str(&tree).unwrap();
        assert_eq!(tree[0], "main");
        assert!(tree.to_string().contains(node.text("key")));
    }
}

#[test]
fn what_was_asked_last_is_shown_with_its_cost() {
    let home = TempDir::new();
    let mut a = Node::start(&home, "a", &[]);
    let b = Node::start(&home, "b", &[&a]);
    a.knows(1);
    b.run(&home, &["put", "v", "--salt", "asked-last"]).exits(0);
    b.run(&home, &["get", "self", "nothing-there"]).exits(4);
    let cookie = cookie(&get(&b, &link(&b, &home), None));
    let page = get(&b, "/ui", Some(&cookie)).body;
    let (before, last) = page
        .split_once("Reads and puts that ended last</caption>")
        .unwrap();
    assert!(before.contains("operations"));
    let read = last.find("self nothing-there").unwrap();
    let put = last.find("asked-last").unwrap();
    assert!(read < put, "the newest first");
    assert!(
        last.contains("stored 1/1") && last.contains("not found"),
        "{last}"
    );
    // The read's trace, as a drawing and as a table.
    let course = last
        .split_once("Course of get self nothing-there")
        .unwrap()
        .1;
    assert!(
        course.contains("<svg ") && course.contains(a.text("key")),
        "{course}"
    );
}

#[test]
fn a_server_shows_what_it_relays() {
    let home = TempDir::new();
    let mut command = support::program(&home);
    command.args(["dmsg-discovery", "--addr", "127.0.0.1:0", "--json"]);
    let discovery = Node::spawn(command, "discovery", String::new());
    let args = ["dmsg-server", "--discovery", discovery.text("url")];
    let args = [&args[..], &["--listen", "127.0.0.1:0"]].concat();
    let server = Node::start_with(&home, "server", &args);
    until(&server, &home, "up", |status| status["waits_for"].is_null());
    let cookie = cookie(&get(&server, &link(&server, &home), None));
    let page = get(&server, "/ui", Some(&cookie)).body;
    assert!(page.contains("DMSG server and full node"), "{page}");
    assert!(page.contains("streams relayed now"), "{page}");
}

#[test]
fn the_script_builds_what_the_server_sends() {
    if Command::new("node").arg("--version").output().is_err() {
        return println!("skipped: no node.js is installed");
    }
    let home = TempDir::new();
    let node = Node::start(&home, "a", &[]);
    node.run(&home, &["put", "v", "--salt", "<b>\u{e9}</b>"])
        .exits(5);
    let cookie = cookie(&get(&node, &link(&node, &home), None));
    let mut stream = TcpStream::connect(node.api()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let headers = [("Host", node.api()), ("Cookie", &cookie)];
    let ask = request("GET", "/ui/events", &headers, "");
    stream.write_all(ask.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let tree = lines.find_map(|line| line.strip_prefix("data: ").map(str::to_owned));
    let file = home.join("tree.json");
    std::fs::write(&file, tree.unwrap()).unwrap();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ran = Command::new("node")
        .arg(dir.join("tests/page/dom.js"))
        .arg(dir.join("src/ui/app.js"))
        .arg(&file)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
}

/// Returns a browser that can run the page's script, if one is installed.
fn browser() -> Option<&'static str> {
    let places = [
        "/usr/bin/chromium",
        "/usr/bin/chromium-browser",
        "/usr/bin/google-chrome",
    ];
    places.into_iter().find(|path| Path::new(path).exists())
}

#[test]
fn the_page_lives_in_a_browser() {
    let Some(browser) = browser() else {
        return println!("skipped: no chromium is installed");
    };
    let home = TempDir::new();
    let node = Node::start(&home, "a", &[]);
    let url = format!("{}{}", node.text("api"), link(&node, &home));
    let dom = Command::new(browser)
        .args(["--headless", "--disable-gpu", "--no-sandbox", "--dump-dom"])
        .args(["--virtual-time-budget=5000", "--window-size=320,800"])
        .arg(format!("--user-data-dir={}", home.join("profile")))
        .arg(&url)
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&dom.stdout);
    assert!(dom.contains(node.text("key")), "{dom}");
    // The script has run.
    assert!(dom.contains(" s ago"), "{dom}");
}
