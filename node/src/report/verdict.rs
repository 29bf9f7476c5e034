//! The verdict on a node, and its reasons, as they are shown.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

/// How a node is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// All is well.
    Green,
    /// It works, but something wants attention.
    Yellow,
    /// It does not do its work.
    Red,
}

impl Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Green => "GREEN",
            Self::Yellow => "YELLOW",
            Self::Red => "RED",
        })
    }
}

/// Why a verdict is not green.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Reason {
    /// How bad.
    pub(crate) verdict: Verdict,
    /// What is wrong.
    pub(crate) cause: String,
    /// What shows it.
    pub(crate) evidence: String,
    /// What to do.
    pub(crate) remedy: String,
}

impl Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            verdict,
            cause,
            evidence,
            remedy,
        } = self;
        write!(f, "  {verdict}: {cause} ({evidence})\n    {remedy}")
    }
}
