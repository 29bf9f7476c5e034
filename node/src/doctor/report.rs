//! Report of `skydht doctor`: what was checked, and what is wrong.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use skydht_core::key::PublicKey;
use skydht_core::node::Label as _;

use crate::failure::Failure;
use crate::output::Human;
use crate::report::{Reason, StatusReport, Verdict, from_ms};

/// Subject of a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Subject {
    Configuration,
    StateDir,
    Disk,
    Key,
    Node,
    Listen,
    ApiListen,
    OpenFiles,
    Storage,
    Discovery,
    DmsgServers,
    Clock,
    Bootstrap,
}

impl Subject {
    const fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::StateDir => "state_dir",
            Self::Disk => "disk",
            Self::Key => "key",
            Self::Node => "node",
            Self::Listen => "listen",
            Self::ApiListen => "api_listen",
            Self::OpenFiles => "open_files",
            Self::Storage => "storage",
            Self::Discovery => "discovery",
            Self::DmsgServers => "dmsg_servers",
            Self::Clock => "clock",
            Self::Bootstrap => "bootstrap",
        }
    }
}

/// A check with its result.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Examined {
    /// Name of the subject.
    pub(crate) check: String,
    pub(crate) ok: bool,
    /// What was found.
    pub(crate) detail: String,
}

/// A reason for a verdict other than green.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct EntryFuture {
    pub(crate) verdict: Verdict,
    /// Name of the subject.
    pub(crate) check: String,
    pub(crate) cause: String,
    pub(crate) evidence: String,
    /// The command to run, or another advice.
    pub(crate) remedy: String,
}

impl Display for EntryFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            verdict,
            cause,
            evidence,
            remedy,
            ..
        } = self;
        write!(f, "{verdict}: {cause}\n  {evidence}\n  {remedy}")
    }
}

/// Report of all checks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct DoctorReport {
    pub(crate) schema: String,
    pub(crate) verdict: Verdict,
    /// Whether a node runs with this state directory.
    pub(crate) running: bool,
    /// Key of the running node, or else of the configured key file.
    pub(crate) key: Option<PublicKey>,
    /// All checks.
    pub(crate) checked: Vec<Examined>,
    /// Reasons for the verdict; the root cause is first.
    pub(crate) reasons: Vec<EntryFuture>,
}

impl DoctorReport {
    /// Name and version of this JSON schema.
    pub(crate) const SCHEMA: &'static str = "skydht.doctor/1";
}

impl Display for DoctorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for reason in &self.reasons {
            writeln!(f, "{reason}")?;
        }
        let width = self.checked.iter().map(|it| it.check.len()).max();
        let width = width.unwrap_or(0);
        for (index, examined) in self.checked.iter().enumerate() {
            let Examined { check, ok, detail } = examined;
            let mark = if *ok { "ok " } else { "-- " };
            let end = if index + 1 < self.checked.len() {
                "\n"
            } else {
                ""
            };
            write!(f, "{mark} {check:<width$}  {detail}{end}")?;
        }
        Ok(())
    }
}

/// The results collected so far.
#[derive(Default)]
pub(super) struct Examination {
    pub(super) running: bool,
    pub(super) key: Option<PublicKey>,
    checked: Vec<Examined>,
    findings: Vec<EntryFuture>,
}

impl Examination {
    /// Adds a successful check.
    pub(super) fn fine(&mut self, subject: Subject, detail: impl Display) {
        self.checked.push(Examined {
            check: subject.name().into(),
            ok: true,
            detail: detail.to_string(),
        });
    }

    /// Adds a failed check.
    pub(super) fn bad(
        &mut self,
        subject: Subject,
        verdict: Verdict,
        cause: impl Display,
        evidence: impl Display,
        remedy: impl Display,
    ) {
        self.found(EntryFuture {
            verdict,
            check: subject.name().into(),
            cause: cause.to_string(),
            evidence: evidence.to_string(),
            remedy: remedy.to_string(),
        });
    }

    /// Adds a failure; `remedy` is used if it has no hint.
    pub(super) fn failed(
        &mut self,
        subject: Subject,
        cause: &str,
        failure: &Failure,
        remedy: &str,
    ) {
        let remedy = failure.hint.as_deref().unwrap_or(remedy);
        self.bad(subject, Verdict::Red, cause, &failure.message, remedy);
    }

    fn found(&mut self, finding: EntryFuture) {
        self.checked.push(Examined {
            check: finding.check.clone(),
            ok: false,
            detail: finding.cause.clone(),
        });
        self.findings.push(finding);
    }

    /// Adds a reason from a running node's status.
    pub(super) fn reason(&mut self, reason: Reason) {
        let check = reason
            .check
            .map_or(Subject::Node.name(), |check| check.name());
        self.found(EntryFuture {
            verdict: reason.verdict,
            check: check.into(),
            cause: reason.cause,
            evidence: reason.evidence,
            remedy: reason.remedy,
        });
    }

    /// Adds the status of a running node.
    pub(super) fn node(&mut self, status: StatusReport) {
        self.key = Some(status.key);
        let uptime = Human(from_ms(status.uptime_ms));
        let (key, peers) = (status.key, status.peers);
        let detail = format!("{key} is up for {uptime}, with {peers} peers");
        self.fine(Subject::Node, detail);
        for reason in status.reasons {
            self.reason(reason);
        }
    }
}

impl From<Examination> for DoctorReport {
    fn from(mut found: Examination) -> Self {
        // The worst findings come first; among equals, causes precede their effects.
        found
            .findings
            .sort_by_key(|it| std::cmp::Reverse(it.verdict));
        let worst = found.findings.first().map(|finding| finding.verdict);
        Self {
            schema: Self::SCHEMA.into(),
            verdict: worst.unwrap_or(Verdict::Green),
            running: found.running,
            key: found.key,
            checked: found.checked,
            reasons: found.findings,
        }
    }
}
