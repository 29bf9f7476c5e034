//! Names that are no keys: which key was meant, and what sections hold.

use skydht_core::node::Limit;

use super::schema::{self, KEYS, Kind, LIMITS, MIRROR, REGISTER, SECTIONS};
use super::suggest;
use super::unsupported::instead_of;
use crate::failure::{Code, Failure, Result};

/// What the value of a key that a user names looks like.
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

/// The key that an unknown one may have been meant as. Right names at the wrong level first.
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
    // The word that was refused is no help.
    meant.filter(|meant| within_limits || meant != unknown)
}

/// Whether a name is no key, but the part before the point of some.
pub(super) fn is_section(name: &str) -> bool {
    SECTIONS.contains(&name)
}

/// A key of a section.
pub(super) fn example_of(section: &str) -> String {
    match section {
        LIMITS => dotted(Limit::streams),
        MIRROR => format!("{MIRROR}.dmsg_discovery"),
        REGISTER => format!("{REGISTER}.transport_discovery"),
        section => format!("{section}.discovery"),
    }
}

/// A limit's key.
pub(super) fn dotted(limit: Limit) -> String {
    format!("{LIMITS}.{}", limit.name())
}
