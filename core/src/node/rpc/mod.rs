//! Streams, the calls on them, and signatures being checked.

pub(crate) mod callers;
pub(crate) mod calls;
pub(crate) mod deadlines;
pub(crate) mod fair_queue;
pub(crate) mod jobs;
pub(crate) mod streams;
