//! One round: what was asked, and what was found.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use skydht_core::key::PublicKey;

use crate::publish::{Content, RecordId};
use crate::record::{Service, ServiceAddress, ServiceKind, Transport, TransportId};
use crate::web::Request;
use crate::{dmsg, service, transport};

/// Why a round did not find everything.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoundError {
    /// The service was not reached.
    #[error("{0}")]
    Unreachable(String),
    /// It answered something else.
    #[error("{0}")]
    Answer(String),
    /// It has more than is followed.
    #[error("more than {0} records")]
    TooMany(usize),
    /// It named a batch too long again and again.
    #[error("no batch is short enough")]
    Batch,
}

/// What a service is asked.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Entry(Box<dmsg::Call>),
    Transport(transport::Call),
    Service(service::Call),
}

/// What follows from an answer.
pub(super) enum Step {
    /// Go on.
    Next,
    /// Ask this again, after a pause.
    Pause(Duration),
    /// The round is lost, but for what was found.
    Failed(RoundError),
}

/// What a round has found so far.
#[derive(Default)]
pub(super) struct Round {
    pub(super) queue: VecDeque<Call>,
    pub(super) found: BTreeMap<RecordId, Content>,
    pub(super) transports: BTreeMap<TransportId, Transport>,
    pub(super) services: BTreeMap<(ServiceAddress, ServiceKind), Service>,
    pub(super) error: Option<RoundError>,
    /// Records of another key than the one they were asked for.
    pub(super) rejected: u64,
}

impl Call {
    pub(super) fn write(&self) -> Request {
        match self {
            Self::Entry(call) => call.write(),
            Self::Transport(call) => call.write(),
            Self::Service(call) => call.write(),
        }
    }
}

/// What was learnt of a service, over its rounds.
#[derive(Debug)]
pub(super) struct Habits {
    /// It has no batches of entries.
    pub(super) one_by_one: bool,
    /// Keys in one batch.
    pub(super) batch: usize,
    /// It has no list of all transports.
    pub(super) by_edge: bool,
    /// It has no lists of several edges either.
    pub(super) each_edge: bool,
    /// The visors that may have transports.
    pub(super) edges: BTreeSet<PublicKey>,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            one_by_one: false,
            batch: 100,
            by_edge: false,
            each_edge: false,
            edges: BTreeSet::new(),
        }
    }
}
