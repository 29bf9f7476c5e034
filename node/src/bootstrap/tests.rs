//! Resolution of host names that are unknown at first, in virtual time.

use std::collections::BTreeMap;

use super::*;
use crate::config::Settings;

fn key() -> PublicKey {
    crate::keys::generate().unwrap().public()
}

fn at(key: PublicKey, text: &str) -> PeerAddress {
    format!("{key}@{text}").parse().unwrap()
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn settings(bootstrap: Vec<PeerAddress>, keys: Vec<PublicKey>) -> Settings {
    let sources = crate::config::Sources {
        environment: BTreeMap::from([("HOME".into(), "/nowhere".into())]),
        ..Default::default()
    };
    let mut settings = crate::config::load(&sources).unwrap().settings;
    settings.bootstrap = bootstrap;
    settings.bootstrap_pks = keys;
    settings
}

/// A name server and a network whose answers the test changes; records when it was asked.
#[derive(Clone, Default)]
struct World(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    names: BTreeMap<String, SocketAddr>,
    /// Keys and addresses of nodes that answer.
    nodes: Vec<(PublicKey, SocketAddr)>,
    known: Vec<PublicKey>,
    asked: Vec<Instant>,
}

impl World {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Resolve for World {
    fn resolve(&self, at: &PeerAddress) -> BoxFuture<'static, Result<Vec<SocketAddr>, String>> {
        let mut state = self.lock();
        state.asked.push(Instant::now());
        let unknown = || format!("cannot resolve {}: Name or service not known", at.host);
        let found = state.names.get(&at.host).map(|addr| vec![*addr]);
        Box::pin(std::future::ready(found.ok_or_else(unknown)))
    }
}

impl Joining for World {
    fn knows(&self, peer: PublicKey) -> BoxFuture<'_, bool> {
        let knows = self.lock().known.contains(&peer);
        Box::pin(std::future::ready(knows))
    }

    fn reach(&self, peer: PublicKey, addr: SocketAddr) -> BoxFuture<'_, Result<(), String>> {
        let mut state = self.lock();
        let answers = state.nodes.contains(&(peer, addr));
        if answers {
            state.known.push(peer);
        }
        let result = answers.then_some(()).ok_or("connection refused".into());
        Box::pin(std::future::ready(result))
    }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_unknown_at_the_start_is_asked_for_until_it_leads_to_its_peer() {
    let (one, world) = (key(), World::default());
    let named = settings(vec![at(one, "later.example:7470")], Vec::new());
    let (bootstrap, _) = Bootstrap::new(&named, &key());
    let mut started = Vec::new();
    bootstrap.add_to(&mut started);
    assert_eq!(
        (started.len(), started[0].addrs.len()),
        (1, 0),
        "it is configured"
    );
    let keeping = tokio::spawn(bootstrap.clone().keep(world.clone(), world.clone()));
    pass(600).await;
    let report = bootstrap.report(None, &[], &[]);
    let text = report.peers[0].to_string();
    assert!(
        text.contains("cannot resolve later.example: Name or service not known, next try in"),
        "{text}"
    );
    let asked = world.lock().asked.clone();
    assert!((10..=20).contains(&asked.len()), "{} times", asked.len());
    let gaps = asked.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.max().unwrap() <= Duration::from_secs(61));

    // The name is known now, but the peer does not answer yet.
    world
        .lock()
        .names
        .insert("later.example".into(), addr("192.0.2.1:7470"));
    pass(61).await;
    let text = bootstrap.report(None, &[], &[]).peers[0].to_string();
    assert!(
        text.contains("later.example (192.0.2.1:7470): connection refused"),
        "{text}"
    );
    world.lock().nodes.push((one, addr("192.0.2.1:7470")));
    pass(61).await;
    assert_eq!(world.lock().known, [one]);
    let text = bootstrap.report(None, &[], &[]).peers[0].to_string();
    assert!(
        text.contains("not reached yet"),
        "no failure any more: {text}"
    );

    // The peer moves: its name is resolved again, to the new address.
    let before = world.lock().asked.len();
    pass(600).await;
    assert_eq!(
        world.lock().asked.len(),
        before,
        "no request while it answers"
    );
    {
        let mut state = world.lock();
        state.known.clear();
        state
            .names
            .insert("later.example".into(), addr("192.0.2.2:7470"));
        state.nodes = vec![(one, addr("192.0.2.2:7470"))];
    }
    pass(61).await;
    assert_eq!(world.lock().known, [one]);
    keeping.abort();
}

#[test]
fn the_nodes_own_key_is_ignored_with_a_warning_wherever_it_stands() {
    let (own, other) = (key(), key());
    let peers = vec![
        at(own, "127.0.0.1:1"),
        at(own, "h.example:1"),
        at(other, "127.0.0.1:2"),
    ];
    let (bootstrap, warnings) = Bootstrap::new(&settings(peers, vec![own, other]), &own);
    assert_eq!(bootstrap.keys().collect::<Vec<_>>(), [other]);
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("own key"), "{warnings:?}");
    let mut started = Vec::new();
    bootstrap.add_to(&mut started);
    assert_eq!(started.len(), 1);
    let (bootstrap, _) = Bootstrap::new(&settings(Vec::new(), vec![own]), &own);
    assert_eq!(bootstrap.report(None, &[], &[]).configured, 0);
}

#[test]
fn each_address_has_its_cause() {
    let one = key();
    let peers = vec![at(one, "127.0.0.1:1"), at(one, "[::1]:2")];
    let (bootstrap, _) = Bootstrap::new(&settings(peers, Vec::new()), &key());
    let failure = |at: &str, cause: &str| DialFailure {
        peer: one,
        addr: Some(addr(at)),
        cause: cause.into(),
    };
    let failures = [
        failure("127.0.0.1:1", "connection refused"),
        failure("[::1]:2", "another key answers there"),
    ];
    let text = bootstrap.report(None, &[], &failures).causes();
    for part in ["127.0.0.1:1: connection refused", "[::1]:2: another key"] {
        assert!(text.contains(part), "{text}");
    }
}
