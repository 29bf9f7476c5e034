//! The program as a service: notifications to a service manager over real sockets, and root's
//! access to a service of another user.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;
use std::time::Instant;

use support::{DEADLINE, Node, TempDir, program, run, signal};

/// An arbitrary key.
const KEY: &str = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";

/// The service manager's socket.
struct Manager(UnixDatagram);

impl Manager {
    fn at(addr: &SocketAddr) -> Self {
        let socket = UnixDatagram::bind_addr(addr).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(socket)
    }

    /// Receives the next datagram.
    #[track_caller]
    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.0.recv(&mut buffer).expect("a datagram in time");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// Receives until a datagram contains this line; returns the number of datagrams before it.
    #[track_caller]
    fn wait_for(&self, line: &str) -> usize {
        let end = Instant::now() + DEADLINE;
        let mut before = 0;
        while Instant::now() < end {
            if self.next().lines().any(|each| each == line) {
                return before;
            }
            before += 1;
        }
        panic!("no {line} among {before} datagrams");
    }
}

fn node(home: &TempDir, socket: &str) -> Command {
    let mut command = program(home);
    command.args(["run", "--listen", "127.0.0.1:0", "--json"]);
    command.args(["--api-listen", "127.0.0.1:0"]);
    command.args(["--state-dir", &home.join("state"), "--log", "debug"]);
    command.env("NOTIFY_SOCKET", socket);
    command
}

#[test]
fn a_node_is_ready_gives_signs_of_life_and_says_that_it_stops() {
    let home = TempDir::new();
    let path = home.join("notify");
    let name = format!("skydht-test/{}", std::process::id());
    let sockets = [
        (path.clone(), SocketAddr::from_pathname(&path).unwrap()),
        (
            format!("@{name}"),
            SocketAddr::from_abstract_name(&name).unwrap(),
        ),
    ];
    for (named, addr) in sockets {
        let manager = Manager::at(&addr);
        let mut command = node(&home, &named);
        command.env("WATCHDOG_USEC", "400000");
        let node = Node::spawn(command, &named, home.join("state"));
        let first = manager.next();
        let (ready, words) = first.split_once('\n').unwrap();
        assert_eq!(ready, "READY=1");
        // `systemctl status` shows the verdict.
        let verdict = node.run(&home, &["status", "--json"]).exits(0).json()["verdict"].clone();
        let verdict = verdict.as_str().unwrap().to_uppercase();
        assert!(
            words.starts_with(&format!("STATUS={verdict}: ")),
            "{first}, {verdict}"
        );
        for _ in 0..4 {
            manager.wait_for("WATCHDOG=1");
        }
        signal(node.pid(), "TERM");
        let begin = Instant::now();
        manager.wait_for("STOPPING=1");
        assert_eq!(node.wait(), Some(0));
        assert!(begin.elapsed() < DEADLINE);
    }
}

#[test]
fn a_node_that_waits_for_its_discovery_is_ready_and_says_what_it_waits_for() {
    let home = TempDir::new();
    let path = home.join("notify");
    let manager = Manager::at(&SocketAddr::from_pathname(&path).unwrap());
    let mut command = program(&home);
    command.args(["run", "--json", "--api-listen", "127.0.0.1:0"]);
    // An address where nothing listens.
    command.args(["--discovery", "http://127.0.0.1:1"]);
    command.args(["--state-dir", &home.join("state")]);
    command.env("NOTIFY_SOCKET", &path);
    let node = Node::spawn(command, "waits", home.join("state"));
    let first = manager.next();
    assert!(
        first.starts_with("READY=1\nSTATUS=YELLOW: starting, waits for the DMSG discovery"),
        "{first}"
    );
    node.run(&home, &["stop"]).exits(0);
    manager.wait_for("STOPPING=1");
    assert_eq!(node.wait(), Some(0));
}

#[test]
fn dmsg_services_say_so_too() {
    let home = TempDir::new();
    let path = home.join("notify");
    let manager = Manager::at(&SocketAddr::from_pathname(&path).unwrap());
    let mut command = program(&home);
    command.args(["dmsg-discovery", "--addr", "127.0.0.1:0", "--json"]);
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000");
    let discovery = Node::spawn(command, "discovery", String::new());
    assert_eq!(
        manager.next(),
        "READY=1\nSTATUS=0 entries, 0 of them servers"
    );
    manager.wait_for("WATCHDOG=1");

    let path = home.join("servers");
    let servers = Manager::at(&SocketAddr::from_pathname(&path).unwrap());
    let mut command = program(&home);
    command.args([
        "dmsg-server",
        "--discovery",
        discovery.text("url"),
        "--json",
    ]);
    command.args(["--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"]);
    command.args(["--state-dir", &home.join("server")]);
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "400000");
    let server = Node::spawn(command, "server", home.join("server"));
    assert!(servers.next().starts_with("READY=1\n"));
    servers.wait_for("WATCHDOG=1");
    // The status is updated when the server registers.
    manager.wait_for("STATUS=1 entries, 1 of them servers");
    signal(server.pid(), "TERM");
    servers.wait_for("STOPPING=1");
    assert_eq!(server.wait(), Some(0));

    signal(discovery.pid(), "INT");
    manager.wait_for("STOPPING=1");
    assert_eq!(discovery.wait(), Some(0));
}

