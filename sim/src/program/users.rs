//! Users: they hold a handle, ask, and sometimes lose patience.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::{Either, select};
use serde::Serialize;
use skydht_core::id::Target;
use skydht_core::item::{Item, Salt, Value};
use skydht_core::key::PublicKey;
use skydht_core::node::{
    FindNodeOutcome, GetError, GetOutcome, GetRequest, OperationError, PingError, PingOutcome,
    PutError, PutOptions, PutOutcome,
};
use skydht_driver::Dht;
use skydht_runtime::Runtime;

use super::ledger::Shared;
use crate::clock::SimTime;
use crate::network::HostId;

/// What a user asks for.
pub(super) enum Wish {
    Put(Salt, Value),
    PutSigned(Box<Item>),
    Get(GetRequest),
    /// A get of which every event is read.
    Watch(GetRequest),
    Find(Target),
    Ping(PublicKey, SocketAddr),
}

/// What came of it.
#[derive(Serialize)]
pub(super) enum Told {
    Put(Result<PutOutcome, PutError>),
    Get(Result<GetOutcome, GetError>),
    Found(Result<FindNodeOutcome, OperationError>),
    Pinged(Result<PingOutcome, PingError>),
    /// The user dropped the future.
    GaveUp,
}

/// The end of what user number `id` asked for.
pub(super) struct Ended {
    pub(super) id: u64,
    pub(super) host: HostId,
    pub(super) at: SimTime,
    pub(super) told: Told,
}

async fn fulfil(dht: &Dht, wish: Wish) -> Told {
    let options = PutOptions::default();
    match wish {
        Wish::Put(salt, value) => Told::Put(dht.put(salt, value, options).await),
        Wish::PutSigned(item) => Told::Put(dht.put_signed(*item, options).await),
        Wish::Get(request) => Told::Get(dht.get(request).await),
        Wish::Watch(request) => match dht.get_with_events(request) {
            Ok(progress) => Told::Get(progress.outcome().await),
            Err(error) => Told::Get(Err(error.into())),
        },
        Wish::Find(target) => Told::Found(dht.find_node(target).await),
        Wish::Ping(peer, addr) => Told::Pinged(dht.ping(peer, Some(addr)).await),
    }
}

/// A user on a host, as a task of that host: it dies with it.
pub(super) fn ask<R: Runtime>(
    runtime: &R,
    dht: Dht,
    (host, id): (HostId, u64),
    wish: Wish,
    patience: Option<Duration>,
    shared: Shared,
) {
    let own = runtime.clone();
    shared.lock().hosts[host.index()].asking += 1;
    runtime.spawn(Box::pin(async move {
        let told = {
            let wished = Box::pin(fulfil(&dht, wish));
            match patience {
                None => wished.await,
                Some(patience) => match select(wished, own.sleep(patience)).await {
                    Either::Left((told, _)) => told,
                    Either::Right(_) => Told::GaveUp,
                },
            }
        };
        let at = SimTime::ZERO.plus(own.clocks().monotonic);
        let mut ledger = shared.lock();
        let asking = &mut ledger.hosts[host.index()].asking;
        *asking = asking.saturating_sub(1);
        let end = Ended { id, host, at, told };
        ledger.ended.push(end);
    }));
}
