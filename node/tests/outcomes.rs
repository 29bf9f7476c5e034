//! Results of operations, and the causes that are reported.

mod support;

use std::fs;

use support::{Node, TempDir, finish, program, run};

const OTHER: &str = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";

#[test]
fn a_put_without_peers_is_kept_and_said_to_be() {
    let home = TempDir::new();
    let node = Node::start(&home, "alone", &[]);
    let ran = node.run(&home, &["put", "hello", "--salt", "s"]).exits(5);
    assert!(ran.stderr.contains("this node keeps the item"), "{ran:?}");
    let listed = node.run(&home, &["ls", "--json"]).exits(0).json();
    let item = &listed["items"][0];
    assert_eq!(
        (&item["salt"], &item["holders"]),
        (&"s".into(), &0.into()),
        "{listed}"
    );
    assert!(item["age_ms"].is_null() && item["next_renewal_ms"].as_f64() < Some(120e3));
    assert!(ran.stderr.contains(item["seq"].as_str().unwrap()));
    let got = node.run(&home, &["get", "self", "s", "--policy", "local"]);
    assert_eq!(got.exits(0).text(), "hello");
    // An item without renewal is not stored, and neither is a deletion.
    for args in [
        &["put", "v", "--salt", "t", "--once"][..],
        &["delete", "self", "u"],
    ] {
        let ran = node.run(&home, args).exits(3);
        assert!(ran.stderr.contains("no peers"), "{ran:?}");
    }
    node.run(&home, &["stop"]).exits(0);
    assert_eq!(node.wait(), Some(0));
}

#[test]
fn a_wrong_key_at_the_right_address_is_called_so() {
    let home = TempDir::new();
    let node = Node::start(&home, "node", &[]);
    let at = node.text("listen").to_owned();
    let wrong = format!("{OTHER}@{at}");
    let own = run(&home, &["keygen"]).exits(0);
    let own = own.text().trim().to_owned();
    for args in [
        &["get", OTHER][..],
        &["put", "v"],
        &["delete", "self"],
        &["ping", OTHER],
    ] {
        let ran = run(&home, &[args, &["--bootstrap", &wrong]].concat());
        if args[0] == "ping" {
            assert_ne!(ran.code, Some(0));
            continue;
        }
        let said = ran.stderr.clone();
        ran.exits(6);
        assert!(
            said.contains(&format!(
                "{wrong}: something answers there, but not with this key"
            )),
            "{said}"
        );
    }
    let json = run(&home, &["get", OTHER, "--bootstrap", &wrong, "--json"])
        .exits(6)
        .json();
    assert_eq!(
        (&json["code"], &json["fault"]),
        (&"wrong_peer".into(), &"peer".into())
    );
    let ran = node.run(&home, &["ping", OTHER, "--addr", &at]).exits(6);
    assert!(ran.stderr.contains("not with this key"), "{ran:?}");
    // A peer that does not exist is reported differently.
    let absent = format!("{own}@127.0.0.1:1");
    let ran = run(&home, &["get", OTHER, "--bootstrap", &absent]).exits(3);
    assert!(ran.stderr.contains(&format!("{absent}: ")), "{ran:?}");
    let both = ["get", OTHER, "--bootstrap", &absent, "--bootstrap", &wrong];
    let ran = run(&home, &both).exits(3);
    assert!(
        ran.stderr.contains(&wrong) && ran.stderr.contains(&absent),
        "{ran:?}"
    );
}

#[test]
fn what_is_too_long_is_6_wherever_it_comes_from() {
    let home = TempDir::new();
    let long = vec![b'x'; 65_537];
    let file = home.join("value");
    fs::write(&file, vec![b'x'; (16 << 20) + 1]).unwrap();
    let mut from_stdin = program(&home);
    from_stdin.args(["put", "-", "--salt", &"s".repeat(195)]);
    let text = String::from_utf8(long.clone()).unwrap();
    for ran in [
        finish(&mut from_stdin, &long),
        run(&home, &["put", "--file", &file]),
        run(&home, &["put", &text]),
        run(&home, &["put", "v", "--salt", &text[..201]]),
        run(&home, &["delete", "self", &text[..201]]),
    ] {
        let said = ran.stderr.clone();
        ran.exits(6);
        assert!(
            said.contains("at most") || said.contains("longer than"),
            "{said}"
        );
    }
}

