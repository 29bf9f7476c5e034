//! Rules for series, each of which is a test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use skydht_core::node::{Counter, Label as _};
use skydht_driver::storage::StorageStats;
use skydht_driver::transport::TransportStats;

use super::series::Kind;
use super::*;
use crate::condition::Condition;
use crate::report::tests::{snapshot, status};
use crate::status::About;

/// Returns the counter of all attempts for a counter of failures. A series with a label `outcome`
/// or `verdict` contains both.
fn attempts(series: Series) -> Option<Series> {
    match series {
        Series::WireErrors | Series::Liars | Series::LimitHits => Some(Series::RpcServed),
        Series::LookupsUnconverged => Some(Series::Lookups),
        Series::PutRefusals | Series::StoreConflicts => Some(Series::PutAttempts),
        Series::DiscoveryDisagreements => Some(Series::DiscoveryLookups),
        _ => None,
    }
}

/// Maximum number of series of one node.
const MOST_SERIES: usize = 1_000;

fn about() -> About {
    About {
        key: snapshot().key,
        full_node: false,
        k: 20,
        listen: String::new(),
    }
}

fn seen() -> Seen {
    Seen {
        snapshot: snapshot(),
        peers: Vec::new(),
        transport: TransportStats::default(),
        failures: Vec::new(),
        storage: StorageStats::default(),
    }
}

/// Parses each series with its value.
fn series_of(text: &str) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let before = found.insert(name.to_owned(), value.parse().unwrap());
        assert_eq!(before, None, "{name} twice");
    }
    found
}

fn started() -> String {
    render(
        &StatusReport::starting(&about(), &Condition::default()),
        None,
        &[],
    )
}

#[test]
fn every_series_exists_from_the_start_and_none_is_added() {
    let before = series_of(&started());
    let up = series_of(&render(&status(), Some(&seen()), &[]));
    let names = |series: &BTreeMap<String, f64>| series.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&before), names(&up));
    assert!(before.len() <= MOST_SERIES, "{}", before.len());
    for (name, value) in &before {
        let family = name.split('{').next().unwrap();
        let of = |series: &&Series| family.starts_with(series.name());
        let kind = Series::ALL.iter().rfind(of).unwrap().kind();
        let starts_at_0 = kind != Kind::Gauge;
        assert!(!starts_at_0 || *value == 0.0, "{name} starts at {value}");
    }
}

#[test]
fn names_say_what_is_counted_in_which_unit() {
    let mut names = BTreeSet::new();
    for series in Series::ALL {
        let name = series.name();
        assert!(names.insert(name), "{name} twice");
        let plain = |c: char| c.is_ascii_lowercase() || c == '_';
        assert!(name.starts_with("skydht_") && name.chars().all(plain));
        assert_eq!(
            name.ends_with("_total"),
            series.kind() == Kind::Counter,
            "{name}"
        );
        assert!(
            !name.contains("_ms") && !name.contains("_percent"),
            "{name}"
        );
        assert!(
            series.help().ends_with('.') && !series.help().contains('\n'),
            "{name}"
        );
    }
}

#[test]
fn no_label_names_a_peer_or_a_target() {
    for series in Series::ALL {
        for label in series.labels() {
            let own = *series == Series::NodeInfo && *label == "pk";
            let refused = ["pk", "peer", "key", "target", "addr", "address", "salt"];
            assert!(own || !refused.contains(label), "{}", series.name());
        }
    }
    let own = snapshot().key.to_string();
    let text = render(&status(), Some(&seen()), &[]);
    let hex = |word: &str| word.len() >= 64 && word.chars().all(|c| c.is_ascii_hexdigit());
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
        assert!(!hex(word) || word == own, "{word}");
    }
}

