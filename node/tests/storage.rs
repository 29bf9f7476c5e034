//! Items survive the process that stores them.

mod support;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use support::{Node, TempDir, signal, status, until};

/// Starts a full node in the directory "full", with further arguments.
fn full_node(home: &TempDir, more: &[&str]) -> Node {
    let run = ["run", "--listen", "127.0.0.1:0", "--full-node"];
    Node::start_with(home, "full", &[&run[..], more].concat())
}

fn private() -> Permissions {
    Permissions::from_mode(0o700)
}

/// Publishes `n` items at `to` from another node, stops that node, and returns its key.
fn publish(home: &TempDir, to: &Node, n: usize) -> String {
    let owner = Node::start(home, "owner", &[to]);
    until(&owner, home, "ready", |status| status["ready"] == true);
    for index in 0..n {
        let (value, salt) = (format!("value {index}"), format!("s{index}"));
        let put = owner.run(home, &["put", &value, "--salt", &salt]);
        put.exits(0);
    }
    let key = owner.text("key").to_owned();
    owner.run(home, &["stop"]).exits(0);
    owner.wait();
    key
}

#[track_caller]
fn holds(node: &Node, home: &TempDir, key: &str, n: usize) {
    until(node, home, "loaded", |status| {
        status["store"]["items"] == n && status["storage"]["health"] == "good"
    });
    for index in 0..n {
        let salt = format!("s{index}");
        let get = ["get", key, "--salt", &salt, "--policy", "local"];
        let got = node.run(home, &get).exits(0);
        assert!(got.text().starts_with(&format!("value {index}")), "{got:?}");
    }
}

