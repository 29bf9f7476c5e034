//! The attacker's process of `bench abuse`.

mod relay;
mod requests;
mod sockets;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use skydht_core::key::PublicKey;
use tokio::time::{Instant, timeout_at};

use super::list::{Kind, chosen};
use crate::cli::BenchAttacker;
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::signals::end_of_stdin;
use crate::{descriptors, output};

/// Counts of one attack.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct AttackCounts {
    /// Connections or streams that were opened.
    pub(super) opened: u64,
    /// Connections or streams that could not be opened.
    pub(super) refused: u64,
    /// Connections or streams that the node ended.
    pub(super) ended: u64,
    /// Answers that were read to their end.
    pub(super) answers: u64,
}

/// State shared by the tasks of an attack.
struct Attack {
    key: PublicKey,
    peers: SocketAddr,
    api: SocketAddr,
    end: Instant,
    opened: AtomicU64,
    refused: AtomicU64,
    ended: AtomicU64,
    answers: AtomicU64,
}

impl Attack {
    fn to(&self) -> (PublicKey, SocketAddr) {
        (self.key, self.peers)
    }

    fn counts(&self) -> AttackCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        AttackCounts {
            opened: read(&self.opened),
            refused: read(&self.refused),
            ended: read(&self.ended),
            answers: read(&self.answers),
        }
    }

    /// Awaits `what`; `None` if the attack ends first.
    async fn before_end<T>(&self, what: impl Future<Output = T>) -> Option<T> {
        timeout_at(self.end, what).await.ok()
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Attacks until the time is over, or until stdin ends because the parent process has exited.
pub(in crate::commands::bench) async fn attack(args: &BenchAttacker) -> Result<Exit> {
    if !(args.peers.ip().is_loopback() && args.api.ip().is_loopback()) {
        return Err(
            Failure::new(Code::Usage, "only a node on this machine is attacked")
                .hint("use `skydht bench abuse`, which starts one"),
        );
    }
    let chosen = chosen(std::slice::from_ref(&args.attack))?;
    descriptors::raise();
    let attack = Arc::new(Attack {
        key: args.key,
        peers: args.peers,
        api: args.api,
        end: Instant::now() + Duration::from_secs(args.seconds.into()),
        opened: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        ended: AtomicU64::new(0),
        answers: AtomicU64::new(0),
    });
    tokio::select! {
        () = async { for one in chosen { run(&attack, one.kind).await; } } => {}
        _ = end_of_stdin() => {}
    }
    output::json(&attack.counts())?;
    Ok(Exit::Ok)
}

async fn run(attack: &Arc<Attack>, kind: Kind) {
    match kind {
        Kind::HalfSent { keys, streams } => requests::half_sent(attack, keys, streams, false).await,
        Kind::Trickle { keys, streams } => requests::half_sent(attack, keys, streams, true).await,
        Kind::NeverRead {
            keys,
            streams,
            pause_ms,
        } => {
            let pause = Duration::from_millis(pause_ms);
            requests::never_read(attack, keys, streams, pause, false).await;
        }
        Kind::DeafSocket { keys, streams } => {
            requests::never_read(attack, keys, streams, Duration::ZERO, true).await;
        }
        Kind::GetItems { keys, streams } => requests::get_items(attack, keys, streams).await,
        Kind::Junk {
            keys,
            streams,
            escaped,
        } => requests::junk(attack, keys, streams, escaped).await,
        Kind::Forged {
            keys,
            streams,
            items,
        } => requests::forged(attack, keys, streams, items).await,
        Kind::WaitQueue { holders, waiters } => {
            requests::wait_queue(attack, holders, waiters).await;
        }
        Kind::HalfOpen { a_second, greets } => sockets::half_open(attack, a_second, greets).await,
        Kind::RelayStreams { keys, streams } => relay::streams(attack, keys, streams, false).await,
        Kind::RelayStalled { keys, streams } => relay::streams(attack, keys, streams, true).await,
        Kind::RelaySessions { keys } => relay::sessions(attack, keys).await,
        Kind::ApiPipelined { connections } => sockets::api(attack, connections, false).await,
        Kind::ApiSlow { connections } => sockets::api(attack, connections, true).await,
    }
}
