//! `skydht bench` prints plausible figures. Their quality depends on the machine, and is not
//! tested.

mod support;

use serde_json::Value;
use support::{TempDir, run};

#[track_caller]
fn number(value: &Value, path: &str) -> f64 {
    let found = path.split('/').fold(value, |value, key| &value[key]);
    found
        .as_f64()
        .unwrap_or_else(|| panic!("{path} is {found} in {value:#}"))
}

#[track_caller]
fn is_between(value: &Value, path: &str, least: f64, most: f64) {
    let found = number(value, path);
    assert!(
        (least..=most).contains(&found),
        "{path} is {found}, not {least} to {most}, in {value:#}"
    );
}

/// Checks that a result contains its provenance.
#[track_caller]
fn says_where_it_is_from(report: &Value, command: &str) {
    assert_eq!(report["seed"], 1);
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(report["optimised"], !cfg!(debug_assertions));
    for (field, part) in [("machine", "cores"), ("command", command)] {
        let text = report[field].as_str().unwrap_or_default();
        assert!(text.contains(part), "{field}: {text:?}");
    }
}

#[test]
fn each_operation_of_a_network_has_its_cost() {
    let home = TempDir::new();
    let words = "bench network --nodes 5 --ops 20 --concurrency 4 --samples 2 --warm-up 5 --json";
    let args: Vec<&str> = words.split(' ').collect();
    let ran = run(&home, &args).exits(0);
    let report = ran.json();
    says_where_it_is_from(&report, "bench network --nodes 5");
    assert_eq!(report["failures"], 0, "{report:#}");
    assert_eq!(report["samples"].as_array().unwrap().len(), 2);
    // Every node has a session with every other one, counted at both ends.
    is_between(&report, "sessions", 20.0, 20.0);
    for kind in ["put", "get", "get_fresh"] {
        for figure in ["min", "avg", "p50", "p95", "p99", "p999", "max"] {
            is_between(&report, &format!("{kind}/latency_ms/{figure}"), 1e-6, 6e4);
        }
        is_between(&report, &format!("{kind}/each/cpu_ms"), 1e-4, 1e4);
        assert_eq!(report[kind]["each"]["allocations"], Value::Null);
    }
    let put = &report["put"];
    // There are four other nodes; each is asked once or twice, and verifies once.
    is_between(put, "each/requests", 4.0, 20.0);
    is_between(put, "each/verifications", 4.0, 8.0);
    is_between(put, "each/message_bytes", 4.0 * 500.0, 1e5);
    let bytes = number(put, "each/message_bytes");
    is_between(put, "each/socket_bytes", bytes, 10.0 * bytes);
    is_between(put, "each/socket_reads", 1.0, 1e3);
    is_between(put, "each/socket_writes", 1.0, 1e3);
    assert!(ran.stderr.contains("sample 2 of 2"), "{}", ran.stderr);
}

fn serve(transport: &str) -> Value {
    let home = TempDir::new();
    let words = format!(
        "bench serve --transport {transport} --connections 2 --in-flight 2 --items 20 --peers 4 \
         --new-items 400 --duration 300ms --warm-up 50ms --samples 2 --json"
    );
    let args: Vec<&str> = words.split_whitespace().collect();
    let ran = run(&home, &args).exits(0);
    assert!(ran.stderr.contains("put-new, sample 2 of 2"), "{ran:?}");
    let report = ran.json();
    says_where_it_is_from(&report, &format!("--transport {transport}"));
    assert_eq!(report["failures"], 0, "{report:#}");
    assert_eq!(report["transport"], transport);
    let mixes = report["mixes"].as_array().unwrap();
    let names: Vec<&str> = mixes.iter().map(|it| it["mix"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "ping",
            "find-node",
            "get-value",
            "put-new",
            "put-renewed",
            "renew",
            "find-node=4,get-value=4,put-new=1,renew=1"
        ]
    );
    for mix in mixes {
        assert_eq!(mix["samples"].as_array().unwrap().len(), 2);
        is_between(mix, "requests", 1.0, 1e6);
        is_between(mix, "seconds", 1e-3, 60.0);
        is_between(mix, "requests_per_s", 1.0, 1e6);
        is_between(mix, "node_cpu_us", 0.0, 1e6);
        is_between(mix, "load_cpu_us", 1e-3, 1e6);
        is_between(mix, "rss_mib", 1.0, 1e4);
        let p50 = number(mix, "latency_ms/p50");
        is_between(mix, "latency_ms/p99", p50, 2e4);
        is_between(mix, "latency_ms/p999", number(mix, "latency_ms/p99"), 2e4);
    }
    // At most as many as there are in a sample.
    is_between(&mixes[3], "requests", 1.0, 400.0);
    report
}

#[test]
fn a_node_is_loaded_over_tcp() {
    let report = serve("tcp");
    assert_eq!(report["mixes"][0]["relay_cpu_us"], Value::Null);
}

#[test]
fn a_node_is_loaded_over_dmsg() {
    let report = serve("dmsg");
    is_between(&report["mixes"][6], "relay_cpu_us", 0.0, 1e6);
}

#[test]
fn wrong_mixes_are_named() {
    let home = TempDir::new();
    for (mix, says) in [
        ("pong", "\"pong\" is no request"),
        ("ping=0", "has no weight"),
    ] {
        let ran = run(&home, &["bench", "serve", "--mix", mix, "--json"]).exits(2);
        let message = ran.json().to_string();
        assert!(message.replace("\\\"", "\"").contains(says), "{message}");
    }
}

#[test]
fn storage_has_its_figures() {
    let home = TempDir::new();
    for backend in ["memory", "redb"] {
        let words = format!("bench store --backend {backend} --items 500 --value-bytes 300 --json");
        let args: Vec<&str> = words.split(' ').collect();
        let report = run(&home, &args).exits(0).json();
        says_where_it_is_from(&report, "bench store");
        for figure in ["puts_per_s", "gets_per_s"] {
            is_between(&report, figure, 100.0, 1e9);
        }
        for figure in ["sweep_ms", "sweep_step_ms"] {
            is_between(&report, figure, 1e-6, 6e4);
        }
        for figure in ["reopen_ms", "first_answer_ms"] {
            match backend {
                "memory" => assert_eq!(report[figure], Value::Null),
                _ => is_between(&report, figure, 1e-6, 6e4),
            }
        }
    }
    let ran = run(&home, &["bench", "store", "--backend", "redis"]).exits(2);
    assert!(ran.stderr.contains("--url redis://"), "{ran:?}");
}

#[test]
fn a_reconciliation_has_its_figures() {
    let home = TempDir::new();
    let words = "bench sync --items 2000 --differences 20 --json";
    let args: Vec<&str> = words.split(' ').collect();
    let report = run(&home, &args).exits(0).json();
    says_where_it_is_from(&report, "bench sync");
    assert_eq!(report["converged"], true);
    assert_eq!(report["fetched"], 10);
    assert_eq!(report["given"], 10);
    is_between(&report, "round_trips", 1.0, 4.0);
    // Twenty items of 300 bytes, with their other fields.
    is_between(&report, "item_bytes", 6_000.0, 12_000.0);
    is_between(&report, "beyond_bytes", 100.0, 16_384.0);
    is_between(&report, "equal_bytes", 60.0, 1_024.0);
}
