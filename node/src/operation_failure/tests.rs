//! A table of all errors of the core's operations: code, exit status, fault, and words that must
//! occur in the cause and in the advice.

use skydht_core::id::Target;
use skydht_core::item::{Item, Salt, Value};
use skydht_core::key::{Signature, SignatureError};
use skydht_core::node::{LookupStats, Replicas};
use skydht_core::store::Refusal;

use super::*;
use crate::exit::Exit;

/// Source of the core, in which every variant is found.
const CORE: &str = include_str!("../../../core/src/node/outcome.rs");
const INPUT: &str = include_str!("../../../core/src/node/input.rs");

struct Row {
    /// Name of the variant in the core.
    name: &'static str,
    failure: Box<Failure>,
    code: Code,
    exit: Exit,
    fault: Fault,
    cause: &'static str,
    next: &'static str,
}

fn row(
    name: &'static str,
    failure: Box<Failure>,
    (code, exit, fault): (Code, Exit, Fault),
    cause: &'static str,
    next: &'static str,
) -> Row {
    Row {
        name,
        failure,
        code,
        exit,
        fault,
        cause,
        next,
    }
}

fn partial() -> Box<PutOutcome> {
    Box::new(PutOutcome {
        target: Target::of(&crate::keys::generate().unwrap().public(), b""),
        seq: Seq(5),
        replicas: Replicas {
            stored: 1,
            refused: vec![(Refusal::Quota, 2)],
            ..Replicas::default()
        },
        local: true,
        stats: LookupStats::default(),
    })
}

fn put_rows() -> Vec<Row> {
    use Code as C;
    use Exit as E;
    use Fault as F;
    let plain = PutRequest {
        salt: "my salt".into(),
        ..PutRequest::default()
    };
    let with_seq = PutRequest {
        seq: Some(Seq(3)),
        ..plain.clone()
    };
    let with_expect = PutRequest {
        expect: Some(Expected::Version(Seq(3))),
        ..plain.clone()
    };
    let expecting_none = PutRequest {
        expect: Some(Expected::Nothing),
        ..plain.clone()
    };
    let once = PutRequest {
        once: true,
        ..plain.clone()
    };
    let sequence = PutError::Sequence {
        have: Seq(9),
        got: Seq(3),
    };
    let ahead = PutError::SequenceAhead(Seq(99));
    let few = PutError::TooFewReplicas {
        wanted: 4,
        partial: partial(),
    };
    let late = PutError::Timeout { partial: partial() };
    let conflict = |held| PutError::Conflict { held };
    let put = |error, request: &PutRequest| put_failed(error, request, request.wants_renewal());
    let signature = ItemError::Signature(SignatureError::OtherKey);
    vec![
        row(
            "Item",
            put(&PutError::Item(ItemError::ValueTooLarge), &plain),
            (C::TooLarge, E::Refused, F::Caller),
            "exceeds max size",
            "put less",
        ),
        row(
            "Item",
            put(&PutError::Item(signature), &plain),
            (C::Refused, E::Refused, F::Caller),
            "signature",
            "sign the item again",
        ),
        row(
            "NoSecretKey",
            put(&PutError::NoSecretKey, &plain),
            (C::Refused, E::Refused, F::Local),
            "no secret key",
            "--key-file",
        ),
        row(
            "Sequence",
            put(&sequence, &with_seq),
            (C::Refused, E::Refused, F::Caller),
            "sequence 3 is not above 9",
            "leave --seq away",
        ),
        row(
            "Sequence",
            put(&sequence, &plain),
            (C::Conflict, E::Refused, F::Nobody),
            "another put of this item came first",
            "put again; read what is there with `skydht get self --salt 'my salt'`",
        ),
        row(
            "Overtaken",
            put(&PutError::Overtaken { have: Some(Seq(9)) }, &plain),
            (C::Conflict, E::Refused, F::Nobody),
            "was first at every try",
            "--expect SEQ",
        ),
        row(
            "OwnerPublishes",
            put(&PutError::OwnerPublishes { have: Seq(9) }, &plain),
            (C::Refused, E::Refused, F::Caller),
            "the owner publishes this item itself",
            "before every mirror",
        ),
        row(
            "SequenceSaturated",
            put(&PutError::SequenceSaturated, &plain),
            (C::Refused, E::Refused, F::Caller),
            "maximum",
            "another --salt",
        ),
        row(
            "SequenceAhead",
            put(&ahead, &with_seq),
            (C::Refused, E::Refused, F::Caller),
            "sequence 99 is more than a day ahead",
            "--force",
        ),
        row(
            "SequenceAhead",
            put(&ahead, &plain),
            (C::Refused, E::Refused, F::Local),
            "the item has a version from more than a day ahead",
            "check `date`",
        ),
        row(
            "Conflict",
            put(&conflict(Some(Seq(9))), &with_expect),
            (C::Conflict, E::Refused, F::Nobody),
            "sequence 9, not 3",
            "`skydht get self --salt 'my salt'`; to replace it, put again with --expect 9",
        ),
        row(
            "Conflict",
            put(&conflict(Some(Seq(9))), &expecting_none),
            (C::Conflict, E::Refused, F::Nobody),
            "where nothing was expected",
            "--expect 9",
        ),
        row(
            "Conflict",
            put(&conflict(None), &with_expect),
            (C::Conflict, E::Refused, F::Nobody),
            "nothing is held, where sequence 3",
            "--expect 0",
        ),
        row(
            "Local",
            put(&PutError::Local(Refusal::Full), &plain),
            (C::Refused, E::Refused, F::Local),
            "no room",
            "status --limits",
        ),
        row(
            "TooFewReplicas",
            put(&few, &plain),
            (C::Partial, E::Partial, F::Network),
            "1 of the 4 replicas asked for: stored 1/3 (1 new, 0 refreshed), 2 refused (quota",
            "this node keeps the item",
        ),
        row(
            "TooFewReplicas",
            put(&few, &once),
            (C::Partial, E::Partial, F::Network),
            "1 of the 4",
            "not published again",
        ),
        row(
            "Timeout",
            put(&late, &plain),
            (C::Timeout, E::Timeout, F::Network),
            "timed out: stored 1/3",
            "may be there all the same, and this node keeps",
        ),
        row(
            "Operation",
            kept(Seq(5)),
            (C::Kept, E::Partial, F::Network),
            "keeps the item, sequence 5, and publishes it",
            "skydht ls",
        ),
    ]
}

