use futures::executor::{LocalPool, LocalSpawner};
use futures::future::{join, join_all};
use futures::task::LocalSpawnExt as _;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _};
use quickcheck::{TestResult, quickcheck};
use skydht_core::key::SecretKey;
use std::cell::Cell;
use std::io::ErrorKind;

use super::*;
use crate::handshake::Ephemeral;
use crate::pipe::{End, pipe};
use crate::secure::{self, Secure};

mod hostile;
mod interop;
mod pings;
mod room;
mod unread;

/// One side of a session, with its driver running on the pool.
struct Node {
    session: Session,
    incoming: Incoming,
}

/// Starts one end, with its driver on the pool.
fn start<IO: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    spawner: &LocalSpawner,
    io: IO,
    role: Role,
    config: &SessionConfig,
) -> Node {
    let (session, incoming, driver) = Session::new(io, role, config);
    spawner.spawn_local(driver.map(drop)).unwrap();
    Node { session, incoming }
}

fn pair_over(pool: &LocalPool, a: End, b: End, config: &SessionConfig) -> (Node, Node) {
    let spawner = pool.spawner();
    (
        start(&spawner, a, Role::Client, config),
        start(&spawner, b, Role::Server, config),
    )
}

fn pair(pool: &LocalPool, config: &SessionConfig) -> (Node, Node) {
    let (a, b) = pipe(1 << 16);
    pair_over(pool, a, b, config)
}

/// Returns the two ends of an encrypted connection.
fn secured(pool: &mut LocalPool) -> (Secure<End>, Secure<End>) {
    let (a, b) = pipe(1 << 16);
    let key = |byte| SecretKey::from_bytes(&[byte; 32]).unwrap();
    let fresh = |byte| Ephemeral::from_entropy(&[byte; 32]);
    let (client, server) = (key(1), key(2));
    let (a, b) = pool.run_until(join(
        secure::connect(a, &client, server.public(), fresh(3)),
        secure::accept(b, &server, fresh(4)),
    ));
    (a.unwrap(), b.unwrap().1)
}

fn limits(max_inbound: usize, max_outbound: usize, backlog: usize) -> SessionConfig {
    SessionConfig {
        max_inbound,
        max_outbound,
        backlog,
        ..SessionConfig::default()
    }
}

/// Echoes every stream.
async fn echo(mut incoming: Incoming, spawner: LocalSpawner) {
    while let Some(mut stream) = incoming.next().await {
        let answer = async move {
            let mut request = Vec::new();
            if stream.read_to_end(&mut request).await.is_ok() {
                let _ = stream.write_all(&request).await;
                let _ = stream.close().await;
            }
        };
        spawner.spawn_local(answer).unwrap();
    }
}

