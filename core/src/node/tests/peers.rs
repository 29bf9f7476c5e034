//! Which peers enter the table, and where they are dialled: rules 9, 13 and 15.

use core::time::Duration;

use super::hand::{Hand, key, ours};
use super::net::{Net, addr};
use crate::key::PublicKey;
use crate::node::*;
use crate::wire::{
    Advertised, Request, RequestExt, Response, ResponseExt, ResponseMessage, Sender, WirePeer,
};

#[test]
fn an_unknown_caller_is_pinged_back_on_its_session_and_enters_when_it_answers() {
    let mut hand = Hand::new(|_| {});
    hand.ask(1, None, Request::Ping);
    assert!(
        hand.node.peers().is_empty(),
        "a call alone proves no listener"
    );
    let wanted = hand.wanted();
    assert_eq!(wanted.len(), 1);
    assert_eq!((wanted[0].1, wanted[0].3), (key(1), SessionUse::ReuseOnly));
    hand.open(wanted[0].0, Reach::Accepted);
    let responder = Sender::of(&key(1));
    hand.reply(
        wanted[0].0,
        ResponseMessage {
            ext: None,
            response: Response::Ping { responder },
        },
    );
    let peers = hand.node.peers();
    assert_eq!(
        (peers[0].key, peers[0].skydht, peers[0].reachable),
        (key(1), Some(false), false)
    );
}

#[test]
fn nodes_without_room_for_each_other_do_not_ping_back_for_ever() {
    let mut net = Net::new(24, |_, config| config.k = 1);
    net.run_for(Duration::from_secs(60));
    for node in 0..net.nodes.len() {
        let ping_backs = net.counter(node, Counter::PingBacks);
        // At most one per other node in ten minutes.
        assert!(ping_backs <= 23, "{node}: {ping_backs}");
    }
}

#[test]
fn one_shot_clients_enter_no_table() {
    let mut hand = Hand::new(|_| {});
    let ext = Some(RequestExt {
        serves: false,
        ..RequestExt::default()
    });
    hand.ask(1, ext, Request::Ping);
    assert!(hand.wanted().is_empty());
}

#[test]
fn only_peers_that_we_reached_are_handed_out() {
    let mut hand = Hand::new(|_| {});
    hand.introduce(1, Reach::Accepted, true);
    hand.introduce(2, Reach::Relayed, true);
    let target = key(3).id().into();
    let answer = hand.ask(4, None, Request::FindNode { target }).unwrap();
    let Response::FindNode { closest } = answer.response else {
        panic!()
    };
    let keys: alloc::vec::Vec<_> = closest.peers.iter().filter_map(|peer| peer.key).collect();
    assert_eq!(keys, [key(2)]);
}

#[test]
fn a_peer_that_dialled_us_is_probed_at_its_own_address_before_it_is_handed_out() {
    let mut hand = Hand::new(|_| {});
    let ext = RequestExt {
        addr: Some(Advertised::Port(4000)),
        ..ours().unwrap()
    };
    hand.ask(1, Some(ext), Request::Ping);
    let (stream, ..) = hand.wanted()[0];
    hand.open(stream, Reach::Accepted);
    let responder = Sender::of(&key(1));
    let ext = Some(ResponseExt::default());
    hand.reply(
        stream,
        ResponseMessage {
            ext,
            response: Response::Ping { responder },
        },
    );
    let probe = hand.outputs.iter().find_map(|output| match output {
        Output::Probe { probe, peer, addr } => Some((*probe, *peer, *addr)),
        _ => None,
    });
    let mut expected = addr(1);
    expected.set_port(4000);
    let (probe, peer, at) = probe.expect("a probe");
    assert_eq!(
        (peer, at),
        (key(1), expected),
        "the port on the address we see it at"
    );
    assert!(!hand.node.peers()[0].reachable);
    hand.input(Input::Probed {
        probe,
        result: Ok(()),
    });
    let peers = hand.node.peers();
    assert!(peers[0].reachable && peers[0].addr == Some(expected));
    assert_eq!(
        hand.try_input(Input::Probed {
            probe,
            result: Ok(())
        }),
        Err(Misuse::UnknownProbe(probe))
    );
}

