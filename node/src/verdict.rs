//! Computes the verdict on a node from its status.

use std::time::Duration;

use crate::clock::{ClockReport, Off};
use crate::output::Human;
use crate::report::{
    BootstrapReport, Check, FilesReport, LimitReport, Reason, StatusReport, StorageReport,
    StorageState, Verdict,
};
use crate::window::WINDOW;

/// Time after the start during which missing peers do not make the verdict red, in milliseconds.
const START_GRACE_MS: f64 = 10_000.0;
/// Time after the start during which too few sessions are no reason, in milliseconds.
const SESSIONS_GRACE_MS: f64 = 60_000.0;

/// Returns the verdict with all reasons against green, the worst first. The verdict is about the
/// present, from a status that also contains the last minutes. `joined`: whether the first lookups
/// have ended.
pub(crate) fn judge(status: &StatusReport, joined: bool) -> (Verdict, Vec<Reason>) {
    let mut reasons: Vec<Reason> = Vec::new();
    reasons.extend(reach(status, joined));
    reasons.extend(surroundings(status));
    reasons.extend(storage(status));
    reasons.extend(status.files.as_ref().and_then(files));
    // A full table or store is normal; only requests refused because of it are a reason.
    let hit = status.limits.iter().filter(|limit| limit.recent_hits > 0);
    reasons.extend(hit.map(|limit| {
        let LimitReport {
            key,
            used,
            recent_hits,
            ..
        } = limit;
        let (within, max) = (Human(WINDOW), limit.most());
        yellow(
            Check::Limits,
            format!("{key} is being hit"),
            format!("{recent_hits} times within {within}; {used} of {max} in use now"),
            format!("raise {key} in the configuration, if memory allows"),
        )
    }));
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.verdict));
    let verdict = reasons
        .first()
        .map_or(Verdict::Green, |reason| reason.verdict);
    (verdict, reasons)
}

fn yellow(
    check: Check,
    cause: impl Into<String>,
    evidence: impl Into<String>,
    remedy: impl Into<String>,
) -> Reason {
    Reason {
        verdict: Verdict::Yellow,
        check: Some(check),
        cause: cause.into(),
        evidence: evidence.into(),
        remedy: remedy.into(),
    }
}

fn red(
    check: Check,
    cause: impl Into<String>,
    evidence: impl Into<String>,
    remedy: impl Into<String>,
) -> Reason {
    Reason {
        verdict: Verdict::Red,
        ..yellow(check, cause, evidence, remedy)
    }
}

/// Judges whether items survive a restart.
fn storage(status: &StatusReport) -> Option<Reason> {
    let StorageReport {
        health,
        cause,
        waiting,
        ..
    } = &status.storage;
    (*health == StorageState::Failing).then(|| {
        yellow(
            Check::Storage,
            "items are not written to storage",
            format!(
                "{waiting} changes wait: {}",
                cause.as_deref().unwrap_or("no cause is known")
            ),
            "do what the cause says, or make room on the disk; it is tried again every few seconds",
        )
    })
}

/// Judges whether the limit of open files allows at least half of the wanted connections.
pub(crate) fn files(report: &FilesReport) -> Option<Reason> {
    let FilesReport {
        key,
        wanted,
        room,
        open_files,
    } = report;
    (*room < wanted / 2).then(|| {
        yellow(
            Check::OpenFiles,
            "the limit on open files leaves too few connections",
            format!("{room} of {wanted} ({key}): this process may have {open_files} open files"),
            format!(
                "raise the limit (`ulimit -n`; `LimitNOFILE=` in a systemd unit) and start again, or lower {key}"
            ),
        )
    })
}