#[test]
fn items_outlast_a_stop_and_a_kill() {
    let home = TempDir::new();
    let full = full_node(&home, &[]);
    let key = publish(&home, &full, 3);
    assert_eq!(status(&full, &home)["storage"]["kind"], "file");
    full.run(&home, &["stop"]).exits(0);
    assert_eq!(full.wait(), Some(0));

    let full = full_node(&home, &[]);
    holds(&full, &home, &key, 3);
    assert_eq!(status(&full, &home)["storage"]["loaded"], 3);
    full.run(&home, &["stop"]).exits(0);
    full.wait();

    // With `sync`, nothing is lost even without a clean stop.
    let config = home.path().join("sync.json");
    std::fs::write(&config, r#"{"durability": "sync"}"#).unwrap();
    let sync = ["--config", config.to_str().unwrap()];
    let full = full_node(&home, &sync);
    let key = publish(&home, &full, 5);
    until(&full, &home, "written", |status| {
        status["storage"]["waiting"] == 0
            && status["storage"]["written"].as_u64().unwrap_or_default() >= 5
    });
    signal(full.pid(), "KILL");
    full.wait();
    let full = full_node(&home, &sync);
    holds(&full, &home, &key, 5);
}

#[test]
fn without_storage_there_is_no_file_and_the_status_says_none() {
    let home = TempDir::new();
    let config = home.path().join("none.json");
    std::fs::write(&config, r#"{"storage": "none"}"#).unwrap();
    let full = full_node(&home, &["--config", config.to_str().unwrap()]);
    publish(&home, &full, 1);
    assert_eq!(status(&full, &home)["storage"]["health"], "none");
    assert!(!home.path().join("full/items.redb").exists());
}

#[test]
fn a_file_that_is_damaged_or_of_another_key_is_put_aside() {
    let home = TempDir::new();
    let dir = home.path().join("full");
    let full = full_node(&home, &[]);
    full.run(&home, &["stop"]).exits(0);
    full.wait();
    std::fs::write(dir.join("items.redb"), "nonsense").unwrap();
    let full = full_node(&home, &[]);
    assert_eq!(status(&full, &home)["storage"]["health"], "good");
    let aside = std::fs::read_to_string(dir.join("items.redb.damaged-1"));
    assert_eq!(aside.unwrap(), "nonsense");
    full.run(&home, &["stop"]).exits(0);
    full.wait();

    std::fs::remove_file(dir.join("node.key")).unwrap();
    let full = full_node(&home, &[]);
    assert_eq!(status(&full, &home)["storage"]["health"], "good");
    assert!(dir.join("items.redb.other-key-1").exists());
}

/// The directory does not exist yet, as with a disk that is not mounted.
#[test]
fn a_file_that_cannot_be_opened_at_the_start_is_said_and_tried_again() {
    let home = TempDir::new();
    let items = home.path().join("full/items.redb");
    std::fs::create_dir_all(&items).unwrap();
    std::fs::set_permissions(items.parent().unwrap(), private()).unwrap();
    let full = full_node(&home, &[]);
    until(&full, &home, "failing", |status| {
        let reasons = status["reasons"].to_string();
        status["storage"]["health"] == "failing"
            && status["verdict"] == "yellow"
            && reasons.contains("cannot open")
    });
    let key = publish(&home, &full, 2);
    std::fs::remove_dir(&items).unwrap();
    until(&full, &home, "written", |status| {
        status["storage"]["waiting"] == 0 && status["storage"]["health"] == "good"
    });
    holds(&full, &home, &key, 2);
    full.run(&home, &["stop"]).exits(0);
    full.wait();
    let full = full_node(&home, &[]);
    holds(&full, &home, &key, 2);
}

#[test]
fn a_stopped_nodes_items_are_counted_exported_imported_and_compacted() {
    let home = TempDir::new();
    let full = full_node(&home, &[]);
    let key = publish(&home, &full, 3);
    let dir = home.join("full");
    let store = |words: &[&str]| {
        let words = [&["--state-dir", &dir, "store"], words].concat();
        support::run(&home, &words)
    };
    let in_use = store(&["stats"]);
    assert!(
        in_use.stderr.contains("in use") && in_use.stderr.contains("skydht stop"),
        "{in_use:?}"
    );
    full.run(&home, &["stop"]).exits(0);
    full.wait();
    let stats = store(&["stats", "--json"]).exits(0).json();
    assert_eq!(
        (&stats["items"], &stats["unproven"]),
        (&3.into(), &0.into())
    );
    let lines = store(&["export"]).exits(0);
    assert_eq!(lines.text().lines().count(), 3);

    // The import into an empty file skips lines that are not items.
    let mut text = format!("nonsense\n\n{}", lines.text());
    text.push_str(
        &lines
            .text()
            .lines()
            .next()
            .unwrap()
            .replace("\"seq\":1", "\"seq\":2"),
    );
    std::fs::write(home.path().join("items.jsonl"), &text).unwrap();
    std::fs::remove_file(home.path().join("full/items.redb")).unwrap();
    let full = full_node(&home, &[]);
    full.run(&home, &["stop"]).exits(0);
    full.wait();
    let file = home.join("items.jsonl");
    let imported = store(&["import", "--json", "--file", &file]).exits(5);
    assert!(
        imported.stderr.contains("line 1 is left out"),
        "{imported:?}"
    );
    let imported = imported.json();
    assert_eq!(
        (&imported["imported"], &imported["refused"]),
        (&3.into(), &2.into())
    );
    assert_eq!(
        store(&["import", "--json", "--file", &file]).json()["held"],
        3
    );
    store(&["check"]).exits(0);
    store(&["compact"]).exits(0);
    let full = full_node(&home, &[]);
    holds(&full, &home, &key, 3);
}

/// Lines of `redis-cli` for items that upstream wrote, in each format, with faulty lines between
/// them.
#[test]
fn upstreams_dumps_are_imported_and_a_damaged_line_is_named_and_alone_is_lost() {
    let home = TempDir::new();
    let full = full_node(&home, &[]);
    let key = publish(&home, &full, 4);
    full.run(&home, &["stop"]).exits(0);
    full.wait();
    let dir = home.join("full");
    let store = |words: &[&str]| {
        let words = [&["--state-dir", &dir, "store"], words].concat();
        support::run(&home, &words)
    };
    let exported = store(&["export"]).exits(0);
    let records: Vec<(String, String)> = exported
        .text()
        .lines()
        .map(|line| {
            let record: Value = serde_json::from_str(line).unwrap();
            let item = &record["item"];
            let json = serde_json::json!({
                "k": item["key"], "seq": item["seq"], "sig": item["signature"],
                "v": item["value"], "salt": item["salt"],
            });
            let target = record["target"].as_str().unwrap().to_owned();
            (target, json.to_string())
        })
        .collect();
    let [(a, a_item), (b, b_item), (_, c_item), (d, d_item)] = &records[..] else {
        panic!("{records:?}");
    };
    let csv = serde_json::to_string(d_item).unwrap();
    let long = "x".repeat(3 << 20);
    let lines = [
        format!("dht:{a} {a_item}"),
        String::new(),
        format!("dht:{b}"),
        b_item.clone(),
        // 5: truncated; 6: too long; 7: a key without an item; 8: an item of another target.
        format!("dht:{a} {}", &a_item[..a_item.len() - 2]),
        long,
        format!("dht:{d}"),
        format!("dht:{d} {a_item}"),
        // 9: the format of upstream's database; 10: a changed value.
        c_item.clone(),
        c_item.replace("\"seq\":", "\"seq\":1"),
        format!("\"dht:{d}\",{csv}"),
        // 12: the end of the text.
        format!("dht:{d}"),
    ];
    let file = home.path().join("dump.txt");
    std::fs::write(&file, lines.join("\n")).unwrap();
    std::fs::remove_file(home.path().join("full/items.redb")).unwrap();
    let full = full_node(&home, &[]);
    full.run(&home, &["stop"]).exits(0);
    full.wait();
    let file = file.to_str().unwrap();
    let ran = store(&["import", "--json", "--file", file]).exits(5);
    assert!(ran.stderr.contains("line 5 is left out"), "{ran:?}");
    let report = ran.json();
    let faults: Vec<(u64, &str)> = report["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["line"].as_u64().unwrap(), it["fault"].as_str().unwrap()))
        .collect();
    let expected = [
        (5, "no_item"),
        (6, "too_long"),
        (7, "key_alone"),
        (8, "mirror"),
        (10, "signature"),
        (12, "key_alone"),
    ];
    assert_eq!(faults, expected, "{report:#}");
    assert_eq!(report["imported"], 4, "{report:#}");
    assert_eq!(
        store(&["import", "--json", "--file", file]).json()["held"],
        4
    );
    store(&["check"]).exits(0);
    let full = full_node(&home, &[]);
    holds(&full, &home, &key, 4);
    full.run(&home, &["stop"]).exits(0);
    full.wait();
    // A mirrored item is imported if its signer is configured.
    let signer: Value = serde_json::from_str(a_item).unwrap();
    let config = home.path().join("mirrors.json");
    let text = serde_json::json!({"mirror_pks": [signer["k"]]});
    std::fs::write(&config, text.to_string()).unwrap();
    std::fs::write(file, format!("dht:{} {a_item}\n", "7".repeat(64))).unwrap();
    let config = ["--config", config.to_str().unwrap()];
    let report = store(&[&["import", "--json", "--file", file], &config[..]].concat());
    assert_eq!(report.exits(0).json()["imported"], 1);
}
