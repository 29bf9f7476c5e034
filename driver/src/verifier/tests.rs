use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::Poll;

use futures::executor::block_on;
use skydht_core::item::{Item, Salt, Seq, Value};
use skydht_core::key::SecretKey;

use super::*;

/// Runs `jobs` jobs of which every seventh is forged, and returns the verdicts by job.
fn run(queue: &VerifyQueue, jobs: u64) -> BTreeMap<u64, bool> {
    let secret = SecretKey::from_bytes(&[3; 32]).unwrap();
    for n in 0..jobs {
        let mut item = Item::sign(&secret, Seq(n), Value::new(b"v"), Salt::from("s"));
        if n % 7 == 0 {
            item.seq = Seq(n + 1);
        }
        queue.submit(JobId(n), VerifyJob::new(Arc::new(item), None));
    }
    let mut verdicts = BTreeMap::new();
    block_on(poll_fn(|cx| {
        queue.queue.waker.register(cx.waker());
        let mut done = Vec::new();
        queue.take(&mut done);
        verdicts.extend(
            done.into_iter()
                .map(|(job, verdict)| (job.0, verdict.is_ok())),
        );
        if verdicts.len() as u64 == jobs {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }));
    verdicts
}

#[test]
fn every_job_gets_its_own_verdict_inline_and_in_the_pool() {
    for verifier in [Verifier::inline(), Verifier::shared()] {
        let verdicts = run(&verifier.queue(Arc::default()), 100);
        assert!(verdicts.iter().all(|(n, valid)| *valid == (n % 7 != 0)));
    }
}

#[test]
fn a_node_with_many_jobs_does_not_hold_up_another() {
    let pool = Pool::start(1);
    let verifier = Verifier(Backend::Pool(pool));
    let busy = verifier.queue(Arc::default());
    let secret = SecretKey::from_bytes(&[3; 32]).unwrap();
    let item = Arc::new(Item::sign(
        &secret,
        Seq(1),
        Value::new(b"v"),
        Salt::from("s"),
    ));
    for n in 0..4_000 {
        busy.submit(JobId(n), VerifyJob::new(Arc::clone(&item), None));
    }
    run(&verifier.queue(Arc::default()), 4);
    assert!(!busy.queue.lock().jobs.is_empty());
}

/// Inspects the queue at each wake.
struct InspectingWaker {
    queue: Arc<Queue>,
    found: std::sync::mpsc::SyncSender<usize>,
}

impl std::task::Wake for InspectingWaker {
    fn wake(self: Arc<Self>) {
        let found = self.queue.lock().done.len();
        self.found.try_send(found).expect("a wake for each batch");
    }
}

#[test]
fn verdicts_are_there_when_the_loop_is_woken() {
    for verifier in [Verifier::inline(), Verifier(Backend::Pool(Pool::start(1)))] {
        let queue = verifier.queue(Arc::default());
        let (found, looked) = std::sync::mpsc::sync_channel(64);
        let looks = InspectingWaker {
            queue: Arc::clone(&queue.queue),
            found,
        };
        let waker = std::task::Waker::from(Arc::new(looks));
        let secret = SecretKey::from_bytes(&[3; 32]).unwrap();
        let item = Item::sign(&secret, Seq(1), Value::new(b"v"), Salt::from("s"));
        let item = Arc::new(item);
        let mut verdicts = Vec::new();
        for n in 0..20 {
            queue.queue.waker.register(&waker);
            queue.submit(JobId(n), VerifyJob::new(Arc::clone(&item), None));
            let found = looked
                .recv_timeout(std::time::Duration::from_secs(30))
                .expect("woken for every job");
            assert!(found > 0, "woken for job {n} before its verdict was there");
            queue.take(&mut verdicts);
            assert_eq!(verdicts.len(), 1, "job {n} has its verdict");
            verdicts.clear();
        }
    }
}
