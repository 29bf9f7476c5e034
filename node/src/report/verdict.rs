//! The verdict on a node with its reasons, as shown to users.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use skydht_core::label_names;

use crate::color::{self, Painted, Tone};

/// The verdict on a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Everything works.
    Green,
    /// The node works, but something needs attention.
    Yellow,
    /// The node does not work.
    Red,
}

impl Verdict {
    /// Returns the coloured verdict, for stdout.
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

/// Subject of a reason. `verdict.rs` judges each of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Check {
    /// Whether the node has started.
    Start,
    /// Whether peers answer.
    Peers,
    /// Whether a bootstrap peer answers.
    Bootstrap,
    /// Sessions with DMSG servers.
    DmsgServers,
    /// Whether the discovery answers.
    Discovery,
    /// Whether the discovery accepts the node's entry.
    DiscoveryEntry,
    /// This machine's clock.
    Clock,
    /// Own items of an earlier run.
    OwnItems,
    /// Whether items survive a restart.
    Storage,
    /// Whether the limit of open files is high enough.
    OpenFiles,
    /// Whether limits were exceeded.
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

/// A reason for a verdict other than green.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Reason {
    /// Verdict that follows from this reason alone.
    pub(crate) verdict: Verdict,
    /// Subject; `None` from a node of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) check: Option<Check>,
    /// What is wrong.
    pub(crate) cause: String,
    /// The observation that shows it.
    pub(crate) evidence: String,
    /// What to do about it.
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
