//! store_trace.json: the behaviour of Go's store for the same items at the same times.
//!
//! Go evicts the oldest item on every node, this implementation only on full nodes. The store
//! therefore runs as a full node's, with the trace's limits; eviction by distance has its own
//! tests. Each item arrives over its signer's own stream, and the signers of mirrors are
//! configured. Mirrors signed by keys of the tiers, which Go never evicts, are put as the node's
//! own.
//!
//! Each operation starts from the same contents as Go's: after a difference the contents are made
//! equal again, so that every stated difference has a single cause.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest as _, Sha256};
use skydht_core::cap::Cap;
use skydht_core::id::{NodeId, Target};
use skydht_core::item::{Item, ItemError, Origin, Seq};
use skydht_core::key::PublicKey;
use skydht_core::store::{Admission, Candidate, Precheck, Refusal, Store, StoreConfig, Tier, Via};
use skydht_core::time::{Mono, Time, Unix};
use skydht_core::wire::decode_item;

use crate::hex::{Hex, hex};
use crate::report::Report;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trace {
    name: String,
    config: Config,
    ops: Vec<Op>,
    final_count_by_tier: Json,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    item_ttl_seconds: f64,
    max_items: usize,
    public_pool_size: usize,
    rate_limit_per_pk: usize,
    whitelisted: Vec<Hex>,
    trusted: Vec<Hex>,
}

/// An operation; `op` determines which fields are present.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Op {
    op: Kind,
    t: u64,
    len_after: usize,
    state_hash: String,
    #[serde(default, deserialize_with = "decode")]
    item: Option<Arc<Item>>,
    target: Option<Hex>,
    error: Option<String>,
    evicted: Option<Vec<Hex>>,
    present_after: Option<bool>,
    stored_seq_after: Option<String>,
    found: Option<bool>,
    seq: Option<String>,
    v: Option<Hex>,
    salt: Option<String>,
    since_seq: Option<String>,
    limit: Option<i64>,
    result: Option<Vec<Entry>>,
    has_more: Option<bool>,
    removed: Option<usize>,
    #[allow(dead_code, reason = "`t` says the same")]
    seconds: Option<u64>,
    value: Option<bool>,
    is_full_after: Option<bool>,
    whitelisted: Option<Vec<Hex>>,
    trusted: Option<Vec<Hex>>,
    #[allow(dead_code, reason = "for people")]
    note: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Put,
    PutMirror,
    Get,
    GetItems,
    ExpireSweep,
    Advance,
    SetFullNode,
    SetTrust,
}

impl Op {
    fn item(&self) -> Arc<Item> {
        self.item.clone().expect("there in put")
    }

    fn target(&self) -> Target {
        let target = self.target.as_ref().expect("there in put and get");
        Target::from_bytes(target.array())
    }
}

/// Decodes Go's JSON as a node does.
fn decode<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Arc<Item>>, D::Error> {
    let json = Json::deserialize(d)?.to_string();
    let item = decode_item(json.as_bytes()).map_err(D::Error::custom)?;
    Ok(item.into_item())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    target: Hex,
    seq: String,
}

pub(crate) fn run(file: &Json, report: &mut Report) {
    let traces: Vec<Trace> = report.section(file, "traces").unwrap_or_default();
    replay(&traces, report);
}

fn replay(traces: &[Trace], report: &mut Report) {
    for trace in traces {
        let mut replay = Replay::new(trace);
        for (index, op) in trace.ops.iter().enumerate() {
            let result = replay.apply(index, op);
            let mut case = report.op(&trace.name, index);
            if replay.go.state_hash() != op.state_hash {
                case.fail("Go's contents are not what its answers say");
            }
            case.check_stated("result", result.ours, result.theirs, result.stated);
            if index + 1 == trace.ops.len() {
                let tiers = replay.count_by_tier(op.t);
                drop(case);
                let mut case = report.case(&trace.name);
                case.check("final_count_by_tier", tiers, &trace.final_count_by_tier);
            }
            replay.make_equal();
        }
    }
}

