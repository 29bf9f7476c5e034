use std::time::Duration;

use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::time::Mono;

use super::*;
use crate::auth::{Nonces, SignedCall, Step};
use crate::dmsg::Caller;
use crate::record::{SignedTransport, Transport};
use crate::web::{self, Request, Response};

fn secret(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).unwrap()
}

fn key(n: u8) -> PublicKey {
    secret(n).public()
}

fn between(a: u8, b: u8) -> Transport {
    Transport::new(key(a), key(b), "stcpr", "automatic")
}

fn signed(a: u8, b: u8) -> SignedTransport {
    let mut signed = SignedTransport::new(between(a, b));
    signed.sign(&secret(a)).unwrap();
    signed
}

struct World {
    discovery: TransportDiscovery,
    nonces: Nonces,
    now: Mono,
}

impl World {
    fn new(rules: Rules, limits: Limits) -> Self {
        let mut discovery = TransportDiscovery::new(rules, limits);
        discovery.note_changes();
        Self {
            discovery,
            nonces: Nonces::new(100),
            now: Mono(0),
        }
    }

    /// Creates a world without a rate limit.
    fn unhurried() -> Self {
        let pace = (Duration::ZERO, 1);
        let rules = Rules {
            pace,
            ..Rules::default()
        };
        Self::new(rules, Limits::default())
    }

    fn handle(&mut self, caller: Caller, request: &Request) -> Response {
        if let Some(answer) = self.nonces.answer(request) {
            return answer;
        }
        let nonces = &mut self.nonces;
        self.discovery.handle(self.now, nonces, caller, request)
    }

    /// Sends a call of key `n` over plain HTTP.
    fn ask(&mut self, n: u8, call: &Call) -> Result<Answer, AnswerError> {
        let mut response;
        if call.is_signed() {
            let (mut steps, mut request) = SignedCall::start(call.write(), secret(n), None);
            response = loop {
                let response = self.handle(Caller::Unknown, &request);
                match steps.handle(response) {
                    Step::Send(next) => request = next,
                    Step::Done(response) => break response,
                }
            };
        } else {
            response = self.handle(Caller::Unknown, &call.write());
        }
        let read = Answer::read(call, &response);
        // Over DMSG, where requests are unsigned, the response is the same; a repeated call changes
        // nothing.
        if !matches!(call, Call::Delete(_) | Call::DeleteBatch(_)) {
            response = self.handle(Caller::Key(key(n)), &call.write());
            assert_eq!(Answer::read(call, &response), read);
        }
        read
    }

    fn of_edge(&mut self, n: u8) -> Vec<Transport> {
        match self.ask(n, &Call::OfEdge(key(n))) {
            Ok(Answer::List(list)) => list,
            other => panic!("{other:?}"),
        }
    }

    /// Returns the edges whose lists have changed, with the lengths of the lists.
    fn changes(&mut self) -> Vec<(u8, usize)> {
        let changes = self.discovery.take_changes();
        let number = |edge: PublicKey| (1..20).find(|n| key(*n) == edge).unwrap();
        let mut changes: Vec<_> = changes
            .into_iter()
            .map(|(edge, list)| (number(edge), list.len()))
            .collect();
        changes.sort_unstable();
        changes
    }
}

