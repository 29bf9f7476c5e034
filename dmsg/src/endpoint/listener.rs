//! Accepting the streams that other keys open to one port.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::port_table::PortTable;
use super::stream::DmsgStream;
use crate::accept_queue::AcceptQueue;
#[cfg(doc)]
use crate::object::ErrorCode;

/// Accepts the streams that other keys open to one port. Dropping it closes the port.
pub struct Listener {
    pub(super) ports: PortTable<DmsgStream>,
    pub(super) port: u16,
    pub(super) queue: Arc<AcceptQueue<DmsgStream>>,
}

impl Listener {
    /// Returns the next stream, or `None` once the client or server is closed. Cancel-safe. Streams
    /// beyond the queue's capacity are refused with [`ErrorCode::AcceptQueueFull`], and their
    /// dialers try again.
    pub async fn accept(&mut self) -> Option<DmsgStream> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Polls for the next stream; see [`Self::accept`].
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<DmsgStream>> {
        self.queue.poll_pop(cx)
    }

    /// Returns the port.
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
