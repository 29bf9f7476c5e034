//! DMSG's error codes (specification §5.4). Only the number is transferred.

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// An error code of the protocol.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, thiserror::Error)]
        #[repr(u16)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $(
                $(#[$doc])*
                #[error("dmsg error {} - {}", $number, $text)]
                $name = $number,
            )*
        }

        impl ErrorCode {
            /// All known codes, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the error with this number, if it is known.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// The discovery has no entry of that key.
    EntryNotFound = 100, "discovery has no such entry";
    /// The entry is not a server's.
    EntryNotServer = 101, "the discovery entry is not a server's";
    /// The entry is not a client's.
    EntryNotClient = 102, "the discovery entry is not a client's";
    /// The client's entry names no servers.
    NoDelegatedServers = 103, "the client's entry names no servers";
    /// This end is shutting down.
    EntityClosed = 200, "this end is closed";
    /// The session has ended.
    SessionClosed = 201, "the session is closed";
    /// None of the destination's servers can be reached.
    CannotConnectToServer = 202, "no connection to a delegated server";
    /// Bytes followed the last handshake message. Here they are read as the first of the session.
    ExtraBytes = 203, "extra bytes behind the handshake";
    /// The request is not signed by its source.
    RequestSignature = 300, "request is not signed by its source";
    /// The request's timestamp is not positive, or the request was seen before.
    RequestTimestamp = 301, "request is not newer than the last";
    /// The request's source is not a valid key, or not the session's.
    RequestSourceKey = 302, "request has an invalid source key";
    /// The request's destination is not a valid key.
    RequestDestinationKey = 303, "request has an invalid destination key";
    /// The request's source port is 0.
    RequestSourcePort = 304, "request has an invalid source port";
    /// The request's destination port is 0.
    RequestDestinationPort = 305, "request has an invalid destination port";
    /// There is no listener on the destination port.
    NoListener = 306, "no listener on that port";
    /// The relay has no session with the destination.
    NoNextSession = 307, "the relay has no session with the destination";
    /// The relay is at its capacity (later versions of upstream).
    RelayCapacity = 308, "the relay is at its capacity";
    /// The response is not signed by the destination.
    ResponseSignature = 350, "response is not signed by the destination";
    /// The response belongs to another request.
    ResponseHash = 351, "response belongs to another request";
    /// Refused without a reason, or with an unknown one.
    NoReason = 352, "request refused without a known reason";
    /// The object is too short, too long, or cannot be decoded.
    InvalidObject = 370, "signed object is malformed";
    /// The port is in use.
    PortOccupied = 400, "port is taken";
    /// The listener does not accept as fast as streams arrive.
    AcceptQueueFull = 401, "the listener's queue is full";
}

impl ErrorCode {
    /// Returns the number that is transferred.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// Returns whether a retry may succeed.
    #[must_use]
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::NoListener | Self::AcceptQueueFull)
    }
}
