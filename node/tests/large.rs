//! Large values, and lists in chunks.

mod support;

use std::fs;

use support::{Node, TempDir, finish, program, run, until};

/// Returns text that differs in every chunk.
fn text(word: &str, lines: usize) -> String {
    (0..lines).map(|n| format!("{word} {n:010}\n")).collect()
}

#[test]
fn a_large_value_is_put_from_a_file_or_stdin_read_whole_and_replaced_as_a_whole() {
    let home = TempDir::new();
    let config = home.join("all.json");
    // Both nodes store all chunks, which have one publisher.
    fs::write(&config, "{\"limits\": {\"items_per_publisher\": 0}}").unwrap();
    let start = |name: &str, more: &[&str]| {
        let args = ["run", "--listen", "127.0.0.1:0", "--config", &config];
        Node::start_with(&home, name, &[&args[..], more].concat())
    };
    let mut a = start("a", &[]);
    let mut b = start("b", &["--bootstrap", &a.address()]);
    a.knows(1);
    b.knows(1);
    let owner = a.text("key").to_owned();

    let first = text("first", 20_000);
    let file = home.join("film");
    fs::write(&file, &first).unwrap();
    let put = ["put", "--file", &file, "--salt", "film", "--json"];
    let report = a.run(&home, &put).exits(0).json();
    assert_eq!(report["schema"], "skydht.put-large/1");
    assert_eq!(report["chunks"], 6);
    assert_eq!(report["renewed"], true);
    assert_eq!(report["length"], first.len());
    let out = home.join("out");
    b.run(&home, &["get", &owner, "film", "--file", &out])
        .exits(0);
    assert_eq!(fs::read_to_string(&out).unwrap(), first);
    assert!(!fs::exists(format!("{out}.partial")).unwrap());

    // A second, shorter version from stdin is read to stdout.
    let second = text("second", 9_000);
    let mut from_stdin = program(&home);
    from_stdin.args(["--state-dir", &a.dir, "put", "-", "--salt", "film"]);
    let ran = finish(&mut from_stdin, second.as_bytes()).exits(0);
    assert!(ran.text().contains("in 3 chunks"), "{ran:?}");
    let ran = b.run(&home, &["get", &owner, "film"]).exits(0);
    assert!(ran.stdout == second.as_bytes(), "{}", ran.stderr);
    let ran = b.run(&home, &["get", &owner, "film", "--json"]).exits(2);
    assert!(format!("{ran:?}").contains("--file"), "{ran:?}");
    let args = ["get", &owner, "film", "--json", "--file", &out];
    let report = b.run(&home, &args).exits(0).json();
    assert_eq!(
        (&report["chunks"], &report["generation"]),
        (&3.into(), &"2".into())
    );
    assert_eq!(fs::read_to_string(&out).unwrap(), second);

    // A deleted chunk is named, and no partial file remains.
    a.run(&home, &["delete", "self", "film/1/1"]).exits(0);
    let gone = home.join("gone");
    let ran = b
        .run(&home, &["get", &owner, "film", "--file", &gone])
        .exits(5);
    assert!(ran.stderr.contains("1 of 3 chunks are lost: 1"), "{ran:?}");
    assert!(!fs::exists(&gone).unwrap() && !fs::exists(format!("{gone}.partial")).unwrap());

    // A list in upstream's format.
    let elements: Vec<String> = (0..450).map(|n| format!("{{\"t_id\":\"{n}\"}}")).collect();
    let list = format!("[{}]", elements.join(","));
    fs::write(&file, &list).unwrap();
    a.run(&home, &["put", "--list", "--file", &file, "--salt", "tp"])
        .exits(0);
    let ran = b.run(&home, &["get", &owner, "tp", "--list"]).exits(0);
    assert_eq!(ran.text().trim_end(), list);
    let last = b.run(&home, &["get", &owner, "tp:2"]).exits(0);
    assert!(last.text().starts_with("[{\"t_id\":\"400\"}"), "{last:?}");
    a.run(&home, &["put", "--list", "[1, 2]", "--salt", "tp"])
        .exits(0);
    let ran = b.run(&home, &["get", &owner, "tp", "--list"]).exits(0);
    assert_eq!(ran.text().trim_end(), "[1,2]");
    a.run(&home, &["put", "--list", "{}", "--salt", "tp"])
        .exits(2);
    b.run(&home, &["get", &owner, "none", "--list"]).exits(4);
}

#[test]
fn values_above_16_mebibytes_are_refused_before_peers_are_asked() {
    let home = TempDir::new();
    let file = home.join("film");
    fs::write(&file, vec![b'x'; (16 << 20) + 1]).unwrap();
    let ran = run(&home, &["put", "--file", &file]).exits(6);
    assert!(ran.stderr.contains("at most 16777216 bytes"), "{ran:?}");
}

#[test]
fn a_large_value_is_deleted_with_its_chunks_also_by_a_later_run() {
    let home = TempDir::new();
    let a = Node::start(&home, "a", &[]);
    let address = a.address();
    let args = ["run", "--listen", "127.0.0.1:0", "--bootstrap", &address];
    let start = || {
        let node = Node::start_with(&home, "b", &args);
        until(&node, &home, "green", |status| status["verdict"] == "green");
        node
    };
    let renewed = |node: &Node| -> Vec<String> {
        let listed = node.run(&home, &["ls", "--json"]).exits(0).json();
        let items = listed["items"].as_array().unwrap().iter();
        items
            .map(|item| item["salt"].as_str().unwrap().to_owned())
            .collect()
    };
    let put = |node: &Node, word: &str| {
        let file = home.join("film");
        fs::write(&file, text(word, 6_000)).unwrap();
        let put = ["put", "--file", &file, "--salt", "film"];
        node.run(&home, &put).exits(0);
    };
    let gone = |owner: &str| {
        for salt in ["film", "film/0/0", "film/0/1", "film/1/0", "film/1/1"] {
            a.run(&home, &["get", owner, salt]).exits(4);
        }
    };

    let b = start();
    let owner = b.text("key").to_owned();
    b.run(&home, &["put", "stays", "--salt", "film/0/7"])
        .exits(0);
    put(&b, "first");
    put(&b, "second");
    assert_eq!(renewed(&b).len(), 6);
    b.run(&home, &["delete", "self", "film"]).exits(0);
    assert_eq!(renewed(&b), ["film/0/7"]);
    gone(&owner);
    put(&b, "third");
    b.run(&home, &["stop"]).exits(0);
    assert_eq!(b.wait(), Some(0));

    let b = start();
    until(&b, &home, "renewed", |status| status["lapsed"].is_null());
    assert_eq!(renewed(&b).len(), 4);
    b.run(&home, &["put", "--delete", "--salt", "film"])
        .exits(0);
    assert_eq!(renewed(&b), ["film/0/7"]);
    gone(&owner);
    b.run(&home, &["stop"]).exits(0);
    assert_eq!(b.wait(), Some(0));
    let b = start();
    until(&b, &home, "renewed", |status| status["lapsed"].is_null());
    assert_eq!(renewed(&b), ["film/0/7"]);
    a.run(&home, &["get", &owner, "film/0/7"]).exits(0);
}
