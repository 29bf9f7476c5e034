//! Networks of skydht nodes, upstream's nodes and hostile ones, in virtual time, from one seed.
//!
//! | question | module |
//! |---|---|
//! | what can take part in a network | [`host`] |
//! | what did a run find, and how does one keep it | [`figures`] |
//! | how does a node of upstream's behave | [`upstream`] |

#[cfg(test)]
mod exchange;
pub mod figures;
pub mod host;
pub mod upstream;
