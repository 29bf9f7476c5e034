//! All kinds of inputs and commands. A new kind does not compile until it is listed here, and then
//! the journals must contain it.

use skydht_core::node::{Command, Input};

macro_rules! kinds {
    ($function:ident, $all:ident, $type:ty, $($name:literal: $pattern:pat,)*) => {
        /// Returns the name of the kind.
        pub(crate) fn $function(what: &$type) -> &'static str {
            match what { $($pattern => $name,)* }
        }

        /// Names of all kinds.
        pub(crate) const $all: &[&str] = &[$($name,)*];
    };
}

kinds! { of_input, INPUTS, Input<'_>,
    "stream opened": Input::StreamOpened { .. },
    "stream failed": Input::StreamFailed { .. },
    "stream accepted": Input::StreamAccepted { .. },
    "bytes": Input::Bytes { .. },
    "sent": Input::Sent { .. },
    "stream closed": Input::StreamClosed { .. },
    "command": Input::Command { .. },
    "cancel": Input::Cancel { .. },
    "verified": Input::Verified { .. },
    "loaded": Input::Loaded { .. },
    "mark loaded": Input::MarkLoaded { .. },
    "loaded up to": Input::LoadedUpTo { .. },
    "target loaded": Input::TargetLoaded { .. },
    "persisted": Input::Persisted { .. },
    "probed": Input::Probed { .. },
    "timer fired": Input::TimerFired,
    "set full node": Input::SetFullNode { .. },
}

kinds! { of_command, COMMANDS, Command,
    "put": Command::Put { .. },
    "put signed": Command::PutSigned { .. },
    "get": Command::Get(_),
    "find node": Command::FindNode { .. },
    "ping": Command::Ping { .. },
    "sync": Command::Sync { .. },
    "watch": Command::Watch { .. },
    "shutdown": Command::Shutdown,
}
