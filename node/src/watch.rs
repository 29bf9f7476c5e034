//! Logs losses and recoveries: one line when something is lost, with the cause for each address,
//! and one when it is back.

use std::collections::BTreeMap;
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_core::node::Counter;
use skydht_driver::Dht;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clock::Off;
use crate::dmsg::Carrier;
use crate::local::Local;
use crate::output::Human;
use crate::report::StatusReport;

/// Interval of saving when own items were last renewed.
const SAVE: Duration = Duration::from_secs(60);
/// Interval between two checks of the node.
const LOOK: Duration = Duration::from_secs(1);
/// A shorter loss is not logged.
const PATIENCE: Duration = Duration::from_secs(5);
/// Minimum interval between two reports of the same loss, if it comes and goes.
const PAUSE: Duration = Duration::from_secs(60);
/// Interval of repeated messages about a loss that persists.
const REPEAT: Duration = Duration::from_secs(30 * 60);
/// First and longest pause before bootstrap peers are pinged again.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// Something that can be lost.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Subject {
    Bootstrap,
    Peers,
    Servers,
    Server(PublicKey),
    Discovery,
    Entry,
    Clock,
}

impl Subject {
    /// Describes the recovery.
    fn is_back(&self) -> String {
        match self {
            Self::Bootstrap => "a bootstrap peer is reachable".into(),
            Self::Peers => "peers answer".into(),
            Self::Servers => "a DMSG server is connected".into(),
            Self::Server(key) => format!("DMSG server {key} is connected"),
            Self::Discovery => "the DMSG discovery answers".into(),
            Self::Entry => "the DMSG discovery takes this node's entry".into(),
            Self::Clock => "the clock is right".into(),
        }
    }
}

/// A current loss.
struct Loss {
    since: Duration,
    /// When it was logged last; `None` if it was not logged yet.
    logged: Option<Duration>,
}

/// Current losses, and what was logged about earlier ones.
#[derive(Default)]
struct Losses {
    now: BTreeMap<Subject, Loss>,
    /// When an earlier loss was logged, for losses that have ended.
    before: BTreeMap<Subject, Duration>,
}

impl Losses {
    /// Updates the losses; `lost` maps them to their causes. Returns the lines to log.
    fn observe(&mut self, now: Duration, lost: &BTreeMap<Subject, String>) -> Vec<String> {
        let mut lines = Vec::new();
        for (subject, text) in lost {
            let loss = self.now.entry(subject.clone()).or_insert(Loss {
                since: now,
                logged: None,
            });
            let is_due = match loss.logged {
                Some(logged) => now >= logged + REPEAT,
                None => {
                    let before = self.before.get(subject);
                    let paused = before.is_some_and(|logged| now < *logged + PAUSE);
                    now >= loss.since + PATIENCE && !paused
                }
            };
            if is_due {
                loss.logged = Some(now);
                lines.push(text.clone());
            }
        }
        let back = self.now.keys().filter(|it| !lost.contains_key(it));
        let back: Vec<Subject> = back.cloned().collect();
        for subject in back {
            let Some(loss) = self.now.remove(&subject) else {
                continue;
            };
            // A loss that was not logged ends without a message.
            if let Some(logged) = loss.logged {
                let after = Human(now.saturating_sub(loss.since));
                lines.push(format!("{} again, after {after}", subject.is_back()));
                self.before.insert(subject, logged);
            }
        }
        self.before.retain(|_, logged| now < *logged + PAUSE);
        lines
    }
}

/// Returns what is lost according to a status.
fn lost(status: &StatusReport) -> BTreeMap<Subject, String> {
    let mut lost = BTreeMap::new();
    let bootstrap = &status.bootstrap;
    let is_up = status.waits_for.is_none();
    if is_up && bootstrap.configured > 0 && bootstrap.reachable == 0 {
        let text = format!("no bootstrap peer is reachable: {}", bootstrap.causes());
        lost.insert(Subject::Bootstrap, text);
    }
    let had_peers = status.counters.get(Counter::PeersAdded.name());
    if is_up && status.peers == 0 && had_peers.is_some_and(|count| *count > 0) {
        let ago = status.last_sign_of_life_ms.map_or_else(String::new, |ago| {
            let ago = Human(Duration::from_secs_f64(ago.max(0.0) / 1e3));
            format!(": the last one was heard of {ago} ago")
        });
        lost.insert(Subject::Peers, format!("all peers are lost{ago}"));
    }
    if let Some(dmsg) = &status.dmsg {
        if dmsg.clients.is_none() && dmsg.connected == 0 && !dmsg.servers.is_empty() {
            let text = format!("no DMSG server is connected: {}", dmsg.server_causes());
            lost.insert(Subject::Servers, text);
        }
        for server in dmsg.servers.iter().filter(|server| server.lost) {
            let text = format!("DMSG server {server}");
            lost.insert(Subject::Server(server.key), text);
        }
        if let Some(discovery) = dmsg.lost_discovery() {
            let text = format!("the DMSG discovery {discovery}");
            lost.insert(Subject::Discovery, text);
        }
        if let Some(why) = dmsg.refusal() {
            let text = format!("the DMSG discovery does not take this node's entry: {why}");
            lost.insert(Subject::Entry, text);
        }
    }
    if let Some(clock) = status.clock.as_ref().filter(|clock| clock.wrong) {
        let (off, source) = (Off(clock.offset_s), &clock.source);
        let text = format!("this machine's clock is wrong: {off}, by {source}");
        lost.insert(Subject::Clock, text);
    }
    lost
}