#[test]
fn an_item_that_nothing_will_renew_is_done_in_part() {
    let home = TempDir::new();
    let mut a = Node::start(&home, "a", &[]);
    let config = home.join("small.json");
    fs::write(&config, "{\"limits\": {\"own_items\": 1}}").unwrap();
    let peer = a.address();
    let args = [
        "run",
        "--listen",
        "127.0.0.1:0",
        "--bootstrap",
        &peer,
        "--config",
        &config,
    ];
    let mut b = Node::start_with(&home, "b", &args);
    a.knows(1);
    b.knows(1);
    let put = |salt: &str, more: &[&str]| {
        let args = [&["put", "v", "--salt", salt, "--json"], more].concat();
        b.run(&home, &args)
    };
    assert_eq!(put("one", &[]).exits(0).json()["renewed"], true);
    let second = put("two", &[]).exits(5);
    assert_eq!(second.json()["renewed"], false);
    assert!(
        second.stderr.contains("limits.own_items is full"),
        "{second:?}"
    );
    // The item is stored; a caller that does not want renewal gets exit status 0.
    b.run(&home, &["get", "self", "two"]).exits(0);
    put("three", &["--once"]).exits(0);
    assert_eq!(
        put("one", &[]).exits(0).json()["renewed"],
        true,
        "the same again"
    );
    b.run(&home, &["delete", "self", "one"]).exits(0);
    assert_eq!(
        put("two", &[]).exits(0).json()["renewed"],
        true,
        "there is room"
    );
    let listed = b.run(&home, &["ls"]).exits(0);
    assert!(listed.text().starts_with("SALT  HOLDERS  AGE") && listed.text().contains("\ntwo "));
    let a_key = a.text("key").to_owned();
    let refused = b.run(&home, &["delete", &a_key, "s"]).exits(6);
    assert!(refused.stderr.contains("only "), "{refused:?}");
    let b_key = b.text("key").to_owned();
    b.run(&home, &["delete", &b_key, "two"]).exits(0);
    a.run(&home, &["get", &b_key, "two"]).exits(4);
    let none = b.run(&home, &["ls"]).exits(0);
    assert!(
        none.stdout.is_empty() && none.stderr.contains("no items"),
        "{none:?}"
    );
}

#[test]
fn people_are_shown_the_sequence_that_a_swap_needs() {
    let home = TempDir::new();
    let mut a = Node::start(&home, "a", &[]);
    let mut b = Node::start(&home, "b", &[&a]);
    a.knows(1);
    b.knows(1);
    let put = a
        .run(&home, &["put", "one", "--salt", "s", "--json"])
        .exits(0)
        .json();
    let seq = put["seq"].as_str().unwrap();
    let got = a.run(&home, &["get", "self", "s"]).exits(0);
    assert!(got.stderr.contains(&format!("seq {seq}")), "{got:?}");
    let swap = ["put", "two", "--salt", "s", "--expect", "1"];
    let conflict = a.run(&home, &swap).exits(6);
    let next = format!("put again with --expect {seq}");
    assert!(conflict.stderr.contains(&next), "{conflict:?}");
    assert!(
        conflict.stderr.contains("`skydht get self --salt s`"),
        "{conflict:?}"
    );
    let swap = ["put", "two", "--salt", "s", "--expect", seq];
    a.run(&home, &swap).exits(0);
}

#[test]
fn what_stands_in_the_way_of_the_store_is_named_with_its_own_remedy() {
    let home = TempDir::new();
    let node = Node::start(&home, "a", &[]);
    let dir = node.dir.clone();
    node.run(&home, &["store", "stats"]).exits(1);
    let running = node.run(&home, &["store", "stats"]);
    assert!(
        running.stderr.contains("`skydht stop` first"),
        "{running:?}"
    );
    node.run(&home, &["stop"]).exits(0);
    assert_eq!(node.wait(), Some(0));
    let stats = || run(&home, &["store", "stats", "--state-dir", &dir]);
    stats().exits(0);
    let (items, key) = (format!("{dir}/items.redb"), format!("{dir}/node.key"));
    let (right, whole) = (fs::read(&key).unwrap(), fs::read(&items).unwrap());
    for damage in ["missing key", "empty key", "other key", "damaged file"] {
        match damage {
            "missing key" => fs::remove_file(&key).unwrap(),
            "empty key" => fs::write(&key, "").unwrap(),
            "other key" => {
                fs::remove_file(&key).unwrap();
                run(&home, &["keygen", &key]).exits(0);
            }
            _ => fs::write(&items, "no database").unwrap(),
        }
        let ran = stats();
        assert!(matches!(ran.code, Some(1 | 2)), "{damage}: {ran:?}");
        let (_, hint) = ran.stderr.trim_end().split_once('\n').unwrap();
        // A new key could not read the file, and there is no node to stop.
        for wrong in ["keygen", "skydht stop"] {
            assert!(!hint.contains(wrong), "{damage}: {ran:?}");
        }
        fs::remove_file(&key).unwrap_or_default();
        fs::write(&key, &right).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&key, mode).unwrap();
        fs::write(&items, &whole).unwrap();
    }
    stats().exits(0);
}