fn get_rows() -> Vec<Row> {
    use Code as C;
    use Exit as E;
    use Fault as F;
    let stats = LookupStats::default();
    let body = |policy: Option<&str>| GetBody {
        owner: "self".into(),
        salt: String::new(),
        policy: policy.map(str::to_owned),
        unknown_mirrors: false,
        timeout_ms: None,
        trace: false,
    };
    let get = |error| get_failed(&error, &body(None));
    let local = get_failed(&GetError::NotFound { stats }, &body(Some("local")));
    vec![
        row(
            "NotFound",
            get(GetError::NotFound { stats }),
            (C::NotFound, E::NotFound, F::Nobody),
            "none holds it",
            "are key and salt right",
        ),
        row(
            "NotFound",
            local,
            (C::NotFound, E::NotFound, F::Nobody),
            "own store; nobody else was asked",
            "leave --policy local away",
        ),
        row(
            "Deleted",
            get(GetError::Deleted { seq: Seq(4), stats }),
            (C::Deleted, E::NotFound, F::Nobody),
            "deleted by its owner, sequence 4",
            "only its owner",
        ),
        row(
            "Timeout",
            get(GetError::Timeout { best: None, stats }),
            (C::Timeout, E::Timeout, F::Network),
            "timed out",
            "--timeout",
        ),
        row(
            "WrongTarget",
            get(GetError::WrongTarget),
            (C::Usage, E::Usage, F::Caller),
            "do not give this target",
            "key and salt",
        ),
        row(
            "Operation",
            get(GetError::Operation(OperationError::NoPeers)),
            (C::NoPeers, E::Unreachable, F::Network),
            "no peers",
            "skydht status",
        ),
    ]
}

fn operation_rows() -> Vec<Row> {
    use Code as C;
    use Exit as E;
    use Fault as F;
    use OperationError as O;
    let row = |name, error: O, is, cause, next| row(name, error.into(), is, cause, next);
    vec![
        row(
            "NoPeers",
            O::NoPeers,
            (C::NoPeers, E::Unreachable, F::Network),
            "no bootstrap peer answers",
            "--bootstrap",
        ),
        row(
            "Busy",
            O::Busy(9),
            (C::Busy, E::Refused, F::Local),
            "9 operations",
            "status --limits",
        ),
        row(
            "Timeout",
            O::Timeout,
            (C::Timeout, E::Timeout, F::Network),
            "timed out",
            "--timeout",
        ),
        row(
            "Cancelled",
            O::Cancelled,
            (C::Cancelled, E::Local, F::Local),
            "cancelled",
            "try again",
        ),
        row(
            "ShuttingDown",
            O::ShuttingDown,
            (C::ShuttingDown, E::Unreachable, F::Local),
            "shutting down",
            "skydht run",
        ),
    ]
}