/// Checks the node and logs changes, until it is dropped.
pub(crate) async fn run(local: Local) {
    let begun = Instant::now();
    let mut losses = Losses::default();
    let mut retry = BootstrapRetry::default();
    let mut saved = begun;
    loop {
        tokio::time::sleep(LOOK).await;
        if saved.elapsed() >= SAVE {
            local.condition().lapsed().save().await;
            saved = Instant::now();
        }
        let Ok(status) = local.status().await else {
            return;
        };
        let lost = lost(&status);
        for line in losses.observe(begun.elapsed(), &lost) {
            tracing::info!("{line}");
        }
        if let Some(dht) = local.dht_now().filter(|_| status.peers == 0) {
            retry.step(&local, &dht).await;
        } else {
            retry = BootstrapRetry::default();
        }
    }
}

/// Pings bootstrap peers while a node gets no answers: the configured ones and, over DMSG, the
/// connected servers, which are full nodes and may differ from those at the start.
#[derive(Default)]
struct BootstrapRetry {
    wait: Duration,
    next: Option<Instant>,
}

impl BootstrapRetry {
    async fn step(&mut self, local: &Local, dht: &Dht) {
        let now = Instant::now();
        let next = *self.next.get_or_insert(now + RETRY.0);
        if now < next {
            return;
        }
        let condition = local.condition();
        let servers = condition.carrier().map(Carrier::connected);
        let mut asking = JoinSet::new();
        for peer in servers
            .into_iter()
            .flatten()
            .chain(condition.bootstrap().keys())
        {
            let dht = dht.clone();
            asking.spawn(async move { (peer, dht.ping(peer, None).await) });
        }
        for (peer, answer) in asking.join_all().await {
            if let Err(error) = answer {
                tracing::debug!(%peer, %error, "no answer");
            }
        }
        self.wait = (self.wait * 2).clamp(RETRY.0, RETRY.1);
        self.next = Some(Instant::now() + self.wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::BootstrapPeerReport;
    use crate::report::tests::{dmsg, status};

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_loss_is_logged_periodically_and_its_end_once() {
        let mut losses = Losses::default();
        let one = BTreeMap::from([(Subject::Peers, "gone".to_owned())]);
        let none = BTreeMap::new();
        assert!(losses.observe(at(0), &one).is_empty(), "it may come back");
        for second in 1..5 {
            assert!(losses.observe(at(second), &one).is_empty());
        }
        assert_eq!(losses.observe(at(5), &one), ["gone"]);
        let logged = (6..5_400).flat_map(|second| losses.observe(at(second), &one));
        assert_eq!(logged.count(), 2);
        assert_eq!(
            losses.observe(at(5_400), &none),
            ["peers answer again, after 1h30m"]
        );
        assert!(losses.observe(at(5_401), &none).is_empty());
    }

    #[test]
    fn an_intermittent_loss_is_logged_at_most_once_a_minute() {
        let mut losses = Losses::default();
        let one = BTreeMap::from([(Subject::Discovery, "gone".to_owned())]);
        let none = BTreeMap::new();
        let mut lines = 0;
        for second in 0..600 {
            let lost = if second % 10 < 8 { &one } else { &none };
            lines += losses.observe(at(second), lost).len();
        }
        assert!((2..=20).contains(&lines), "{lines}");
        // A loss that was too short to be logged ends without a message, too.
        let mut losses = Losses::default();
        assert!(losses.observe(at(0), &one).is_empty());
        assert!(losses.observe(at(3), &none).is_empty());
    }

    #[test]
    fn each_loss_has_its_line_with_the_cause_of_each_address() {
        let mut status = status();
        assert!(lost(&status).is_empty());
        let peer = |cause: &str| BootstrapPeerReport {
            key: status.key,
            at: Vec::new(),
            reachable: false,
            causes: vec![cause.into()],
            next_try_ms: None,
        };
        let peers = vec![
            peer("127.0.0.1:1: connection refused"),
            peer("cannot resolve x.invalid: unknown"),
        ];
        status.bootstrap.configured = 2;
        status.bootstrap.peers = peers;
        status.dmsg = Some(dmsg(1, 1, None));
        assert_eq!(lost(&status).len(), 1);
        status.dmsg = Some(dmsg(0, 1, None));
        let added = Counter::PeersAdded.name().to_owned();
        status.counters.insert(added, 1);
        let lines = lost(&status);
        assert_eq!(lines.len(), 4, "{lines:?}");
        let bootstrap = &lines[&Subject::Bootstrap];
        for part in [
            "127.0.0.1:1: connection refused",
            "cannot resolve x.invalid",
        ] {
            assert!(bootstrap.contains(part), "{bootstrap}");
        }
        assert!(
            lines[&Subject::Servers].contains("127.0.0.1:1"),
            "{lines:?}"
        );
    }
}