/// Results of one operation: this implementation's, Go's, and for differences a description without
/// keys.
#[derive(Default)]
struct Comparison {
    ours: Map<String, Json>,
    theirs: Map<String, Json>,
    stated: Map<String, Json>,
}

/// Rules for two contents with the same sequence number: Go's, and this implementation's, which
/// makes all replicas equal.
const FIRST_STAYS: &str = "the first stays";
const SMALLER_STAYS: &str = "the smaller hash stays";

impl Comparison {
    fn has_tie(&self) -> bool {
        self.ours.contains_key("tie")
    }

    fn add(&mut self, field: &str, ours: impl Into<Json>, theirs: impl Into<Json>) {
        let ours = ours.into();
        self.add_stated(field, ours.clone(), theirs, ours);
    }

    fn add_stated(
        &mut self,
        field: &str,
        ours: impl Into<Json>,
        theirs: impl Into<Json>,
        stated: impl Into<Json>,
    ) {
        let (ours, theirs) = (ours.into(), theirs.into());
        if ours != theirs {
            self.stated.insert(field.to_owned(), stated.into());
        }
        self.ours.insert(field.to_owned(), ours);
        self.theirs.insert(field.to_owned(), theirs);
    }
}

/// Contents of Go's store according to its results: the item at each target, and since when.
#[derive(Default)]
struct GoStore(BTreeMap<Target, (Arc<Item>, u64)>);

impl GoStore {
    fn apply(&mut self, op: &Op) {
        if matches!(op.op, Kind::Put | Kind::PutMirror) {
            let (target, item) = (op.target(), op.item());
            let accepted = match &op.stored_seq_after {
                Some(seq) => {
                    let before = self.0.get(&target).map(|(item, _)| item.seq);
                    before != Some(item.seq) && *seq == item.seq.to_string()
                }
                None => op.error.as_deref() == Some(""),
            };
            if accepted && op.present_after == Some(true) {
                self.0.insert(target, (item, op.t));
            }
        }
        for target in op.evicted.iter().flatten() {
            self.0.remove(&Target::from_bytes(target.array()));
        }
    }

    fn state_hash(&self) -> String {
        state_hash(self.0.iter().map(|(target, (item, _))| (target, item.seq)))
    }
}

struct Replay {
    store: Store,
    /// Limits of all items and of those outside the tiers, from the trace.
    limits: (usize, usize),
    go: GoStore,
    /// Every item of the trace so far, with the index of its operation.
    items: Vec<(usize, Arc<Item>)>,
}

impl Replay {
    fn new(trace: &Trace) -> Self {
        let config = &trace.config;
        let mirrors = trace.ops.iter().filter(|op| op.op == Kind::PutMirror);
        let store = Store::new(StoreConfig {
            full_node: true,
            whitelisted: keys(&config.whitelisted),
            trusted: keys(&config.trusted),
            mirrors: mirrors.map(|op| op.item().key).collect(),
            max_items: Cap::new(config.max_items),
            public_items: Cap::new(config.public_pool_size),
            items_per_publisher: Cap::new(config.rate_limit_per_pk),
            ..StoreConfig::unlimited(
                NodeId::default(),
                Duration::from_secs_f64(config.item_ttl_seconds),
            )
        });
        Self {
            store,
            limits: (config.max_items, config.public_pool_size),
            go: GoStore::default(),
            items: Vec::new(),
        }
    }