#[test]
fn what_fails_is_counted_beside_what_was_tried() {
    for series in Series::ALL {
        let name = series.name();
        if let Some(tries) = attempts(*series) {
            assert_eq!(
                (tries.kind(), attempts(tries)),
                (Kind::Counter, None),
                "{name}"
            );
        }
        let bad = [
            "error",
            "fail",
            "refus",
            "unconverged",
            "liars",
            "hits",
            "disagree",
            "conflict",
        ];
        let is_bad = bad.iter().any(|word| name.contains(word));
        assert_eq!(is_bad, attempts(*series).is_some(), "{name}");
    }
}

#[test]
fn the_text_is_as_prometheus_reads_it() {
    let text = render(&status(), Some(&seen()), &[]);
    let mut family = "";
    let mut families = 0;
    for line in text.lines() {
        match line.strip_prefix("# ") {
            Some(about) if about.starts_with("HELP ") => {
                family = about.split(' ').nth(1).unwrap();
                families += 1;
            }
            Some(about) => assert_eq!(about.split(' ').nth(1), Some(family), "{line}"),
            None => assert!(line.starts_with(family), "{line} in {family}"),
        }
    }
    assert_eq!(families, Series::ALL.len());
    assert!(text.ends_with('\n'));
    // Buckets are cumulative, and the last one contains all values.
    let series = series_of(&text);
    for name in series.keys().filter(|name| name.contains("le=\"+Inf\"")) {
        let count = name
            .replace("_bucket", "_count")
            .replace(",le=\"+Inf\"", "")
            .replace("{le=\"+Inf\"}", "");
        assert_eq!(series[name], series[&count], "{name}");
    }
}

#[test]
fn a_node_that_served_shows_it_under_the_right_labels() {
    let mut seen = seen();
    seen.transport.dials = 3;
    seen.transport.dials_failed = 2;
    seen.snapshot.limits[0].hits = 7;
    let limit = seen.snapshot.limits[0].limit.name();
    let series = series_of(&render(&status(), Some(&seen), &[]));
    for (name, value) in [
        ("skydht_dials_total{transport=\"tcp\",outcome=\"ok\"}", 3.0),
        (
            "skydht_dials_total{transport=\"tcp\",outcome=\"failed\"}",
            2.0,
        ),
        ("skydht_dials_total{transport=\"dmsg\",outcome=\"ok\"}", 0.0),
        (
            &format!("skydht_limit_hits_total{{limit=\"{limit}\"}}"),
            7.0,
        ),
        // The node has no peers, and no other problem.
        ("skydht_health_check_ok{check=\"peers\"}", 0.0),
        ("skydht_health_check_ok{check=\"clock\"}", 1.0),
    ] {
        assert_eq!(series[name], value, "{name}");
    }
}

#[test]
fn the_documents_table_is_that_of_the_code() {
    let mut table = String::from("| Series | Kind | Labels | Meaning |\n|---|---|---|---|\n");
    for series in Series::ALL {
        let labels: Vec<String> = series.labels().iter().map(|it| format!("`{it}`")).collect();
        let (name, kind, help) = (series.name(), series.kind().name(), series.help());
        table += &format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", "));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- series -->\n", "<!-- /series -->");
    let (head, rest) = text.split_once(begin).unwrap();
    let (written, tail) = rest.split_once(end).unwrap();
    if std::env::var_os("SKYDHT_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, format!("{head}{begin}{table}{end}{tail}")).unwrap();
        return;
    }
    assert_eq!(
        written, table,
        "SKYDHT_UPDATE_GOLDEN=1 writes docs/metrics.md"
    );
    // Counters that are documented as having no series must exist.
    let (_, named) = text.rsplit_once("alone: ").unwrap();
    for name in named.split('`').skip(1).step_by(2) {
        let exists = Counter::ALL.iter().any(|counter| counter.name() == name);
        assert!(exists, "{name}");
    }
}

/// Parses an alert or panel expression: each name of this program with the text in its braces.
fn selectors(expression: &str) -> Vec<(&str, &str)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = expression.match_indices("skydht_");
    let selectors = starts.map(|(at, _)| {
        let rest = &expression[at..];
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let labels = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        (name, labels.map_or("", |(labels, _)| labels))
    });
    selectors.collect()
}

