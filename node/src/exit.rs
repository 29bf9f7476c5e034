//! Exit statuses.

use std::process::ExitCode;

/// Exit status of the program. The numbers are a stable interface.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Success.
    Ok = 0,
    /// Something on this machine failed: a file, a socket, a limit of the system.
    Local = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// No peer or no running node was reached.
    Unreachable = 3,
    /// There is no such item, or its owner deleted it.
    NotFound = 4,
    /// A part of the request succeeded.
    Partial = 5,
    /// Rejected, or in conflict with the current version.
    Refused = 6,
    /// Timeout.
    Timeout = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