async fn call(session: &Session, request: &[u8]) -> Vec<u8> {
    let mut stream = session.open().await.unwrap();
    stream.write_all(request).await.unwrap();
    stream.close().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

fn frame(kind: u8, flags: u16, stream: u32, length: u32) -> [u8; 12] {
    let mut header = [0; 12];
    header[1] = kind;
    header[2..4].copy_from_slice(&flags.to_be_bytes());
    header[4..8].copy_from_slice(&stream.to_be_bytes());
    header[8..].copy_from_slice(&length.to_be_bytes());
    header
}

const DATA: u8 = 0;
const FIN: u16 = 4;

#[test]
fn streams_carry_bytes_both_ways_and_end() {
    let mut pool = LocalPool::new();
    let (mut a, b) = pair(&pool, &SessionConfig::default());
    pool.spawner()
        .spawn_local(echo(b.incoming, pool.spawner()))
        .unwrap();
    pool.run_until(async {
        assert_eq!(call(&a.session, b"there and back").await, b"there and back");
        // The accepting side opens streams, too.
        let (ours, theirs) = join(b.session.open(), async {
            let mut ours = b.session.open().await.unwrap();
            ours.write_all(b"hi").await.unwrap();
            ours.close().await.unwrap();
            let mut theirs = a.incoming.next().await.unwrap();
            let mut got = Vec::new();
            theirs.read_to_end(&mut got).await.unwrap();
            got
        })
        .await;
        assert!(ours.is_ok());
        assert_eq!(theirs, b"hi");
    });
    pool.run_until_stalled();
    let counters = a.session.counters();
    assert_eq!(
        (counters.opened, counters.outbound, counters.inbound),
        (1, 0, 0)
    );
    assert_eq!((counters.accepted, counters.refused), (1, 0));
}

#[test]
fn thousands_of_streams_leave_nothing_behind() {
    let mut pool = LocalPool::new();
    let (a, b) = pair(&pool, &limits(64, 64, 64));
    pool.spawner()
        .spawn_local(echo(b.incoming, pool.spawner()))
        .unwrap();
    let done = Cell::new(0);
    pool.run_until(join_all((0..32).map(|worker| {
        let (session, done) = (&a.session, &done);
        async move {
            for i in 0..100 {
                let request = vec![worker; i * 3];
                assert_eq!(call(session, &request).await, request);
                done.set(done.get() + 1);
            }
        }
    })));
    assert_eq!(done.get(), 3200);
    pool.run_until_stalled();
    for node in [&a.session, &b.session] {
        let counters = node.counters();
        assert_eq!(
            (counters.inbound, counters.outbound, counters.refused),
            (0, 0, 0)
        );
    }
}

#[test]
fn open_fails_at_the_outbound_limit() {
    let mut pool = LocalPool::new();
    let (a, _b) = pair(&pool, &limits(8, 3, 8));
    let mut open = || pool.run_until(a.session.open());
    let mut held: Vec<_> = (0..3).map(|_| open().unwrap()).collect();
    assert_eq!(open().err(), Some(SessionError::TooManyStreams));
    held.pop();
    held.push(open().unwrap());
    assert_eq!(a.session.counters().outbound, 3);
}

#[test]
fn a_dropped_open_releases_its_permit() {
    let mut pool = LocalPool::new();
    let (a, _b) = pair(&pool, &limits(8, 1, 8));
    assert!(a.session.open().now_or_never().is_some());
    pool.run_until_stalled();
    assert_eq!(a.session.counters().outbound, 0);
    assert!(pool.run_until(a.session.open()).is_ok());
}

#[test]
fn over_the_inbound_limit_the_newest_stream_is_reset_and_the_others_live() {
    let mut pool = LocalPool::new();
    let (a, mut b) = pair(&pool, &limits(2, 8, 8));
    pool.run_until(async {
        let mut streams = Vec::new();
        for _ in 0..3 {
            let mut stream = a.session.open().await.unwrap();
            stream.write_all(b"x").await.unwrap();
            stream.flush().await.unwrap();
            streams.push(stream);
        }
        let mut newest = streams.pop().unwrap();
        let error = newest.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        for stream in &mut streams {
            let mut theirs = b.incoming.next().await.unwrap();
            theirs.write_all(b"y").await.unwrap();
            let mut got = [0];
            stream.read_exact(&mut got).await.unwrap();
            assert_eq!(&got, b"y");
        }
    });
    assert_eq!(b.session.counters().refused, 1);
    assert!(!a.session.is_closed());
}

#[test]
fn a_full_backlog_resets_the_newest_stream() {
    let mut pool = LocalPool::new();
    let (a, mut b) = pair(&pool, &limits(8, 8, 2));
    let mut streams = Vec::new();
    for i in 0..3 {
        let mut stream = pool.run_until(a.session.open()).unwrap();
        pool.run_until(stream.write_all(&[i])).unwrap();
        pool.run_until_stalled();
        streams.push(stream);
    }
    assert_eq!(b.session.counters().refused, 1);
    assert_eq!(b.session.counters().inbound, 2);
    let error = pool.run_until(streams[2].read(&mut [0])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    for i in 0..2 {
        let mut theirs = pool.run_until(b.incoming.next()).unwrap();
        let mut got = [9];
        pool.run_until(theirs.read_exact(&mut got)).unwrap();
        assert_eq!(got, [i]);
    }
}

#[test]
fn without_a_listener_streams_are_reset() {
    let mut pool = LocalPool::new();
    let (a, b) = pair(&pool, &SessionConfig::default());
    drop(b.incoming);
    let mut stream = pool.run_until(a.session.open()).unwrap();
    pool.run_until(stream.write_all(b"x")).unwrap();
    let error = pool.run_until(stream.read(&mut [0])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(b.session.counters().refused, 1);
}

#[test]
fn a_stream_that_is_not_read_holds_its_window_and_blocks_no_other() {
    let mut pool = LocalPool::new();
    let (a, mut b) = pair(&pool, &SessionConfig::default());
    let mut unread = pool.run_until(a.session.open()).unwrap();
    pool.run_until(unread.write_all(b"x")).unwrap();
    let _theirs = pool.run_until(b.incoming.next()).unwrap();
    let mut written = 1;
    let chunk = vec![0; 10_000];
    while let Some(n) = unread.write(&chunk).now_or_never() {
        written += n.unwrap();
        pool.run_until_stalled();
    }
    assert_eq!(written, 256 * 1024);

    pool.spawner()
        .spawn_local(echo(b.incoming, pool.spawner()))
        .unwrap();
    let request = vec![7; 300_000];
    let answer = pool.run_until(async {
        let mut stream = a.session.open().await.unwrap();
        let mut got = vec![0; request.len()];
        // The echo answers after the end, so that the whole request passes the window first.
        stream.write_all(&request).await.unwrap();
        stream.close().await.unwrap();
        stream.read_exact(&mut got).await.unwrap();
        got
    });
    assert!(answer == request);
    assert!(unread.write(&chunk).now_or_never().is_none());
}

#[test]
fn both_sides_may_send_at_full_speed_over_a_narrow_connection() {
    let mut pool = LocalPool::new();
    let (a, b) = pipe(1500);
    let (mut a, mut b) = pair_over(&pool, a, b, &SessionConfig::default());
    let data: Vec<u8> = (0..280_000).map(|i| (i % 253) as u8).collect();
    let transfer = async |session: &Session, incoming: &mut Incoming| {
        let mut out = session.open().await.unwrap();
        let send = async {
            out.write_all(&data).await.unwrap();
            out.close().await.unwrap();
        };
        let receive = async {
            let mut got = Vec::new();
            let mut stream = incoming.next().await.unwrap();
            stream.read_to_end(&mut got).await.unwrap();
            assert!(got == data);
        };
        join(send, receive).await;
    };
    pool.run_until(join(
        transfer(&a.session, &mut a.incoming),
        transfer(&b.session, &mut b.incoming),
    ));
}

#[test]
fn a_stream_is_announced_by_reading_or_closing_too() {
    let mut pool = LocalPool::new();
    let (a, mut b) = pair(&pool, &SessionConfig::default());
    let mut read_first = pool.run_until(a.session.open()).unwrap();
    assert!(read_first.read(&mut [0]).now_or_never().is_none());
    let mut theirs = pool.run_until(b.incoming.next()).unwrap();
    pool.run_until(theirs.write_all(b"!")).unwrap();
    pool.run_until(read_first.read_exact(&mut [0])).unwrap();

    let mut closed_first = pool.run_until(a.session.open()).unwrap();
    pool.run_until(closed_first.close()).unwrap();
    let mut theirs = pool.run_until(b.incoming.next()).unwrap();
    assert_eq!(pool.run_until(theirs.read(&mut [0])).unwrap(), 0);
}

#[test]
fn closing_sends_queued_data_and_wakes_all_tasks() {
    let mut pool = LocalPool::new();
    let (a, mut b) = pair(&pool, &SessionConfig::default());
    let mut stream = pool.run_until(a.session.open()).unwrap();
    pool.run_until(stream.write_all(&[5; 50_000])).unwrap();
    a.session.close();
    assert!(a.session.is_closed());
    let (read, reason) = pool.run_until(join(
        async { stream.read(&mut [0]).await },
        a.session.closed(),
    ));
    assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionAborted);
    assert_eq!(reason, CloseReason::Local);
    assert_eq!(
        pool.run_until(a.session.open()).err(),
        Some(SessionError::Closed(CloseReason::Local))
    );
    assert_eq!(
        stream
            .write(b"x")
            .now_or_never()
            .unwrap()
            .unwrap_err()
            .kind(),
        ErrorKind::BrokenPipe
    );

    assert_eq!(pool.run_until(b.session.closed()), CloseReason::Remote);
    let mut theirs = pool.run_until(b.incoming.next()).unwrap();
    let mut got = Vec::new();
    let error = pool.run_until(theirs.read_to_end(&mut got)).unwrap_err();
    assert_eq!(got.len(), 50_000);
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    assert!(pool.run_until(b.incoming.next()).is_none());
}

#[test]
fn dropping_the_last_handle_closes() {
    let mut pool = LocalPool::new();
    let (a, b) = pair(&pool, &SessionConfig::default());
    let clone = a.session.clone();
    drop(a.session);
    pool.run_until_stalled();
    assert!(!b.session.is_closed());
    drop(clone);
    assert_eq!(pool.run_until(b.session.closed()), CloseReason::Remote);
}

#[test]
fn a_dropped_driver_ends_everything() {
    let mut pool = LocalPool::new();
    let (_peer, end) = pipe(1000);
    let (session, mut incoming, driver) =
        Session::new(end, Role::Client, &SessionConfig::default());
    let mut stream = pool.run_until(session.open()).unwrap();
    let ending = async {
        drop(driver);
        session.closed().await
    };
    let (read, reason) = pool.run_until(join(stream.read(&mut [0]), ending));
    assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionAborted);
    assert_eq!(reason, CloseReason::Dropped);
    assert_eq!(
        pool.run_until(session.open()).err(),
        Some(SessionError::Closed(CloseReason::Dropped))
    );
    assert!(pool.run_until(incoming.next()).is_none());
}

#[test]
fn many_small_frames_share_one_write() {
    let mut pool = LocalPool::new();
    let (a, b) = pipe(1 << 16);
    let wire = a.output();
    let (a, b) = pair_over(&pool, a, b, &SessionConfig::default());
    pool.run_until_stalled();
    let before = wire.lock().unwrap().writes;
    let mut streams = Vec::new();
    for _ in 0..50 {
        let mut stream = pool.run_until(a.session.open()).unwrap();
        stream.write(b"x").now_or_never().unwrap().unwrap();
        streams.push(stream);
    }
    pool.run_until_stalled();
    assert_eq!(b.session.counters().inbound, 50);
    let writes = wire.lock().unwrap().writes - before;
    assert!(writes <= 110, "{writes}");
}

#[test]
fn a_session_may_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    fn is_sync<T: Sync>(_: &T) {}
    let (a, b) = pipe(1000);
    let key = SecretKey::from_bytes(&[1; 32]).unwrap();
    let fresh = || Ephemeral::from_entropy(&[3; 32]);
    is_send(&secure::accept(a, &key, fresh()));
    is_send(&secure::connect(b, &key, key.public(), fresh()));
    let (session, incoming, driver) =
        Session::new(pipe(1000).0, Role::Client, &SessionConfig::default());
    is_send(&driver);
    is_send(&incoming);
    is_send(&session);
    is_sync(&session);
    is_send(&session.open());
    is_send(&async { session.open().await.unwrap().read(&mut [0]).await });
}

