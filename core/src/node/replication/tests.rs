//! A pass with an upstream full node, against a model of its answers.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use sha2::{Digest, Sha256};

use super::go::{GoPass, PassStep};
use crate::id::Target;
use crate::item::{Item, Life, Salt, Seq, Value};
use crate::key::{PublicKey, Signature};
use crate::sync::{Entries, FingerprintTree, ItemSet, Source, Stamp, Version};
use crate::wire::{MAX_MESSAGE, Request, Response, ResponseMessage, WireItem, encode_response};

const TTL: Duration = Duration::from_secs(7_200);

fn item(number: u64, seq: u64, len: usize) -> Arc<Item> {
    let mut key = [2; 33];
    key[1..].copy_from_slice(&Sha256::digest(number.to_be_bytes()));
    Arc::new(Item {
        key: PublicKey::from_bytes(&key).unwrap(),
        seq: Seq(seq),
        signature: Signature::default(),
        value: Value::new(&alloc::vec![7; len]),
        salt: Salt::from("go"),
    })
}

/// An upstream full node: pages in order of (sequence, target) that never split a sequence, and are
/// not sent if they are too long; batches accept higher sequences only.
#[derive(Default)]
struct Upstream {
    items: BTreeMap<Target, Arc<Item>>,
    requests: usize,
    longest_batch: usize,
}

impl Upstream {
    fn keep(&mut self, item: Arc<Item>) -> bool {
        let held = self.items.get(&item.target());
        let newer = held.is_none_or(|held| item.seq > held.seq);
        if newer {
            self.items.insert(item.target(), item);
        }
        newer
    }

    /// `None`: it closes the stream.
    fn answer(&mut self, request: Request) -> Option<Response> {
        self.requests += 1;
        match request {
            Request::GetItems {
                since_seq, limit, ..
            } => {
                let mut all: Vec<(Seq, Target)> = self
                    .items
                    .iter()
                    .map(|(at, item)| (item.seq, *at))
                    .collect();
                all.sort_unstable();
                all.retain(|(seq, _)| *seq > since_seq);
                let mut end = all.len().min(usize::try_from(limit).unwrap());
                while end > 0 && end < all.len() && all[end].0 == all[end - 1].0 {
                    end += 1;
                }
                let page = &all[..end];
                let response = Response::GetItems {
                    items: page
                        .iter()
                        .map(|(_, at)| WireItem::from(&self.items[at]))
                        .collect(),
                    targets: page.iter().map(|(_, at)| *at).collect(),
                    has_more: end < all.len(),
                };
                let message = ResponseMessage {
                    ext: None,
                    response,
                };
                encode_response(&message).ok()?;
                Some(message.response)
            }
            Request::PutBatch { items, targets } => {
                let message = crate::wire::RequestMessage {
                    sender: Default::default(),
                    ext: None,
                    request: Request::PutBatch {
                        items: items.clone(),
                        targets: targets.clone(),
                    },
                };
                let len = crate::wire::encode_request(&message).unwrap().len();
                self.longest_batch = self.longest_batch.max(len);
                let stored = items
                    .into_iter()
                    .map(|item| self.keep(item.into_item().unwrap()))
                    .collect();
                Some(Response::PutBatch {
                    stored,
                    errors: Vec::new(),
                })
            }
            _ => None,
        }
    }
}

/// Runs a pass. Returns whether it completed, and how often it had to visit more entries.
fn run(pass: &mut GoPass, ours: &mut ItemSet, theirs: &mut Upstream) -> (bool, usize) {
    let mut again = 0;
    for _ in 0..10_000 {
        match pass.next(ours) {
            PassStep::Done => return (true, again),
            PassStep::Again => again += 1,
            PassStep::Ask(request) => match theirs.answer(request) {
                Some(response) => {
                    for item in pass.answered(response).expect("an answer") {
                        ours.insert(item);
                    }
                }
                None if pass.failed() => {}
                None => return (false, again),
            },
        }
    }
    panic!("it never ends");
}