#[test]
fn lying_ids_and_impossible_keys_are_dropped_alone() {
    let mut hand = Hand::new(|_| {});
    hand.introduce(1, Reach::Relayed, true);
    let target = key(7).id().into();
    hand.command(Command::FindNode {
        target,
        timeout: None,
    });
    let request = hand
        .outputs
        .iter()
        .find_map(|output| match output {
            Output::Send { stream, .. } => Some(*stream),
            _ => None,
        })
        .or_else(|| {
            let (stream, ..) = hand.wanted()[0];
            hand.open(stream, Reach::Relayed);
            Some(stream)
        })
        .unwrap();
    let mut liar = WirePeer::new(&key(2), crate::wire::Timestamp::default(), None);
    liar.id = crate::id::NodeId::default();
    let honest = WirePeer::new(&key(3), crate::wire::Timestamp::default(), Some(addr(3)));
    let impossible = PublicKey::from_bytes(&{
        let mut bytes = [0xff; 33];
        bytes[0] = 2;
        bytes
    });
    let impossible = WirePeer::new(
        &impossible.unwrap(),
        crate::wire::Timestamp::default(),
        None,
    );
    let closest = alloc::vec![liar, impossible, honest].into();
    let ext = Some(ResponseExt::default());
    hand.reply(
        request,
        ResponseMessage {
            ext,
            response: Response::FindNode { closest },
        },
    );
    assert_eq!(hand.counter(Counter::LyingIds), 1);
    let (mut next, other): (Vec<_>, Vec<_>) = hand
        .wanted()
        .into_iter()
        .partition(|(_, peer, ..)| *peer == key(3));
    assert_eq!((next.len(), other.len()), (1, 1));
    assert_eq!(next.remove(0).2.as_slice(), [addr(3)]);
    // Without an address no transport checks the key.
    let (stream, reason) = (other[0].0, OpenFailure::NoAddress);
    hand.input(Input::StreamFailed { stream, reason });
    assert_eq!(hand.counter(Counter::InvalidKeys), 1);
}

#[test]
fn a_dead_oldest_peer_is_replaced_after_a_ping_and_a_living_one_stays() {
    // Every bucket has one peer, so the third and fourth find full ones.
    let mut net = Net::new(12, |_, config| config.k = 2);
    net.run_for(Duration::from_secs(120));
    let before = net.counter(0, Counter::EvictionPings);
    net.kill(3);
    net.kill(4);
    net.run_for(Duration::from_secs(3 * 3600));
    assert!(net.counter(0, Counter::EvictionPings) >= before);
    let dead = [
        super::net::secret(3).public(),
        super::net::secret(4).public(),
    ];
    for node in [0, 1, 2, 5, 6, 7, 8, 9, 10, 11] {
        let peers = net.nodes[node].peers();
        assert!(
            peers.iter().all(|peer| !dead.contains(&peer.key)),
            "node {node} lists the dead"
        );
    }
}

#[test]
fn ten_dead_bootstrap_peers_and_a_living_one_join_within_twelve_seconds() {
    let mut net = Net::new(13, |n, config| {
        if n == 12 {
            config.bootstrap = (1..12)
                .map(|peer| BootstrapPeer {
                    key: key(peer),
                    addrs: alloc::vec![addr(peer)],
                })
                .collect();
        }
    });
    for dead in 1..11 {
        net.up[dead] = false;
    }
    net.run_for(Duration::from_secs(12));
    assert!(!net.nodes[12].peers().is_empty());
    let snapshot = net.nodes[12].snapshot();
    assert_eq!(
        (snapshot.bootstrap_configured, snapshot.bootstrap_reachable),
        (11, 1)
    );
}

#[test]
fn a_node_whose_bootstrap_peers_are_dead_is_ready_once_others_have_found_it() {
    let bootstrap = |peer| BootstrapPeer {
        key: key(peer),
        addrs: alloc::vec![addr(peer)],
    };
    let mut net = Net::new(6, |n, config| {
        config.bootstrap = match n {
            0 => alloc::vec![],
            1 => alloc::vec![bootstrap(5)],
            _ => alloc::vec![bootstrap(0), bootstrap(1)],
        };
    });
    net.up[5] = false;
    net.run_for(Duration::from_secs(60));
    assert_eq!(net.nodes[1].peers().len(), 4);
    assert!(net.nodes[1].snapshot().ready);
}

