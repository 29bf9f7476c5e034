//! Tests of complete nodes of upstream's model in a small world.

mod faults;
mod full_nodes;
mod operations;

use std::sync::Arc;
use std::time::Duration;

use skydht_core::item::{Item, Salt, Seq, Value};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{Command, GetRequest, PutOptions, ReadPolicy};

use super::{UpstreamBoot, UpstreamConfig};
use crate::testbed::Testbed;
use crate::world::Boot;

const SALT: &str = "dmsg";

fn secret(n: usize) -> SecretKey {
    let mut entropy = [9; 32];
    entropy[..8].copy_from_slice(&n.to_be_bytes());
    SecretKey::from_entropy(&entropy)
}

fn key(n: usize) -> PublicKey {
    secret(n).public()
}

fn node(n: usize, config: UpstreamConfig) -> Box<dyn Boot> {
    Box::new(UpstreamBoot {
        config: Arc::new(config),
        secret: secret(n),
    })
}

/// Nodes that all bootstrap from the first one and have had time to find each other.
fn network(count: usize) -> Testbed {
    let config = UpstreamConfig {
        bootstrap: vec![key(0)],
        republish: None,
        ..UpstreamConfig::default()
    };
    let nodes = (0..count).map(|n| node(n, config.clone()));
    let mut network = Testbed::new(nodes.collect());
    network.run(Duration::from_secs(310));
    network
}

fn put(value: &[u8], seq: u64) -> Command {
    Command::Put {
        salt: Salt::from(SALT),
        value: Value::new(value),
        options: PutOptions {
            seq: Some(Seq(seq)),
            ..PutOptions::default()
        },
    }
}

fn get(owner: usize) -> Command {
    let (owner, salt) = (key(owner), Salt::from(SALT));
    Command::Get(GetRequest::of(owner, salt, ReadPolicy::Freshest))
}

fn item(signer: usize, seq: u64, value: &[u8]) -> Item {
    Item::sign(
        &secret(signer),
        Seq(seq),
        Value::new(value),
        Salt::from(SALT),
    )
}
