//! The answers of each behaviour.

use std::time::Duration;

use skydht_core::id::Target;
use skydht_core::item::Seq;
use skydht_core::wire::{Advertised, PeerList, Request, Response, Want};

use super::{Interview, item, key, put_value};
use crate::hostile::{Behaviour, Collusion, Forgery, ValueLie};

const TARGET: Target = Target::from_bytes([0x42; 32]);

fn liar(value: ValueLie) -> Behaviour {
    Behaviour::Liar {
        peers: Forgery::Points,
        count: 20,
        value,
    }
}

fn value_and_peers(response: Response) -> (Option<skydht_core::wire::WireItem>, PeerList) {
    match response {
        Response::GetValue { item, closest } => (item, closest),
        other => panic!("no value: {other:?}"),
    }
}

fn taken() -> Response {
    Response::PutValue {
        stored: true,
        error: String::new(),
    }
}

#[test]
fn liars_invent_peers_and_agree_on_them() {
    let collusion = Collusion::new();
    let mut one = Interview::with(liar(ValueLie::Denied), false, &collusion);
    let find = Request::FindNode { target: TARGET };
    let Response::FindNode { closest } = one.ask(find.clone()).response else {
        panic!("no peers");
    };
    assert_eq!(closest.peers.len(), 20);
    let honest = |it: &skydht_core::wire::WirePeer| it.key.is_some_and(|key| key.id() == it.id);
    assert!(closest.peers.iter().all(honest));
    assert!(!closest.peers.iter().any(|it| it.key == Some(key(1))));
    let mut other = Interview::with(liar(ValueLie::Denied), false, &collusion);
    let again = other.ask(find).response;
    assert_eq!(again, Response::FindNode { closest });
}

#[test]
fn a_count_beyond_what_an_answer_holds_is_cut() {
    for peers in [Forgery::Points, Forgery::FalseIds, Forgery::BeyondField] {
        let mut liar = Interview::new(Behaviour::Liar {
            peers,
            count: u16::MAX,
            value: ValueLie::Denied,
        });
        let Response::FindNode { closest } =
            liar.ask(Request::FindNode { target: TARGET }).response
        else {
            panic!("no peers");
        };
        assert_eq!(closest.peers.len() + closest.excess as usize, 200);
    }
}

#[test]
fn a_false_value_has_the_highest_sequence() {
    let mine = item(3, 7, b"mine");
    let target = mine.target();
    for (lie, valid, owner) in [
        (ValueLie::BadSignature, false, true),
        (ValueLie::OwnKey, true, false),
    ] {
        let mut liar = Interview::new(liar(lie));
        assert_eq!(liar.ask(put_value(&mine)).response, taken());
        let answer = liar.ask(Request::GetValue { target });
        let (value, peers) = value_and_peers(answer.response);
        let value = value.unwrap().into_item().unwrap();
        assert_eq!(value.seq, Seq(u64::MAX));
        assert_eq!(value.check().is_ok(), valid);
        assert_eq!(value.key == mine.key, owner);
        assert_eq!(peers.peers.len(), 20);
    }
    let mut liar = Interview::new(liar(ValueLie::Denied));
    assert_eq!(liar.ask(put_value(&mine)).response, taken());
    let answer = liar.ask(Request::GetValue { target });
    assert_eq!(value_and_peers(answer.response).0, None);
}

#[test]
fn a_stale_peer_keeps_the_first_version_and_claims_to_have_taken_the_next() {
    let mut stale = Interview::new(Behaviour::Stale);
    let first = item(3, 7, b"first");
    assert_eq!(stale.ask(put_value(&first)).response, taken());
    assert_eq!(stale.ask(put_value(&item(3, 8, b"next"))).response, taken());
    stale.wait(Duration::from_secs(100_000));
    let target = first.target();
    let answer = stale.ask(Request::GetValue { target });
    assert_eq!(value_and_peers(answer.response).0, Some(first.into()));
}

#[test]
fn a_silent_peer_accepts_and_never_answers() {
    for pings in [true, false] {
        let mut silent = Interview::new(Behaviour::Silent { pings });
        let ping = silent.send(Request::Ping);
        assert_eq!(silent.is_closed(ping), pings);
        assert_eq!(!silent.sent(ping).is_empty(), pings);
        let find = silent.send(Request::FindNode { target: TARGET });
        silent.wait(Duration::from_secs(3_600));
        assert!(!silent.is_closed(find) && silent.sent(find).is_empty());
    }
}

#[test]
fn streams_are_bounded() {
    let mut silent = Interview::new(Behaviour::Silent { pings: false });
    let streams: Vec<_> = (0..1_100).map(|_| silent.send(Request::Ping)).collect();
    let closed = streams.iter().filter(|it| silent.is_closed(**it));
    assert_eq!(closed.count(), 1_100 - 1_024);
    assert_eq!(silent.peer.counters().dropped, 76);
    // Streams that do not end are not kept either.
    let mut silent = Interview::new(Behaviour::Stale);
    let stream = silent.open();
    let mut piece = vec![0; 600 << 10];
    piece[1] = 0x20;
    for _ in 0..2 {
        let bytes = std::borrow::Cow::Borrowed(&piece[..]);
        silent.input(skydht_core::node::Input::Bytes { stream, bytes });
    }
    assert!(silent.is_closed(stream));
}

