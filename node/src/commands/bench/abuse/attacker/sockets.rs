//! Attacks with connections, below the level of requests.

use std::sync::Arc;
use std::time::Duration;

use skydht_core::key::SecretKey;
use skydht_dmsg::handshake::{Ephemeral, Handshake};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::{Attack, count};
use crate::random_bytes;

/// Maximum number of concurrent half-open connections.
const MOST_HELD: usize = 8_000;
/// How long each of them is kept, unless the node closes it.
const HELD: Duration = Duration::from_secs(8);
/// Interval between two batches of connections.
const TURN: Duration = Duration::from_millis(10);
/// Number of requests in one write.
const PIPELINED: usize = 64;

/// Opens `a_second` connections a second that never finish their handshake.
pub(super) async fn half_open(attack: &Arc<Attack>, a_second: u32, greets: bool) {
    let greeting: Arc<[u8]> = match greets {
        true => first_message(attack).unwrap_or_default().into(),
        false => [].into(),
    };
    let room = Arc::new(Semaphore::new(MOST_HELD));
    let mut tick = interval(TURN);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut connections = JoinSet::new();
    while Instant::now() < attack.end {
        tick.tick().await;
        for _ in 0..a_second / 100 {
            let Ok(room) = Arc::clone(&room).try_acquire_owned() else {
                break;
            };
            let (attack, greeting) = (Arc::clone(attack), Arc::clone(&greeting));
            connections.spawn(async move {
                let _room = room;
                let held = half_open_one(&attack, &greeting);
                attack.before_end(timeout(HELD, held)).await;
            });
        }
        while connections.try_join_next().is_some() {}
    }
    connections.join_all().await;
}

async fn half_open_one(attack: &Attack, greeting: &[u8]) {
    let Ok(mut stream) = TcpStream::connect(attack.peers).await else {
        return count(&attack.refused);
    };
    count(&attack.opened);
    // Closing with a reset frees the local port immediately.
    let _ = stream.set_zero_linger();
    if stream.write_all(greeting).await.is_ok() {
        let mut buffer = [0; 256];
        while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    }
    count(&attack.ended);
}

/// Returns a handshake's first message; the same bytes serve every connection.
fn first_message(attack: &Attack) -> Option<Vec<u8>> {
    let secret = SecretKey::from_entropy(&random_bytes().ok()?);
    let ephemeral = Ephemeral::from_entropy(&random_bytes().ok()?);
    let mut handshake = Handshake::xk_initiator(&secret, &attack.key, ephemeral).ok()?;
    let mut message = vec![0; 2];
    handshake.write_message(&mut message).ok()?;
    let length = u16::try_from(message.len() - 2).ok()?;
    message[..2].copy_from_slice(&length.to_be_bytes());
    Some(message)
}

/// Opens connections to the control API that never read. With `slow`, each sends a byte a second,
/// else requests without end.
pub(super) async fn api(attack: &Arc<Attack>, connections: usize, slow: bool) {
    let mut held = JoinSet::new();
    for _ in 0..connections {
        let attack = Arc::clone(attack);
        held.spawn(async move {
            while Instant::now() < attack.end {
                attack.before_end(api_one(&attack, slow)).await;
                sleep(TURN).await;
            }
        });
    }
    held.join_all().await;
}

async fn api_one(attack: &Attack, slow: bool) {
    let Ok(mut stream) = TcpStream::connect(attack.api).await else {
        return count(&attack.refused);
    };
    count(&attack.opened);
    let request = format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", attack.api);
    if slow {
        for byte in request.as_bytes() {
            if stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
    } else {
        let requests = request.repeat(PIPELINED);
        while stream.write_all(requests.as_bytes()).await.is_ok() {}
    }
    count(&attack.ended);
}
