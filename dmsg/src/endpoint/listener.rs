//! Accepting the streams that others open to one port.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::port_table::PortTable;
use super::stream::DmsgStream;
use crate::accept_queue::AcceptQueue;
#[cfg(doc)]
use crate::object::ErrorCode;

/// Accepts the streams that others open to one port. Dropping it closes the port.
pub struct Listener {
    pub(super) ports: PortTable<DmsgStream>,
    pub(super) port: u16,
    pub(super) queue: Arc<AcceptQueue<DmsgStream>>,
}

impl Listener {
    /// The next stream; none once the client or server is closed. Cancel-safe. While no caller
    /// accepts, streams beyond the queue are refused with [`ErrorCode::AcceptQueueFull`], and
    /// those who dial try again.
    pub async fn accept(&mut self) -> Option<DmsgStream> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// The same, polled.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<DmsgStream>> {
        self.queue.poll_pop(cx)
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.ports.unlisten(self.port, &self.queue);
        self.queue.close();
    }
}
