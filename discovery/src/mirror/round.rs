//! State of one round of requests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use skydht_core::key::PublicKey;

use crate::publish::{Content, RecordId};
use crate::record::{Service, ServiceAddress, ServiceKind, Transport, TransportId};
use crate::web::Request;
use crate::{dmsg, service, transport};

/// Why a round is incomplete.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoundError {
    /// The service was unreachable.
    #[error("{0}")]
    Unreachable(String),
    /// The response was unexpected.
    #[error("{0}")]
    Answer(String),
    /// The service has more records than the limit.
    #[error("more than {0} records")]
    TooMany(usize),
    /// The service rejected every batch as too long.
    #[error("no batch is short enough")]
    Batch,
}

/// A request to a service.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Entry(Box<dmsg::Call>),
    Transport(transport::Call),
    Service(service::Call),
}

/// How a round proceeds after a response.
pub(super) enum Step {
    /// Send the next request.
    Next,
    /// Send the same request again after this pause.
    Pause(Duration),
    /// End the round; what was found so far may still be used.
    Failed(RoundError),
}

/// Results of a round so far.
#[derive(Default)]
pub(super) struct Round {
    pub(super) queue: VecDeque<Call>,
    pub(super) found: BTreeMap<RecordId, Content>,
    pub(super) transports: BTreeMap<TransportId, Transport>,
    pub(super) services: BTreeMap<(ServiceAddress, ServiceKind), Service>,
    pub(super) error: Option<RoundError>,
    /// Records of another key than the requested one.
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

/// What earlier responses showed about a service.
#[derive(Debug)]
pub(super) struct ServiceTraits {
    /// It does not support batches of entries.
    pub(super) one_by_one: bool,
    /// Number of keys in a batch.
    pub(super) batch: usize,
    /// It has no list of all transports.
    pub(super) by_edge: bool,
    /// It does not support lists of several edges either.
    pub(super) each_edge: bool,
    /// Visors that may have transports.
    pub(super) edges: BTreeSet<PublicKey>,
}

impl Default for ServiceTraits {
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