#[test]
fn a_slow_peer_answers_in_pieces_and_stops() {
    let slow = |percent| Behaviour::Slow {
        piece: 10,
        every: Duration::from_secs(1),
        percent,
    };
    let mut whole = Interview::new(slow(100));
    let stream = whole.send(Request::Ping);
    assert_eq!(whole.sent(stream).len(), 10);
    whole.wait(Duration::from_secs(2));
    assert_eq!(whole.sent(stream).len(), 30);
    whole.wait(Duration::from_secs(60));
    assert!(whole.is_closed(stream));
    let length = whole.sent(stream).len();
    assert_eq!(whole.sent(stream)[..4], (length as u32 - 4).to_be_bytes());
    let mut half = Interview::new(slow(50));
    let stream = half.send(Request::Ping);
    half.wait(Duration::from_secs(600));
    assert_eq!(half.sent(stream).len(), length / 2);
    assert!(!half.is_closed(stream));
}

#[test]
fn poison_names_attackers_alone() {
    let collusion = Collusion::new();
    for n in 700..740 {
        collusion.join(key(n));
    }
    let mut poison = Interview::with(Behaviour::Poison { per_minute: 0 }, false, &collusion);
    let answer = poison.ask(Request::FindNode { target: TARGET }).response;
    let Response::FindNode { closest } = answer else {
        panic!("no peers");
    };
    let keys: Vec<_> = closest.peers.iter().map(|it| it.key.unwrap()).collect();
    assert_eq!(keys.len(), 20);
    assert!(keys.iter().all(|key| collusion.members().contains(key)));
    assert!(keys.is_sorted_by_key(|key| TARGET.distance(&key.id())));
}

#[test]
fn an_eclipse_is_of_one_target() {
    let collusion = Collusion::new();
    let mine = item(3, 7, b"mine");
    let other = item(4, 7, b"other");
    collusion.besiege(mine.target());
    collusion.join(key(700));
    let mut eclipse = Interview::with(Behaviour::Eclipse, false, &collusion);
    for item in [&mine, &other] {
        assert_eq!(eclipse.ask(put_value(item)).response, taken());
    }
    let mut ask = |target| value_and_peers(eclipse.ask(Request::GetValue { target }).response);
    let (item, peers) = ask(mine.target());
    let keys: Vec<_> = peers.peers.iter().filter_map(|it| it.key).collect();
    assert_eq!((item, keys), (None, vec![key(700)]));
    let (item, peers) = ask(other.target());
    assert_eq!(item, Some(other.into()));
    // The caller, as upstream's node would answer.
    assert_eq!(peers.peers.len(), 1);
}

#[test]
fn old_versions_are_served_again() {
    let mut replay = Interview::new(Behaviour::Replay { per_minute: 0 });
    let first = item(3, 7, b"first");
    for item in [&first, &item(3, 8, b"next")] {
        assert_eq!(replay.ask(put_value(item)).response, taken());
    }
    let target = first.target();
    let answer = replay.ask(Request::GetValue { target });
    assert_eq!(value_and_peers(answer.response).0, Some(first.into()));
}

#[test]
fn claims_come_in_the_extension() {
    let addr = "192.0.2.7:99".parse().unwrap();
    let mut liar = Interview::new(Behaviour::FalseClaims {
        addr,
        left: Duration::from_secs(9),
        per_minute: 0,
    });
    let mine = item(3, 7, b"mine");
    liar.ask(put_value(&mine));
    let target = mine.target();
    let answer = liar.ask(Request::GetValue { target });
    let ext = answer.ext.unwrap();
    assert_eq!(ext.addr, Some(Advertised::At(addr)));
    let life = ext.life.unwrap();
    assert_eq!(
        (life.age, life.left),
        (Duration::ZERO, Duration::from_secs(9))
    );
    let (_, peers) = value_and_peers(answer.response);
    assert!(!peers.peers.is_empty());
    assert!(peers.peers.iter().all(|it| it.addr == Some(addr)));
}

#[test]
fn other_behaviours_send_the_configured_extensions() {
    for extensions in [true, false] {
        let collusion = Collusion::new();
        let mut peer = Interview::with(Behaviour::Stale, extensions, &collusion);
        assert_eq!(peer.ask(Request::Ping).ext.is_some(), extensions);
        assert_eq!(peer.collusion.members().len(), 1);
    }
}

#[test]
fn hostile_peers_with_extensions_also_lie_in_them() {
    let mine = item(3, 7, b"mine");
    let target = mine.target();
    let renew = Request::Renew {
        target,
        seq: mine.seq,
        signature: mine.signature,
        content_hash: mine.content_hash(),
    };
    for behaviour in [liar(ValueLie::Denied), Behaviour::Eclipse, Behaviour::Stale] {
        let collusion = Collusion::new();
        collusion.besiege(target);
        collusion.join(key(700));
        let mut peer = Interview::with(behaviour.clone(), true, &collusion);
        let renewed = peer.ask(renew.clone()).response;
        assert!(matches!(renewed, Response::Renew { stored: true, .. }));
        let put = peer.ask_with(put_value(&mine), Want::Peers);
        let keys: Vec<_> = put.ext.unwrap().closest.peers;
        let keys: Vec<_> = keys.iter().filter_map(|it| it.key).collect();
        match behaviour {
            Behaviour::Liar { .. } => assert!(keys.len() == 20 && !keys.contains(&key(1))),
            Behaviour::Eclipse => assert_eq!(keys, [key(700)]),
            _ => assert_eq!(keys, [key(1)]),
        }
        // Without extensions it does not answer, like upstream.
        let mut peer = Interview::with(behaviour, false, &collusion);
        let stream = peer.send(renew.clone());
        assert!(peer.is_closed(stream) && peer.sent(stream).is_empty());
    }
}