#[test]
fn an_idle_session_sends_only_requested_pings() {
    let mut pool = LocalPool::new();
    let (a, b) = secured(&mut pool);
    let (ours, theirs) = (a.keepalive(), b.keepalive());
    let spawner = pool.spawner();
    let config = SessionConfig::default();
    let _a = start(&spawner, a, Role::Client, &config);
    let _b = start(&spawner, b, Role::Server, &config);
    pool.run_until_stalled();
    assert_eq!((ours.received(), theirs.received()), (0, 0));
    for beats in 1..4 {
        ours.request_ping();
        pool.run_until_stalled();
        assert_eq!((ours.received(), theirs.received()), (0, beats));
    }
}

#[test]
fn a_turn_of_the_driver_reads_a_bounded_amount() {
    let mut pool = LocalPool::new();
    let (mut peer, end) = pipe(1 << 20);
    let wire = end.input();
    let (_session, _incoming, mut driver) =
        Session::new(end, Role::Server, &SessionConfig::default());
    let frames = frame(1, 0, 9, 0).repeat(80_000); // window updates of a stream long gone
    assert!(pool.run_until(peer.write_all(&frames[..960_000])).is_ok());
    assert!((&mut driver).now_or_never().is_none());
    let left = wire.lock().unwrap().bytes.len();
    assert!((600_000..900_000).contains(&left), "{left}");
}

