//! The steps of a read.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use skydht_core::key::PublicKey;
use skydht_core::node::HopResult;

/// Kind of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HopState {
    /// A request was sent.
    Asked,
    /// An answer arrived.
    Answered,
    /// The request failed, or its answer was unusable.
    Failed,
}

/// A step of a read.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct HopReport {
    /// Time since the read began.
    pub(crate) at_ms: f64,
    pub(crate) peer: PublicKey,
    /// Number of leading bits that the peer's id shares with the target.
    pub(crate) prefix: u16,
    pub(crate) state: HopState,
    /// Number of new peers that the answer named.
    pub(crate) new: u16,
    /// Whether the answer contained an item.
    pub(crate) item: bool,
}

impl HopReport {
    pub(crate) fn new(at_ms: f64, peer: PublicKey, prefix: u16, result: HopResult) -> Self {
        let (state, new, item) = match result {
            HopResult::Asked => (HopState::Asked, 0, false),
            HopResult::Answered { new, item } => (HopState::Answered, new, item),
            HopResult::Failed => (HopState::Failed, 0, false),
        };
        Self {
            at_ms,
            peer,
            prefix,
            state,
            new,
            item,
        }
    }

    /// Describes the step.
    pub(crate) fn what(&self) -> String {
        match self.state {
            HopState::Asked => "asked".into(),
            HopState::Failed => "failed".into(),
            HopState::Answered if self.item => format!("answered, {} new, has it", self.new),
            HopState::Answered => format!("answered, {} new", self.new),
        }
    }
}

impl Display for HopReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at_ms,
            peer,
            prefix,
            ..
        } = self;
        write!(
            f,
            "+{at_ms:>8.1} ms  {peer}  {prefix:>3} bits  {}",
            self.what()
        )
    }
}