    fn apply(&mut self, index: usize, op: &Op) -> Comparison {
        let mut result = Comparison::default();
        match op.op {
            Kind::Put | Kind::PutMirror => self.put(index, op, &mut result),
            Kind::Get => self.get(op, &mut result),
            Kind::GetItems => self.get_items(op, &mut result),
            Kind::ExpireSweep => self.sweep(op, &mut result),
            Kind::Advance => {}
            Kind::SetFullNode => {
                // A full node of this implementation has no limit of items.
                let items = match op.value {
                    Some(true) => 0,
                    _ => self.limits.0,
                };
                self.store.set_limits(items.into(), self.limits.1.into());
                result.add("is_full_after", items == 0, op.is_full_after);
            }
            Kind::SetTrust => {
                let tier = |it: &Option<Vec<Hex>>| keys(it.as_deref().unwrap_or_default());
                let (whitelisted, trusted) = (tier(&op.whitelisted), tier(&op.trusted));
                self.store.set_trust(at(op.t), whitelisted, trusted);
            }
        }
        self.go.apply(op);
        self.compare_state(op, &mut result);
        result
    }

    fn put(&mut self, index: usize, op: &Op, result: &mut Comparison) {
        let (now, target, item) = (at(op.t), op.target(), op.item());
        self.items.push((index, item.clone()));
        let holders = self.holders();
        let tie = self.tie(now, &target, &item);
        let candidate = self.candidate(target, &item);
        let answer = self.store_item(now, candidate);
        let (error, evicted) = match answer {
            Ok(admission) => (String::new(), admission.evicted),
            Err(error) => (error, Vec::new()),
        };
        let present = self.held_at(&target);
        if let Some(winner) = tie {
            let smaller = present.is_some_and(|held| Arc::ptr_eq(held, &winner));
            let ours = if smaller { SMALLER_STAYS } else { "neither" };
            result.add("tie", ours, FIRST_STAYS);
        }
        if let Some(theirs) = &op.error {
            result.add(
                "target",
                hex(item.target().as_bytes()),
                hex(target.as_bytes()),
            );
            if !result.has_tie() {
                result.add("error", without_cause(&error), without_cause(theirs));
            }
        }
        result.add("present_after", present.is_some(), op.present_after);
        if let Some(theirs) = &op.stored_seq_after {
            let seq = present.map_or(String::new(), |item| item.seq.to_string());
            result.add("stored_seq_after", seq, theirs.clone());
        }
        self.add_evicted(&evicted, &holders, op, result);
    }

    /// Returns the content that wins if one signer gave two contents the same sequence number.
    fn tie(&self, now: Time, target: &Target, item: &Arc<Item>) -> Option<Arc<Item>> {
        let held = self.store.get(now, target)?.item();
        let tied = (held.key, held.seq) == (item.key, item.seq) && !held.same_content(item);
        let hash = |it: &Item| Sha256::digest([it.value.as_bytes(), it.salt.as_bytes()].concat());
        let pair = [held, item];
        let winner = pair.into_iter().min_by_key(|it| hash(it));
        winner.filter(|_| tied && item.check().is_ok()).cloned()
    }

    fn candidate(&self, target: Target, item: &Arc<Item>) -> Candidate {
        let tier = self.store.config().tier(&item.key);
        let via = match item.origin_at(&target) {
            Origin::Mirror if tier != Tier::Public => Via::Local,
            _ => Via::Signer(item.key),
        };
        Candidate {
            target,
            ..Candidate::of_owner(item.clone(), via)
        }
    }

    /// Stores an item as a node does: precheck, reserve quota, verify the signature, admit.
    fn store_item(&mut self, now: Time, candidate: Candidate) -> Result<Admission, String> {
        if self.store.precheck(now, &candidate, 0).map_err(text)? == Precheck::Held {
            return self.store.confirm(now, &candidate).map_err(text);
        }
        let reservation = self.store.reserve(&candidate);
        let verdict = candidate.item.check();
        self.store.release(reservation);
        verdict.map_err(|error| error.to_string())?;
        let admission = self.store.admit(now, candidate, 0).map_err(text);
        self.store.check_invariants();
        admission
    }