/// Judges whether the node reaches others. Only the root cause is reported: without servers there
/// are no peers, and without peers most other figures are meaningless.
fn reach(status: &StatusReport, joined: bool) -> Option<Reason> {
    let is_new = status.uptime_ms < START_GRACE_MS;
    let red_unless_new = if is_new { yellow } else { red };
    if let Some(waits_for) = &status.waits_for {
        return Some(red_unless_new(
            Check::Start,
            "starting: it is not up yet",
            format!("waits for {waits_for}"),
            "it goes on by itself once that is there; check `dmsg.discovery`, `dmsg.servers` and this machine's network",
        ));
    }
    let dmsg = status.dmsg.as_ref();
    // Sessions opened by its clients suffice for a DMSG server.
    if let Some(dmsg) = dmsg.filter(|it| it.clients.is_none() && it.connected == 0) {
        return Some(red(
            Check::DmsgServers,
            "no DMSG server is connected",
            format!("{} known: {}", dmsg.servers.len(), dmsg.server_causes()),
            "it tries again by itself; check that this machine reaches the servers, or name others under `dmsg.servers`",
        ));
    }
    let BootstrapReport {
        configured,
        reachable,
        known,
        ..
    } = status.bootstrap;
    let causes = status.bootstrap.causes();
    let bootstrap = match causes.as_str() {
        "" => format!("{reachable} of {configured} bootstrap peers reachable"),
        causes => {
            format!("{reachable} of {configured} bootstrap peers reachable: {causes}")
        }
    };
    let check =
        "check the addresses and keys under `bootstrap`, and that this machine reaches them";
    if status.peers == 0 && known == 0 {
        return Some(yellow(
            Check::Peers,
            "alone: no peers, and none to start from",
            "no bootstrap peers configured",
            "run with --bootstrap PK@HOST:PORT, or let others bootstrap from this node",
        ));
    }
    if status.peers == 0 && !(is_new && causes.is_empty()) {
        let last = status.last_sign_of_life_ms.map(|ago| {
            let ago = Human(Duration::from_secs_f64(ago.max(0.0) / 1e3));
            format!("the last one was heard of {ago} ago; ")
        });
        let evidence = format!("{}{bootstrap}", last.unwrap_or_default());
        return Some(red(Check::Peers, "no peers", evidence, check));
    }
    if status.peers == 0 || !joined {
        return Some(yellow(
            Check::Start,
            "starting: the first searches are not done",
            format!("{} peers so far", status.peers),
            "wait; `skydht status` again in a few seconds",
        ));
    }
    if status.connections_lost {
        return Some(yellow(
            Check::Peers,
            "all connections to peers were lost at once",
            format!("{} peers had answered before; {bootstrap}", status.peers),
            "peers are tried again by themselves: `skydht status` again in a few seconds; check this machine's network",
        ));
    }
    (reachable == 0 && configured > 0).then(|| {
        yellow(
            Check::Bootstrap,
            "no bootstrap peer is reachable: a restart relies on remembered peers",
            bootstrap,
            check,
        )
    })
}

/// Judges this machine's clock.
pub(crate) fn clock(clock: &ClockReport) -> Option<Reason> {
    clock.wrong.then(|| {
        yellow(
            Check::Clock,
            format!("this machine's clock is wrong: {}", Off(clock.offset_s)),
            format!("by {}", clock.source),
            "set it (`timedatectl set-ntp true`); until then what is put here gets wrong sequence numbers",
        )
    })
}

