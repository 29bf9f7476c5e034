use alloc::vec::Vec;

use quickcheck::quickcheck;

use super::*;
use crate::id::Target;
use crate::item::{Life, Origin};

fn session(set: &ItemSet) -> Session {
    Session::start(set, [7; 8], SessionLimits::default()).unwrap()
}

fn response(parts: Vec<ResponsePart>) -> Vec<u8> {
    SyncResponse { answered: 1, parts }.encode()
}

/// A peer that answers something that was not requested, twice, or nothing.
#[test]
fn answers_that_were_not_asked_for_end_the_session() {
    let set = set(0..1000, 1);
    let elsewhere = Prefix::of(&item(1, 0, 0).target(), 9);
    let stamp = Stamp {
        lead: Lead(1),
        origin: Origin::Owner,
        seq: Seq(9),
    };
    let foreign = (item(5000, 1, 3), Life::default());
    let all = Prefix::ALL;
    for parts in [
        alloc::vec![ResponsePart::Empty(elsewhere)],
        alloc::vec![ResponsePart::Leaf(elsewhere)],
        alloc::vec![ResponsePart::Leaf(all), ResponsePart::Leaf(all)],
        alloc::vec![ResponsePart::Same, ResponsePart::Empty(all)],
        alloc::vec![ResponsePart::Entries(all, 0, alloc::vec![stamp])],
        alloc::vec![ResponsePart::Item(foreign)],
        alloc::vec![ResponsePart::Wanted(1)],
        alloc::vec![ResponsePart::More(all, Target::default())],
    ] {
        let error = session(&set).handle(&set, &response(parts.clone()));
        assert_eq!(error, Err(SessionError::NotAsked), "{parts:?}");
    }
    let nothing = SyncResponse::default().encode();
    let error = session(&set).handle(&set, &nothing);
    assert_eq!(error, Err(SessionError::NoProgress));
    let more = SyncResponse {
        answered: 2,
        parts: Vec::new(),
    };
    let error = session(&set).handle(&set, &more.encode());
    assert_eq!(error, Err(SessionError::NotAsked));
}

/// An answer without a pending request.
#[test]
fn an_answer_without_a_request_is_refused() {
    let set = set(0..10, 1);
    let mut session = session(&set);
    session
        .handle(&set, &response(alloc::vec![ResponsePart::Same]))
        .unwrap();
    let error = session.handle(&set, &response(alloc::vec![ResponsePart::Same]));
    assert_eq!(error, Err(SessionError::NotAsked));
}

/// A peer that claims that every range differs: each round goes deeper, so the session ends.
#[test]
fn a_peer_that_claims_that_everything_differs_reaches_an_end() {
    let set = set(0..300, 1);
    let mut session = session(&set);
    let (mut rounds, mut given) = (0, 0);
    loop {
        let mut request = None;
        let mut finished = false;
        while let Some(output) = session.poll_output() {
            match output {
                SessionOutput::Send(bytes) => request = Some(SyncRequest::decode(&bytes).unwrap()),
                SessionOutput::Item(_) => panic!("nothing was sent"),
                SessionOutput::Finished(_) => finished = true,
            }
        }
        if finished {
            break;
        }
        rounds += 1;
        let request = request.unwrap();
        let mut parts = Vec::new();
        for part in &request.parts {
            match part {
                RequestPart::Whole(_) => {
                    parts.push(ResponsePart::Split(Prefix::ALL, 1, alloc::vec![[0; 4]; 2]))
                }
                RequestPart::Split(prefix, step, theirs) => {
                    let children = (0..theirs.len()).filter_map(|i| prefix.child(*step, i));
                    parts.extend(children.map(|child| match child.child(1, 0) {
                        Some(_) => ResponsePart::Split(child, 1, alloc::vec![[0; 4]; 2]),
                        None => ResponsePart::Leaf(child),
                    }));
                }
                RequestPart::Ids(prefix, ids) => {
                    let unknown = (1_u128 << ids.len()) - 1;
                    parts.push(ResponsePart::Entries(*prefix, unknown as u64, Vec::new()));
                }
                RequestPart::Give(_) => given += 1,
                RequestPart::Want(_) | RequestPart::Pull(..) | RequestPart::Offer(_) => {}
            }
        }
        let answered = u16::try_from(request.parts.len()).unwrap();
        let response = SyncResponse { answered, parts };
        session.handle(&set, &response.encode()).unwrap();
        assert!(rounds < 300, "it never ends");
    }
    assert_eq!(given, 300, "each item is given once");
}

