//! What a DMSG client, a DMSG server and direct TCP have in common: connections accepted within
//! bounds, dials that several callers wait for, sessions with their places and their ends.

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

/// How long closing waits for the sessions to send what is queued.
pub const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// Closes sessions, and waits a little until what they have queued is sent.
pub async fn close_all<R: Runtime>(runtime: &R, sessions: &[Session]) {
    sessions.iter().for_each(Session::close);
    let closed = join_all(sessions.iter().map(Session::closed));
    within(runtime, CLOSE_GRACE, closed).await;
}
