//! Parts that DMSG clients, DMSG servers and direct TCP share: accepting connections within limits,
//! dials that several callers wait for, and the table of running sessions.

mod accept;
mod dials;
mod running;

use std::time::Duration;

use futures::future::join_all;
use skydht_runtime::{Runtime, within};

pub use accept::{Accept, Acceptor, spawn};
pub use dials::{Dials, Joined};
pub use running::{Running, Started};

use crate::session::Session;

/// How long closing waits for sessions to send their queued data.
pub const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// Closes sessions and waits up to [`CLOSE_GRACE`] until their queued data is sent.
pub async fn close_all<R: Runtime>(runtime: &R, sessions: &[Session]) {
    sessions.iter().for_each(Session::close);
    let closed = join_all(sessions.iter().map(Session::closed));
    within(runtime, CLOSE_GRACE, closed).await;
}
