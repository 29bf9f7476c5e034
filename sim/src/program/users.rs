//! Users hold a handle, give commands, and sometimes give up.

use std::time::Duration;

use futures::future::{Either, select};
use skydht_core::node::Command;
use skydht_driver::Dht;
use skydht_runtime::Runtime;

use super::ledger::{Ended, SharedLedger, UserAnswer};
use crate::clock::SimTime;
use crate::network::HostId;

/// Gives a command as a user does. With `watch`, every event of a get is read.
async fn run_command(dht: &Dht, command: Command, watch: bool) -> UserAnswer {
    match command {
        Command::Put {
            salt,
            value,
            options,
        } => UserAnswer::Put(dht.put(salt, value, options).await),
        Command::PutSigned { item, options } => {
            UserAnswer::Put(dht.put_signed(*item, options).await)
        }
        Command::Get(request) if watch => match dht.get_with_events(request) {
            Ok(progress) => UserAnswer::Get(progress.outcome().await),
            Err(error) => UserAnswer::Get(Err(error.into())),
        },
        Command::Get(request) => UserAnswer::Get(dht.get(request).await),
        Command::Watch { request, after } => {
            UserAnswer::Seen(after, dht.next_version(request, after).await)
        }
        Command::FindNode { target, .. } => UserAnswer::Found(dht.find_node(target).await),
        Command::Ping { peer, addr } => UserAnswer::Pinged(dht.ping(peer, addr).await),
        // The answer is not judged.
        Command::Sync { peer, timeout } => {
            drop(dht.sync(peer, timeout).await);
            UserAnswer::GaveUp
        }
        Command::Shutdown => {
            dht.shutdown().await;
            UserAnswer::GaveUp
        }
    }
}

/// A user on a host, as a task of that host, with which it ends.
pub(super) fn ask<R: Runtime>(
    runtime: &R,
    dht: Dht,
    (host, id): (HostId, u64),
    (command, watch): (Command, bool),
    patience: Option<Duration>,
    shared: SharedLedger,
) {
    let own = runtime.clone();
    shared.lock().hosts[host.index()].asking += 1;
    runtime.spawn(Box::pin(async move {
        let answer = {
            let asked = Box::pin(run_command(&dht, command, watch));
            match patience {
                None => asked.await,
                Some(patience) => match select(asked, own.sleep(patience)).await {
                    Either::Left((answer, _)) => answer,
                    Either::Right(_) => UserAnswer::GaveUp,
                },
            }
        };
        let at = SimTime::ZERO.plus(own.clocks().monotonic);
        let mut ledger = shared.lock();
        let asking = &mut ledger.hosts[host.index()].asking;
        *asking = asking.saturating_sub(1);
        let end = Ended {
            id,
            host,
            at,
            answer,
        };
        ledger.ended.push(end);
    }));
}
