//! Methods of the handle for full nodes: becoming one, reconciling, and listing the store.

use std::time::Duration;

use skydht_core::id::Target;
use skydht_core::key::PublicKey;
use skydht_core::node::{Command, Outcome, SyncError, SyncOutcome};
use skydht_core::store::{Filter, ListPage};

use crate::dht::{Dht, Stopped, mismatch};
use crate::mailbox::Request;

impl Dht {
    /// Makes the node a full node, or a regular one again, until it stops. A full node stores every
    /// item and reconciles with the other full nodes. A node that becomes regular again drops far
    /// items as the limits of a regular node require, and keeps its own items.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn set_full_node(&self, full_node: bool) -> Result<(), Stopped> {
        self.ask(|reply| Request::SetFullNode(full_node, reply))
            .await
    }

    /// Reconciles immediately with one full node, or with all known ones. When it returns, received
    /// items are verified and stored. Without a timeout, the one of the configuration applies.
    ///
    /// Cancel-safe: dropping the future discards the result; the sessions continue.
    ///
    /// # Errors
    /// See [`SyncError`].
    pub async fn sync(
        &self,
        peer: Option<PublicKey>,
        timeout: Option<Duration>,
    ) -> Result<SyncOutcome, SyncError> {
        match self.run(Command::Sync { peer, timeout })?.await? {
            Outcome::Sync(result) => result,
            other => Err(mismatch(&other).into()),
        }
    }

    /// Returns a page of the items that the node stores, in the order of targets starting at
    /// `from`: at most `most` items. An empty page need not be the last one, see
    /// [`ListPage::next`].
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn list(
        &self,
        filter: Filter,
        from: Target,
        most: usize,
    ) -> Result<ListPage, Stopped> {
        self.ask(|reply| Request::List(filter, from, most, reply))
            .await
    }
}
