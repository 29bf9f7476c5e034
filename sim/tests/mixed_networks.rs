//! Nodes of upstream, nodes of ours and hostile ones in one world.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use skydht_core::item::{Origin, Salt, Seq, Value};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{
    BootstrapPeer, Command, Config, GetRequest, OperationId, Outcome, PutOptions, ReadPolicy,
};
use skydht_sim::host::Host as _;
use skydht_sim::hostile::{Behaviour, Collusion, Forgery, HostileBoot, HostileConfig, ValueLie};
use skydht_sim::network::{Access, Departure, HostId};
use skydht_sim::ours::OurNode;
use skydht_sim::upstream::{UpstreamBoot, UpstreamConfig, UpstreamNode};
use skydht_sim::world::{SimEvent, World, WorldConfig, WorldDigest};

const SALT: &str = "dmsg";

fn secret(n: u8) -> SecretKey {
    SecretKey::from_entropy(&[n; 32])
}

fn key(n: u8) -> PublicKey {
    secret(n).public()
}

/// All nodes reach each other by key, as over DMSG, and bootstrap from the first.
fn upstream(n: u8) -> Box<UpstreamBoot> {
    let config = UpstreamConfig {
        bootstrap: vec![key(0)],
        ..UpstreamConfig::default()
    };
    Box::new(UpstreamBoot {
        config: Arc::new(config),
        secret: secret(n),
    })
}

fn ours(n: u8) -> Box<OurNode> {
    let mut config = Config::default();
    config.bootstrap.push(BootstrapPeer {
        key: key(0),
        addrs: Vec::new(),
    });
    Box::new(OurNode {
        config: Arc::new(config),
        secret: secret(n),
        lies: false,
    })
}

fn hostile(n: u8, behaviour: Behaviour, collusion: &Collusion) -> Box<HostileBoot> {
    Box::new(HostileBoot {
        config: HostileConfig {
            bootstrap: vec![key(0)],
            behaviour,
            extensions: false,
        },
        secret: secret(n),
        collusion: collusion.clone(),
    })
}

/// Every third node is ours; the first is upstream's.
fn mixed(world: &mut World, count: u8) -> Vec<HostId> {
    let mut hosts = Vec::new();
    for n in 0..count {
        let host = match n % 3 {
            2 => world.add(ours(n), Access::relayed()),
            _ => world.add(upstream(n), Access::relayed()),
        };
        let host = host.expect("distinct keys");
        world.start(host).expect("a good configuration");
        hosts.push(host);
    }
    run(world, Duration::from_secs(400));
    hosts
}

/// Operations that finished in this time.
fn run(world: &mut World, time: Duration) -> BTreeMap<OperationId, Outcome> {
    let mut finished = BTreeMap::new();
    world.run_for(time, &mut |_: &mut World, event| {
        if let SimEvent::Finished { op, outcome, .. } = event {
            assert!(
                finished.insert(op, outcome).is_none(),
                "{op} finished twice"
            );
        }
    });
    finished
}

fn put(world: &mut World, host: HostId, value: &[u8]) -> Outcome {
    let command = Command::Put {
        salt: Salt::from(SALT),
        value: Value::new(value),
        options: PutOptions::default(),
    };
    let op = world.command(host, command).expect("it runs");
    let mut finished = run(world, Duration::from_secs(120));
    finished.remove(&op).expect("finished in time")
}

/// The results of gets of `owner`'s item by each of `readers`.
fn gets(world: &mut World, readers: &[HostId], owner: PublicKey) -> Vec<Outcome> {
    let get = GetRequest::of(owner, Salt::from(SALT), ReadPolicy::Freshest);
    let ask = |reader: &HostId| world.command(*reader, Command::Get(get.clone()));
    let ops: Vec<OperationId> = readers.iter().map(ask).map(Result::unwrap).collect();
    let mut finished = run(world, Duration::from_secs(120));
    let outcome = |op| finished.remove(op).expect("finished in time");
    ops.iter().map(outcome).collect()
}

fn is_right(outcome: &Outcome, value: &[u8]) -> bool {
    matches!(outcome, Outcome::Get(Ok(got))
        if got.origin == Origin::Owner && got.item.value.as_bytes() == value)
}

fn a_run(seed: u64) -> WorldDigest {
    let mut world = World::new(seed, WorldConfig::default());
    let hosts = mixed(&mut world, 30);
    for (n, value) in [(1, b"upstream's".as_slice()), (2, b"ours")] {
        let outcome = put(&mut world, hosts[n], value);
        let Outcome::Put(Ok(outcome)) = outcome else {
            panic!("{outcome:?}");
        };
        assert!(outcome.replicas.acknowledged() >= 18, "{outcome:?}");
        let found = gets(&mut world, &hosts, key(n as u8));
        assert!(found.iter().all(|it| is_right(it, value)), "{found:?}");
    }
    world.digest()
}

#[test]
fn each_reads_what_the_other_puts_and_a_seed_gives_one_digest() {
    let digest = a_run(1);
    assert_eq!(digest, a_run(1));
    assert_ne!(digest, a_run(2));
}

#[test]
fn upstreams_publisher_is_renewed_by_a_higher_sequence_each_minute() {
    let mut world = World::new(3, WorldConfig::default());
    let hosts = mixed(&mut world, 9);
    let outcome = put(&mut world, hosts[1], b"v");
    let Outcome::Put(Ok(first)) = outcome else {
        panic!("{outcome:?}");
    };
    run(&mut world, Duration::from_secs(600));
    for outcome in gets(&mut world, &[hosts[2], hosts[5]], key(1)) {
        let Outcome::Get(Ok(got)) = outcome else {
            panic!("{outcome:?}");
        };
        assert!(got.item.seq >= Seq(first.seq.0 + 9), "{got:?}");
    }
}

#[test]
fn a_crashed_process_starts_again_empty() {
    let mut world = World::new(4, WorldConfig::default());
    let collusion = Collusion::new();
    let hosts = mixed(&mut world, 12);
    let liar = Behaviour::Liar {
        peers: Forgery::BeyondField,
        count: 20,
        value: ValueLie::Denied,
    };
    let liar = world.add(hostile(200, liar, &collusion), Access::relayed());
    world.start(liar.expect("another key")).expect("it starts");
    let crashed = |world: &World| -> Vec<HostId> {
        let is_crashed = |it: &HostId| {
            let node = world.host::<UpstreamNode>(*it);
            node.is_some_and(UpstreamNode::crashed)
        };
        world.hosts().filter(is_crashed).collect()
    };
    run(&mut world, Duration::from_secs(700));
    let down = crashed(&world);
    assert!(down.len() >= 3, "{down:?}");
    for host in &down {
        world.crash(*host, Departure::Process).expect("it ran");
        world.start(*host).expect("it starts again");
    }
    assert!(crashed(&world).is_empty());
    let again = world.host::<UpstreamNode>(down[0]).expect("it runs");
    assert!(again.store().is_empty() && again.key() == key(down[0].0 as u8));
    // Our nodes kept running.
    assert!(
        hosts
            .iter()
            .filter(|it| it.0 % 3 == 2)
            .all(|it| world.is_up(*it))
    );
}
