//! Every way to fail, as the program, its HTTP answers and its JSON say it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::exit::Exit;

/// Whose doing a failure is: who can do something about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// The caller: the command or the configuration is wrong.
    Caller,
    /// This machine, or the node on it.
    #[default]
    Local,
    /// One peer.
    Peer,
    /// The network, or the way to it.
    Network,
    /// No one in particular: that is how things are.
    Nobody,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident => $exit:ident, $status:literal, $fault:ident;)*) => {
        /// What went wrong, as one stable word.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub(crate) enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// The program's exit status.
            pub(crate) const fn exit(self) -> Exit {
                match self { $(Self::$name => Exit::$exit,)* }
            }

            /// The HTTP status.
            pub(crate) const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// Whose doing it is.
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
    /// A journal that cannot be read to its end, or not at all.
    Journal => Local, 500, Local;
    /// A replay that did something else than was recorded.
    Differs => Local, 500, Local;
    /// No running node answers.
    Unreachable => Unreachable, 502, Local;
    /// The node has no peers.
    NoPeers => Unreachable, 503, Network;
    /// The node has not finished its start, or its verdict is red.
    NotReady => Unreachable, 503, Local;
    /// The peer cannot be reached or does not answer.
    PeerUnreachable => Unreachable, 502, Peer;
    /// Something answers there, but not the peer that was meant.
    WrongPeer => Refused, 502, Peer;
    /// Not published yet, but kept by this node, which will publish it.
    Kept => Partial, 503, Network;
    /// No peer holds the item.
    NotFound => NotFound, 404, Nobody;
    /// The owner deleted the item.
    Deleted => NotFound, 410, Nobody;
    /// Fewer replicas than asked for, or a value from a read that was not finished.
    Partial => Partial, 502, Network;
    /// A rule of the network or of this node forbids it.
    Refused => Refused, 409, Caller;
    /// Another version is there.
    Conflict => Refused, 409, Nobody;
    /// The value or the salt is too long.
    TooLarge => Refused, 413, Caller;
    /// Something that must not be overwritten exists.
    Exists => Refused, 409, Caller;
    /// The node does as much as it may.
    Busy => Refused, 429, Local;
    /// The node is shutting down.
    ShuttingDown => Unreachable, 503, Local;
    /// Cancelled by its caller.
    Cancelled => Local, 499, Local;
    /// Not done in time.
    Timeout => Timeout, 504, Network;
    /// A watch saw nothing newer in its time.
    NothingNew => Timeout, 504, Nobody;
    /// The control API wants its token.
    Unauthorized => Refused, 401, Caller;
    /// The control API does not go by this host name.
    Misdirected => Refused, 421, Caller;
    /// The control API takes no writes from web pages.
    ForeignOrigin => Refused, 403, Caller;
    /// The control API has no such path.
    NoSuchPath => Usage, 404, Caller;
    /// The control API's path does not take this method.
    Method => Usage, 405, Caller;
}

/// A failure, in the one shape that it has on the command line and over HTTP.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// Always [`Failure::SCHEMA`].
    pub(crate) schema: String,
    /// One stable word.
    pub(crate) code: Code,
    /// The program's exit status.
    pub(crate) exit: u8,
    /// Whose doing it is.
    #[serde(default)]
    pub(crate) fault: Fault,
    /// What went wrong.
    pub(crate) message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// More, in a shape that depends on the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) details: Option<Value>,
}

/// What a command gives.
pub(crate) type Result<T> = std::result::Result<T, Box<Failure>>;

impl Failure {
    /// Name and version of this shape.
    pub(crate) const SCHEMA: &'static str = "skydht.error/1";

    /// A failure with this word and text.
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

    /// Says what to do about it.
    pub(crate) fn hint(mut self: Box<Self>, hint: impl fmt::Display) -> Box<Self> {
        self.hint = Some(hint.to_string());
        self
    }

    /// Says whose doing it is, where the code alone does not.
    pub(crate) fn fault(mut self: Box<Self>, fault: Fault) -> Box<Self> {
        self.fault = fault;
        self
    }

    /// Adds one member to the details, which are an object or nothing yet.
    pub(crate) fn add_detail(&mut self, name: &str, detail: &impl Serialize) {
        let details = self.details.get_or_insert_with(|| serde_json::json!({}));
        if let (Some(members), Ok(detail)) = (details.as_object_mut(), serde_json::to_value(detail))
        {
            members.insert(name.into(), detail);
        }
    }

    /// Adds structured details.
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
