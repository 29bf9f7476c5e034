//! Inbound requests: one at a time on each accepted stream, from its first byte until its answer
//! has left.
//!
//! The work that a peer can cause is bounded: `room` limits the bytes of requests and answers, and
//! `backlog` resumes waiting requests, a bounded amount of work at a time.

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

pub(crate) use state::{Inbound, SyncNotice};