/// A peer that sends the same page repeatedly.
#[test]
fn a_pull_that_does_not_move_on_ends_the_session() {
    let set = ItemSet::default();
    let first = item(1, 1, 1);
    let mut session = session(&set);
    let target = first.target();
    let page = |from| {
        response(alloc::vec![
            ResponsePart::Item((first.clone(), Life::default())),
            ResponsePart::More(Prefix::ALL, from),
        ])
    };
    let mut behind = *target.as_bytes();
    behind[31] = behind[31].wrapping_add(1).max(1);
    session
        .handle(&set, &page(Target::from_bytes(behind)))
        .unwrap();
    let error = session.handle(&set, &page(Target::from_bytes(behind)));
    assert_eq!(error, Err(SessionError::NotAsked));
    let error = self::session(&set).handle(
        &set,
        &response(alloc::vec![ResponsePart::More(
            Prefix::ALL,
            Target::default()
        )]),
    );
    assert_eq!(error, Err(SessionError::NotAsked));
}

#[test]
fn rounds_bytes_and_waiting_differences_are_bounded() {
    let full = set(0..5000, 1);
    let limits = SessionLimits::default();
    let run = |limits: SessionLimits| {
        let a = set(2500..7500, 1);
        let mut session = Session::start(&a, [1; 8], limits)?;
        loop {
            let mut answer = None;
            while let Some(output) = session.poll_output() {
                match output {
                    SessionOutput::Send(bytes) => {
                        let request = SyncRequest::decode(&bytes).unwrap();
                        answer = Some(respond(&full, request).response.encode());
                    }
                    SessionOutput::Item(_) => {}
                    SessionOutput::Finished(summary) => return Ok(summary),
                }
            }
            session.handle(&a, &answer.unwrap())?;
        }
    };
    let rounds = SessionLimits {
        rounds: 3,
        ..limits
    };
    assert_eq!(run(rounds), Err(SessionError::Rounds(3)));
    let bytes_in = SessionLimits {
        bytes_in: 5000,
        ..limits
    };
    assert_eq!(run(bytes_in), Err(SessionError::Bytes(5000)));
    let bytes_out = SessionLimits {
        bytes_out: 5000,
        ..limits
    };
    assert_eq!(run(bytes_out), Err(SessionError::Bytes(5000)));
    let waiting = SessionLimits {
        waiting: 100,
        ..limits
    };
    assert_eq!(run(waiting), Err(SessionError::Waiting(100)));
    assert!(run(limits).is_ok());
}

/// Requests that ask for as much as a message can.
#[test]
fn an_answer_to_a_greedy_request_is_bounded() {
    let full = set(0..20_000, 1);
    let everything = |part: RequestPart, times: usize| SyncRequest {
        salt: [0; 8],
        parts: alloc::vec![part; times],
    };
    let lead = Lead::of(&item(1, 1, 1).target());
    let split = RequestPart::Split(Prefix::ALL, 10, alloc::vec![[1; 4]; 1024]);
    for request in [
        everything(split, 120),
        everything(RequestPart::Want(alloc::vec![lead; MAX_IDS]), 900),
        everything(RequestPart::Pull(Prefix::ALL, Target::default()), 5000),
        everything(RequestPart::Ids(Prefix::ALL, Vec::new()), 5000),
        everything(RequestPart::Whole([0; 16]), 5000),
    ] {
        let bytes = request.encode();
        assert!(bytes.len() <= MAX_SYNC_MESSAGE);
        let reply = respond(&full, SyncRequest::decode(&bytes).unwrap());
        let len = reply.response.encode().len();
        assert!(len <= MAX_SYNC_MESSAGE, "{len} bytes");
        // One part may exceed the limit: at worst every range of it differs and is a full leaf.
        let most = MAX_RESPOND_WORK + 1024 * 2 * (MAX_LEAF as usize + 16);
        assert!(reply.work <= most, "{} steps", reply.work);
        assert!(reply.response.answered > 0);
    }
}

quickcheck! {
    fn any_bytes_are_a_message_or_an_error(bytes: Vec<u8>) -> bool {
        for lead in [1, 2] {
            let mut bytes = bytes.clone();
            bytes.insert(0, lead);
            if let Ok(request) = SyncRequest::decode(&bytes) {
                assert_eq!(request.encode(), bytes);
                let _ = respond(&set(0..100, 1), request);
            }
            if let Ok(response) = SyncResponse::decode(&bytes) {
                assert_eq!(response.encode(), bytes);
                let set = set(0..100, 1);
                let _ = session(&set).handle(&set, &bytes);
            }
        }
        true
    }
}
