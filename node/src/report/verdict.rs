//! The verdict on a node, and its reasons, as they are shown.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use skydht_core::label_names;

use crate::color::{self, Painted, Tone};

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

impl Verdict {
    /// Its word, in its tone, for stdout.
    pub(crate) fn painted(self) -> Painted<String> {
        let tone = match self {
            Self::Green => Tone::Good,
            Self::Yellow => Tone::Warning,
            Self::Red => Tone::Bad,
        };
        Painted {
            text: self.to_string(),
            tone,
            on: color::is_on(&std::io::stdout()),
        }
    }
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

/// What a reason is about. Each is judged once, in `verdict.rs`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Check {
    /// Whether it is up.
    Start,
    /// Whether peers answer.
    Peers,
    /// Whether a bootstrap peer answers.
    Bootstrap,
    /// Sessions with DMSG servers.
    DmsgServers,
    /// Whether the discovery answers.
    Discovery,
    /// Whether the discovery takes the node's entry.
    DiscoveryEntry,
    /// This machine's clock.
    Clock,
    /// Own items of an earlier run.
    OwnItems,
    /// Whether items survive a restart.
    Storage,
    /// Whether there may be enough open files.
    OpenFiles,
    /// Whether limits refuse something.
    Limits,
}

label_names!(Check {
    Start => "start",
    Peers => "peers",
    Bootstrap => "bootstrap",
    DmsgServers => "dmsg_servers",
    Discovery => "discovery",
    DiscoveryEntry => "discovery_entry",
    Clock => "clock",
    OwnItems => "own_items",
    Storage => "storage",
    OpenFiles => "open_files",
    Limits => "limits",
});

/// Why a verdict is not green.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Reason {
    /// How bad.
    pub(crate) verdict: Verdict,
    /// What it is about; none from a node of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) check: Option<Check>,
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
            check: _,
            cause,
            evidence,
            remedy,
        } = self;
        write!(f, "  {verdict}: {cause} ({evidence})\n    {remedy}")
    }
}
