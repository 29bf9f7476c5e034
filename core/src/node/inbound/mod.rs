//! Inbound requests: one at a time on each accepted stream, from its first byte until its answer
//! has left.
//!
//! What a peer may make the node do is bounded on the way: `room` bounds the bytes of requests
//! and answers, `backlog` starts what waits, a bounded piece of work at a time.

mod backlog;
mod batch;
mod loads;
mod page;
mod phase;
mod puts;
mod queues;
mod reconcile;
mod requests;
mod room;
mod state;
mod streams;
mod watches;
mod work;

pub(crate) use state::{Heard, Inbound};
