//! Saves the known peers and the tasks' success times, and logs events, while the node runs.

use std::time::Duration;

use skydht_core::node::Event;
use skydht_driver::{Dht, EventStream};
use tokio::time::Instant;

use crate::known_peers;
use crate::state_dir::StateDir;
use crate::tasks::Tasks;

/// Minimum interval between two saves.
const SAVE_INTERVAL: Duration = Duration::from_secs(10);

/// Saves known peers after changes, and logs events, until the node stops.
pub(super) async fn remember(dht: Dht, mut events: EventStream, state: StateDir, tasks: Tasks) {
    let mut known = log_peers(&dht, None).await;
    // Peers may have been added before this task subscribed to events.
    let mut changed = known.is_some_and(|peers| peers > 0);
    let mut next_save = Instant::now();
    loop {
        known = log_peers(&dht, known).await;
        let event = if changed {
            match tokio::time::timeout_at(next_save, events.next()).await {
                Ok(event) => event,
                Err(_) => {
                    save(&dht, &state, &tasks).await;
                    changed = false;
                    next_save = Instant::now() + SAVE_INTERVAL;
                    continue;
                }
            }
        } else {
            events.next().await
        };
        match event {
            None => return,
            Some(Ok(event)) => changed |= log(&event),
            Some(Err(lagged)) => {
                tracing::debug!("{lagged}");
                changed = true;
            }
        }
    }
}

/// Logs the number of peers if it has changed.
async fn log_peers(dht: &Dht, known: Option<usize>) -> Option<usize> {
    let now = dht.snapshot().await.ok()?.peers;
    if known != Some(now) {
        tracing::debug!(now, "peers");
    }
    Some(now)
}

/// Logs an event. Returns whether the set of peers changed.
fn log(event: &Event) -> bool {
    match event {
        Event::Ready { peers } => tracing::info!(peers, "ready"),
        Event::PeerAdded { peer } => tracing::debug!(%peer, "peer added"),
        Event::PeerRemoved { id } => tracing::debug!(%id, "peer removed"),
        Event::RenewalFailed { target, seq } => {
            tracing::warn!(%target, %seq, "an item of this node could not be renewed at any peer");
        }
        Event::PeerRefused { peer, .. } => {
            // Many refused keys must not fill the log; the counter `callers_cut` has their number.
            tracing::debug!(%peer, "a peer wasted much work; it is refused for a minute");
        }
        Event::ClockJumped => tracing::warn!("the clock jumped; starting over with the peers"),
        _ => {}
    }
    matches!(
        event,
        Event::Ready { .. } | Event::PeerAdded { .. } | Event::PeerRemoved { .. }
    )
}

pub(super) async fn save(dht: &Dht, state: &StateDir, tasks: &Tasks) {
    save_tasks(dht, tasks).await;
    let Ok(peers) = dht.peers().await else { return };
    let path = state.peers_file();
    let saved = tokio::task::spawn_blocking(move || known_peers::save(&path, &peers)).await;
    match saved {
        Ok(Ok(count)) => tracing::debug!(count, "peers remembered"),
        Ok(Err(failure)) => tracing::warn!("peers cannot be remembered: {failure}"),
        Err(error) => tracing::warn!(%error, "peers cannot be remembered"),
    }
}

async fn save_tasks(dht: &Dht, tasks: &Tasks) {
    let Ok(snapshot) = dht.snapshot().await else {
        return;
    };
    let tasks = tasks.clone();
    match tokio::task::spawn_blocking(move || tasks.save(&snapshot)).await {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => tracing::warn!("when tasks succeeded cannot be kept: {failure}"),
        Err(error) => tracing::warn!(%error, "when tasks succeeded cannot be kept"),
    }
}
