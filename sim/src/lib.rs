//! Networks of skydht nodes, upstream's nodes and hostile ones, in virtual time, from one seed.
//!
//! | question | module |
//! |---|---|
//! | what can take part in a network | [`host`] |

pub mod host;