fn ping_rows() -> Vec<Row> {
    use Code as C;
    use Exit as E;
    use Fault as F;
    use OpenFailure as O;
    let unreachable = (C::PeerUnreachable, E::Unreachable, F::Peer);
    let row = |name, error: PingError, is, cause, next| row(name, error.into(), is, cause, next);
    let open = |name, why, is, cause, next| row(name, PingError::Open(why), is, cause, next);
    vec![
        open(
            "NoAddress",
            O::NoAddress,
            unreachable,
            "no known address",
            "--addr",
        ),
        open(
            "Unreachable",
            O::Unreachable,
            unreachable,
            "unreachable",
            "does it run",
        ),
        open("Timeout", O::Timeout, unreachable, "timed out", "firewall"),
        open(
            "Handshake",
            O::Handshake,
            (C::WrongPeer, E::Refused, F::Peer),
            "another key",
            "not with this key",
        ),
        open(
            "InvalidKey",
            O::InvalidKey,
            (C::Usage, E::Usage, F::Caller),
            "not a point",
            "copy it again",
        ),
        open(
            "Overloaded",
            O::Overloaded,
            (C::Busy, E::Refused, F::Local),
            "a local limit",
            "status --limits",
        ),
        open(
            "Closing",
            O::Closing,
            (C::ShuttingDown, E::Unreachable, F::Local),
            "closing",
            "skydht run",
        ),
        row(
            "NoAnswer",
            PingError::NoAnswer,
            unreachable,
            "did not answer",
            "try again",
        ),
        row(
            "Lost",
            PingError::Lost,
            unreachable,
            "was lost",
            "try again",
        ),
        row(
            "Operation",
            PingError::Operation(OperationError::Timeout),
            (C::Timeout, E::Timeout, F::Network),
            "timed out",
            "--timeout",
        ),
    ]
}

/// Returns the variants of an enum of the core, by parsing its source.
fn variants<'a>(source: &'a str, name: &str) -> Vec<&'a str> {
    let start = source.find(&format!("pub enum {name} {{")).unwrap();
    let body = source[start..].split("\n}").next().unwrap();
    let lines = body.lines().skip(1);
    let names = lines.filter_map(|line| {
        let name = line.strip_prefix("    ")?;
        let end = name.find(|c: char| !c.is_ascii_alphanumeric())?;
        name.starts_with(|c: char| c.is_ascii_uppercase())
            .then(|| &name[..end])
    });
    names.collect()
}

#[test]
fn every_outcome_has_its_cause_whose_doing_it_is_and_a_next_step() {
    let tables = [
        (CORE, "PutError", put_rows()),
        (CORE, "GetError", get_rows()),
        (CORE, "OperationError", operation_rows()),
        (CORE, "PingError", ping_rows()),
        (INPUT, "OpenFailure", ping_rows()),
    ];
    for (source, name, rows) in &tables {
        let known = variants(source, name);
        assert!(known.len() > 3, "{name}: {known:?}");
        for variant in known {
            let opens = variant == "Open" && *name == "PingError";
            let is_there = rows.iter().any(|row| row.name == variant);
            assert!(is_there || opens, "{name}::{variant} is not in the table");
        }
        for row in rows {
            let (failure, what) = (&row.failure, row.name);
            assert_eq!(failure.code, row.code, "{name}::{what}");
            assert_eq!(failure.exit, row.exit as u8, "{name}::{what}");
            assert_eq!(failure.fault, row.fault, "{name}::{what}");
            assert!(
                failure.message.contains(row.cause),
                "{name}::{what}: {failure}"
            );
            let hint = failure.hint.as_deref().unwrap_or_default();
            assert!(hint.contains(row.next), "{name}::{what}: {failure}");
            let json = serde_json::to_value(failure).unwrap();
            assert_eq!(json["exit"], row.exit as u8, "{name}::{what}");
            assert_eq!(json["message"], failure.message.as_str());
        }
    }
}

#[test]
fn different_causes_have_different_messages() {
    let all: Vec<Row> = [put_rows(), get_rows(), operation_rows(), ping_rows()]
        .into_iter()
        .flatten()
        .collect();
    for (i, a) in all.iter().enumerate() {
        for b in &all[i + 1..] {
            let same = a.failure.message == b.failure.message;
            // The same failure of another operation or request.
            assert!(
                !same || a.name == b.name || a.failure.code == b.failure.code,
                "{} and {}: {}",
                a.name,
                b.name,
                a.failure
            );
        }
    }
}

#[test]
fn a_request_that_no_item_can_satisfy_is_refused_before_peers_are_asked() {
    for (request, part) in [
        (PutRequest::of(&[0; 65_537]), "value"),
        (
            PutRequest {
                salt: "s".repeat(201),
                ..PutRequest::of(b"v")
            },
            "salt",
        ),
    ] {
        let failure = request.read().unwrap_err();
        assert_eq!(failure.code, Code::TooLarge);
        assert!(failure.message.contains(part), "{failure}");
    }
    let item = Item {
        key: crate::keys::generate().unwrap().public(),
        seq: Seq(1),
        signature: Signature::default(),
        value: Value::new(&[0; 65_536]),
        salt: Salt::from("s"),
    };
    item.check_sizes().unwrap();
}
