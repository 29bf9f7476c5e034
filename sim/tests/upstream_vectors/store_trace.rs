//! `store_trace.json`: every operation on a store with all its results.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};
use skydht_core::id::Target;
use skydht_core::item::{Item, Seq};
use skydht_core::key::PublicKey;
use skydht_core::time::Mono;
use skydht_core::wire::{WireItem, decode_item};
use skydht_sim::upstream::store::{Limits, Store, Tier};

use crate::{Hex, assert_none, hex, section, vectors};

#[derive(Deserialize)]
struct Trace {
    name: String,
    config: Config,
    ops: Vec<Json>,
    final_count_by_tier: Json,
}

#[derive(Deserialize)]
struct Config {
    item_ttl_seconds: f64,
    max_items: usize,
    public_pool_size: usize,
    rate_limit_per_pk: usize,
    whitelisted: Vec<Hex>,
    trusted: Vec<Hex>,
}

/// Fields of an operation that describe its request and place.
#[derive(Deserialize)]
struct Op {
    op: String,
    t: u64,
    item: Option<Json>,
    target: Option<Hex>,
    salt: Option<String>,
    since_seq: Option<String>,
    limit: Option<i64>,
    value: Option<bool>,
    whitelisted: Option<Vec<Hex>>,
    trusted: Option<Vec<Hex>>,
}

/// Names of these fields. All other fields are results.
const ASKED: [&str; 12] = [
    "op",
    "t",
    "item",
    "target",
    "salt",
    "since_seq",
    "limit",
    "value",
    "whitelisted",
    "trusted",
    "seconds",
    "note",
];

#[test]
fn the_store_is_gos() {
    let Some(file) = vectors("store_trace.json") else {
        return;
    };
    let mut differences = Vec::new();
    for trace in section::<Trace>(&file, "traces") {
        assert!(!trace.ops.is_empty(), "{}: no operations", trace.name);
        replay(&trace, &mut differences);
    }
    assert_none(&differences);
}

fn replay(trace: &Trace, differences: &mut Vec<String>) {
    let config = &trace.config;
    let limits = Limits {
        max_items: config.max_items,
        public_pool: config.public_pool_size,
        items_per_key: config.rate_limit_per_pk,
        item_ttl: Duration::from_secs_f64(config.item_ttl_seconds),
    };
    let mut store = Store::new(limits, false);
    store.set_trust(keys(Some(&config.whitelisted)), keys(Some(&config.trusted)));
    let mut last = 0;
    for (index, json) in trace.ops.iter().enumerate() {
        let op: Op = serde_json::from_value(json.clone()).expect("an operation");
        let mut theirs = json.as_object().expect("an object").clone();
        theirs.retain(|name, _| !ASKED.contains(&name.as_str()));
        let mut ours = apply(&mut store, &op);
        ours["len_after"] = json!(store.len());
        ours["state_hash"] = json!(state_hash(&store));
        let error = theirs.get_mut("error");
        if let Some(cut) = error.and_then(|it| without_cause(it)) {
            theirs.insert("error".to_owned(), cut);
        }
        let theirs = Json::Object(theirs);
        if ours != theirs {
            let name = &trace.name;
            differences.push(format!("{name}, operation {index}: {ours}, not {theirs}"));
        }
        last = op.t;
    }
    let tiers = count_by_tier(&store, last);
    if tiers != trace.final_count_by_tier {
        differences.push(format!("{}: {tiers} at the end", trace.name));
    }
}