#[test]
fn after_a_cut_of_half_an_hour_the_table_fills_within_a_minute() {
    let mut net = Net::settled(8, |_, _| {});
    net.kill(5);
    net.run_for(Duration::from_secs(1800));
    // The same process: its timers ran while no peer could be reached.
    let mut net2 = Net::new(2, |_, _| {});
    net2.up[0] = false;
    net2.run_for(Duration::from_secs(1800));
    assert!(net2.nodes[1].peers().is_empty());
    net2.up[0] = true;
    net2.run_for(Duration::from_secs(60));
    assert_eq!(net2.nodes[1].peers().len(), 1);
}

#[test]
fn joining_looks_up_no_bucket_that_the_self_lookups_have_covered() {
    let mut net = Net::settled(80, |_, _| {});
    net.run_for(Duration::from_secs(120));
    let lookups: u64 = (0..80)
        .map(|node| net.counter(node, Counter::Lookups))
        .sum();
    // 3.6 per node; 6.9 if every sparse bucket is looked up.
    assert!((80 * 3..80 * 5).contains(&lookups), "{lookups}");
}

#[test]
fn an_empty_stream_is_retried_once_and_then_fails() {
    let mut hand = Hand::new(|_| {});
    let op = hand.command(Command::Ping {
        peer: key(1),
        addr: Some(addr(1)),
    });
    for _ in 0..2 {
        let (stream, ..) = hand.wanted()[0];
        hand.open(stream, Reach::Dialled);
        assert!(hand.finished(op).is_none());
        hand.input(Input::StreamClosed {
            stream,
            end: StreamEnd::Finished,
        });
    }
    assert_eq!(
        hand.finished(op),
        Some(&Outcome::Ping(Err(PingError::NoAnswer)))
    );
    assert_eq!(hand.counter(Counter::CallsRetried), 1);
}

#[test]
fn a_call_whose_way_is_lost_takes_another_once_and_the_error_says_so() {
    // The reach, how the first attempt ends, and whether there is a second one.
    let cases = [
        (Reach::Dialled, StreamEnd::Lost, true),
        (Reach::Relayed, StreamEnd::Lost, true),
        // The relay lost the peer's session.
        (Reach::Relayed, StreamEnd::Reset, true),
        // Only the peer can have reset it.
        (Reach::Dialled, StreamEnd::Reset, false),
    ];
    for (reach, end, again) in cases {
        let mut hand = Hand::new(|_| {});
        let (peer, addr) = (key(1), Some(addr(1)));
        let op = hand.command(Command::Ping { peer, addr });
        let (stream, ..) = hand.wanted()[0];
        hand.open(stream, reach);
        hand.bytes(stream, &[0, 0]); // in the middle of the answer
        hand.input(Input::StreamClosed { stream, end });
        assert_eq!(hand.finished(op).is_none(), again, "{reach:?} {end:?}");
        assert_eq!(hand.counter(Counter::CallsRetried), u64::from(again));
        if !again {
            continue;
        }
        let (stream, ..) = hand.wanted()[0];
        hand.open(stream, reach);
        let end = StreamEnd::Lost;
        hand.input(Input::StreamClosed { stream, end });
        let lost = Outcome::Ping(Err(PingError::Lost));
        assert_eq!(hand.finished(op), Some(&lost));
    }
}

#[test]
fn a_silent_peer_is_given_up_after_ten_seconds() {
    let mut hand = Hand::new(|_| {});
    let op = hand.command(Command::Ping {
        peer: key(1),
        addr: Some(addr(1)),
    });
    let (stream, ..) = hand.wanted()[0];
    hand.open(stream, Reach::Dialled);
    hand.pass(Duration::from_millis(9_900));
    assert!(hand.finished(op).is_none());
    hand.pass(Duration::from_millis(200));
    assert_eq!(
        hand.finished(op),
        Some(&Outcome::Ping(Err(PingError::NoAnswer)))
    );
    assert_eq!(hand.closed(stream), Some(CloseReason::Timeout));
}

#[test]
fn a_suspended_machine_bootstraps_before_anything_expires() {
    let mut net = Net::settled(5, |_, _| {});
    net.put(1, "x", b"v").unwrap();
    net.run_for(Duration::from_secs(100));
    let held = net.nodes[2].snapshot().store.items;
    assert!(held > 0);
    // Three hours pass without any timer firing.
    net.now = net.now.plus(Duration::from_secs(3 * 3600));
    net.input(2, Input::TimerFired);
    assert_eq!(net.counter(2, Counter::ClockJumped), 1);
    assert_eq!(net.nodes[2].snapshot().store.items, held);
    assert!(net.events.contains(&(2, Event::ClockJumped)));
}
