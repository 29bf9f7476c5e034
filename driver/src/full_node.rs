//! What the handle does with full nodes: being one, reconciling, listing what is held.

use std::time::Duration;

use skydht_core::id::Target;
use skydht_core::key::PublicKey;
use skydht_core::node::{Command, Outcome, SyncError, SyncOutcome};
use skydht_core::store::{Filter, ListPage};

use crate::dht::{Dht, Stopped, mismatch};
use crate::mailbox::Request;

impl Dht {
    /// Makes the node a full node, or a regular one again, until it stops. A full node stores every
    /// item and holds what the other full nodes hold; one that is none any more lets go of what is
    /// far, as far as the limits of a regular node ask for it, and keeps its own items.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn set_full_node(&self, full_node: bool) -> Result<(), Stopped> {
        self.ask(|reply| Request::SetFullNode(full_node, reply))
            .await
    }

    /// Reconciles with one full node now, or with all that are known; what it brought
    /// is verified and stored when this returns. Without a timeout it may take as long as any operation.
    ///
    /// Cancel-safe: a drop forgets the result; the sessions go on.
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

    /// A page of what the node holds, in the order of targets from `from` on: at most `most` items.
    /// It may be empty and not the last, see [`ListPage::next`].
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