/// Judges the node's surroundings.
fn surroundings(status: &StatusReport) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let up = status.waits_for.is_none();
    if let Some(dmsg) = status.dmsg.as_ref().filter(|_| up) {
        if let Some(lost) = dmsg.lost_discovery() {
            reasons.push(yellow(
                Check::Discovery,
                "the DMSG discovery is not reachable: servers and peers are those that are known",
                lost.to_string(),
                "check its URL under `dmsg.discovery`, and that it runs",
            ));
        }
        if let Some(why) = dmsg.refusal() {
            reasons.push(yellow(
                Check::DiscoveryEntry,
                "the DMSG discovery does not take this node's entry: others cannot find it there",
                why,
                "change what it objects to; it is asked again by itself",
            ));
        }
        let possible = dmsg.wanted.min(dmsg.servers.len());
        if (1..possible).contains(&dmsg.connected) && status.uptime_ms > SESSIONS_GRACE_MS {
            reasons.push(yellow(
                Check::DmsgServers,
                "fewer DMSG servers are connected than wanted",
                format!(
                    "{} of {}: {}",
                    dmsg.connected,
                    dmsg.wanted,
                    dmsg.server_causes()
                ),
                "it tries again by itself; another loss may cut this node off",
            ));
        }
    }
    reasons.extend(status.clock.as_ref().and_then(clock));
    if let Some(lapsed) = &status.lapsed {
        reasons.push(yellow(
            Check::OwnItems,
            "items of an earlier run are not renewed",
            lapsed.to_string(),
            "they are renewed when peers answer, if storage has them; else put them again: `skydht put VALUE --salt SALT`",
        ));
    }
    let verified = status.verified.as_ref();
    if let Some(verified) = verified.filter(|it| !it.not_held.is_empty()) {
        let age = Human(Duration::from_secs_f64(verified.age_ms.max(0.0) / 1e3));
        reasons.push(yellow(
            Check::OwnItems,
            "own items are not where readers look for them",
            format!("{}; read back {age} ago", verified.not_held.join(", ")),
            "they are renewed by themselves; `skydht verify` again after that, or put them again",
        ));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lapsed::LapsedReport;
    use crate::report::tests::{dmsg, status};
    use crate::report::{BootstrapPeerReport, DiscoveryReport, VerifiedReport};

    /// Returns the verdict and the causes for a node that has run for an hour.
    fn causes(
        sources: usize,
        joined: bool,
        change: impl FnOnce(&mut StatusReport),
    ) -> (Verdict, Vec<String>) {
        let mut status = status();
        status.uptime_ms = 3_600_000.0;
        change(&mut status);
        status.bootstrap.known = sources;
        let (verdict, reasons) = judge(&status, joined);
        let causes = reasons.into_iter().map(|reason| reason.cause);
        (verdict, causes.collect())
    }

    fn has_bootstrap(status: &mut StatusReport, configured: usize, reachable: usize) {
        let peer = |index| BootstrapPeerReport {
            key: status.key,
            at: vec!["h:1".into()],
            reachable: index < reachable,
            causes: vec!["h:1: connection refused".into()],
            next_try_ms: None,
        };
        status.bootstrap = BootstrapReport {
            configured,
            reachable,
            known: configured,
            peers: (0..configured).map(peer).collect(),
        };
    }

    #[test]
    fn one_root_cause_for_a_node_without_peers() {
        assert_eq!(causes(0, true, |_| {}).0, Verdict::Yellow);
        let (verdict, causes) = causes(5, true, |s| has_bootstrap(s, 5, 0));
        assert_eq!((verdict, causes.len()), (Verdict::Red, 1));
    }

    #[test]
    fn a_node_whose_peers_are_gone_is_red_whatever_it_was_before() {
        // First without bootstrap peers, then with one that no longer answers.
        for configured in [0, 1] {
            let (verdict, causes) = causes(7, true, |s| {
                has_bootstrap(s, configured, 0);
                s.last_sign_of_life_ms = Some(1_140_000.0);
            });
            assert_eq!((verdict, causes), (Verdict::Red, vec!["no peers".into()]));
        }
    }

    #[test]
    fn lost_connections_are_evidence_before_any_peer_is_given_up() {
        let (verdict, causes) = causes(1, true, |s| {
            s.peers = 9;
            has_bootstrap(s, 1, 1);
            s.connections_lost = true;
        });
        assert_eq!((verdict, causes.len()), (Verdict::Yellow, 1));
        assert!(causes[0].starts_with("all connections"), "{causes:?}");
    }

    #[test]
    fn a_node_over_dmsg_without_a_session_is_red_and_a_server_is_not() {
        let lost = |clients| {
            causes(3, true, |s| {
                s.peers = 9;
                s.dmsg = Some(dmsg(0, 2, clients));
            })
        };
        let (verdict, reasons) = lost(None);
        assert_eq!((verdict, reasons.len()), (Verdict::Red, 1));
        assert!(reasons[0].starts_with("no DMSG server"), "{reasons:?}");
        assert_eq!(lost(Some(4)).0, Verdict::Green);
        let fewer = causes(3, true, |s| {
            s.peers = 9;
            s.dmsg = Some(dmsg(1, 2, None));
        });
        assert_eq!((fewer.0, fewer.1.len()), (Verdict::Yellow, 1));
    }

    #[test]
    fn an_unavailable_discovery_is_reported() {
        for (reachable, expected) in [
            (None, Verdict::Green),
            (Some(true), Verdict::Green),
            (Some(false), Verdict::Yellow),
        ] {
            let (verdict, _) = causes(3, true, |s| {
                s.peers = 9;
                let mut dmsg = dmsg(2, 2, None);
                dmsg.discovery = Some(DiscoveryReport {
                    url: "http://d".into(),
                    reachable,
                    since_ms: 5.0,
                    cause: None,
                    refusal: None,
                    next_try_ms: None,
                    lookups: Default::default(),
                });
                s.dmsg = Some(dmsg);
            });
            assert_eq!(verdict, expected, "{reachable:?}");
        }
    }

    #[test]
    fn what_is_not_up_says_what_it_waits_for_and_is_red_after_a_moment() {
        for (uptime, expected) in [(9_000.0, Verdict::Yellow), (11_000.0, Verdict::Red)] {
            let (verdict, causes) = causes(0, false, |s| {
                s.uptime_ms = uptime;
                s.waits_for = Some("the discovery".into());
                s.dmsg = Some(dmsg(0, 0, None));
            });
            assert_eq!((verdict, causes.len()), (expected, 1), "{causes:?}");
        }
    }

    #[test]
    fn a_healthy_node_is_green_and_only_recent_hits_make_it_yellow() {
        let healthy = |recent_hits| {
            causes(2, true, |s| {
                s.peers = 9;
                has_bootstrap(s, 2, 1);
                s.limits = vec![LimitReport {
                    key: "limits.calls".into(),
                    used: 3,
                    max: Some(3),
                    hits: 500,
                    recent_hits,
                }];
            })
        };
        assert_eq!(healthy(0), (Verdict::Green, vec![]));
        let (verdict, causes) = healthy(1);
        assert_eq!(verdict, Verdict::Yellow);
        assert_eq!(causes, ["limits.calls is being hit"]);
    }

    #[test]
    fn a_limit_on_files_that_takes_most_connections_wants_attention() {
        for (room, expected) in [
            (1, Verdict::Yellow),
            (511, Verdict::Yellow),
            (512, Verdict::Green),
        ] {
            let (verdict, causes) = causes(1, true, |s| {
                s.peers = 9;
                has_bootstrap(s, 1, 1);
                s.files = Some(FilesReport {
                    key: "max_connections".into(),
                    wanted: 1_024,
                    room,
                    open_files: 300,
                });
            });
            assert_eq!(verdict, expected, "{room}: {causes:?}");
        }
    }

    #[test]
    fn a_wrong_clock_and_items_that_lapsed_want_attention() {
        let clock = |wrong| ClockReport {
            offset_s: -259_200,
            source: "5 peers".into(),
            wrong,
            was_off_s: None,
        };
        let (verdict, causes) = causes(1, true, |s| {
            s.peers = 9;
            s.clock = Some(clock(true));
            s.lapsed = Some(LapsedReport {
                salts: vec!["a".into()],
                expire_within_s: 60,
            });
        });
        assert_eq!((verdict, causes.len()), (Verdict::Yellow, 2));
        assert!(causes[0].contains("3d0h behind"), "{causes:?}");
    }

    #[test]
    fn items_that_were_not_found_want_attention_and_others_do_not() {
        for (not_held, expected) in [
            (vec![], Verdict::Green),
            (vec!["dmsg 0/20 lost".to_owned()], Verdict::Yellow),
        ] {
            let (verdict, causes) = causes(1, true, |s| {
                s.peers = 9;
                s.verified = Some(VerifiedReport {
                    age_ms: 5.0,
                    items: 2,
                    not_held,
                });
            });
            assert_eq!(verdict, expected, "{causes:?}");
        }
    }

    #[test]
    fn starting_and_lost_bootstrap_are_distinguished() {
        let starting = causes(1, false, |s| {
            s.peers = 1;
            has_bootstrap(s, 1, 1);
        });
        let lost = causes(1, true, |s| {
            s.peers = 1;
            has_bootstrap(s, 1, 0);
        });
        assert!(starting.1[0].starts_with("starting"), "{starting:?}");
        assert!(lost.1[0].starts_with("no bootstrap peer"), "{lost:?}");
    }
}