#[test]
fn the_end_and_a_reset_are_distinguished() {
    let mut pool = LocalPool::new();
    let (a, mut b) = pair(&pool, &SessionConfig::default());
    for reset in [false, true] {
        let mut stream = pool.run_until(a.session.open()).unwrap();
        pool.run_until(stream.write_all(b"request")).unwrap();
        let mut theirs = pool.run_until(b.incoming.next()).unwrap();
        pool.run_until(theirs.write_all(b"answer")).unwrap();
        if !reset {
            pool.run_until(theirs.close()).unwrap();
        }
        drop(theirs);
        let mut got = Vec::new();
        let end = pool.run_until(stream.read_to_end(&mut got));
        assert_eq!(got, b"answer");
        let kind = end.err().map(|e| e.kind());
        assert_eq!(kind, reset.then_some(ErrorKind::ConnectionReset));
    }
}

#[test]
fn closing_twice_sends_one_fin() {
    let mut pool = LocalPool::new();
    let (mut peer, end) = pipe(1 << 16);
    let node = start(
        &pool.spawner(),
        end,
        Role::Client,
        &SessionConfig::default(),
    );
    let mut stream = pool.run_until(node.session.open()).unwrap();
    pool.run_until(async {
        stream.write_all(b"x").await.unwrap();
        stream.close().await.unwrap();
        stream.close().await.unwrap();
        let error = stream.write_all(b"late").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
    pool.run_until_stalled();
    drop(node);
    let mut bytes = Vec::new();
    pool.run_until(peer.read_to_end(&mut bytes)).unwrap();
    let mut fins = 0;
    let mut rest = &bytes[..];
    while let Some((header, after)) = rest.split_at_checked(12) {
        fins += usize::from(header[3] & FIN as u8 != 0);
        let body = match header[0..2] {
            [0, DATA] => u32::from_be_bytes(header[8..].try_into().unwrap()),
            _ => 0,
        };
        rest = &after[body as usize..];
    }
    assert_eq!(fins, 1);
}

#[test]
fn simultaneous_dials_keep_the_same_session_on_both_sides() {
    let keys: Vec<_> = (1..20)
        .map(|byte| SecretKey::from_bytes(&[byte; 32]).unwrap().public())
        .collect();
    let kept = |local, remote, old, new| match keep_which(local, remote, old, new) {
        Keep::Old => old,
        Keep::New => new,
    };
    for (i, a) in keys.iter().enumerate() {
        for b in &keys[..i] {
            use Role::{Client, Server};
            for (a_old, a_new) in [(Client, Server), (Server, Client)] {
                for (b_old, b_new) in [(Client, Server), (Server, Client)] {
                    // The session that one side dialled is the one that the other accepted.
                    let ours = kept(a, b, a_old, a_new);
                    let theirs = kept(b, a, b_old, b_new);
                    assert_ne!(ours, theirs);
                    assert_eq!(ours == Client, a < b);
                }
            }
            assert_eq!(keep_which(a, b, Client, Client), Keep::New);
            assert_eq!(keep_which(a, b, Server, Server), Keep::New);
        }
    }
}

quickcheck! {
    fn any_fragmentation_gives_the_same_streams(
        sizes: Vec<u16>, pieces: Vec<u8>, capacity: u8
    ) -> TestResult {
        if sizes.len() > 8 {
            return TestResult::discard();
        }
        let mut pool = LocalPool::new();
        let pieces: Vec<usize> = pieces.into_iter().map(|p| usize::from(p) * 9 + 3).collect();
        let (a, b) = pipe(usize::from(capacity) * 20 + 30);
        let (a, b) = (a.in_pieces(pieces.clone()), b.in_pieces(pieces));
        let (a, b) = pair_over(&pool, a, b, &SessionConfig::default());
        pool.spawner().spawn_local(echo(b.incoming, pool.spawner())).unwrap();
        let answers = pool.run_until(join_all(sizes.iter().map(|size| {
            let session = &a.session;
            async move {
                let request = vec![*size as u8; usize::from(size % 3000)];
                call(session, &request).await == request
            }
        })));
        TestResult::from_bool(answers.into_iter().all(|ok| ok))
    }
}
