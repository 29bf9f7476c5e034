//! Actions that can be planned for the whole program.

use super::directory::Presence;
use super::relays::RelayId;
use crate::network::HostId;
use crate::scenario::action::Action;

/// A planned action.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ProgramAction {
    /// An action that also exists for cores.
    Common(Action),
    /// Breaks all connections of a host.
    Break(HostId),
    /// Blocks all traffic of a host.
    Silence(HostId),
    /// Ends [`Silence`](Self::Silence).
    Hear(HostId),
    /// Shuts a host down properly.
    Leave(HostId),
    /// Checks that the host has shut down.
    Left(HostId),
    /// Crashes a relay: its process if `true`, else its machine.
    RelayCrash(RelayId, bool),
    /// Starts a relay again.
    RelayStart(RelayId),
    /// Breaks all connections of a relay.
    RelayBreak(RelayId),
    /// Changes whether the discovery answers.
    Discovery(Presence),
}

impl From<Action> for ProgramAction {
    fn from(action: Action) -> Self {
        Self::Common(action)
    }
}
