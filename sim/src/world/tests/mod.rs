//! Small worlds of our nodes.

mod lives;
mod runs;

use std::sync::Arc;
use std::time::Duration;

use skydht_core::item::{Salt, Value};
use skydht_core::key::SecretKey;
use skydht_core::node::{
    Advertise, BootstrapPeer, Command, Config, GetError, GetOutcome, GetRequest, OperationId,
    Outcome, PutOutcome, ReadPolicy,
};

use super::*;
use crate::network::Access;
use crate::ours::{OurNode, Ours};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn secret(host: u32) -> SecretKey {
    let mut entropy = [7; 32];
    entropy[..4].copy_from_slice(&host.to_be_bytes());
    SecretKey::from_entropy(&entropy)
}

/// Hosts that do not run yet. All know host 0.
pub(crate) fn with_hosts(
    seed: u64,
    hosts: u32,
    config: WorldConfig,
    configure: impl Fn(u32, &mut Config),
) -> World {
    let mut world = World::new(seed, config);
    for n in 0..hosts {
        let access = Access::numbered(world.next_host());
        let mut config = Config::default();
        config.advertise = access.addr.map_or(Advertise::Nothing, Advertise::Address);
        if n > 0 {
            config.bootstrap = vec![BootstrapPeer {
                key: secret(0).public(),
                addrs: Access::numbered(HostId(0)).addr.into_iter().collect(),
            }];
        }
        configure(n, &mut config);
        let boot = OurNode {
            config: Arc::new(config),
            secret: secret(n),
            lies: false,
        };
        assert_eq!(world.add(Box::new(boot), access), Ok(HostId(n)));
    }
    world
}

/// Hosts that have run until all have joined.
pub(crate) fn joined(
    seed: u64,
    hosts: u32,
    config: WorldConfig,
    configure: impl Fn(u32, &mut Config),
) -> World {
    let mut world = with_hosts(seed, hosts, config, configure);
    for host in world.hosts() {
        world.start(host).unwrap();
        pass(&mut world, SECOND / 10);
    }
    pass(&mut world, SECOND * 60);
    world
}

/// Lets time pass and checks that no node's contract was violated.
pub(crate) fn pass(world: &mut World, time: Duration) -> Vec<SimEvent> {
    let mut seen = Vec::new();
    world.run_for(time, &mut |_: &mut World, event| seen.push(event));
    for host in world.hosts() {
        assert_eq!(world.host::<Ours>(host).and_then(Ours::misuse), None);
    }
    seen
}

/// Runs an operation to its outcome.
pub(crate) fn wait(world: &mut World, op: OperationId) -> Outcome {
    let end = world.now().plus(SECOND * 600);
    while let Some(event) = world.step_until(end) {
        match event {
            SimEvent::Finished {
                op: finished,
                outcome,
                ..
            } if finished == op => return outcome,
            _ => {}
        }
    }
    panic!("{op} did not finish")
}

pub(crate) fn put_command(salt: &str, value: &[u8]) -> Command {
    Command::Put {
        salt: Salt::from(salt),
        value: Value::new(value),
        options: Default::default(),
    }
}

pub(crate) fn get_command(owner: u32, salt: &str) -> Command {
    let owner = secret(owner).public();
    Command::Get(GetRequest::of(
        owner,
        Salt::from(salt),
        ReadPolicy::Freshest,
    ))
}

pub(crate) fn put(world: &mut World, host: u32, salt: &str, value: &[u8]) -> PutOutcome {
    let op = world.command(HostId(host), put_command(salt, value));
    match wait(world, op.unwrap()) {
        Outcome::Put(Ok(outcome)) => outcome,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn get(
    world: &mut World,
    host: u32,
    owner: u32,
    salt: &str,
) -> Result<GetOutcome, GetError> {
    let op = world.command(HostId(host), get_command(owner, salt));
    match wait(world, op.unwrap()) {
        Outcome::Get(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}
