//! Every way to fail, as the program, its HTTP answers and its JSON say it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use skydht_core::item::ItemError;
use skydht_core::node::{GetError, OperationError, PingError, PutError};

use crate::exit::Exit;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident => $exit:ident, $status:literal;)*) => {
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
        }
    };
}

codes! {
    /// The command line or the request is wrong.
    Usage => Usage, 400;
    /// The configuration is wrong.
    Config => Usage, 400;
    /// A word of upstream's command line that has a replacement, or none yet.
    Unsupported => Usage, 501;
    /// A file, a socket or a limit of the system.
    Local => Local, 500;
    /// A journal that cannot be read to its end, or not at all.
    Journal => Local, 500;
    /// A replay that did something else than was recorded.
    Differs => Local, 500;
    /// No running node answers.
    Unreachable => Unreachable, 502;
    /// The node has no peers.
    NoPeers => Unreachable, 503;
    /// The node has not finished its start, or its verdict is red.
    NotReady => Unreachable, 503;
    /// The peer cannot be reached or does not answer.
    PeerUnreachable => Unreachable, 502;
    /// Nobody holds the item.
    NotFound => NotFound, 404;
    /// The owner deleted the item.
    Deleted => NotFound, 410;
    /// Fewer replicas than asked for, or a value from a read that was not finished.
    Partial => Partial, 502;
    /// A rule of the network or of this node forbids it.
    Refused => Refused, 409;
    /// Another version is there.
    Conflict => Refused, 409;
    /// The value or the salt is too long.
    TooLarge => Refused, 413;
    /// Something that must not be overwritten exists.
    Exists => Refused, 409;
    /// The node does as much as it may.
    Busy => Refused, 429;
    /// The node is shutting down.
    ShuttingDown => Unreachable, 503;
    /// Cancelled by its caller.
    Cancelled => Local, 499;
    /// Not done in time.
    Timeout => Timeout, 504;
    /// The control API wants its token.
    Unauthorized => Refused, 401;
    /// The control API does not go by this host name.
    Misdirected => Refused, 421;
    /// The control API takes no writes from web pages.
    ForeignOrigin => Refused, 403;
    /// The control API has no such path.
    NoSuchPath => Usage, 404;
    /// The control API's path does not take this method.
    Method => Usage, 405;
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

    /// Adds structured details.
    pub(crate) fn details(mut self: Box<Self>, details: &impl Serialize) -> Box<Self> {
        self.details = serde_json::to_value(details).ok();
        self
    }
}

impl From<OperationError> for Box<Failure> {
    fn from(error: OperationError) -> Self {
        let (code, hint) = match error {
            OperationError::NoPeers => (
                Code::NoPeers,
                Some(
                    "give --bootstrap PK@HOST:PORT, or wait until the node has peers (`skydht status`)",
                ),
            ),
            OperationError::Busy(_) => (Code::Busy, Some("try again, or raise limits.operations")),
            OperationError::Timeout => (
                Code::Timeout,
                Some("try again, or give more time with --timeout"),
            ),
            OperationError::Cancelled => (Code::Cancelled, None),
            OperationError::ShuttingDown => (Code::ShuttingDown, None),
            _ => (Code::Local, None),
        };
        let failure = Failure::new(code, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<PutError> for Box<Failure> {
    fn from(error: PutError) -> Self {
        let failure = |code| Failure::new(code, &error);
        match &error {
            PutError::Item(ItemError::ValueTooLarge | ItemError::SaltTooLong) => {
                failure(Code::TooLarge)
            }
            PutError::Sequence { have, .. } => failure(Code::Refused).hint(format_args!(
                "leave --seq away for the next one, or give one above {have}"
            )),
            PutError::Overtaken { .. } => failure(Code::Conflict).hint(
                "try again; let one node at a time publish an item, or compare with --expect",
            ),
            PutError::SequenceAhead(_) => {
                failure(Code::Refused).hint("give --force if you mean it")
            }
            PutError::Conflict { held: Some(held) } => Failure::new(
                Code::Conflict,
                format_args!("another version is held: sequence {held}"),
            )
            .hint("read it with `skydht get self`, then put again with the new --expect"),
            PutError::Conflict { held: None } => Failure::new(
                Code::Conflict,
                "nothing is held, where another version was expected",
            )
            .hint("give --expect 0 if nothing should be there"),
            PutError::Local(_) => failure(Code::Refused),
            PutError::TooFewReplicas { wanted, partial } => {
                let report = crate::report::PutReport::new(partial);
                Failure::new(
                    Code::Partial,
                    format_args!(
                        "{} of the {wanted} replicas asked for: {report}",
                        partial.replicas.acknowledged()
                    ),
                )
                .details(&report)
            }
            PutError::Timeout { partial } => {
                let report = crate::report::PutReport::new(partial);
                Failure::new(Code::Timeout, format_args!("timed out: {report}"))
                    .hint("the item may be there all the same; read it, or put again with more --timeout")
                    .details(&report)
            }
            PutError::Operation(error) => (*error).into(),
            _ => failure(Code::Refused),
        }
    }
}

impl From<GetError> for Box<Failure> {
    fn from(error: GetError) -> Self {
        let stats = |failure: Box<Failure>, stats| {
            failure.details(&crate::report::LookupReport::new(stats))
        };
        let failure = |code| Failure::new(code, &error);
        match &error {
            GetError::NotFound { stats: s } => stats(failure(Code::NotFound), s),
            GetError::Deleted { stats: s, .. } => stats(failure(Code::Deleted), s),
            // A value in hand is worth more than the timeout: callers that can show it do.
            GetError::Timeout { stats: s, .. } => stats(failure(Code::Timeout), s)
                .hint("try again, give more time with --timeout, or read with --policy first"),
            GetError::WrongTarget => failure(Code::Usage),
            GetError::Operation(error) => (*error).into(),
            _ => failure(Code::Local),
        }
    }
}

impl From<PingError> for Box<Failure> {
    fn from(error: PingError) -> Self {
        match error {
            PingError::Operation(error) => error.into(),
            _ => Failure::new(Code::PeerUnreachable, error),
        }
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
    use skydht_core::item::Seq;
    use skydht_core::node::LookupStats;

    #[test]
    fn nobody_to_ask_differs_from_not_found_from_deleted_from_too_late() {
        let stats = LookupStats::default();
        let all = [
            GetError::Operation(OperationError::NoPeers),
            GetError::NotFound { stats },
            GetError::Deleted { seq: Seq(4), stats },
            GetError::Timeout { best: None, stats },
        ]
        .map(Box::<Failure>::from);
        assert_eq!(all.each_ref().map(|f| f.exit), [3, 4, 4, 7]);
        assert_eq!(
            all.each_ref().map(|f| f.code.status()),
            [503, 404, 410, 504]
        );
        for (i, a) in all.iter().enumerate() {
            assert!(
                all[i + 1..]
                    .iter()
                    .all(|b| a.code != b.code && a.message != b.message)
            );
        }
    }

    #[test]
    fn a_failure_survives_its_json() {
        let failure = Failure::new(Code::Conflict, "x").hint("y").details(&[1, 2]);
        let text = serde_json::to_string(&failure).unwrap();
        assert_eq!(serde_json::from_str::<Failure>(&text).unwrap(), *failure);
        assert!(text.contains(r#""code":"conflict""#), "{text}");
    }
}
