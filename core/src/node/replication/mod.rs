//! Replication between full nodes: sessions that find what two of them hold differently, and offers
//! of what is new here, both by [`Method::Reconcile`](crate::wire::Method::Reconcile); passes with
//! upstream's full nodes by GetItems and PutBatch; adverts.

pub(crate) mod adverts;
mod go;
mod offers;
mod sessions;

pub(crate) use offers::Offers;
pub(crate) use sessions::Sessions;

/// What a full node does to hold what the others hold.
#[derive(Default)]
pub(crate) struct Replication {
    pub(crate) sessions: Sessions,
    pub(crate) offers: Offers,
}

#[cfg(test)]
mod tests;
