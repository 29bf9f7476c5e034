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
    let verifier = Verifier(Place::Pool(pool));
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
