//! Metrics as a scraper of the built program sees them.

mod support;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use support::{DEADLINE, Node, TempDir, http, request};

fn scrape(node: &Node) -> BTreeMap<String, f64> {
    let bearer = format!("Bearer {}", node.token());
    let headers = [("Host", node.api()), ("Authorization", &bearer)];
    let answer = http(node.api(), &request("GET", "/metrics", &headers, ""));
    assert_eq!(answer.status, 200, "{answer:?}");
    let kind = "content-type: text/plain; version=0.0.4";
    assert!(answer.head.contains(kind), "{}", answer.head);
    let lines = answer.body.lines().filter(|line| !line.starts_with('#'));
    let series = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    });
    series.collect()
}

#[test]
fn a_put_and_a_read_show_at_both_ends_and_no_series_is_added() {
    let home = TempDir::new();
    let mut a = Node::start(&home, "a", &[]);
    let fresh = scrape(&a);
    let mut b = Node::start(&home, "b", &[&a]);
    a.knows(1);
    b.knows(1);
    a.run(&home, &["put", "hello", "--salt", "x"]).exits(0);
    let read = ["get", a.text("key"), "--salt", "x"].map(str::to_owned);
    let read: Vec<&str> = read.iter().map(String::as_str).collect();
    b.run(&home, &read).exits(0);

    let (at_a, at_b) = (scrape(&a), scrape(&b));
    assert_eq!(
        fresh.keys().collect::<Vec<_>>(),
        at_a.keys().collect::<Vec<_>>()
    );
    let at_least_1 = |series: &BTreeMap<String, f64>, names: &[&str]| {
        for name in names {
            assert!(series[*name] >= 1.0, "{name} is {}", series[*name]);
        }
    };
    at_least_1(
        &at_a,
        &[
            r#"skydht_operations_total{op="put",outcome="ok"}"#,
            r#"skydht_operation_duration_seconds_count{op="put"}"#,
            r#"skydht_rpc_calls_total{method="put_value",outcome="answered"}"#,
            r#"skydht_rpc_duration_seconds_count{direction="outbound",method="put_value"}"#,
            r#"skydht_put_attempts_total{side="outbound"}"#,
            r#"skydht_put_replicas_bucket{le="1"}"#,
            r#"skydht_own_items{state="held"}"#,
            "skydht_own_item_holders_min",
            r#"skydht_backend_up{backend="file"}"#,
            r#"skydht_sessions{transport="tcp"}"#,
        ],
    );
    at_least_1(
        &at_b,
        &[
            r#"skydht_rpc_served_total{method="put_value",outcome="answered"}"#,
            r#"skydht_rpc_bytes_total{direction="received",method="put_value"}"#,
            r#"skydht_rpc_bytes_total{direction="sent",method="put_value"}"#,
            r#"skydht_verify_jobs_total{verdict="valid"}"#,
            "skydht_verify_duration_seconds_count",
            r#"skydht_store_items{class="public"}"#,
            r#"skydht_operations_total{op="get",outcome="ok"}"#,
            "skydht_get_first_value_seconds_count",
            r#"skydht_get_item_age_seconds_count{origin="owner"}"#,
            r#"skydht_dials_total{transport="tcp",outcome="ok"}"#,
            r#"skydht_bootstrap_peers{state="reachable"}"#,
        ],
    );
    // One read, counted under the source of its answer only.
    let reads = at_b
        .iter()
        .filter(|(name, _)| name.starts_with("skydht_gets_served_total"));
    assert_eq!(reads.map(|(_, n)| n).sum::<f64>(), 1.0);
    // Every served request is counted once.
    let sum = |name: &str| {
        let of = at_b.iter().filter(|(it, _)| it.starts_with(name));
        of.map(|(_, n)| n).sum::<f64>()
    };
    let answered = at_b
        .iter()
        .filter(|(name, _)| name.starts_with("skydht_rpc_served_total"))
        .filter(|(name, _)| name.contains("answered"));
    assert_eq!(
        answered.map(|(_, n)| n).sum::<f64>(),
        sum("skydht_rpc_duration_seconds_count{direction=\"inbound\"")
    );
}

#[test]
fn a_node_that_is_not_up_yet_is_scraped_too() {
    let home = TempDir::new();
    // Accepts connections, and never answers.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", mute.local_addr().unwrap());
    let node = Node::start_with(&home, "a", &["run", "--discovery", &url]);
    let series = scrape(&node);
    assert_eq!(series[r#"skydht_health_check_ok{check="start"}"#], 0.0);
    assert_eq!(series["skydht_lookups_total"], 0.0);
    assert!(series.len() <= 1_000, "{}", series.len());
    let live = http(
        node.api(),
        &request("GET", "/livez", &[("Host", node.api())], ""),
    );
    assert_eq!(live.status, 200);
}

#[test]
fn a_node_that_is_busy_is_scraped_too() {
    let home = TempDir::new();
    let mut a = Node::start(&home, "a", &[]);
    let _b = Node::start(&home, "b", &[&a]);
    a.knows(1);
    let bearer = format!("Bearer {}", a.token());
    let headers = [("Host", a.api()), ("Authorization", &bearer)];
    // Each request waits for an item that is never published.
    let body = r#"{"pk":"self","salt":"never","timeout_ms":60000}"#;
    let wait = request("POST", "/watch", &headers, body);
    let waiting: Vec<TcpStream> = (0..96)
        .map(|_| {
            let mut stream = TcpStream::connect(a.api()).unwrap();
            stream.write_all(wait.as_bytes()).unwrap();
            stream
        })
        .collect();
    let end = Instant::now() + DEADLINE;
    let ask = request("GET", "/status", &headers, "");
    while http(a.api(), &ask).status != 429 {
        assert!(Instant::now() < end, "never busy");
    }
    let series = scrape(&a);
    let waits = series[r#"skydht_queue_length{queue="operations"}"#];
    assert!(waits >= 90.0, "{waits}");
    drop(waiting);
}
