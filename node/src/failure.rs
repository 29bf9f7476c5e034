//! Failures, as the program, its HTTP responses and its JSON show them.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::exit::Exit;

/// Who can fix a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// The caller: the command or the configuration is wrong.
    Caller,
    /// This machine, or the node on it.
    #[default]
    Local,
    /// A single peer.
    Peer,
    /// The network, or the connection to it.
    Network,
    /// The failure is a regular outcome that needs no fix.
    Nobody,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident => $exit:ident, $status:literal, $fault:ident;)*) => {
        /// Stable identifier of a failure.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub(crate) enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Returns the program's exit status.
            pub(crate) const fn exit(self) -> Exit {
                match self { $(Self::$name => Exit::$exit,)* }
            }

            /// Returns the HTTP status.
            pub(crate) const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// Returns who can fix the failure.
            pub(crate) const fn fault(self) -> Fault {
                match self { $(Self::$name => Fault::$fault,)* }
            }
        }
    };
}

codes! {
    /// The command line or the request is wrong.
    Usage => Usage, 400, Caller;
    /// The configuration is wrong.
    Config => Usage, 400, Caller;
    /// A file, a socket or a limit of the system.
    Local => Local, 500, Local;
    /// A journal that cannot be read, or not to its end.
    Journal => Local, 500, Local;
    /// A replay that differs from the record.
    Differs => Local, 500, Local;
    /// No running node answers.
    Unreachable => Unreachable, 502, Local;
    /// The node has no peers.
    NoPeers => Unreachable, 503, Network;
    /// The node has not started yet, or its verdict is red.
    NotReady => Unreachable, 503, Local;
    /// The peer cannot be reached or does not answer.
    PeerUnreachable => Unreachable, 502, Peer;
    /// Something answers there, but not the peer that was meant.
    WrongPeer => Refused, 502, Peer;
    /// Not published, but stored by this node, which will publish it.
    Kept => Partial, 503, Network;
    /// No peer holds the item.
    NotFound => NotFound, 404, Nobody;
    /// The owner deleted the item.
    Deleted => NotFound, 410, Nobody;
    /// Fewer replicas than required, or a value from an incomplete read.
    Partial => Partial, 502, Network;
    /// A rule of the network or of this node forbids the request.
    Refused => Refused, 409, Caller;
    /// The item has another version than expected.
    Conflict => Refused, 409, Nobody;
    /// The value or the salt is too long.
    TooLarge => Refused, 413, Caller;
    /// Something exists that must not be overwritten.
    Exists => Refused, 409, Caller;
    /// A limit of the node is reached.
    Busy => Refused, 429, Local;
    /// The node is shutting down.
    ShuttingDown => Unreachable, 503, Local;
    /// Cancelled by the caller.
    Cancelled => Local, 499, Local;
    /// Not done in time.
    Timeout => Timeout, 504, Network;
    /// A watch ended without a newer version.
    NothingNew => Timeout, 504, Nobody;
    /// The token is missing or wrong.
    Unauthorized => Refused, 401, Caller;
    /// The host name is not the control API's.
    Misdirected => Refused, 421, Caller;
    /// A write from a web page, which the control API rejects.
    ForeignOrigin => Refused, 403, Caller;
    /// The control API has no such path.
    NoSuchPath => Usage, 404, Caller;
    /// The path does not support this method.
    Method => Usage, 405, Caller;
}

/// A failure, in the same form on the command line and over HTTP.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// Always [`Failure::SCHEMA`].
    pub(crate) schema: String,
    /// Stable identifier.
    pub(crate) code: Code,
    /// The program's exit status.
    pub(crate) exit: u8,
    /// Who can fix it.
    #[serde(default)]
    pub(crate) fault: Fault,
    /// Description of the failure.
    pub(crate) message: String,
    /// Advice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// Details; their structure depends on the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) details: Option<Value>,
}

/// Result of fallible operations of this program.
pub(crate) type Result<T> = std::result::Result<T, Box<Failure>>;

impl Failure {
    /// Name and version of this JSON schema.
    pub(crate) const SCHEMA: &'static str = "skydht.error/1";

    /// Creates a failure with the code's default exit status and fault.
    pub(crate) fn new(code: Code, message: impl fmt::Display) -> Box<Self> {
        Box::new(Self {
            schema: Self::SCHEMA.into(),
            code,
            exit: code.exit() as u8,
            fault: code.fault(),
            message: message.to_string(),
            hint: None,
            details: None,
        })
    }

    /// Sets the advice.
    pub(crate) fn hint(mut self: Box<Self>, hint: impl fmt::Display) -> Box<Self> {
        self.hint = Some(hint.to_string());
        self
    }

    /// Overrides the code's default fault.
    pub(crate) fn fault(mut self: Box<Self>, fault: Fault) -> Box<Self> {
        self.fault = fault;
        self
    }

    /// Adds a member to the details, which must be an object or absent.
    pub(crate) fn add_detail(&mut self, name: &str, detail: &impl Serialize) {
        let details = self.details.get_or_insert_with(|| serde_json::json!({}));
        if let (Some(members), Ok(detail)) = (details.as_object_mut(), serde_json::to_value(detail))
        {
            members.insert(name.into(), detail);
        }
    }

    /// Sets the details.
    pub(crate) fn details(mut self: Box<Self>, details: &impl Serialize) -> Box<Self> {
        self.details = serde_json::to_value(details).ok();
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  {hint}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_its_json() {
        let failure = Failure::new(Code::Conflict, "x").hint("y").details(&[1, 2]);
        let text = serde_json::to_string(&failure).unwrap();
        assert_eq!(serde_json::from_str::<Failure>(&text).unwrap(), *failure);
        assert!(text.contains(r#""code":"conflict""#), "{text}");
    }
}
