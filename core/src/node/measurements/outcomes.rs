//! Maps every result to the label that it is counted under. The matches are exhaustive, so a new
//! variant does not compile until it is assigned.

use crate::node::input::OpenFailure;
use crate::node::measurements::{
    CallOutcome, Measurements, OperationOutcome, RepairOutcome, ServedOutcome,
};
use crate::node::outcome::{
    GetError, GetOutcome, OperationError, Outcome, PingError, PutError, SyncError,
};
use crate::node::output::CloseReason;
use crate::wire::{Method, Response, ResponseMessage};

impl Measurements {
    /// Returns the label of an operation's outcome, and records the details of reads.
    pub(crate) fn finished(&mut self, outcome: &Outcome) -> OperationOutcome {
        match outcome {
            Outcome::Put(Ok(_))
            | Outcome::FindNode(Ok(_))
            | Outcome::Ping(Ok(_))
            | Outcome::Shutdown => OperationOutcome::Ok,
            Outcome::Get(Ok(found)) => {
                self.read(found);
                OperationOutcome::Ok
            }
            Outcome::Watch(Ok(_)) => OperationOutcome::Ok,
            Outcome::Sync(Ok(outcome)) if outcome.peers.iter().all(|it| it.result.is_ok()) => {
                OperationOutcome::Ok
            }
            Outcome::Sync(Ok(_)) => OperationOutcome::Partial,
            Outcome::Put(Err(error)) => put_outcome(error),
            Outcome::Get(Err(error)) | Outcome::Watch(Err(error)) => get_outcome(error),
            Outcome::FindNode(Err(error))
            | Outcome::Ping(Err(PingError::Operation(error)))
            | Outcome::Sync(Err(SyncError::Operation(error))) => operation_outcome(error),
            Outcome::Ping(Err(PingError::Open(_) | PingError::NoAnswer | PingError::Lost)) => {
                OperationOutcome::NoAnswer
            }
            Outcome::Sync(Err(SyncError::NotFullNode)) => OperationOutcome::Refused,
            Outcome::Sync(Err(SyncError::NoFullNodes)) => OperationOutcome::NoPeers,
        }
    }

    fn read(&mut self, found: &GetOutcome) {
        self.reads.count((found.origin, found.source));
        self.first_value_time.observe_time(found.first_value);
        if let Some(age) = found.age {
            self.read_age.of_mut(found.origin).observe_time(age);
        }
    }

    /// Records the result of repairing a stale holder; `None`: it did not answer.
    pub(crate) fn repaired(&mut self, answer: Option<&ResponseMessage>) {
        self.repairs
            .count(match answer.map(|message| &message.response) {
                Some(Response::PutValue { stored: true, .. }) => RepairOutcome::Stored,
                Some(_) => RepairOutcome::Refused,
                None => RepairOutcome::Failed,
            });
    }

    /// Records that a complete request of a peer was not answered.
    pub(crate) fn unanswered(&mut self, method: Method, reason: CloseReason) {
        let outcome = match reason {
            CloseReason::Protocol => ServedOutcome::Malformed,
            CloseReason::Overloaded | CloseReason::Evicted => ServedOutcome::Overloaded,
            CloseReason::Timeout | CloseReason::Idle => ServedOutcome::TimedOut,
            CloseReason::Shutdown | CloseReason::Done | CloseReason::Cancelled => {
                ServedOutcome::Shutdown
            }
        };
        self.served.count((method, outcome));
    }
}

/// The label of a call whose stream could not be opened.
pub(crate) const fn open_outcome(reason: OpenFailure) -> CallOutcome {
    match reason {
        OpenFailure::NoAddress
        | OpenFailure::Unreachable
        | OpenFailure::Timeout
        | OpenFailure::Handshake
        | OpenFailure::InvalidKey => CallOutcome::Unreachable,
        OpenFailure::Overloaded | OpenFailure::Closing => CallOutcome::Overloaded,
    }
}

const fn put_outcome(error: &PutError) -> OperationOutcome {
    match error {
        PutError::Item(_)
        | PutError::NoSecretKey
        | PutError::Sequence { .. }
        | PutError::Overtaken { .. }
        | PutError::OwnerPublishes { .. }
        | PutError::SequenceSaturated
        | PutError::SequenceAhead(_)
        | PutError::Conflict { .. }
        | PutError::Local(_) => OperationOutcome::Refused,
        PutError::TooFewReplicas { .. } => OperationOutcome::Partial,
        PutError::Timeout { .. } => OperationOutcome::TimedOut,
        PutError::Operation(error) => operation_outcome(error),
    }
}

const fn get_outcome(error: &GetError) -> OperationOutcome {
    match error {
        GetError::NotFound { .. } => OperationOutcome::NotFound,
        GetError::Deleted { .. } => OperationOutcome::Deleted,
        GetError::Timeout { best: Some(_), .. } => OperationOutcome::Partial,
        GetError::Timeout { best: None, .. } => OperationOutcome::TimedOut,
        GetError::WrongTarget => OperationOutcome::Refused,
        GetError::Operation(error) => operation_outcome(error),
    }
}

const fn operation_outcome(error: &OperationError) -> OperationOutcome {
    match error {
        OperationError::NoPeers => OperationOutcome::NoPeers,
        OperationError::Busy(_) => OperationOutcome::Busy,
        OperationError::Timeout => OperationOutcome::TimedOut,
        OperationError::Cancelled | OperationError::ShuttingDown => OperationOutcome::Cancelled,
    }
}
