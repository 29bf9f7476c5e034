//! A discovery over HTTPS, and clients that trust its certificate or not.

mod support;

use std::process::Command;

use support::{Node, TempDir, finish, program};

/// Returns the path of a certificate by an authority that only these tests trust.
fn file(name: &str) -> String {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../driver/tests/redis/tls");
    format!("{dir}/{name}")
}

fn believing(home: &TempDir, certificates: &str) -> Command {
    let mut command = program(home);
    command.env("SSL_CERT_FILE", file(certificates));
    command
}

fn discovery(home: &TempDir) -> Node {
    let mut command = program(home);
    command.args(["dmsg-discovery", "--addr", "127.0.0.1:0", "--json"]);
    command.args([
        "--tls-cert",
        &file("server.pem"),
        "--tls-key",
        &file("server.key"),
    ]);
    Node::spawn(command, "discovery", String::new())
}

fn started(mut command: Command, home: &TempDir, name: &str, url: &str, words: &[&str]) -> Node {
    let dir = home.join(name);
    command.args(words).args(["--discovery", url, "--json"]);
    command.args(["--api-listen", "127.0.0.1:0", "--state-dir", &dir]);
    command.args(["--log", "info,skydht=debug"]);
    Node::spawn(command, name, dir)
}

#[test]
fn servers_and_visors_meet_at_a_discovery_over_https() {
    let home = TempDir::new();
    let discovery = discovery(&home);
    let url = discovery.text("url");
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let server = ["dmsg-server", "--listen", "127.0.0.1:0"];
    let believe = || believing(&home, "authority.pem");
    let _server = started(believe(), &home, "server", url, &server);
    let visor = started(believe(), &home, "visor", url, &["run"]);
    let put = [
        "put",
        "hello",
        "--salt",
        "s",
        "--min-replicas",
        "1",
        "--timeout",
        "20s",
    ];
    visor.run(&home, &put).exits(0);
}

#[test]
fn a_certificate_that_is_not_believed_is_named_with_what_to_do() {
    let home = TempDir::new();
    let discovery = discovery(&home);
    // Only a certificate of another authority is trusted.
    let mut command = believing(&home, "server.pem");
    let get = [
        "get",
        "self",
        "--salt",
        "s",
        "--timeout",
        "5s",
        "--state-dir",
    ];
    command.args(get).arg(home.join("one"));
    command.args(["--discovery", discovery.text("url")]);
    let ran = finish(&mut command, b"");
    assert_ne!(ran.code, Some(0));
    assert!(
        ran.stderr.contains("certificate") && ran.stderr.contains("SSL_CERT_FILE"),
        "{ran:?}"
    );
}

#[test]
fn files_that_are_no_certificate_or_key_are_named() {
    let home = TempDir::new();
    let (cert, key, other) = (
        file("server.pem"),
        file("server.key"),
        file("authority.pem"),
    );
    for (chain, private, named) in [
        ("no/such/file", key.as_str(), "no/such/file"),
        (&key, &key, "server.key"),
        (&cert, &cert, "server.pem"),
        (&other, &key, "authority.pem"),
    ] {
        let mut command = program(&home);
        command.args(["dmsg-discovery", "--addr", "127.0.0.1:0"]);
        command.args(["--tls-cert", chain, "--tls-key", private]);
        let ran = finish(&mut command, b"").exits(1);
        assert!(
            ran.stderr.contains(named) && ran.stderr.contains("--tls-key"),
            "{ran:?}"
        );
    }
}