#[test]
fn a_gateway_says_so_too() {
    let home = TempDir::new();
    let path = home.join("notify");
    let manager = Manager::at(&SocketAddr::from_pathname(&path).unwrap());
    let mut command = node(&home, &path);
    command.args(["--addr", "127.0.0.1:0"]);
    let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let mut command = program(&home);
    command.arg("gateway").args(&args[1..]);
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "400000");
    let gateway = Node::spawn(command, "gateway", home.join("state"));
    assert!(manager.next().starts_with("READY=1\n"));
    manager.wait_for("WATCHDOG=1");
    signal(gateway.pid(), "TERM");
    manager.wait_for("STOPPING=1");
    assert_eq!(gateway.wait(), Some(0));
}

#[test]
fn a_watchdog_that_is_not_this_processs_gets_no_signs_of_life() {
    let home = TempDir::new();
    let path = home.join("notify");
    let manager = Manager::at(&SocketAddr::from_pathname(&path).unwrap());
    let mut command = node(&home, &path);
    command
        .env("WATCHDOG_USEC", "2000")
        .env("WATCHDOG_PID", "1");
    let node = Node::spawn(command, "node", home.join("state"));
    assert!(manager.next().starts_with("READY=1\n"));
    node.run(&home, &["put", "v", "--once"]).exits(3);
    signal(node.pid(), "TERM");
    loop {
        let text = manager.next();
        assert!(!text.contains("WATCHDOG"), "{text}");
        if text.starts_with("STOPPING=1") {
            break;
        }
    }
    assert_eq!(node.wait(), Some(0));
}

#[test]
fn a_socket_that_cannot_be_used_stops_nothing() {
    let home = TempDir::new();
    for (socket, warned) in [
        ("relative/notify", true),
        ("vsock:2:9999", true),
        ("", false),
        ("/nowhere/notify", false),
        ("@skydht-nothing-listens-here", false),
    ] {
        let mut command = node(&home, socket);
        command.env("WATCHDOG_USEC", "2000");
        let mut node = Node::spawn(command, socket, home.join("state"));
        if warned {
            node.wait_for("NOTIFY_SOCKET");
        }
        node.run(&home, &["status"]).exits(0);
        signal(node.pid(), "TERM");
        assert_eq!(node.wait(), Some(0), "{socket}");
    }
}

#[test]
fn a_second_start_on_one_state_directory_is_never_ready() {
    let home = TempDir::new();
    let first = Node::start(&home, "state", &[]);
    let path = home.join("notify");
    let manager = Manager::at(&SocketAddr::from_pathname(&path).unwrap());
    let second = support::finish(&mut node(&home, &path), b"");
    let failure = second.exits(6).json();
    let message = failure["message"].as_str().unwrap();
    assert!(message.contains("another node runs on"), "{message}");
    manager.0.set_nonblocking(true).unwrap();
    assert!(manager.0.recv(&mut [0; 64]).is_err(), "it sent something");
    run(&home, &["status", "--state-dir", &first.dir]).exits(0);
}

#[test]
fn root_reaches_a_service_of_another_user_and_reads_nothing_else_there() {
    use std::os::unix::process::CommandExt as _;
    let home = TempDir::new();
    let (dir, service) = (home.join("service"), 65_534);
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    let mut command = program(&home);
    command.args(["run", "--listen", "127.0.0.1:0", "--json"]);
    command.args(["--api-listen", "127.0.0.1:0", "--state-dir", &dir]);
    command.uid(service);
    // Only root can change the owner, and the other user must be able to execute the program.
    let is_given = std::os::unix::fs::chown(&dir, Some(service), None).is_ok();
    let mut version = program(&home);
    let version = version.arg("version").uid(service).status();
    if !is_given || !version.is_ok_and(|status| status.success()) {
        return;
    }
    let node = Node::spawn(command, "service", dir.clone());
    node.run(&home, &["status"]).exits(0);
    node.run(&home, &["put", "v"]).exits(5);
    // The service's key is readable by its own user only.
    let with = ["get", "self", "--bootstrap", &format!("{KEY}@127.0.0.1:1")];
    let ran = node.run(&home, &with).exits(2);
    assert!(ran.stderr.contains("belongs to another user"), "{ran:?}");
    // A root-owned file, to which the other user has made a link, must not be sent to an address
    // that this user chooses.
    let token = format!("{dir}/api.token");
    fs::rename(&token, format!("{dir}/kept")).unwrap();
    let secret = home.join("root.key");
    run(&home, &["keygen", &secret]).exits(0);
    std::os::unix::fs::symlink(&secret, &token).unwrap();
    let ran = node.run(&home, &["status"]).exits(2);
    assert!(ran.stderr.contains("belongs to another user"), "{ran:?}");
    fs::rename(format!("{dir}/kept"), &token).unwrap();
    node.run(&home, &["stop"]).exits(0);
    assert_eq!(node.wait(), Some(0));
}
