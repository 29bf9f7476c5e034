//! The status page: shows a node's status, peers, items and metrics in a browser. All verdicts come
//! from elsewhere.

mod charts;
mod document;
mod page;
mod sections;
mod sessions;
mod tree;

pub(crate) use document::login_page;
pub(crate) use page::{Page, Sort};
pub(crate) use sessions::{CODE_LIFE, Sessions};

/// Path of the page.
pub(crate) const PATH: &str = "/ui";
/// Style sheet of the page.
pub(crate) const STYLE: &str = include_str!("style.css");
/// Script that updates the page.
pub(crate) const SCRIPT: &str = include_str!("app.js");
/// Content security policy: the page may load and connect to nothing but this server.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

#[cfg(test)]
mod tests;