fn pass(ours: &mut ItemSet, theirs: &mut Upstream) -> bool {
    run(&mut GoPass::new(TTL), ours, theirs).0
}

fn equal(ours: &ItemSet, theirs: &Upstream) -> bool {
    ours.items().eq(theirs.items.values())
}

#[test]
fn five_thousand_items_each_half_shared_are_equal_after_one_pass() {
    let (mut ours, mut theirs) = (ItemSet::default(), Upstream::default());
    for number in 0..5_000 {
        ours.insert(item(number, 1_000 + number, 300));
        theirs.keep(item(number + 2_500, 3_500 + number, 300));
    }
    assert!(pass(&mut ours, &mut theirs));
    assert!(equal(&ours, &theirs) && ours.len() == 7_500);
    assert!(theirs.requests < 100, "{} requests", theirs.requests);
}

#[test]
fn both_directions_are_compared_by_sequence_with_upstream_too() {
    let (mut ours, mut theirs) = (ItemSet::default(), Upstream::default());
    for number in 0..300 {
        ours.insert(item(number, 10 + number % 3, 20));
        theirs.keep(item(number, 10 + number % 2, 20));
    }
    assert!(pass(&mut ours, &mut theirs));
    assert!(equal(&ours, &theirs));
}

/// Lesson R10: thousands of items with one sequence, and one absurd sequence on each side.
#[test]
fn r10_nothing_is_lost_when_thousands_share_a_sequence_and_one_is_absurd() {
    let (mut ours, mut theirs) = (ItemSet::default(), Upstream::default());
    for number in 0..3_000 {
        ours.insert(item(number + 10_000, 5, 30));
        theirs.keep(item(number, 5, 30));
    }
    theirs.keep(item(77_777, u64::MAX, 30));
    theirs.keep(item(77_778, 4, 30));
    ours.insert(item(88_888, u64::MAX, 30));
    assert!(pass(&mut ours, &mut theirs));
    assert!(equal(&ours, &theirs) && ours.len() == 6_003);
}

/// Lesson R10: pages that are too long are requested again with fewer items, and batches stay below
/// what upstream accepts.
#[test]
fn r10_pages_and_batches_are_bounded_by_their_encoded_bytes() {
    let (mut ours, mut theirs) = (ItemSet::default(), Upstream::default());
    for number in 0..150 {
        ours.insert(item(number + 1_000, 100 + number, 65_536));
        theirs.keep(item(number, 100 + number, 65_536));
    }
    assert!(pass(&mut ours, &mut theirs));
    assert!(equal(&ours, &theirs) && ours.len() == 300);
    assert!(
        theirs.longest_batch < MAX_MESSAGE / 2,
        "{}",
        theirs.longest_batch
    );
}

#[test]
fn a_peer_that_does_not_answer_get_items_is_given_up() {
    let mut pass = GoPass::new(TTL);
    let ours = ItemSet::default();
    let mut tries = 0;
    loop {
        assert!(matches!(pass.next(&ours), PassStep::Ask(_)));
        tries += 1;
        if !pass.failed() {
            break;
        }
        assert!(tries < 20);
    }
    // 256, 128, …, 1.
    assert_eq!(tries, 9);
    assert!(
        pass.answered(Response::Renew {
            stored: true,
            error: Default::default()
        })
        .is_none()
    );
}

#[test]
fn what_both_hold_is_read_and_not_given_back() {
    let (mut ours, mut theirs) = (ItemSet::default(), Upstream::default());
    for number in 0..600 {
        ours.insert(item(number, 1 + number, 20));
        theirs.keep(item(number, 1 + number, 20));
    }
    let mut pass = GoPass::new(TTL);
    assert_eq!(run(&mut pass, &mut ours, &mut theirs), (true, 0));
    assert_eq!((pass.given, pass.requests, theirs.requests), (0, 3, 3));
    for number in 600..900 {
        ours.insert(item(number, 1 + number, 20));
    }
    let mut pass = GoPass::new(TTL);
    assert_eq!(run(&mut pass, &mut ours, &mut theirs), (true, 0));
    assert_eq!((pass.given, pass.requests), (300, 5));
    assert!(equal(&ours, &theirs));
}

