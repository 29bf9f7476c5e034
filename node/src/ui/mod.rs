//! The status page: one look at a node, for a browser on this machine. It shows what `status`, `peers`,
//! `ls` and `/metrics` say, and judges nothing itself.

mod charts;
mod document;
mod page;
mod sections;
mod sessions;
mod tree;

pub(crate) use document::login_page;
pub(crate) use page::{Page, Sort};
pub(crate) use sessions::{CODE_LIFE, Sessions};

/// The page's path.
pub(crate) const PATH: &str = "/ui";
/// Its style.
pub(crate) const STYLE: &str = include_str!("style.css");
/// What keeps it up to date.
pub(crate) const SCRIPT: &str = include_str!("app.js");
/// What a browser may load and do for it: what comes from here.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

#[cfg(test)]
mod tests;
