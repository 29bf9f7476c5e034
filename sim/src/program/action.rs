//! What can be planned for the whole program.

use super::directory::Presence;
use super::relays::RelayId;
use crate::network::HostId;
use crate::scenario::action::Action;

/// Something planned.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ProgramAction {
    /// What cores know as well.
    Common(Action),
    /// All connections of a host break.
    Break(HostId),
    /// Nothing gets in or out of a host.
    Silence(HostId),
    /// The end of that.
    Hear(HostId),
    /// A host shuts down in order.
    Leave(HostId),
    /// It must have.
    Left(HostId),
    /// A relay dies: its process, or its machine.
    RelayCrash(RelayId, bool),
    /// It comes back.
    RelayStart(RelayId),
    /// All its connections break.
    RelayBreak(RelayId),
    /// The discovery answers no more, or again.
    Discovery(Presence),
}

impl From<Action> for ProgramAction {
    fn from(action: Action) -> Self {
        Self::Common(action)
    }
}
