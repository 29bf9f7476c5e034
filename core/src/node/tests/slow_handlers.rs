//! Lesson R3: 10,000 requests against 128 slots, each of which takes a second.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::time::Duration;

use super::hand::{Hand, item, ours, put};
use crate::node::*;
use crate::time::Mono;
use crate::wire::{Request, Response};

const REQUESTS: usize = 10_000;
const PEERS: usize = 20;
/// Per peer, more than it may have streams.
const CONCURRENT: usize = 40;
const PINGER: usize = 99;
/// Time that the node's signature checks take.
const HANDLER: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(50);

#[derive(Default)]
struct Count {
    stored: usize,
    refused: usize,
    closed: usize,
}

#[test]
fn ten_thousand_slow_requests_end_in_an_answer_or_a_refusal_and_do_not_delay_others() {
    let mut hand = Hand::new(|config| config.limits.verify_window = 128);
    let (mut begun, mut count) = (0, Count::default());
    let mut open: BTreeMap<StreamId, usize> = BTreeMap::new();
    let mut busy: BTreeMap<usize, usize> = (1..=PEERS).map(|peer| (peer, 0)).collect();
    let mut jobs: VecDeque<(Mono, JobId)> = VecDeque::new();
    let (mut most_jobs, mut answered) = (0, BTreeSet::new());
    while begun < REQUESTS || !open.is_empty() {
        for peer in 1..=PEERS {
            while busy[&peer] < CONCURRENT && begun < REQUESTS {
                begun += 1;
                // One of the publisher's fifty items, newer each time. The test delivers the
                // verdict.
                let salt = alloc::format!("{}", begun % 50);
                let mut request = (*item(peer, &salt, 1, "v")).clone();
                request.seq.0 = begun as u64;
                let stream = hand.accept(peer);
                hand.request(stream, peer, ours(), put(&request.into()));
                open.insert(stream, peer);
                *busy.get_mut(&peer).unwrap() += 1;
            }
        }
        let stream = hand.accept(PINGER);
        hand.request(stream, PINGER, None, Request::Ping);
        assert!(
            hand.answer_on(stream).is_some(),
            "a ping does not wait for others"
        );

        hand.pass(TICK);
        while jobs.front().is_some_and(|(due, _)| *due <= hand.now) {
            let (_, job) = jobs.pop_front().unwrap();
            hand.input(Input::Verified {
                job,
                verdict: Ok(()),
            });
        }
        let ended: alloc::vec::Vec<StreamId> = open.keys().copied().collect();
        for stream in ended {
            let answer = hand.answer_on(stream).map(|message| message.response);
            match (answer, hand.closed(stream)) {
                (Some(Response::PutValue { stored, error }), _) => {
                    assert!(answered.insert(stream));
                    assert_eq!(stored, error.is_empty());
                    count.stored += usize::from(stored);
                    count.refused += usize::from(!stored);
                    hand.input(Input::StreamClosed {
                        stream,
                        end: StreamEnd::Finished,
                    });
                }
                (None, Some(CloseReason::Overloaded)) => count.closed += 1,
                (None, None) => continue,
                other => panic!("{other:?}"),
            }
            let peer = open.remove(&stream).unwrap();
            *busy.get_mut(&peer).unwrap() -= 1;
        }
        for output in core::mem::take(&mut hand.outputs) {
            if let Output::Verify { job, .. } = output {
                jobs.push_back((hand.now.plus(HANDLER), job));
            }
        }
        most_jobs = most_jobs.max(jobs.len());
        for used in hand.node.snapshot().limits {
            assert!(used.max.is_none_or(|max| used.used <= max), "{used:?}");
        }
    }
    assert_eq!(count.stored + count.refused + count.closed, REQUESTS);
    assert!(count.stored > 0 && count.closed > 0);
    assert_eq!(most_jobs, 128, "all places were in use");
    assert!(hand.hits(Limit::serving) > 0 && hand.hits(Limit::streams_per_peer) > 0);
    assert!(jobs.is_empty());
}
