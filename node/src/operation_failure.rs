//! Converts the core's errors to failures in the user's terms: cause, fault and advice. The same
//! error has different meanings for different requests.

use skydht_core::item::{ItemError, Seq};
use skydht_core::node::{
    Expected, GetError, OpenFailure, OperationError, PingError, PutError, PutOutcome, SyncError,
};

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::api::schema::{GetBody, PutRequest};
use crate::failure::{Code, Failure, Fault};
use crate::report::{LookupReport, PutReport};

/// Longest attempt to connect to an address in order to find out why a peer was not reached.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

impl From<OperationError> for Box<Failure> {
    fn from(error: OperationError) -> Self {
        let (code, hint) = match error {
            OperationError::NoPeers => (
                Code::NoPeers,
                "wait until the node has peers (`skydht status` says why it has none), or give --bootstrap PK@HOST:PORT",
            ),
            OperationError::Busy(_) => (
                Code::Busy,
                "try again; `skydht status --limits` says which limit to raise if it stays so",
            ),
            OperationError::Timeout => {
                (Code::Timeout, "try again, or give more time with --timeout")
            }
            OperationError::Cancelled => (Code::Cancelled, "try again"),
            OperationError::ShuttingDown => {
                (Code::ShuttingDown, "start it again with `skydht run`")
            }
            _ => (Code::Local, "try again"),
        };
        Failure::new(code, error).hint(hint)
    }
}

/// Converts an error of starting a reconciliation.
pub(crate) fn sync_failed(error: SyncError) -> Box<Failure> {
    match error {
        SyncError::Operation(error) => error.into(),
        SyncError::NotFullNode => Failure::new(Code::Refused, error)
            .hint("`skydht full-node on` makes it one, and then it reconciles by itself"),
        _ => Failure::new(Code::NoPeers, error).hint(
            "name one, `skydht sync PK`, or wait for an advert: full nodes send one every five minutes",
        ),
    }
}

/// Returns the option that names the item on the command line.
fn salt_word(salt: &str) -> String {
    if salt.is_empty() {
        String::new()
    } else {
        format!(" --salt {}", skydht_sim::figures::quote(salt))
    }
}

/// Converts an error of a put. `renewed`: whether the node stores and renews the item in spite of
/// it.
pub(crate) fn put_failed(error: &PutError, request: &PutRequest, renewed: bool) -> Box<Failure> {
    let failure = |code| Failure::new(code, error);
    let get = format!("skydht get self{}", salt_word(&request.salt));
    // What happens to an item that was not published, or not at enough peers.
    let stays = if renewed {
        "this node keeps the item and publishes it again"
    } else {
        "it is not published again"
    };
    match error {
        PutError::Item(ItemError::ValueTooLarge | ItemError::SaltTooLong) => {
            failure(Code::TooLarge).hint("put less, or in several items under salts of their own")
        }
        PutError::Item(_) => failure(Code::Refused).hint("sign the item again with its own key"),
        PutError::NoSecretKey => failure(Code::Refused)
            .fault(Fault::Local)
            .hint("start the node with a key: --key-file FILE"),
        PutError::Sequence { have, .. } if request.seq.is_some() => failure(Code::Refused).hint(
            format_args!("leave --seq away for the next one, or give one above {have}"),
        ),
        PutError::Sequence { have, .. } => Failure::new(
            Code::Conflict,
            format_args!("another put of this item came first: its sequence is {have}"),
        )
        .hint(format_args!(
            "put again; read what is there with `{get}`, or replace just that with --expect {have}"
        )),
        PutError::Overtaken { .. } => failure(Code::Conflict).hint(format_args!(
            "let one node at a time publish an item, or compare: read with `{get}`, then put with --expect SEQ"
        )),
        PutError::OwnerPublishes { .. } => failure(Code::Refused)
            .hint("what the owner publishes comes before every mirror: there is nothing to do"),
        PutError::SequenceSaturated => {
            failure(Code::Refused).hint("no put can succeed it: use another --salt")
        }
        PutError::SequenceAhead(_) if request.seq.is_some() => failure(Code::Refused)
            .hint("leave --seq away for the next one, or give --force if you mean it"),
        PutError::SequenceAhead(next) => Failure::new(
            Code::Refused,
            format_args!(
                "the item has a version from more than a day ahead of this machine's clock: the next sequence would be {next}"
            ),
        )
        .fault(Fault::Local)
        .hint("a clock was or is wrong: check `date`; if it is right now, --force goes on from that version"),
        PutError::Conflict { held } => conflict(*held, request, &get),
        PutError::Local(_) => failure(Code::Refused)
            .fault(Fault::Local)
            .hint("`skydht status --limits` says what is full"),
        PutError::TooFewReplicas { wanted, partial } => {
            let report = put_report(partial, renewed);
            Failure::new(
                Code::Partial,
                format_args!(
                    "{} of the {wanted} replicas asked for: {report}",
                    partial.replicas.acknowledged()
                ),
            )
            .hint(format_args!(
                "{stays}; try again later, or ask for fewer with --min-replicas"
            ))
            .details(&report)
        }
        PutError::Timeout { partial } => {
            let report = put_report(partial, renewed);
            Failure::new(Code::Timeout, format_args!("timed out: {report}"))
                .hint(format_args!(
                    "the item may be there all the same, and {stays}: read it, or put again with more --timeout"
                ))
                .details(&report)
        }
        PutError::Operation(error) => (*error).into(),
        _ => failure(Code::Refused).hint("see the node's log"),
    }
}

