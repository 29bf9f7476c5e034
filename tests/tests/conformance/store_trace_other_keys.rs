//! The stated differences hold for any keys and values: the same traces with other keys and values
//! differ from Go in the same way.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use skydht_core::id::Target;
use skydht_core::item::{Item, ItemError, Value};
use skydht_core::key::{PublicKey, SecretKey};

use super::{GoStore, Trace, replay};
use crate::differences::Differences;
use crate::hex::Hex;
use crate::report::Report;

#[test]
fn the_stated_differences_hold_for_other_keys_and_values() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let read = |name| std::fs::read_to_string(directory.join(name)).unwrap();
    let file: Json = serde_json::from_str(&read("store_trace.json")).unwrap();
    let differences = Differences::parse(&read("differences.toml")).unwrap();
    for other in ["one", "two", "three"] {
        let mut report = Report::default();
        let mut traces: Vec<Trace> = report.section(&file, "traces").unwrap();
        for trace in &mut traces {
            Others::new(other, trace).rewrite(trace);
        }
        replay(&traces, &mut report);
        let outcome = report.reconcile(differences.of("store_trace.json"));
        assert!(outcome.is_ok(), "{other}: {outcome}");
    }
}

/// Replacements for a trace's keys, values and targets.
struct Others {
    name: &'static str,
    targets: BTreeMap<Target, Target>,
}

impl Others {
    fn new(name: &'static str, trace: &Trace) -> Self {
        let items = trace.ops.iter().filter_map(|op| op.item.as_ref());
        let targets = items.map(|item| {
            let key = Self::secret(name, &item.key).public();
            (item.target(), Target::of(&key, item.salt.as_bytes()))
        });
        Self {
            name,
            targets: targets.collect(),
        }
    }

    fn secret(name: &str, key: &PublicKey) -> SecretKey {
        let entropy = Sha256::digest([name.as_bytes(), key.as_bytes()].concat());
        SecretKey::from_entropy(&entropy.into())
    }

    fn key(&self, key: &mut Hex) {
        let before = PublicKey::from_bytes(&key.0).unwrap();
        key.0 = Self::secret(self.name, &before)
            .public()
            .as_bytes()
            .to_vec();
    }

    fn value(&self, value: &[u8]) -> Vec<u8> {
        [value, self.name.as_bytes()].concat()
    }

    /// Replaces a target; some are not the target of any item.
    fn target(&self, target: &mut Hex) {
        let before = Target::from_bytes(target.array());
        target.0 = match self.targets.get(&before) {
            Some(other) => other.as_bytes().to_vec(),
            None => Sha256::digest(self.value(&target.0)).to_vec(),
        };
    }

    fn item(&self, item: &Item) -> Arc<Item> {
        let secret = Self::secret(self.name, &item.key);
        let value = Value::from(self.value(item.value.as_bytes()));
        let mut other = Item::sign(&secret, item.seq, value, item.salt.clone());
        if matches!(item.check(), Err(ItemError::Signature(_))) {
            other.signature = secret.sign(&[1; 32]);
        }
        Arc::new(other)
    }

    fn rewrite(&self, trace: &mut Trace) {
        let config = &mut trace.config;
        let tiers = [&mut config.whitelisted, &mut config.trusted];
        tiers.into_iter().flatten().for_each(|key| self.key(key));
        let mut go = GoStore::default();
        for op in &mut trace.ops {
            let tiers = [&mut op.whitelisted, &mut op.trusted];
            let tiers = tiers.into_iter().flatten().flatten();
            tiers.for_each(|key| self.key(key));
            op.item = op.item.as_ref().map(|item| self.item(item));
            op.target.iter_mut().for_each(|target| self.target(target));
            if let Some(v) = &mut op.v {
                v.0 = self.value(&v.0);
            }
            let evicted = op.evicted.iter_mut().flatten();
            evicted.for_each(|target| self.target(target));
            let result = op.result.iter_mut().flatten();
            result.for_each(|entry| self.target(&mut entry.target));
            if let Some(result) = &mut op.result {
                result.sort_by_key(|it| (it.seq.parse::<u64>().unwrap(), it.target.0.clone()));
            }
            go.apply(op);
            op.state_hash = go.state_hash();
        }
    }
}
