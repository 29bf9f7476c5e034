//! Tests of received data that is not read.

use super::*;

const STREAMS: usize = 20;
/// One stream's window.
const WINDOW: usize = 256 * 1024;
const LIMIT: usize = 1 << 20;

fn bounded(queue: usize, budget: &ReceiveBudget) -> SessionConfig {
    SessionConfig {
        receive_queue: queue,
        receive_budget: budget.clone(),
        ..SessionConfig::default()
    }
}

/// Opens streams that each send a window of data, in pieces of `piece` bytes.
fn flood(pool: &LocalPool, session: &Session, streams: usize, piece: usize) {
    for _ in 0..streams {
        let session = session.clone();
        let sending = async move {
            let mut stream = session.open().await.unwrap();
            for _ in 0..WINDOW / piece {
                if stream.write_all(&vec![7; piece]).await.is_err() {
                    return;
                }
                if piece < 1_000 && stream.flush().await.is_err() {
                    return;
                }
            }
            let _ = stream.flush().await;
            std::future::pending::<()>().await;
        };
        pool.spawner().spawn_local(sending).unwrap();
    }
}

fn all_that_came(incoming: &mut Incoming) -> Vec<Stream> {
    std::iter::from_fn(|| incoming.next().now_or_never().flatten()).collect()
}

#[test]
fn unread_data_is_bounded_for_a_session_and_comes_back() {
    let mut pool = LocalPool::new();
    let budget = ReceiveBudget::default();
    let (a, mut b) = pair(&pool, &bounded(LIMIT, &budget));
    flood(&pool, &a.session, STREAMS, 10_000);
    pool.run_until_stalled();
    let held = budget.held();
    assert!((LIMIT / 2..=LIMIT).contains(&held), "{held} bytes");
    assert!(budget.cut() >= (STREAMS - 5) as u64, "{} cut", budget.cut());
    // Readers of streams that were reset get an error; the other streams are complete.
    let mut streams = all_that_came(&mut b.incoming);
    let mut buffer = vec![0; WINDOW];
    let mut reset = 0;
    for stream in &mut streams {
        match stream.read_exact(&mut buffer[..200_000]).now_or_never() {
            Some(Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                let write = stream.write(b"x").now_or_never().unwrap();
                assert_eq!(write.unwrap_err().kind(), ErrorKind::BrokenPipe);
                reset += 1;
            }
            whole => whole.unwrap().unwrap(),
        }
    }
    assert_eq!(reset, budget.cut());
    drop(streams);
    pool.run_until_stalled();
    assert_eq!(budget.held(), 0);
    assert_eq!(b.session.counters().inbound, 0);
    assert!(!b.session.is_closed(), "others of its streams go on");
}

/// A stream that is read continues, however much the others leave unread.
#[test]
fn streams_that_are_read_outlive_those_that_are_not() {
    let mut pool = LocalPool::new();
    let budget = ReceiveBudget::default();
    let (a, mut b) = pair(&pool, &bounded(LIMIT, &budget));
    let total = 40 * WINDOW;
    let sending = a.session.clone();
    let read = pool.run_until(async {
        let mut ours = sending.open().await.unwrap();
        ours.write_all(b"!").await.unwrap();
        ours.flush().await.unwrap();
        let mut theirs = b.incoming.next().await.unwrap();
        for _ in 0..STREAMS {
            let mut stream = sending.open().await.unwrap();
            stream.write_all(&vec![7; 200_000]).await.unwrap();
            stream.flush().await.unwrap();
            std::mem::forget(stream);
        }
        let write = async {
            ours.write_all(&vec![1; total]).await.unwrap();
            ours.close().await.unwrap();
        };
        let mut read = Vec::new();
        let (_, result) = join(write, theirs.read_to_end(&mut read)).await;
        result.map(|_| read.len()).unwrap()
    });
    assert_eq!(read, total + 1);
    assert!(budget.cut() > 10 && budget.held() <= LIMIT);
}

/// Frames of one byte each take no more memory than a large one.
#[test]
fn small_frames_cost_their_data() {
    let mut pool = LocalPool::new();
    let budget = ReceiveBudget::default();
    let (a, _b) = pair(&pool, &bounded(LIMIT, &budget));
    flood(&pool, &a.session, 1, 1);
    pool.run_until_stalled();
    assert!((WINDOW..WINDOW + 1_000).contains(&budget.held()));
    assert_eq!(budget.cut(), 0);
}

/// For the budget, the largest address loses streams, not the largest session.
#[test]
fn the_address_with_the_most_unread_data_makes_room_for_others() {
    let mut pool = LocalPool::new();
    let budget = ReceiveBudget::new(4 * WINDOW);
    let with = |address: u8| {
        let mut config = bounded(1 << 30, &budget);
        config.source = Some([192, 0, 2, address].into());
        pair(&pool, &config)
    };
    let honest = with(1);
    let crowd: Vec<_> = (0..10).map(|_| with(2)).collect();
    flood(&pool, &honest.0.session, 1, 10_000);
    for (far, _) in &crowd {
        flood(&pool, &far.session, 1, 10_000);
    }
    pool.run_until_stalled();
    assert!(budget.held() <= 4 * WINDOW && budget.cut() >= 7);
    let mut incoming = honest.1.incoming;
    let mut streams = all_that_came(&mut incoming);
    let mut buffer = vec![0; 200_000];
    let read = streams[0].read_exact(&mut buffer).now_or_never();
    read.unwrap().expect("the honest one's stream was not cut");
    drop((streams, incoming, crowd, honest.0, honest.1.session));
    drop(pool);
    assert_eq!(budget.held(), 0, "the budget has everything back");
    assert!(budget.is_empty());
}