/// Fails if the expression contains a name, label or value that no node exposes.
#[track_caller]
fn fits(expression: &str) {
    let text = started();
    let found = selectors(expression);
    assert!(!found.is_empty(), "{expression}");
    for (name, matchers) in found {
        let of = |series: &&Series| match series.kind() {
            Kind::Histogram => name.strip_prefix(series.name()) == Some("_bucket"),
            Kind::Counter | Kind::Gauge => name == series.name(),
        };
        let series = Series::ALL.iter().find(of);
        let series = series.unwrap_or_else(|| panic!("{name} in {expression}"));
        for matcher in matchers.split(',').filter(|it| !it.is_empty()) {
            let (label, values) = matcher.split_once('=').unwrap();
            if label == "instance" {
                continue;
            }
            assert!(series.labels().contains(&label), "{label} of {name}");
            for value in values.trim_start_matches('~').trim_matches('"').split('|') {
                let pair = format!("{label}=\"{value}\"");
                let is_there = text
                    .lines()
                    .any(|line| line.starts_with(name) && line.contains(&pair));
                assert!(is_there, "{name} has no {pair}");
            }
        }
        // Labels to group by must belong to a series of the expression.
        for group in expression.split("by (").skip(1) {
            let (group, _) = group.split_once(')').unwrap();
            for label in group.split(", ") {
                let common = ["instance", "le"].contains(&label);
                assert!(common || series.labels().contains(&label), "{label}");
            }
        }
    }
}

fn monitoring(name: &str) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/monitoring");
    std::fs::read_to_string(dir.join(name)).unwrap()
}

#[test]
fn every_alert_asks_for_series_that_there_are_and_names_a_command() {
    let rules = monitoring("alerts.yml");
    let mut alerts = BTreeSet::new();
    let mut checks = BTreeSet::new();
    for rule in rules.split("- alert: ").skip(1) {
        let field = |name: &str| {
            let line = rule.lines().find_map(|it| it.trim().strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in {rule}")).trim()
        };
        assert!(alerts.insert(rule.lines().next().unwrap()), "{rule}");
        let expression = field("expr:");
        fits(expression);
        for (_, matchers) in selectors(expression) {
            let check = matchers.split(',').find_map(|it| it.strip_prefix("check="));
            let values = check.map(|it| it.trim_start_matches('~').trim_matches('"'));
            let values = values.into_iter().flat_map(|it| it.split('|'));
            checks.extend(values.map(str::to_owned));
        }
        let severity = field("labels:");
        assert!(["{severity: critical}", "{severity: warning}"].contains(&severity));
        assert!(field("for:").ends_with('m'));
        let annotations = field("annotations:");
        assert!(annotations.contains("summary: \"") && annotations.contains("command: \""));
    }
    // Every check of the verdict has an alert; for limits, it is based on their hits.
    for check in crate::report::Check::ALL {
        let name = check.name();
        assert!(
            checks.contains(name) || name == "limits",
            "no alert for {name}"
        );
    }
}

#[test]
fn every_panel_asks_for_series_that_there_are() {
    let board: serde_json::Value = serde_json::from_str(&monitoring("grafana.json")).unwrap();
    let mut shown = BTreeSet::new();
    for panel in board["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            fits(expression);
            for (name, _) in selectors(expression) {
                shown.insert(name.trim_end_matches("_bucket").to_owned());
            }
        }
    }
    // Series that would be meaningless in a panel.
    let hidden = [
        Series::BuildInfo,
        Series::NodeInfo,
        Series::BootstrapPeers,
        Series::RpcInFlight,
        Series::Streams,
        Series::RoutingReplacements,
        Series::Lookups,
        Series::LookupsUnconverged,
        Series::PutAttempts,
        Series::GetsServed,
        Series::GetItemAge,
        Series::GetRepairs,
        Series::StoreConflicts,
        Series::BackendUp,
        Series::TaskNext,
    ];
    for series in Series::ALL {
        let is_shown = shown.contains(series.name());
        assert_ne!(is_shown, hidden.contains(series), "{}", series.name());
    }
}
