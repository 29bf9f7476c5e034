//! Attacks on a DMSG server: streams relayed through it, and sessions with it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use futures::AsyncWriteExt as _;
use skydht_core::key::SecretKey;
use skydht_dmsg::dmsg_session::{self, Established};
use skydht_dmsg::endpoint::Listener;
use skydht_dmsg::handshake::Ephemeral;
use skydht_dmsg::object::Address;
use skydht_dmsg::session::SessionConfig;
use skydht_runtime::Runtime as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use super::super::through_relay::client;
use super::super::wire::Wire;
use super::{Attack, count};
use crate::random_bytes;

/// Source address of the attack, which differs from the good client's.
const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// Concurrent dials per key, and concurrent handshakes in total.
const CONCURRENT: usize = 32;
/// Pause after a failed attempt.
const PAUSE: Duration = Duration::from_millis(20);
const PORT: u16 = 7;

/// Opens `streams` relayed streams from each of `keys` clients, to as many others in turn. With
/// `fills`, each is written to until it stalls.
pub(super) async fn streams(attack: &Arc<Attack>, keys: usize, streams: usize, fills: bool) {
    let mut working = JoinSet::new();
    let (mut sources, mut targets) = (Vec::new(), Vec::new());
    for _ in 0..keys {
        let wire = || Wire::from_address(FROM);
        let (Some(source), Some(target)) = (
            client(wire(), attack.to()).await,
            client(wire(), attack.to()).await,
        ) else {
            return count(&attack.refused);
        };
        if let Ok(listener) = target.listen(PORT) {
            working.spawn(accept_without_reading(listener));
        }
        sources.push(source);
        targets.push(target);
    }
    for source in &sources {
        let room = Arc::new(Semaphore::new(CONCURRENT));
        for target in targets.iter().cycle().take(streams) {
            let address = Address {
                key: target.key(),
                port: PORT,
            };
            let (attack, room) = (Arc::clone(attack), Arc::clone(&room));
            let source = source.clone();
            working.spawn(async move {
                while let Ok(turn) = Arc::clone(&room).acquire_owned().await {
                    match attack.before_end(source.dial(address)).await {
                        None => return,
                        Some(Err(_)) => count(&attack.refused),
                        Some(Ok(mut stream)) => {
                            drop(turn);
                            count(&attack.opened);
                            let filled = async {
                                if fills {
                                    while stream.write_all(&[0; 10_000]).await.is_ok() {}
                                } else {
                                    std::future::pending::<()>().await;
                                }
                            };
                            if attack.before_end(filled).await.is_some() {
                                count(&attack.ended);
                            }
                        }
                    }
                    sleep(PAUSE).await;
                }
            });
        }
    }
    sleep_until(attack.end).await;
    working.shutdown().await;
}

/// Accepts streams and never reads them.
async fn accept_without_reading(mut listener: Listener) {
    let mut held = Vec::new();
    while let Some(stream) = listener.accept().await {
        held.push(stream);
    }
}

/// Keeps a session with one mostly idle stream for each of `keys` keys.
pub(super) async fn sessions(attack: &Arc<Attack>, keys: usize) {
    let mut working = JoinSet::new();
    let room = Arc::new(Semaphore::new(CONCURRENT));
    for _ in 0..keys {
        let (attack, room) = (Arc::clone(attack), Arc::clone(&room));
        working.spawn(async move {
            while let Ok(turn) = Arc::clone(&room).acquire_owned().await {
                let Some(established) = attack.before_end(session(&attack)).await else {
                    return;
                };
                drop(turn);
                let Some(Established {
                    session, driver, ..
                }) = established
                else {
                    count(&attack.refused);
                    sleep(PAUSE).await;
                    continue;
                };
                count(&attack.opened);
                let busy = async {
                    let mut stream = session.mux().open().await.ok()?;
                    stream.write_all(&[0]).await.ok()?;
                    stream.flush().await.ok()?;
                    std::future::pending::<Option<()>>().await
                };
                let course = futures::future::join(driver, busy);
                if attack.before_end(course).await.is_some() {
                    count(&attack.ended);
                }
                sleep(PAUSE).await;
            }
        });
    }
    working.join_all().await;
}

async fn session(attack: &Attack) -> Option<Established<super::super::wire::WireConnection>> {
    let secret = SecretKey::from_entropy(&random_bytes().ok()?);
    let ephemeral = Ephemeral::from_entropy(&random_bytes().ok()?);
    let connection = Wire::from_address(FROM).connect(attack.peers).await.ok()?;
    let limits = SessionConfig::default();
    let made = dmsg_session::connect(connection, &secret, attack.key, ephemeral, &limits);
    made.await.ok()
}
