//! Users: they hold a handle, ask, and sometimes lose patience.

use std::time::Duration;

use futures::future::{Either, select};
use skydht_core::node::Command;
use skydht_driver::Dht;
use skydht_runtime::Runtime;

use super::ledger::{Ended, Shared, Told};
use crate::clock::SimTime;
use crate::network::HostId;

/// Asks as a user does; with `watch`, of a get every event is read.
async fn fulfil(dht: &Dht, command: Command, watch: bool) -> Told {
    match command {
        Command::Put {
            salt,
            value,
            options,
        } => Told::Put(dht.put(salt, value, options).await),
        Command::PutSigned { item, options } => Told::Put(dht.put_signed(*item, options).await),
        Command::Get(request) if watch => match dht.get_with_events(request) {
            Ok(progress) => Told::Get(progress.outcome().await),
            Err(error) => Told::Get(Err(error.into())),
        },
        Command::Get(request) => Told::Get(dht.get(request).await),
        Command::Watch { request, after } => {
            Told::Seen(after, dht.next_version(request, after).await)
        }
        Command::FindNode { target, .. } => Told::Found(dht.find_node(target).await),
        Command::Ping { peer, addr } => Told::Pinged(dht.ping(peer, addr).await),
        // Nothing that a user is told is judged.
        Command::Sync { peer, timeout } => {
            drop(dht.sync(peer, timeout).await);
            Told::GaveUp
        }
        Command::Shutdown => {
            dht.shutdown().await;
            Told::GaveUp
        }
    }
}

/// A user on a host, as a task of that host: it dies with it.
pub(super) fn ask<R: Runtime>(
    runtime: &R,
    dht: Dht,
    (host, id): (HostId, u64),
    (command, watch): (Command, bool),
    patience: Option<Duration>,
    shared: Shared,
) {
    let own = runtime.clone();
    shared.lock().hosts[host.index()].asking += 1;
    runtime.spawn(Box::pin(async move {
        let told = {
            let asked = Box::pin(fulfil(&dht, command, watch));
            match patience {
                None => asked.await,
                Some(patience) => match select(asked, own.sleep(patience)).await {
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
