//! New evidence overrides old knowledge: dead and silent peers delay no operation, a peer is at the
//! address that it advertises over its own session, and no peer is named to others on old evidence.

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::hand::{Hand, key, ours};
use super::net::{Net, addr, config};
use crate::id::Target;
use crate::item::{Salt, Value};
use crate::node::*;
use crate::time::Mono;
use crate::wire::{
    Advertised, Request, RequestExt, Response, ResponseMessage, Sender, Timestamp, WirePeer,
};

const MILLI: Duration = Duration::from_millis(1);

/// Puts and gets alternately, a few seconds apart, so that back-off ends in between. Returns the
/// longest time, separately for the first one.
fn operations(net: &mut Net, rounds: usize) -> (Duration, Duration) {
    let (mut first, mut others) = (Duration::ZERO, Duration::ZERO);
    for round in 0..rounds {
        let put = net.put(0, "x", b"v").unwrap();
        let get = net.get(1, 0, "x", ReadPolicy::Freshest).unwrap();
        let slowest = put.stats.elapsed.max(get.stats.elapsed);
        let worst = if round == 0 { &mut first } else { &mut others };
        *worst = slowest.max(*worst);
        net.run_for(Duration::from_secs(7));
    }
    (first, others)
}

#[test]
fn a_peer_that_falls_silent_holds_up_no_operation() {
    // Its process is stopped: streams are accepted, but no answer comes. Or a relay accepts the
    // request to open a stream and never answers.
    for opens in [true, false] {
        let mut net = Net::settled(7, |_, _| {});
        net.put(0, "x", b"v").unwrap();
        match opens {
            true => net.mute.insert(4),
            false => net.hang.insert(4),
        };
        let (first, others) = operations(&mut net, 12);
        assert!(first < 1_000 * MILLI, "opens {opens}: {first:?}");
        assert!(others < 200 * MILLI, "opens {opens}: {others:?}");
    }
}

#[test]
fn a_put_that_needs_the_slow_ones_waits_for_them() {
    let mut net = Net::settled(4, |_, _| {});
    net.mute.insert(3);
    let options = PutOptions {
        min_replicas: 3,
        ..PutOptions::default()
    };
    let op = net.start(
        0,
        Command::Put {
            salt: Salt::from("x"),
            value: Value::new(b"v"),
            options,
        },
    );
    net.run_for(Duration::from_secs(5));
    assert!(!net.finished.contains_key(&op), "two are not three");
    let Outcome::Put(Err(PutError::TooFewReplicas { partial, .. })) = net.wait(op) else {
        panic!("{:?}", net.finished[&op]);
    };
    let replicas = (partial.replicas.acknowledged(), partial.replicas.unknown);
    assert_eq!(replicas, (2, 1));
}

/// Node 0 among Go nodes 1 to 3 behind a relay, which always name a dead key; a stream to that key
/// is neither opened nor refused.
struct GoNetwork {
    hand: Hand,
    dead: usize,
}

impl GoNetwork {
    fn new() -> Self {
        let mut hand = Hand::new(|_| {});
        for go in 1..=3 {
            hand.introduce(go, Reach::Relayed, false);
        }
        Self { hand, dead: 9 }
    }

    fn answer(&self, peer: usize, request: &Request) -> Response {
        let named =
            [self.dead, 1, 2, 3].map(|n| WirePeer::new(&key(n), Timestamp::default(), None));
        let closest = Vec::from(named).into();
        match request {
            Request::Ping => Response::Ping {
                responder: Sender::of(&key(peer)),
            },
            Request::FindNode { .. } => Response::FindNode { closest },
            Request::GetValue { .. } => Response::GetValue {
                item: None,
                closest,
            },
            _ => Response::PutValue {
                stored: true,
                error: Default::default(),
            },
        }
    }

    /// Every live peer answers after 10 ms.
    fn step(&mut self) {
        self.hand.pass(10 * MILLI);
        for (stream, peer, ..) in self.hand.wanted() {
            let Some(go) = (1..=3).find(|go| key(*go) == peer) else {
                continue; // the dead one: the relay leaves the stream open
            };
            let request = self.hand.open(stream, Reach::Relayed).request;
            let response = self.answer(go, &request);
            let ext = None;
            self.hand.reply(stream, ResponseMessage { ext, response });
        }
    }

    fn pass(&mut self, duration: Duration) {
        let end = self.hand.now.plus(duration);
        while self.hand.now < end {
            self.step();
        }
    }

    /// Time that a command takes.
    fn run(&mut self, command: Command) -> Duration {
        let begin = self.hand.now;
        let op = self.hand.command(command);
        while self.hand.finished(op).is_none() {
            self.step();
        }
        self.hand.now.since(begin)
    }
}

