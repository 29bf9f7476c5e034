//! The goals of `bench abuse`, and the comparison with what was measured.

use serde::Serialize;

use super::attacker::AttackCounts;
use super::list::Attack;
use super::witness::{Figure, Figures};
use crate::output;

/// Upper bound of the median ping, in milliseconds.
const PING_P50_MS: f64 = 2.0;
/// Upper bound of the 99th percentile of pings, in milliseconds.
const PING_P99_MS: f64 = 20.0;
/// Upper bound of the growth of resident memory, in MiB: queues and buffers of a default node.
const GROWTH_MIB: f64 = 128.0;
/// Upper bound of the growth that remains afterwards, in MiB: what the allocator keeps.
pub(super) const LEFT_MIB: f64 = 16.0;

/// The goals, as the report shows them.
#[derive(Serialize)]
pub(super) struct Goals {
    ping_p50_ms: f64,
    ping_p99_ms: f64,
    failures: usize,
    rss_growth_mib: f64,
    rss_left_mib: f64,
}

/// The report of all attacks.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) schema: &'static str,
    pub(super) seconds: u16,
    pub(super) goals: Goals,
    pub(super) attacks: Vec<AttackReport>,
    pub(super) machine: String,
    pub(super) version: &'static str,
    pub(super) optimised: bool,
    pub(super) command: String,
}

impl Goals {
    pub(super) const ALL: Self = Self {
        ping_p50_ms: PING_P50_MS,
        ping_p99_ms: PING_P99_MS,
        failures: 0,
        rss_growth_mib: GROWTH_MIB,
        rss_left_mib: LEFT_MIB,
    };
}

/// Resident memory of the attacked node, in MiB.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Rss {
    pub(super) before: f64,
    pub(super) peak: f64,
    pub(super) after: f64,
}

/// What was measured during one attack.
#[derive(Serialize)]
pub(super) struct AttackReport {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) before: Figures,
    pub(super) during: Figures,
    pub(super) after: Figures,
    pub(super) rss_mib: Rss,
    pub(super) survived: bool,
    /// `None` if the attacker's process did not end properly.
    pub(super) attacker: Option<AttackCounts>,
    /// Description of every goal that was missed.
    pub(super) missed: Vec<String>,
}

impl AttackReport {
    pub(super) fn new(attack: &Attack, phases: [Figures; 3], rss: Rss) -> Self {
        let [before, during, after] = phases;
        Self {
            name: attack.name,
            what: attack.what,
            before,
            during,
            after,
            rss_mib: rss,
            survived: true,
            attacker: None,
            missed: Vec::new(),
        }
    }

    /// Fills `missed` by comparison with the goals.
    pub(super) fn judge(&mut self) {
        let mut missed = Vec::new();
        if !self.survived {
            missed.push("the process ended".to_owned());
        }
        if self.attacker.is_none() {
            missed.push("the attacker did not come to its end".to_owned());
        }
        for (phase, figures) in [("during", &self.during), ("after", &self.after)] {
            for (name, figure) in figures.all() {
                if figure.failures > 0 {
                    let Figure {
                        count, failures, ..
                    } = figure;
                    missed.push(format!("{phase}: {failures} of {count} {name} failed"));
                }
            }
            let ping = &figures.ping.latency_ms;
            for (name, got, most) in [
                ("p50", ping.p50, PING_P50_MS),
                ("p99", ping.p99, PING_P99_MS),
            ] {
                if got > most {
                    missed.push(format!("{phase}: ping {name} {got:.1} ms, above {most} ms"));
                }
            }
        }
        let Rss {
            before,
            peak,
            after,
        } = self.rss_mib;
        if peak - before > GROWTH_MIB {
            missed.push(format!(
                "memory grew by {:.0} MiB, above {GROWTH_MIB} MiB",
                peak - before
            ));
        }
        if after - before > LEFT_MIB {
            missed.push(format!(
                "{:.0} MiB of memory did not come back, above {LEFT_MIB} MiB",
                after - before
            ));
        }
        self.missed = missed;
    }

    /// Formats the report as text.
    pub(super) fn text(&self) -> String {
        let phases = [
            ("before", &self.before),
            ("during", &self.during),
            ("after", &self.after),
        ];
        let rows: Vec<Vec<String>> = phases
            .into_iter()
            .map(|(phase, figures)| {
                let cells = figures.all().into_iter().map(|(_, figure)| cell(figure));
                std::iter::once(phase.to_owned()).chain(cells).collect()
            })
            .collect();
        let head = [
            "P50/P99 MS",
            "PING",
            "PUT",
            "GET",
            "NEWCOMER",
            "LIVEZ",
            "STATUS",
        ];
        let rss = &self.rss_mib;
        let verdict = match self.missed.as_slice() {
            [] => "met".to_owned(),
            missed => format!("missed: {}", missed.join("; ")),
        };
        let counts = self.attacker.map_or_else(String::new, |counts| {
            format!(
                "\nattacker: {} opened, {} refused, {} ended, {} answered",
                output::count(counts.opened),
                output::count(counts.refused),
                output::count(counts.ended),
                output::count(counts.answers)
            )
        });
        format!(
            "{}: {}\n{}\nmemory: {:.0} MiB, at most {:.0}, afterwards {:.0}{counts}\ngoal {verdict}\n",
            self.name,
            self.what,
            output::table(&head, &rows),
            rss.before,
            rss.peak,
            rss.after,
        )
    }
}

fn cell(figure: &Figure) -> String {
    let latency = &figure.latency_ms;
    let times = format!("{:.1}/{:.1}", latency.p50, latency.p99);
    match figure.failures {
        0 => times,
        failures => format!("{times}, {failures} of {} failed", figure.count),
    }
}

#[cfg(test)]
mod tests {
    use super::super::list::ATTACKS;
    use super::*;

    fn report(figures: Figures, rss: Rss) -> AttackReport {
        let phases = [Figures::default(), figures, Figures::default()];
        let mut report = AttackReport::new(&ATTACKS[0], phases, rss);
        report.attacker = Some(AttackCounts::default());
        report.judge();
        report
    }

    #[test]
    fn every_goal_that_was_missed_is_named() {
        let rss = |before, peak, after| Rss {
            before,
            peak,
            after,
        };
        let mut figures = Figures::default();
        figures.ping.latency_ms.p50 = PING_P50_MS;
        figures.ping.latency_ms.p99 = PING_P99_MS;
        let good = report(figures.clone(), rss(10.0, 138.0, 26.0));
        assert_eq!(good.missed, Vec::<String>::new());
        assert!(good.text().contains("goal met"));

        figures.ping.latency_ms.p99 = 20.1;
        figures.get.failures = 1;
        figures.get.count = 9;
        let bad = report(figures, rss(10.0, 139.0, 27.0));
        assert_eq!(
            bad.missed,
            [
                "during: 1 of 9 get failed",
                "during: ping p99 20.1 ms, above 20 ms",
                "memory grew by 129 MiB, above 128 MiB",
                "17 MiB of memory did not come back, above 16 MiB",
            ]
        );
        let mut dead = report(Figures::default(), rss(1.0, 1.0, 0.0));
        dead.survived = false;
        dead.attacker = None;
        dead.judge();
        assert_eq!(dead.missed.len(), 2);
    }
}