#[test]
fn a_temporary_node_says_why_it_reaches_no_peer_and_what_it_needs() {
    let home = TempDir::new();
    let node = Node::start(&home, "a", &[]);
    let key = node.text("key").to_owned();
    let nowhere = format!("{key}@127.0.0.1:1");
    for args in [
        &["get", &key, "--bootstrap", &nowhere][..],
        &["ping", &key, "--bootstrap", &nowhere],
    ] {
        let ran = run(&home, args).exits(3);
        assert!(
            ran.stderr.contains("connection refused"),
            "{args:?}: {ran:?}"
        );
    }
    // Each address has its own cause, also if another one fails.
    let other = run(&home, &["keygen", &home.join("k")]).exits(0);
    let other = other.text().trim().to_owned();
    let ran = node
        .run(&home, &["ping", &other, "--addr", "127.0.0.1:1"])
        .exits(3);
    assert!(
        ran.stderr.contains("127.0.0.1:1: connection refused"),
        "{ran:?}"
    );
    // The node's own key.
    for whom in ["self", &key] {
        let ran = node.run(&home, &["ping", whom]).exits(2);
        assert!(ran.stderr.contains("the node's own key"), "{ran:?}");
    }
    let reach = ["--bootstrap", &node.address(), "--state-dir", &node.dir];
    run(&home, &[&["ping", "self"], &reach[..]].concat()).exits(0);
    // The suggested command works.
    let at = node.address();
    let put = ["put", "hello", "--bootstrap", &at];
    let ran = run(&home, &put).exits(2);
    let command = ran
        .stderr
        .trim()
        .rsplit("run: skydht ")
        .next()
        .unwrap()
        .to_owned();
    let words: Vec<&str> = command.split(' ').collect();
    run(&home, &words).exits(0);
    run(&home, &put).exits(0);
    // A named key file must exist, whatever the command.
    let missing = home.join("missing");
    for words in [&["status"][..], &["peers"], &["ping", &key], &["get", &key]] {
        let args = [words, &["--bootstrap", &at, "--key-file", &missing]].concat();
        let ran = run(&home, &args).exits(2);
        assert!(ran.stderr.contains("there is no key file"), "{ran:?}");
    }
}

#[test]
fn invalid_requests_are_refused_alike_before_peers_are_asked() {
    let home = TempDir::new();
    let missing = home.join("missing");
    let salt = "s".repeat(201);
    for (args, code, part) in [
        (&["put", "--file", &missing][..], 2, "cannot read"),
        (
            &["put", "--file", home.path().to_str().unwrap()],
            2,
            "a directory",
        ),
        (&["put", "v", "--expect", "-1"], 2, "negative"),
        (&["put", "v", "--seq", "-1"], 2, "negative"),
        (&["replay", "j", "--trace-op", "-1"], 2, "negative"),
        (&["sim", "--compare", &missing, &missing], 1, &missing),
    ] {
        let ran = run(&home, args).exits(code);
        assert!(ran.stderr.contains(part), "{args:?}: {ran:?}");
        assert!(!ran.stderr.contains("-- -1"), "{ran:?}");
    }
    let file = home.join("empty.key");
    fs::write(&file, "").unwrap();
    run(&home, &["keygen", &file]).exits(6);
    let node = Node::start(&home, "a", &[]);
    for args in [
        &["put", "v", "--salt", &salt][..],
        &["get", "self", "--salt", &salt],
    ] {
        let ran = node.run(&home, args).exits(6);
        assert!(ran.stderr.contains("200 bytes"), "{ran:?}");
    }
}

#[test]
fn a_quorum_that_was_not_met_is_done_in_part() {
    let home = TempDir::new();
    let mut a = Node::start(&home, "a", &[]);
    let mut b = Node::start(&home, "b", &[&a]);
    a.knows(1);
    b.knows(1);
    a.run(&home, &["put", "x"]).exits(0);
    let key = a.text("key").to_owned();
    let ran = b
        .run(&home, &["get", &key, "--policy", "quorum:25"])
        .exits(5);
    assert_eq!(ran.text(), "x");
    assert!(
        ran.stderr.contains("fewer than the 25 asked for"),
        "{ran:?}"
    );
    b.run(&home, &["get", &key, "--policy", "quorum:1"])
        .exits(0);
}

#[test]
fn a_read_says_and_draws_its_steps() {
    let home = TempDir::new();
    let mut a = Node::start(&home, "a", &[]);
    let b = Node::start(&home, "b", &[&a]);
    a.knows(1);
    a.run(&home, &["put", "hello", "--salt", "x"]).exits(0);
    let (key, svg) = (a.text("key").to_owned(), home.join("course.svg"));
    let read = ["get", &key, "x", "--trace", "--svg", &svg];
    let ran = b.run(&home, &read).exits(0);
    assert_eq!(ran.text(), "hello");
    for part in ["  asked", "has it", &key] {
        assert!(ran.stderr.contains(part), "{part}: {ran:?}");
    }
    let drawn = fs::read_to_string(&svg).unwrap();
    assert!(drawn.contains("bits shared with the target"), "{drawn}");
    let json = b.run(&home, &[&read[..4], &["--json"]].concat()).exits(0);
    assert_eq!(json.json()["trace"][0]["peer"], key);
    // A read that finds nothing has a trace, too.
    let none = ["get", &key, "nothing", "--trace", "--svg", &svg];
    let ran = b.run(&home, &none).exits(4);
    assert!(ran.stderr.contains("answered, 0 new"), "{ran:?}");
    // Without the option, no trace is included.
    let plain = b.run(&home, &["get", &key, "x", "--json"]).exits(0);
    assert!(plain.json().get("trace").is_none());
}
