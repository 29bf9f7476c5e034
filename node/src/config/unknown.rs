//! Suggestions for unknown keys, and examples for sections.

use skydht_core::node::Limit;

use super::schema::{self, KEYS, Kind, LIMITS, MIRROR, REGISTER, SECTIONS};
use super::suggest;
use super::unsupported::instead_of;
use crate::failure::{Code, Failure, Result};

/// Returns the kind of a key named by a user.
pub(crate) fn kind_of(name: &str) -> Result<Kind> {
    let limit = name
        .strip_prefix(LIMITS)
        .and_then(|rest| rest.strip_prefix('.'));
    let kind = match limit {
        Some(limit) => schema::limit(limit).map(|_| Kind::Count),
        None => schema::key(name).map(|key| key.kind),
    };
    kind.ok_or_else(|| {
        if let Some(instead) = instead_of(name) {
            return Failure::new(Code::Config, format_args!("`{name}` is not supported"))
                .hint(instead);
        }
        let failure = Failure::new(Code::Config, format_args!("there is no key `{name}`"));
        if is_section(name) {
            return failure.hint(format_args!(
                "it has keys of its own, such as `{}`; `skydht config keys` lists them",
                example_of(name)
            ));
        }
        match meant(limit.unwrap_or(name), limit.is_some()) {
            Some(meant) => failure.hint(format_args!("did you mean `{meant}`?")),
            None => failure.hint("`skydht config keys` lists them all"),
        }
    })
}

/// Suggests a key for an unknown one. An exact name in another section is preferred.
pub(super) fn meant(unknown: &str, within_limits: bool) -> Option<String> {
    let keys = || KEYS.iter().map(|key| key.name);
    let limits = || Limit::ALL.iter().map(|limit| limit.name());
    let limit = |name: &str| format!("{LIMITS}.{name}");
    let near_limit = || suggest::nearest(unknown, limits()).map(limit);
    let near_key = || suggest::nearest(unknown, keys().chain(SECTIONS)).map(str::to_owned);
    let meant = if within_limits {
        keys()
            .find(|name| *name == unknown)
            .map(str::to_owned)
            .or_else(near_limit)
            .or_else(near_key)
    } else {
        limits()
            .find(|name| *name == unknown)
            .map(limit)
            .or_else(near_key)
            .or_else(near_limit)
    };
    // A suggestion of the rejected word itself would not help.
    meant.filter(|meant| within_limits || meant != unknown)
}

/// Returns whether a name is a section rather than a key.
pub(super) fn is_section(name: &str) -> bool {
    SECTIONS.contains(&name)
}

/// Returns a key of a section, as an example.
pub(super) fn example_of(section: &str) -> String {
    match section {
        LIMITS => dotted(Limit::streams),
        MIRROR => format!("{MIRROR}.dmsg_discovery"),
        REGISTER => format!("{REGISTER}.transport_discovery"),
        section => format!("{section}.discovery"),
    }
}

/// Returns the key of a limit.
pub(super) fn dotted(limit: Limit) -> String {
    format!("{LIMITS}.{}", limit.name())
}
