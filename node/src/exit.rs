//! Exit statuses that scripts can trust.

use std::process::ExitCode;

/// How the program ends. The numbers are a promise.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// Something on this machine failed: a file, a socket, a limit of the system.
    Local = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// Nothing could be reached: no peers, or no running node.
    Unreachable = 3,
    /// There is no such item, or its owner deleted it.
    NotFound = 4,
    /// Some of what was asked for was done.
    Partial = 5,
    /// Refused, or in conflict with what is there.
    Refused = 6,
    /// Not done in time.
    Timeout = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