    fn get(&self, op: &Op, result: &mut Comparison) {
        let held = self.store.get(at(op.t), &op.target());
        let seq = held.map(|held| held.item().seq.to_string());
        let stated = held.map(|held| self.op_of(held.item()));
        let value = held.map(|held| hex(held.item().value.as_bytes()));
        result.add("found", held.is_some(), op.found);
        result.add("seq", seq, op.seq.clone());
        result.add_stated("v", value, op.v.as_ref().map(|v| hex(&v.0)), stated);
    }

    fn get_items(&self, op: &Op, result: &mut Comparison) {
        let salt = op.salt.as_deref().filter(|salt| !salt.is_empty());
        let since = op.since_seq.as_deref().expect("there in get_items");
        let page = self.store.page(
            at(op.t),
            salt.map(str::as_bytes),
            Seq(since.parse().expect("a decimal u64")),
            op.limit.expect("there in get_items"),
            usize::MAX,
            |_| 1,
        );
        let entry = |target: &[u8], seq: &dyn ToString| json!([hex(target), seq.to_string()]);
        let ours = page.items.iter();
        let ours: Vec<Json> = ours.map(|(t, it)| entry(t.as_bytes(), &it.seq)).collect();
        let theirs = op.result.iter().flatten();
        let theirs: Vec<Json> = theirs.map(|it| entry(&it.target.0, &it.seq)).collect();
        let order = page.items.iter().map(|(target, it)| (it.seq, target));
        result.add("sorted", order.is_sorted(), true);
        let stated = sorted(page.items.iter().map(|(_, it)| self.op_of(it)));
        result.add_stated("result", ours, theirs, stated);
        result.add("has_more", page.has_more, op.has_more);
    }

    fn sweep(&mut self, op: &Op, result: &mut Comparison) {
        let holders = self.holders();
        let swept = self.store.sweep(at(op.t), usize::MAX);
        self.store.check_invariants();
        result.add("removed", swept.len(), op.removed);
        self.add_evicted(&swept, &holders, op, result);
    }

    fn add_evicted(
        &self,
        ours: &[Target],
        holders: &BTreeMap<Target, usize>,
        op: &Op,
        result: &mut Comparison,
    ) {
        let stated = sorted(ours.iter().map(|target| holders[target]));
        let ours = sorted(ours.iter().map(|target| hex(target.as_bytes())));
        let theirs = sorted(op.evicted.iter().flatten().map(|target| hex(&target.0)));
        result.add_stated("evicted", ours, theirs, stated);
    }

    fn compare_state(&self, op: &Op, result: &mut Comparison) {
        let ours = self.holders();
        let theirs: BTreeMap<Target, usize> = self
            .go
            .0
            .iter()
            .map(|(target, (item, _))| (*target, self.op_of(item)))
            .collect();
        let only = |a: &BTreeMap<Target, usize>, b: &BTreeMap<Target, usize>| -> Vec<usize> {
            let differ = a.iter().filter(|(target, op)| b.get(*target) != Some(*op));
            sorted(differ.map(|(_, op)| *op))
        };
        let hash = state_hash(
            self.store
                .range(Target::default())
                .map(|(target, held)| (target, held.item().seq)),
        );
        result.add("len_after", ours.len(), op.len_after);
        if result.has_tie() {
            // Which of the two is stored depends on their bytes; the sequence number does not.
            return result.add("state", hash, op.state_hash.clone());
        }
        let stated = json!({ "more": only(&ours, &theirs), "less": only(&theirs, &ours) });
        result.add_stated(
            "state",
            json!([hash, ours.values().collect::<Vec<_>>()]),
            json!([op.state_hash, theirs.values().collect::<Vec<_>>()]),
            stated,
        );
    }