fn apply(store: &mut Store, op: &Op) -> Json {
    let now = at(op.t);
    let before: BTreeSet<Target> = store.iter().map(|(target, _)| *target).collect();
    let target = op.target.as_ref().map(|it| Target::from_bytes(it.array()));
    match op.op.as_str() {
        "put" => {
            let item = item(op);
            let result = store.put(now, &item);
            let error = json!(result.err().map(|e| e.to_string()).unwrap_or_default());
            let target = target.expect("there in put");
            assert_eq!(item.item().map(|it| it.target()), Some(target));
            json!({
                "error": without_cause(&error).unwrap_or(error),
                "evicted": evicted(store, &before),
                "present_after": held(store, &target).is_some(),
            })
        }
        "put_mirror" => {
            let target = target.expect("there in put_mirror");
            store.put_mirror(now, target, &item(op));
            let seq = held(store, &target).map(|item| item.seq.to_string());
            json!({
                "evicted": evicted(store, &before),
                "present_after": seq.is_some(),
                "stored_seq_after": seq.unwrap_or_default(),
            })
        }
        "get" => match store.get(now, &target.expect("there in get")) {
            Some(item) => json!({
                "found": true,
                "seq": item.seq.to_string(),
                "v": hex(item.value.as_bytes()),
            }),
            None => json!({"found": false}),
        },
        "get_items" => {
            let since: u64 = op.since_seq.as_deref().map_or(0, |it| it.parse().unwrap());
            let salt = op.salt.as_deref().unwrap_or_default();
            let page = store.page(salt, Seq(since), op.limit.unwrap_or_default());
            let entry = |(target, item): &(Target, _)| {
                let item: &std::sync::Arc<Item> = item;
                json!({"target": hex(target.as_bytes()), "seq": item.seq.to_string()})
            };
            let result: Vec<Json> = page.items.iter().map(entry).collect();
            let result = match result.is_empty() {
                true => Json::Null,
                false => json!(result),
            };
            json!({"result": result, "has_more": page.has_more})
        }
        "expire_sweep" => {
            let removed = store.sweep(now);
            json!({"removed": removed, "evicted": evicted(store, &before)})
        }
        "set_full_node" => {
            store.set_full_node(op.value.expect("there in set_full_node"));
            json!({"is_full_after": store.is_full_node()})
        }
        "set_trust" => {
            store.set_trust(keys(op.whitelisted.as_ref()), keys(op.trusted.as_ref()));
            json!({})
        }
        "advance" => json!({}),
        other => panic!("unknown operation {other}"),
    }
}

fn item(op: &Op) -> WireItem {
    let json = op.item.as_ref().expect("there in puts").to_string();
    decode_item(json.as_bytes()).expect("Go's own item")
}

/// The stored item, expired or not.
fn held<'a>(store: &'a Store, target: &Target) -> Option<&'a Item> {
    let mut all = store.iter();
    let found = all.find(|(it, _)| *it == target);
    found.map(|(_, item)| &**item)
}

/// Evicted targets, in the format that Go prints for a list that may be nil.
fn evicted(store: &Store, before: &BTreeSet<Target>) -> Json {
    let gone = before.iter().filter(|it| held(store, it).is_none());
    let gone: Vec<String> = gone.map(|it| hex(it.as_bytes())).collect();
    match gone.is_empty() {
        true => Json::Null,
        false => json!(gone),
    }
}

fn state_hash(store: &Store) -> String {
    let list: Vec<String> = store
        .iter()
        .map(|(target, item)| format!("{target}:{}", item.seq))
        .collect();
    hex(&Sha256::digest(list.join(","))[..8])
}

fn count_by_tier(store: &Store, t: u64) -> Json {
    let mut tiers = [0, 0, 0];
    for (target, item) in store.iter() {
        if store.get(at(t), target).is_some() {
            tiers[match store.tier(&item.key) {
                Tier::Whitelisted => 0,
                Tier::Trusted => 1,
                Tier::Public => 2,
            }] += 1;
        }
    }
    let [whitelisted, trusted, public] = tiers;
    json!({ "whitelisted": whitelisted, "trusted": trusted, "public": public })
}

fn keys(list: Option<&Vec<Hex>>) -> BTreeSet<PublicKey> {
    let list = list.into_iter().flatten();
    list.map(|it| PublicKey::from_bytes(&it.0).expect("a good key"))
        .collect()
}

fn at(t: u64) -> Mono {
    Mono::default().plus(Duration::from_secs(t))
}

/// The reason of an invalid signature depends on the version of Go's library.
fn without_cause(error: &Json) -> Option<Json> {
    let (before, _) = error.as_str()?.split_once("invalid signature: ")?;
    Some(json!(format!("{before}invalid signature")))
}