/// A step visits at most a few thousand entries.
#[test]
fn a_pass_looks_at_4096_entries_at_a_time() {
    let (mut ours, mut theirs) = (ItemSet::default(), Upstream::default());
    for number in 0..5_000 {
        ours.insert(item(number, 1 + number, 1));
        theirs.keep(item(number, 1 + number, 1));
    }
    let mut pass = GoPass::new(TTL);
    assert_eq!(run(&mut pass, &mut ours, &mut theirs), (true, 1));
    assert_eq!(pass.given, 0);
}

#[test]
fn a_batch_reaches_a_mebibyte_and_ends_with_the_item_that_does() {
    let (mut ours, mut theirs) = (ItemSet::default(), Upstream::default());
    for number in 0..300 {
        ours.insert(item(number, 1 + number, 3_400));
    }
    assert!(pass(&mut ours, &mut theirs));
    let batch = 1024 * 1024;
    let longest = theirs.longest_batch;
    assert!((batch..batch + 6_000).contains(&longest), "{longest}");
}

/// Answers the requests of a pass with pages without end, each with this many new items. Returns
/// the number of requests.
fn pages(new: usize) -> u32 {
    let (ours, mut pass) = (ItemSet::default(), GoPass::new(TTL));
    for n in 0.. {
        let PassStep::Ask(Request::GetItems { .. }) = pass.next(&ours) else {
            break;
        };
        let items: Vec<_> = (0..new as u64).map(|_| item(n, 1 + n, 1)).collect();
        let response = Response::GetItems {
            items: items.iter().map(WireItem::from).collect(),
            targets: Vec::new(),
            has_more: true,
        };
        assert_eq!(pass.answered(response).unwrap().len(), new);
    }
    pass.requests
}

#[test]
fn a_peer_that_names_ever_more_pages_is_read_up_to_a_limit_and_one_that_repeats_itself_is_not() {
    assert_eq!(pages(1), 16_384);
    assert_eq!(pages(0), 1);
}

/// Items of this age.
struct Aged<'a>(&'a ItemSet, Duration);

impl Entries for Aged<'_> {
    fn entries(&self, from: Target) -> impl Iterator<Item = (Target, Version)> {
        self.0.entries(from)
    }
}

impl Source for Aged<'_> {
    fn tree(&self) -> &FingerprintTree {
        self.0.tree()
    }

    fn item(&self, target: &Target) -> Option<(Arc<Item>, Life)> {
        let (item, life) = self.0.item(target)?;
        let age = self.1;
        Some((item, Life { age, ..life }))
    }

    fn wants(&self, stamp: &Stamp) -> bool {
        self.0.wants(stamp)
    }
}

#[test]
fn what_is_in_the_second_half_of_its_life_is_given_to_no_upstream_node() {
    let mut ours = ItemSet::default();
    ours.insert(item(1, 1, 1));
    let tick = Duration::from_nanos(1);
    for (age, given) in [(TTL / 2 - tick, 1), (TTL / 2, 1), (TTL / 2 + tick, 0)] {
        let mut pass = GoPass::new(TTL);
        let source = Aged(&ours, age);
        assert!(matches!(pass.next(&source), PassStep::Ask(_)));
        let response = Response::GetItems {
            items: Vec::new(),
            targets: Vec::new(),
            has_more: false,
        };
        assert!(pass.answered(response).is_some());
        let step = pass.next(&source);
        assert_eq!(matches!(step, PassStep::Done), given == 0, "{age:?}");
        assert_eq!(pass.given, given);
    }
}