    /// Makes the store's contents equal to Go's, with the same age of each item.
    fn make_equal(&mut self) {
        let ours = self.store.range(Target::default());
        let ours = ours.map(|(target, held)| (target, held.item()));
        let theirs = self.go.0.iter().map(|(target, (item, _))| (target, item));
        if ours.eq(theirs) {
            return;
        }
        let config = self.store.config().clone();
        let (max_items, public_items) = (config.max_items, config.public_items);
        self.store = Store::new(StoreConfig {
            max_items: Cap::UNLIMITED,
            public_items: Cap::UNLIMITED,
            ..config
        });
        for (target, (item, since)) in &self.go.0 {
            let candidate = self.candidate(*target, item);
            let admitted = self.store.admit(at(*since), candidate, 0);
            admitted.expect("there is room for what Go holds");
        }
        self.store.set_limits(max_items, public_items);
    }

    /// Returns the stored item, whether it has expired or not.
    fn held_at(&self, target: &Target) -> Option<&Arc<Item>> {
        let (found, held) = self.store.range(*target).next()?;
        (found == target).then(|| held.item())
    }

    /// Returns the index of the operation that stored each item.
    fn holders(&self) -> BTreeMap<Target, usize> {
        let held = self.store.range(Target::default());
        held.map(|(target, held)| (*target, self.op_of(held.item())))
            .collect()
    }

    fn op_of(&self, item: &Arc<Item>) -> usize {
        let mut items = self.items.iter();
        let (op, _) = items
            .find(|(_, it)| Arc::ptr_eq(it, item))
            .expect("only the trace's items are held");
        *op
    }

    fn count_by_tier(&self, t: u64) -> Json {
        let living = self.store.range(Target::default());
        let living = living.filter(|(_, held)| held.is_live(at(t)));
        let mut tiers = [0, 0, 0];
        for (_, held) in living {
            tiers[match self.store.config().tier(&held.item().key) {
                Tier::Whitelisted => 0,
                Tier::Trusted => 1,
                Tier::Public => 2,
            }] += 1;
        }
        let [whitelisted, trusted, public] = tiers;
        json!({ "whitelisted": whitelisted, "trusted": trusted, "public": public })
    }
}

/// Sorts a list, in an order that does not depend on keys.
fn sorted<T: Ord>(list: impl Iterator<Item = T>) -> Vec<T> {
    let mut list: Vec<T> = list.collect();
    list.sort();
    list
}

fn at(t: u64) -> Time {
    let elapsed = Duration::from_secs(t);
    Time {
        mono: Mono::default().plus(elapsed),
        unix: Unix::BUILD.plus(elapsed),
    }
}

fn keys(list: &[Hex]) -> BTreeSet<PublicKey> {
    let key = |bytes: &Hex| PublicKey::from_bytes(&bytes.0).expect("the vectors' keys are good");
    list.iter().map(key).collect()
}

fn state_hash<'a>(state: impl Iterator<Item = (&'a Target, Seq)>) -> String {
    let list: Vec<String> = state
        .map(|(target, seq)| format!("{target}:{seq}"))
        .collect();
    hex(&Sha256::digest(list.join(","))[..8])
}

/// Returns Go's text, if Go has one.
fn text(refusal: Refusal) -> String {
    match refusal {
        Refusal::Older | Refusal::Conflict | Refusal::Deleted => {
            "dht: sequence number must increase".to_owned()
        }
        Refusal::Quota => "dht: rate limit exceeded for public key".to_owned(),
        Refusal::ValueTooLarge => ItemError::ValueTooLarge.to_string(),
        Refusal::SaltTooLong => ItemError::SaltTooLong.to_string(),
        other => other.to_string(),
    }
}

/// Removes the cause of an invalid signature, which depends on the version of Go's library.
fn without_cause(error: &str) -> &str {
    match error.strip_prefix("dht: ") {
        Some(rest) => &error[..error.len() - rest.len() + rest.find(": ").unwrap_or(rest.len())],
        None => error,
    }
}

#[cfg(test)]
#[path = "store_trace_other_keys.rs"]
mod other_keys;
