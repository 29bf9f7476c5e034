//! Upstream's words that have no command here: each is answered with what replaces it.

use crate::failure::{Code, Failure};

/// One of `skywire cli visor dht`'s words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Word {
    FullNode,
    Sync,
    List,
    Reconcile,
}

/// What to do instead.
pub(crate) fn answer(word: Word, rest: &[String]) -> Box<Failure> {
    let (name, hint) = match (word, rest.first().map(String::as_str)) {
        (Word::FullNode, Some("status")) => (
            "full-node status",
            "`skydht status` says in its first line whether the node is a full node",
        ),
        (Word::FullNode, _) => (
            "full-node",
            "whether a node is a full node is decided at its start: `skydht run --full-node`, or `\"full_node\": true` in the configuration",
        ),
        (Word::Sync, _) => (
            "sync",
            "copying a full node's items is not in this version; `skydht get PK SALT` reads single ones",
        ),
        (Word::List, _) => (
            "list",
            "listing all items under a salt is not in this version; `skydht get PK SALT` reads single ones",
        ),
        (Word::Reconcile, _) => (
            "reconcile",
            "reconciling with a full node is not in this version; owners renew their items by themselves",
        ),
    };
    Failure::new(
        Code::Unsupported,
        format_args!("`{name}` is upstream's word and no command of skydht"),
    )
    .hint(hint)
}
