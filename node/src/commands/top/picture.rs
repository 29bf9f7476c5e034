//! The text drawn by `skydht top`: the verdict, then a short form of the status page.

use std::fmt::{self, Display};

use serde_json::{Value, json};

use crate::output::{count, table};
use crate::report::{
    BucketReport, BucketState, ItemsReport, LimitReport, PeersReport, StatusReport,
};

/// Characters for the heights of a bar.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Peers in a full bucket, which is the full height of a bar.
const FULL: u64 = 20;
/// Maximum number of rows per list.
const ROWS: usize = 8;

/// The state of a node at one moment.
pub(super) struct Picture {
    pub(super) status: StatusReport,
    pub(super) peers: PeersReport,
    pub(super) items: ItemsReport,
    /// The text of `/metrics`, see docs/metrics.md.
    pub(super) metrics: String,
}

/// A histogram of `/metrics`: upper bounds with cumulative counts.
#[derive(Clone, PartialEq, Debug, Default)]
struct Buckets(Vec<(f64, u64)>);

impl Buckets {
    /// Reads the histogram with this name and these labels.
    fn of(metrics: &str, name: &str, labels: &str) -> Self {
        let head = format!("{name}_bucket{{{labels}");
        let lines = metrics.lines().filter_map(|line| line.strip_prefix(&head));
        let bucket = |line: &str| {
            let (_, rest) = line.split_once("le=\"")?;
            let (bound, n) = rest.split_once("\"} ")?;
            let bound = bound.replace("+Inf", "inf").parse().ok()?;
            Some((bound, n.parse().ok()?))
        };
        Self(lines.filter_map(bucket).collect())
    }

    fn count(&self) -> u64 {
        self.0.last().map_or(0, |(_, n)| *n)
    }

    /// Returns the bound of the bucket that contains this percentile.
    fn percentile(&self, percent: u64) -> Option<f64> {
        let wanted = (self.count() * percent).div_ceil(100).max(1);
        let found = self.0.iter().find(|(_, below)| *below >= wanted);
        found.map(|(bound, _)| *bound)
    }
}

impl Picture {
    /// Returns the duration histograms of the operations.
    fn operations(&self) -> Vec<(&'static str, Buckets)> {
        let operation = |op: &str| {
            let name = "skydht_operation_duration_seconds";
            Buckets::of(&self.metrics, name, &format!("op=\"{op}\","))
        };
        let first = Buckets::of(&self.metrics, "skydht_get_first_value_seconds", "");
        let mut all = vec![
            ("put", operation("put")),
            ("get", operation("get")),
            ("first value", first),
            ("ping", operation("ping")),
            ("sync", operation("sync")),
        ];
        all.retain(|(_, buckets)| buckets.count() > 0);
        all
    }

    /// Returns the reports that the picture is made from.
    pub(super) fn json(&self) -> Value {
        json!({
            "schema": "skydht.top/1",
            "status": self.status,
            "peers": self.peers,
            "items": self.items,
        })
    }
}

/// Draws one character per bucket.
fn bars(buckets: &[BucketReport], of: impl Fn(&BucketReport) -> u64) -> String {
    let most = BLOCKS.len() as u64 - 1;
    let height = |n: u64| {
        let height = (n * most).div_ceil(FULL).min(most);
        usize::try_from(height).unwrap_or(0)
    };
    buckets.iter().map(|it| BLOCKS[height(of(it))]).collect()
}

fn seconds(bound: Option<f64>) -> String {
    match bound {
        None => "-".into(),
        Some(bound) if bound.is_infinite() => "> 10 s".into(),
        Some(bound) if bound < 1.0 => format!("≤ {:.0} ms", bound * 1e3),
        Some(bound) => format!("≤ {bound:.0} s"),
    }
}