fn status(answer: Result<Answer, AnswerError>) -> u16 {
    match answer {
        Err(AnswerError::Refused(refusal)) => refusal.status().as_u16(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn transports_are_under_both_edges_until_they_go() {
    let mut world = World::unhurried();
    let list = vec![signed(1, 2), signed(1, 3)];
    let transports = vec![between(1, 2), between(1, 3)];
    let answer = world.ask(1, &Call::Register(list.clone()));
    assert_eq!(answer, Ok(Answer::List(transports.clone())));
    assert_eq!(world.changes(), [(1, 2), (2, 1), (3, 1)]);
    // Repeating the registration changes nothing.
    world.ask(1, &Call::Register(list)).unwrap();
    assert_eq!(world.changes(), []);
    // Without signatures, transports with other edges are ignored.
    let bare = vec![between(2, 4), between(5, 6)];
    let answer = world.ask(2, &Call::RegisterBare(bare));
    assert_eq!(answer, Ok(Answer::List(vec![between(2, 4)])));
    assert_eq!(world.changes(), [(2, 2), (4, 1)]);
    let id = between(1, 2).id;
    assert_eq!(
        world.ask(9, &Call::ById(id)),
        Ok(Answer::One(between(1, 2)))
    );
    let mut of_edges = match world.ask(9, &Call::OfEdges(vec![key(1), key(2), key(7)])) {
        Ok(Answer::List(list)) => list,
        other => panic!("{other:?}"),
    };
    of_edges.sort();
    let mut expected = vec![between(1, 2), between(1, 3), between(2, 4)];
    expected.sort();
    assert_eq!(of_edges, expected);
    // Either edge can remove it, but no other key.
    assert_eq!(status(world.ask(3, &Call::Delete(id))), 400);
    assert_eq!(world.ask(2, &Call::Delete(id)), Ok(Answer::Deleted));
    assert_eq!(world.changes(), [(1, 1), (2, 1)]);
    assert_eq!(status(world.ask(1, &Call::ById(id))), 404);
    let ids = vec![between(1, 3).id, between(2, 4).id, id];
    let batch = Answer::Batch {
        deleted: 1,
        skipped: 2,
    };
    assert_eq!(world.ask(4, &Call::DeleteBatch(ids)), Ok(batch));
    assert_eq!(world.changes(), [(2, 0), (4, 0)]);
    assert_eq!(world.of_edge(2), []);
    assert_eq!(status(world.ask(2, &Call::ByEdge(key(2)))), 404);
    assert_eq!(world.of_edge(1), [between(1, 3)]);
}

#[test]
fn a_transport_lives_two_minutes_after_its_edges_last_word() {
    let mut world = World::unhurried();
    world
        .ask(1, &Call::RegisterBare(vec![between(1, 2)]))
        .unwrap();
    world
        .ask(3, &Call::RegisterBare(vec![between(3, 4)]))
        .unwrap();
    world.changes();
    world.now = world.now.plus(Duration::from_secs(100));
    assert_eq!(world.ask(2, &Call::Heartbeat), Ok(Answer::Noted));
    world.now = world.now.plus(Duration::from_secs(30));
    assert_eq!(world.of_edge(1).len(), 1);
    assert_eq!(world.of_edge(3), []);
    assert_eq!(world.changes(), [(3, 0), (4, 0)]);
    world.now = world.now.plus(TRANSPORT_LIFE);
    assert_eq!(world.of_edge(1), []);
    assert_eq!(world.discovery.stats().transports, 0);
}

#[test]
fn what_breaks_a_rule_is_refused_with_its_status() {
    let limits = Limits {
        transports: 4,
        of_key: 3,
    };
    let mut world = World::new(World::unhurried().discovery.rules(), limits);
    let register = |list| Call::Register(list);
    assert_eq!(status(world.ask(3, &register(vec![signed(1, 2)]))), 400);
    let unsigned = SignedTransport::new(between(1, 2));
    assert_eq!(status(world.ask(1, &register(vec![unsigned]))), 400);
    let mut forged = signed(1, 2);
    forged.signatures.swap(0, 1);
    assert_eq!(status(world.ask(1, &register(vec![forged]))), 400);
    let mut wrong = between(1, 2);
    wrong.id = between(1, 3).id;
    assert_eq!(status(world.ask(1, &Call::RegisterBare(vec![wrong]))), 400);
    // The limits per key and in total; existing transports can be registered again.
    let of_one: Vec<_> = (2..5).map(|n| between(1, n)).collect();
    world.ask(1, &Call::RegisterBare(of_one.clone())).unwrap();
    let more = Call::RegisterBare(vec![between(1, 5)]);
    assert_eq!(status(world.ask(1, &more)), 503);
    world.ask(1, &Call::RegisterBare(of_one)).unwrap();
    world
        .ask(6, &Call::RegisterBare(vec![between(6, 7)]))
        .unwrap();
    let more = Call::RegisterBare(vec![between(6, 8)]);
    assert_eq!(status(world.ask(6, &more)), 503);
    assert!(world.discovery.stats().full > 0);
    // A request without authentication.
    let call = Call::Heartbeat;
    let response = world.handle(Caller::Unknown, &call.write());
    assert_eq!(response.status(), 401);
    assert_eq!(world.discovery.stats().unauthorized, 1);
}

#[test]
fn a_caller_has_thirty_a_minute_and_ten_without_a_pause() {
    let mut world = World::new(Rules::default(), Limits::default());
    let call = Call::OfEdge(key(1)).write();
    let address = |n| Caller::Address([192, 0, 2, n].into());
    for caller in [address(1), address(2), Caller::Key(key(1))] {
        let mut answered = 0;
        while world.handle(caller, &call).status() == 200 {
            answered += 1;
        }
        assert_eq!(answered, 10);
    }
    let response = world.handle(address(1), &call);
    assert_eq!(response.status(), 429);
    let refused = Answer::read(&Call::OfEdge(key(1)), &response);
    let wait = Duration::from_secs(2);
    assert_eq!(refused, Err(Refusal::TooOften(wait).into()));
    assert!(world.discovery.stats().too_often >= 4);
    world.now = world.now.plus(Duration::from_secs(60));
    world.now = world.now.plus(Duration::from_secs(60));
    assert_eq!(world.handle(address(1), &call).status(), 200);
}

#[test]
fn a_discovery_of_today_has_no_list_of_all() {
    let mut world = World::unhurried();
    world
        .ask(1, &Call::RegisterBare(vec![between(1, 2)]))
        .unwrap();
    let all = world.ask(9, &Call::All);
    assert_eq!(all, Ok(Answer::List(vec![between(1, 2)])));
    let rules = Rules {
        lists_all: false,
        ..Rules::default()
    };
    let mut today = World::new(rules, Limits::default());
    assert_eq!(today.ask(9, &Call::All), Err(Refusal::Gone.into()));
    let statuses = web::request(http::Method::POST, "/statuses", Vec::new());
    assert_eq!(today.handle(Caller::Unknown, &statuses).status(), 410);
}

#[test]
fn requests_are_read_as_they_are_written() {
    for call in [
        Call::ById(between(1, 2).id),
        Call::ByEdge(key(1)),
        Call::OfEdge(key(1)),
        Call::OfEdges(vec![key(1), key(2)]),
        Call::All,
        Call::Register(vec![signed(1, 2)]),
        Call::RegisterBare(vec![between(1, 2)]),
        Call::Delete(between(1, 2).id),
        Call::DeleteBatch(vec![between(1, 2).id]),
        Call::Heartbeat,
    ] {
        let request = call.write();
        assert!(TransportDiscovery::has_path(request.uri().path()));
        assert_eq!(Call::read(&request), Ok(call));
    }
    let refused = |method: &str, path: &str, body: &str| {
        let method = http::Method::from_bytes(method.as_bytes()).unwrap();
        let request = web::request(method, path, body.as_bytes().to_vec());
        Call::read(&request).unwrap_err().status().as_u16()
    };
    for (method, path, body, status) in [
        ("GET", "/transports/", "", 405),
        ("PUT", "/all-transports", "", 405),
        ("POST", "/transports/edge:x", "", 405),
        ("GET", "/transports/edge:x", "", 400),
        ("GET", "/transports/id:", "", 400),
        ("GET", "/transports/what", "", 404),
        ("GET", "/v3/transports/id:x", "", 404),
        ("POST", "/transports/", "", 400),
        ("POST", "/transports/", "{}", 400),
        ("POST", "/transports/", "[[]]", 400),
        ("POST", "/transports/edges", "[1]", 400),
        ("POST", "/v3/transports/", "[{}]", 400),
    ] {
        assert_eq!(
            refused(method, path, body),
            status,
            "{method} {path} {body}"
        );
    }
    let many = format!("[{}1]", "1,".repeat(MOST_ASKED));
    assert_eq!(refused("POST", "/transports/edges", &many), 400);
    let long = " ".repeat(MAX_REQUEST + 1);
    assert_eq!(refused("POST", "/transports/", &long), 413);
}
