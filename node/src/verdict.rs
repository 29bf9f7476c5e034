//! The verdict on a node, computed here and only shown elsewhere.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use skydht_core::node::Snapshot;

use crate::report::LimitReport;

/// How a node is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// All is well.
    Green,
    /// It works, but something wants attention.
    Yellow,
    /// It does not do its work.
    Red,
}

impl Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Green => "GREEN",
            Self::Yellow => "YELLOW",
            Self::Red => "RED",
        })
    }
}

/// Why a verdict is not green.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Reason {
    /// How bad.
    pub(crate) verdict: Verdict,
    /// What is wrong.
    pub(crate) cause: String,
    /// What shows it.
    pub(crate) evidence: String,
    /// What to do.
    pub(crate) remedy: String,
}

impl Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            verdict,
            cause,
            evidence,
            remedy,
        } = self;
        write!(f, "  {verdict}: {cause} ({evidence})\n    {remedy}")
    }
}

/// The verdict, and every reason against green, the worst first.
pub(crate) fn judge(snapshot: &Snapshot, limits: &[LimitReport]) -> (Verdict, Vec<Reason>) {
    let mut reasons = Vec::new();
    let (configured, reachable) = (snapshot.bootstrap_configured, snapshot.bootstrap_reachable);
    let mut say = |verdict, cause: &str, evidence: String, remedy: &str| {
        reasons.push(Reason {
            verdict,
            cause: cause.into(),
            evidence,
            remedy: remedy.into(),
        });
    };
    let bootstrap = format!("{reachable} of {configured} bootstrap peers reachable");
    // One root cause: a node without peers is not blamed for what follows from that.
    if snapshot.peers == 0 && configured == 0 {
        say(
            Verdict::Yellow,
            "alone: no peers, and none to start from",
            "no bootstrap peers configured".into(),
            "run with --bootstrap PK@HOST:PORT, or let others bootstrap from this node",
        );
    } else if snapshot.peers == 0 && reachable == 0 {
        say(
            Verdict::Red,
            "no peers",
            bootstrap,
            "check the addresses and keys under `bootstrap`, and that this machine reaches them",
        );
    } else if !snapshot.ready {
        say(
            Verdict::Yellow,
            "starting: the first searches are not done",
            format!("{} peers so far", snapshot.peers),
            "wait; `skydht status` again in a few seconds",
        );
    } else if reachable == 0 && configured > 0 {
        say(
            Verdict::Yellow,
            "no bootstrap peer is reachable: a restart relies on remembered peers",
            bootstrap,
            "check the addresses and keys under `bootstrap`",
        );
    }
    // A full table or store works as it should; what was refused because of it shows.
    for limit in limits.iter().filter(|limit| limit.hits > 0) {
        let LimitReport {
            key,
            used,
            max,
            hits,
        } = limit;
        say(
            Verdict::Yellow,
            &format!("{key} was hit"),
            format!("{hits} times; {used} of {max} in use now"),
            &format!("raise {key} in the configuration, if memory allows"),
        );
    }
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.verdict));
    let verdict = reasons
        .first()
        .map_or(Verdict::Green, |reason| reason.verdict);
    (verdict, reasons)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::snapshot;

    fn causes(
        change: impl FnOnce(&mut Snapshot),
        limits: &[LimitReport],
    ) -> (Verdict, Vec<String>) {
        let mut snapshot = snapshot();
        change(&mut snapshot);
        let (verdict, reasons) = judge(&snapshot, limits);
        (
            verdict,
            reasons.into_iter().map(|reason| reason.cause).collect(),
        )
    }

    #[test]
    fn one_root_cause_for_a_node_without_peers() {
        assert_eq!(causes(|_| {}, &[]).0, Verdict::Yellow);
        let (verdict, causes) = causes(|s| s.bootstrap_configured = 5, &[]);
        assert_eq!((verdict, causes.len()), (Verdict::Red, 1));
    }

    #[test]
    fn a_healthy_node_is_green_and_a_hit_limit_makes_it_yellow() {
        let healthy = |s: &mut Snapshot| {
            (
                s.peers,
                s.ready,
                s.bootstrap_configured,
                s.bootstrap_reachable,
            ) = (9, true, 2, 1);
        };
        assert_eq!(causes(healthy, &[]), (Verdict::Green, vec![]));
        let limit = |hits| LimitReport {
            key: "limits.calls".into(),
            used: 3,
            max: 3,
            hits,
        };
        assert_eq!(causes(healthy, &[limit(0)]).0, Verdict::Green);
        let (verdict, causes) = causes(healthy, &[limit(1)]);
        assert_eq!(
            (verdict, causes),
            (Verdict::Yellow, vec!["limits.calls was hit".to_owned()])
        );
    }

    #[test]
    fn starting_and_lost_bootstrap_are_told_apart() {
        let starting = causes(
            |s| (s.peers, s.bootstrap_configured, s.bootstrap_reachable) = (1, 1, 1),
            &[],
        );
        let lost = causes(
            |s| (s.peers, s.ready, s.bootstrap_configured) = (1, true, 1),
            &[],
        );
        assert!(starting.1[0].starts_with("starting"), "{starting:?}");
        assert!(lost.1[0].starts_with("no bootstrap peer"), "{lost:?}");
    }
}
