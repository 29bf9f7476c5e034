use serde_json::{Value, json};

use super::{cell, median, of_reports};

fn report(peer: Option<&str>, puts: f64, concurrency: u32) -> Value {
    let mut report = json!({
        "nodes": 100, "ops": 1000, "concurrency": concurrency, "value_bytes": 500,
        "version": "0.1.0", "transport": "tcp", "puts_per_s": puts,
        "put": { "each": { "cpu_ms": 4.0 } },
    });
    if let Some(peer) = peer {
        report["peer"] = json!(peer);
        report["holders"] = json!(20.5);
        report["local_gets"] = json!(0.21);
    }
    report
}

#[test]
fn medians_are_compared_with_the_first_in_each_setting() {
    let text = of_reports(vec![
        report(None, 100.0, 16),
        report(Some("other 1.0"), 50.0, 16),
        report(None, 300.0, 16),
        report(Some("other 1.0"), 70.0, 16),
        report(None, 200.0, 16),
        report(Some("other 1.0"), 60.0, 16),
        report(None, 10.0, 1),
    ])
    .unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(
        lines[0],
        "100 nodes, 1000 operations of each kind, 16 concurrently, 500 bytes: medians of 3 rounds"
    );
    assert!(lines[1].starts_with("| | puts/s | put p50 / p99, ms | CPU a put, ms |"));
    assert!(lines[3].starts_with("| skydht 0.1.0 (TCP) | 200 | – / – | 4.00 |"));
    assert!(lines[4].starts_with("| other 1.0 (TCP) | 60 (0.30) | – / – | 4.00 (1.00) |"));
    assert_eq!(
        lines[6],
        "other 1.0 (TCP): 20.5 holders a value, 21 % of the gets from the node's own store."
    );
    assert!(lines[7].ends_with("1 concurrently, 500 bytes: one round"));
    assert!(lines[10].starts_with("| skydht 0.1.0 (TCP) | 10 |"));
}

#[test]
fn a_median_is_by_nearest_rank_and_needs_every_report() {
    let of = |puts: &[f64]| {
        let reports: Vec<Value> = puts.iter().map(|puts| report(None, *puts, 1)).collect();
        median(&reports, "/puts_per_s")
    };
    assert_eq!(of(&[3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]), Some(2.0));
    assert_eq!(of(&[]), None);
    let reports = [report(None, 1.0, 1), json!({})];
    assert_eq!(median(&reports, "/puts_per_s"), None);
}

#[test]
fn ratios_have_the_digits_that_they_need() {
    assert_eq!(cell(Some(6.0), Some(2.0), 1), "6.0 (3.00)");
    assert_eq!(cell(Some(50.0), Some(2.0), 0), "50 (25)");
    assert_eq!(cell(Some(1.0), Some(100.0), 0), "1 (0.010)");
    assert_eq!(cell(Some(1.0), Some(0.0), 0), "1");
    assert_eq!(cell(None, Some(1.0), 0), "–");
}