impl Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.status)?;
        let buckets = &self.peers.buckets;
        if !buckets.is_empty() {
            let low = buckets.iter().filter(|it| it.state == BucketState::Low);
            let filled = bars(buckets, |it| it.peers.into());
            let expected = bars(buckets, |it| it.expected);
            writeln!(f, "\nbuckets   {filled}  {} of them low", low.count())?;
            writeln!(f, "expected  {expected}")?;
        }
        let operations = self.operations();
        if !operations.is_empty() {
            let row = |(name, buckets): &(&str, Buckets)| {
                let percentiles = [50, 95, 99].map(|it| seconds(buckets.percentile(it)));
                let head = [(*name).to_owned(), count(buckets.count())];
                head.into_iter().chain(percentiles).collect()
            };
            let rows: Vec<Vec<String>> = operations.iter().map(row).collect();
            let head = ["OPERATION", "COUNT", "P50", "P95", "P99"];
            writeln!(f, "\n{}", table(&head, &rows))?;
        }
        let mut items: Vec<_> = self.items.items.iter().collect();
        if !items.is_empty() {
            items.sort_by_key(|item| item.holders);
            let shown = items.iter().take(ROWS);
            let rows = shown.map(|item| vec![item.holders.to_string(), item.salt.clone()]);
            let head = ["HOLDERS", "OWN RECORD"];
            writeln!(f, "\n{}", table(&head, &rows.collect::<Vec<_>>()))?;
        }
        let mut limits: Vec<&LimitReport> = self.status.limits.iter().collect();
        limits.retain(|limit| limit.hits > 0);
        if !limits.is_empty() {
            limits.sort_by_key(|limit| std::cmp::Reverse((limit.recent_hits, limit.hits)));
            let row = |limit: &&LimitReport| {
                let hits = [limit.recent_hits, limit.hits].map(count);
                let used = format!("{}/{}", limit.used, limit.most());
                vec![limit.key.clone(), used, hits[0].clone(), hits[1].clone()]
            };
            let rows: Vec<Vec<String>> = limits.iter().take(ROWS).map(row).collect();
            let head = ["LIMIT", "USED", "HITS IN 5 MIN", "HITS"];
            writeln!(f, "\n{}", table(&head, &rows))?;
        }
        let mut peers: Vec<_> = self.peers.peers.iter().collect();
        peers.sort_by(|a, b| a.last_seen_ms.total_cmp(&b.last_seen_ms));
        let rows: Vec<Vec<String>> = peers
            .iter()
            .take(ROWS)
            .map(|peer| {
                vec![
                    peer.bucket.to_string(),
                    peer.rtt_ms.map_or("-".into(), |ms| format!("{ms:.1} ms")),
                    peer.key.to_string(),
                ]
            })
            .collect();
        if !rows.is_empty() {
            let head = ["BUCKET", "ROUND TRIP", "PEER HEARD OF LAST"];
            write!(f, "\n{}", table(&head, &rows))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_read_from_the_series_of_one_operation() {
        let metrics = "\
skydht_operation_duration_seconds_bucket{op=\"put\",le=\"0.1\"} 9
skydht_operation_duration_seconds_bucket{op=\"get\",le=\"0.05\"} 50
skydht_operation_duration_seconds_bucket{op=\"get\",le=\"1\"} 98
skydht_operation_duration_seconds_bucket{op=\"get\",le=\"+Inf\"} 100
skydht_get_first_value_seconds_bucket{le=\"0.001\"} 1
skydht_get_first_value_seconds_bucket{le=\"+Inf\"} 1
";
        let get = Buckets::of(metrics, "skydht_operation_duration_seconds", "op=\"get\",");
        assert_eq!(get.count(), 100);
        let shown = [50, 95, 99].map(|percent| seconds(get.percentile(percent)));
        assert_eq!(shown, ["≤ 50 ms", "≤ 1 s", "> 10 s"]);
        let first = Buckets::of(metrics, "skydht_get_first_value_seconds", "");
        assert_eq!(seconds(first.percentile(50)), "≤ 1 ms");
        assert_eq!(Buckets::of(metrics, "skydht_none", "").count(), 0);
    }

    #[test]
    fn bars_show_what_is_there_at_all() {
        let bucket = |peers| BucketReport {
            bucket: 0,
            peers,
            expected: 20,
            replacements: 0,
            state: BucketState::Good,
        };
        let buckets = [0, 1, 10, 20, 99].map(bucket);
        assert_eq!(bars(&buckets, |it| it.peers.into()), " ▁▄██");
    }
}