#[test]
fn a_dead_key_that_go_nodes_name_for_ever_costs_the_first_operation_a_moment_and_the_next_nothing()
{
    let mut go = GoNetwork::new();
    let get = || {
        Command::Get(GetRequest {
            unknown_mirrors: true,
            target: Target::from(key(5).id()),
            policy: ReadPolicy::Freshest,
            owner: None,
            timeout: None,
        })
    };
    let put = || Command::Put {
        salt: Salt::from("x"),
        value: Value::new(b"v"),
        options: PutOptions::default(),
    };
    assert!(go.run(put()) < 500 * MILLI);
    for pause in [0, 1, 11, 2, 4, 40, 300] {
        go.pass(Duration::from_secs(pause));
        let (put, get) = (go.run(put()), go.run(get()));
        assert!(
            put <= 60 * MILLI && get <= 60 * MILLI,
            "after {pause} s: {put:?}, {get:?}"
        );
    }
    // It is asked again occasionally, but not by every operation.
    let owed = go.hand.node.base.peers.store.has_too_many_calls(&key(9));
    assert!(!owed);
}

#[test]
fn an_operation_that_ends_early_remembers_the_silent_peers() {
    let mut go = GoNetwork::new();
    go.run(Command::FindNode {
        target: key(5).id().into(),
        timeout: None,
    });
    // Cancelled long before the hard deadline, and long after operations stop waiting.
    go.pass(Duration::from_secs(2));
    let now = go.hand.now;
    assert!(
        go.hand
            .node
            .base
            .peers
            .store
            .expected(&key(9), now)
            .is_none()
    );
    assert!(
        go.hand
            .node
            .base
            .peers
            .store
            .expected(&key(1), now)
            .is_some()
    );
}

fn moved(n: usize) -> SocketAddr {
    let mut addr = addr(n);
    addr.set_port(2_000);
    addr
}

fn at(n: usize, place: SocketAddr) -> Config {
    let mut config = config(n);
    config.advertise = Advertise::Address(place);
    config
}

#[test]
fn a_node_that_moved_is_where_its_own_session_says_for_its_peers_and_for_newcomers() {
    let mut net = Net::new(9, |_, _| {});
    net.up[8] = false;
    net.run_for(Duration::from_secs(60));
    net.restart(5, moved(5), at(5, moved(5)));
    net.run_for(Duration::from_secs(20));
    for n in (0..8).filter(|n| *n != 5) {
        let of_five = net.nodes[n].base.peers.table.get(&key(5).id()).copied();
        let of_five = of_five.unwrap_or_else(|| panic!("{n} forgot it"));
        assert_eq!(of_five.addr, Some(moved(5)), "node {n}");
        assert!(of_five.is_live() && of_five.reachable, "node {n}");
    }
    net.begin(8);
    net.run_for(Duration::from_secs(20));
    let found = net.nodes[8]
        .base
        .peers
        .table
        .get(&key(5).id())
        .expect("found");
    assert_eq!((found.addr, found.is_live()), (Some(moved(5)), true));
}

#[test]
fn a_known_peer_that_names_another_address_is_handed_out_there_and_probed() {
    for works in [true, false] {
        let mut hand = Hand::new(|_| {});
        hand.introduce(1, Reach::Dialled, true);
        let asks = |port| RequestExt {
            addr: Some(Advertised::Port(port)),
            ..ours().unwrap()
        };
        let place = |port| SocketAddr::new(addr(1).ip(), port);
        hand.ask(1, Some(asks(4_000)), Request::Ping);
        let probe = |hand: &mut Hand| {
            let at = hand
                .outputs
                .iter()
                .position(|it| matches!(it, Output::Probe { .. }));
            at.map(|at| match hand.outputs.remove(at) {
                Output::Probe { probe, addr, .. } => (probe, addr),
                _ => unreachable!(),
            })
        };
        let (first, _) = probe(&mut hand).expect("a probe");
        hand.input(Input::Probed {
            probe: first,
            result: Ok(()),
        });
        // The same address again changes nothing.
        hand.ask(1, Some(asks(4_000)), Request::Ping);
        assert_eq!(probe(&mut hand), None);
        hand.ask(1, Some(asks(5_000)), Request::Ping);
        let peer = hand.node.peers().remove(0);
        assert_eq!((peer.addr, peer.reachable), (Some(place(5_000)), true));
        let (second, probed) = probe(&mut hand).expect("a probe");
        assert_eq!(probed, place(5_000));
        let result = match works {
            true => Ok(()),
            false => Err(OpenFailure::Unreachable),
        };
        hand.input(Input::Probed {
            probe: second,
            result,
        });
        let peer = hand.node.peers().remove(0);
        assert_eq!((peer.addr, peer.reachable), (Some(place(5_000)), works));
    }
}