fn put_report(partial: &PutOutcome, renewed: bool) -> PutReport {
    PutReport {
        renewed,
        ..PutReport::new(partial)
    }
}

fn conflict(held: Option<Seq>, request: &PutRequest, get: &str) -> Box<Failure> {
    let expected = request.expect.and_then(Expected::version);
    let Some(held) = held else {
        let expected = expected.unwrap_or_default();
        return Failure::new(
            Code::Conflict,
            format_args!("nothing is held, where sequence {expected} was expected"),
        )
        .hint("it was deleted, has died or was never there; to put it then, give --expect 0");
    };
    let was = match expected {
        None => "where nothing was expected".to_owned(),
        Some(expected) => format!("not {expected}"),
    };
    Failure::new(
        Code::Conflict,
        format_args!("another version is held: sequence {held}, {was}"),
    )
    .hint(format_args!(
        "read it with `{get}`; to replace it, put again with --expect {held}"
    ))
}

/// Returns the failure of a put without any peer, of an item that the node stores and will publish.
pub(crate) fn kept(seq: Seq) -> Box<Failure> {
    Failure::new(
        Code::Kept,
        format_args!("there are no peers yet: this node keeps the item, sequence {seq}, and publishes it when it has some"),
    )
    .hint("nothing is left to do but to keep it running: `skydht ls` shows the item, `skydht status` why there are no peers")
}

/// Converts an error of a get.
pub(crate) fn get_failed(error: &GetError, body: &GetBody) -> Box<Failure> {
    let failure = |code| Failure::new(code, error);
    let is_local = body.policy.as_deref() == Some("local");
    match error {
        GetError::NotFound { stats } if is_local => Failure::new(
            Code::NotFound,
            "not found in this node's own store; nobody else was asked",
        )
        .hint("ask the network: leave --policy local away")
        .details(&LookupReport::new(stats)),
        GetError::NotFound { stats } => failure(Code::NotFound)
            .hint("are key and salt right? What was put just now may take a moment; what its owner does not renew is gone after its life")
            .details(&LookupReport::new(stats)),
        GetError::Deleted { stats, .. } => failure(Code::Deleted)
            .hint("only its owner can put it there again")
            .details(&LookupReport::new(stats)),
        GetError::Timeout { stats, .. } => failure(Code::Timeout)
            .hint("try again, give more time with --timeout, or read with --policy first")
            .details(&LookupReport::new(stats)),
        GetError::WrongTarget => {
            failure(Code::Usage).hint("give key and salt, or the target alone")
        }
        GetError::Operation(error) => (*error).into(),
        _ => failure(Code::Local).hint("see the node's log"),
    }
}

impl From<PingError> for Box<Failure> {
    fn from(error: PingError) -> Self {
        let (code, hint) = match error {
            PingError::Operation(error) => return error.into(),
            PingError::Open(reason) => match reason {
                OpenFailure::NoAddress => {
                    (Code::PeerUnreachable, "say where it is with --addr IP:PORT")
                }
                OpenFailure::Unreachable => (
                    Code::PeerUnreachable,
                    "does it run there? Is the address right? `--addr IP:PORT` names another",
                ),
                OpenFailure::Timeout => (
                    Code::PeerUnreachable,
                    "nothing came back: a firewall on the way, or the wrong address",
                ),
                OpenFailure::Handshake => (
                    Code::WrongPeer,
                    "something answers there, but not with this key: is it the right one for this address?",
                ),
                OpenFailure::InvalidKey => {
                    (Code::Usage, "no node can have this key: copy it again")
                }
                OpenFailure::Overloaded => (
                    Code::Busy,
                    "try again; `skydht status --limits` says which limit to raise if it stays so",
                ),
                OpenFailure::Closing => (Code::ShuttingDown, "start it again with `skydht run`"),
                _ => (Code::PeerUnreachable, "try again"),
            },
            PingError::NoAnswer => (
                Code::PeerUnreachable,
                "it may be overloaded, or speak another version: try again",
            ),
            _ => (Code::PeerUnreachable, "try again"),
        };
        Failure::new(code, error).hint(hint)
    }
}

/// Converts the error of a ping whose addresses all failed; connects to each once more to find the
/// cause.
pub(crate) async fn unreached(error: PingError, addrs: &[SocketAddr]) -> Box<Failure> {
    let mut causes = Vec::new();
    for addr in addrs {
        let connecting = tokio::time::timeout(PROBE_TIMEOUT, TcpStream::connect(addr));
        let cause = match connecting.await {
            Ok(Ok(_)) => "takes connections, but was not reached in time".to_owned(),
            Ok(Err(error)) => error.kind().to_string(),
            Err(_) => format!("no connection within {PROBE_TIMEOUT:?}"),
        };
        causes.push(format!("{addr}: {cause}"));
    }
    let mut failure: Box<Failure> = error.into();
    if !causes.is_empty() {
        failure.message = format!("cannot reach it: {}", causes.join("; "));
    }
    failure
}

#[cfg(test)]
mod tests;