#[test]
fn an_address_on_another_host_than_the_session_is_proven_before_it_is_handed_out() {
    let mut hand = Hand::new(|_| {});
    hand.introduce(1, Reach::Relayed, true);
    let victim: SocketAddr = "10.9.9.9:53".parse().unwrap();
    let ext = RequestExt {
        addr: Some(Advertised::At(victim)),
        ..ours().unwrap()
    };
    hand.ask(1, Some(ext.clone()), Request::Ping);
    assert_eq!(hand.node.peers()[0].addr, None, "only claimed");
    let probes = |hand: &mut Hand| -> Vec<ProbeId> {
        let probes = hand.outputs.iter().filter_map(|output| match output {
            Output::Probe { probe, addr, .. } if *addr == victim => Some(*probe),
            _ => None,
        });
        probes.collect()
    };
    let probe = probes(&mut hand)[0];
    let result = Err(OpenFailure::Handshake);
    hand.input(Input::Probed { probe, result });
    // However often it and others say so, the address stays in back-off.
    for peer in [1, 1, 1, 2, 3] {
        hand.ask(peer, Some(ext.clone()), Request::Ping);
    }
    assert_eq!(probes(&mut hand), [probe]);
    assert_eq!(hand.node.peers()[0].addr, None);
    hand.pass(Duration::from_secs(2));
    hand.ask(1, Some(ext), Request::Ping);
    let probe = *probes(&mut hand).last().unwrap();
    let result = Ok(());
    hand.input(Input::Probed { probe, result });
    assert_eq!(hand.node.peers()[0].addr, Some(victim), "proven");
}

#[test]
fn a_peer_whose_calls_failed_is_pinged_on_its_own_session_when_it_calls() {
    let mut hand = Hand::new(|_| {});
    hand.introduce(1, Reach::Relayed, true);
    let ping = Command::Ping {
        peer: key(1),
        addr: None,
    };
    let op = hand.command(ping);
    let (stream, ..) = hand.wanted().remove(0);
    let reason = OpenFailure::Timeout;
    hand.input(Input::StreamFailed { stream, reason });
    assert!(hand.finished(op).is_some());
    assert!(!hand.node.peers()[0].proven);
    hand.introduce(1, Reach::Relayed, true);
    assert!(hand.node.peers()[0].proven);
    // No other peer knows this one; a dial to it failed as well.
    let op = hand.command(Command::Ping {
        peer: key(2),
        addr: None,
    });
    let (stream, ..) = hand.wanted().remove(0);
    hand.input(Input::StreamFailed { stream, reason });
    assert!(hand.finished(op).is_some());
    hand.introduce(2, Reach::Relayed, true);
    assert_eq!(hand.node.peers().len(), 2);
}

/// The peers that the nodes of a network name to others.
fn handed_out(net: &Net, by: usize) -> BTreeSet<usize> {
    let node = &net.nodes[by];
    let since = node.base.peers.proven_since(node.base.cx.now.mono);
    let all = node
        .base
        .peers
        .table
        .iter()
        .filter(|it| it.reachable && it.is_proven(since));
    let number =
        |of: &crate::routing::Contact| (0..net.nodes.len()).find(|n| key(*n) == of.key).unwrap();
    all.map(number).collect()
}

#[test]
fn the_dead_are_neither_counted_nor_handed_out_beyond_the_bound_on_an_idle_node() {
    for hang in [false, true] {
        let mut net = Net::settled(10, |_, _| {});
        net.run_for(Duration::from_secs(600));
        for dead in 3..10 {
            net.kill(dead);
            if hang {
                net.up[dead] = true;
                net.hang.insert(dead);
                net.mute.insert(dead);
            }
        }
        if !hang {
            assert_eq!(net.nodes[0].snapshot().peers_proven, 9);
        }
        net.run_for(PROVE_AFTER + PROVE_GRACE);
        for n in 0..3 {
            let snapshot = net.nodes[n].snapshot();
            assert_eq!(snapshot.proven_within, PROVE_AFTER + PROVE_GRACE);
            let living: BTreeSet<usize> = (0..3).filter(|other| *other != n).collect();
            assert_eq!(handed_out(&net, n), living, "node {n}, hang {hang}");
            assert_eq!(snapshot.peers_proven, 2, "node {n}, hang {hang}");
            assert!(snapshot.last_sign_of_life < Some(PROVE_AFTER), "node {n}");
        }
    }
}

#[test]
fn a_lone_node_reports_the_age_of_the_last_sign_of_life() {
    let mut net = Net::settled(3, |_, _| {});
    net.kill(1);
    net.kill(2);
    net.run_for(Duration::from_secs(3 * 60));
    let snapshot = net.nodes[0].snapshot();
    assert_eq!(snapshot.peers_proven, 0);
    assert!(snapshot.last_sign_of_life > Some(Duration::from_secs(2 * 60)));
}

#[test]
fn proving_peers_costs_an_idle_node_less_than_a_kilobyte_a_second() {
    let mut net = Net::settled(80, |_, _| {});
    net.run_for(Duration::from_secs(600));
    let bytes = |net: &Net, n| net.counter(n, Counter::BytesIn) + net.counter(n, Counter::BytesOut);
    let before: Vec<u64> = (0..80).map(|n| bytes(&net, n)).collect();
    let seconds = 1_800;
    net.run_for(Duration::from_secs(seconds));
    let rates: Vec<u64> = (0..80)
        .map(|n| (bytes(&net, n) - before[n]) / seconds)
        .collect();
    let most = rates.iter().max().copied().unwrap_or_default();
    assert!(most < 1_000, "{rates:?}");
    assert!(net.counter(0, Counter::ProofPings) > 0);
    for n in 0..80 {
        let snapshot = net.nodes[n].snapshot();
        assert_eq!(snapshot.peers_proven, snapshot.peers, "node {n}");
    }
}

#[test]
fn one_address_in_two_forms_is_one_address_everywhere() {
    let plain: SocketAddr = "10.0.0.7:4000".parse().unwrap();
    let mapped: SocketAddr = "[::ffff:10.0.0.7]:4000".parse().unwrap();
    for (given, advertise) in [
        (mapped, Advertised::At(mapped)),
        (mapped, Advertised::Port(4_000)),
        (plain, Advertised::At(mapped)),
    ] {
        let mut hand = Hand::new(|config| {
            config.advertise = Advertise::Address(mapped);
            config.bootstrap = vec![BootstrapPeer {
                key: key(8),
                addrs: vec![mapped],
            }];
        });
        // In the list of bootstrap peers.
        let (stream, _, addrs, _) = hand.wanted().remove(0);
        assert_eq!(addrs.as_slice(), [plain]);
        // In a user's command, which is tried whatever failed before.
        let reason = OpenFailure::Unreachable;
        hand.input(Input::StreamFailed { stream, reason });
        for form in [plain, mapped] {
            let ping = Command::Ping {
                peer: key(7),
                addr: Some(form),
            };
            hand.command(ping);
            let (stream, _, addrs, _) = hand.wanted().remove(0);
            assert_eq!(addrs.as_slice(), [plain]);
            let reason = OpenFailure::NoAddress;
            hand.input(Input::StreamFailed { stream, reason });
        }
        hand.pass(Duration::from_secs(60));
        hand.wanted();
        // In its advertisement, and as a dual-stack listener sees it.
        let stream = StreamId(1_001);
        let path = Path {
            reach: Reach::Accepted,
            remote: Some(given),
        };
        let peer = key(1);
        hand.input(Input::StreamAccepted { stream, peer, path });
        let ext = RequestExt {
            addr: Some(advertise),
            ..ours().unwrap()
        };
        hand.request(stream, 1, Some(ext), Request::Ping);
        let own = hand.answer_on(stream).unwrap().ext.unwrap().addr;
        assert_eq!(own, Some(Advertised::At(plain)), "what it advertises");
        let (back, ..) = hand.wanted().into_iter().find(|it| it.1 == peer).unwrap();
        let path = Path {
            reach: Reach::Dialled,
            remote: Some(given),
        };
        hand.input(Input::StreamOpened { stream: back, path });
        hand.request_on(back).expect("a ping");
        let responder = Sender::of(&peer);
        let response = Response::Ping { responder };
        hand.reply(
            back,
            ResponseMessage {
                ext: None,
                response,
            },
        );
        let known = hand.node.peers().into_iter().find(|it| it.key == peer);
        assert_eq!(known.unwrap().addr, Some(plain), "{given} {advertise:?}");
    }
}

#[test]
fn no_sign_of_life_is_newer_than_the_clock() {
    // An empty table has none, and its snapshot says so.
    let hand = Hand::new(|_| {});
    let snapshot = hand.node.snapshot();
    assert_eq!(
        (snapshot.peers_proven, snapshot.last_sign_of_life),
        (0, None)
    );
    assert_eq!(Mono(5).minus(Duration::from_secs(1)), Mono(0));
}
