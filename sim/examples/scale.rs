//! Measures the time and memory that a large network needs: nodes join through ten bootstrap nodes
//! within ten virtual minutes, then put and get.
//!
//! `cargo run --release -p skydht-sim --example scale -- [NODES] [OPERATIONS] [SEED]`

use std::sync::Arc;
use std::time::{Duration, Instant};

use skydht_core::item::{Salt, Value};
use skydht_core::key::SecretKey;
use skydht_core::node::{
    Advertise, BootstrapPeer, Command, Config, GetRequest, Outcome, ReadPolicy,
};
use skydht_sim::clock::SimTime;
use skydht_sim::network::{Access, HostId, Spread};
use skydht_sim::ours::OurNode;
use skydht_sim::world::{SimEvent, Watch, World, WorldConfig, WorldError};

const BOOTSTRAP: u32 = 10;
const JOINING: Duration = Duration::from_secs(600);

fn secret(n: u32) -> SecretKey {
    let mut entropy = [3; 32];
    entropy[..4].copy_from_slice(&n.to_be_bytes());
    SecretKey::from_entropy(&entropy)
}

/// A value of /proc/self/status in MiB.
fn memory(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(what));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .unwrap_or(0)
        / 1024
}

struct Meter {
    started: Instant,
    last: (Instant, u64),
}

impl Meter {
    fn report(&mut self, world: &World, what: &str) {
        let inputs = world.stats().inputs;
        let (then, before) = std::mem::replace(&mut self.last, (Instant::now(), inputs));
        let rate = (inputs - before) as f64 / then.elapsed().as_secs_f64();
        println!(
            "{what:>12} {:>14} real {:>7.1}s rss {:>6} MiB inputs {inputs:>11} ({rate:>8.0}/s) streams {:>8} sessions {:>8} messages {:>10} MB {:>7}",
            world.now().to_string(),
            self.started.elapsed().as_secs_f64(),
            memory("VmRSS"),
            world.network().streams(),
            world.network().sessions(),
            world.network().stats().messages,
            world.network().stats().bytes / 1_000_000,
        );
    }
}

fn main() -> Result<(), WorldError> {
    let mut args = std::env::args()
        .skip(1)
        .map(|arg| arg.parse().unwrap_or(0u32));
    let nodes = args.next().unwrap_or(1000).max(BOOTSTRAP + 1);
    let operations = args.next().unwrap_or(nodes / 10);
    let seed = args.next().unwrap_or(1);

    let mut config = WorldConfig::default();
    config.network.latency = Spread::LogNormal {
        median: Duration::from_millis(75),
    };
    config.network.jitter = Duration::from_millis(5);
    let mut world = World::new(u64::from(seed), config);
    world.watch(Watch {
        events: false,
        ..Watch::default()
    });
    let mut meter = Meter {
        started: Instant::now(),
        last: (Instant::now(), 0),
    };

    let bootstrap: Vec<_> = (0..BOOTSTRAP)
        .map(|n| BootstrapPeer {
            key: secret(n).public(),
            addrs: Access::numbered(HostId(n)).addr.into_iter().collect(),
        })
        .collect();
    for n in 0..nodes {
        let access = Access::numbered(world.next_host());
        let mut config = Config::default();
        config.advertise = access.addr.map_or(Advertise::Nothing, Advertise::Address);
        config.bootstrap = bootstrap.clone();
        let boot = OurNode {
            config: Arc::new(config),
            secret: secret(n),
            lies: false,
        };
        world.add(Box::new(boot), access)?;
    }
    meter.report(&world, "added");

    let spacing = JOINING / nodes;
    for host in world.hosts() {
        let at = if host.0 < BOOTSTRAP {
            SimTime::ZERO
        } else {
            SimTime::ZERO.plus(spacing * host.0)
        };
        world.wake_at(at, u64::from(host.0));
    }
    let mut minute = 0;
    while minute < 11 {
        minute += 1;
        let end = SimTime::ZERO.plus(Duration::from_secs(60 * minute));
        world.run_until(end, &mut |world: &mut World, event| {
            if let SimEvent::Woke { token } = event {
                let host = HostId(u32::try_from(token).unwrap_or_default());
                if let Err(error) = world.start(host) {
                    eprintln!("{error}");
                }
            }
        });
        meter.report(&world, "joining");
    }

    // Half of the operations are puts. Then each item is read by another node.
    let each = operations / 2;
    let pick = |n: u32, k: u32| HostId((n.wrapping_mul(2_654_435_761) ^ k) % nodes);
    let mut outcomes = [[0u32; 2]; 2];
    let mut elapsed: [Vec<Duration>; 2] = Default::default();
    for (phase, name) in ["puts", "gets"].into_iter().enumerate() {
        let start = world.now();
        for n in 0..each {
            let at = start.plus(Duration::from_secs(60) / each.max(1) * n);
            world.wake_at(at, u64::from(n));
        }
        let end = start.plus(Duration::from_secs(95));
        world.run_until(end, &mut |world: &mut World, event| match event {
            SimEvent::Woke { token } => {
                let n = u32::try_from(token).unwrap_or_default();
                let owner = pick(n, 7);
                let salt = Salt::from(format!("{n}").as_str());
                let (host, command) = if phase == 0 {
                    let value = Value::new(format!("\"value {n}\"").as_bytes());
                    let options = Default::default();
                    let put = Command::Put {
                        salt,
                        value,
                        options,
                    };
                    (owner, put)
                } else {
                    let owner = secret(owner.0).public();
                    let get = GetRequest::of(owner, salt, ReadPolicy::Freshest);
                    (pick(n, 77_777), Command::Get(get))
                };
                if let Err(error) = world.command(host, command) {
                    eprintln!("{error}");
                }
            }
            SimEvent::Finished { outcome, .. } => {
                let (ok, stats) = match &outcome {
                    Outcome::Put(Ok(put)) => (true, Some(put.stats)),
                    Outcome::Get(Ok(get)) => (true, Some(get.stats)),
                    other => {
                        println!("{other:?}");
                        (false, None)
                    }
                };
                outcomes[phase][usize::from(ok)] += 1;
                elapsed[phase].extend(stats.map(|stats| stats.elapsed));
            }
            _ => {}
        });
        elapsed[phase].sort_unstable();
        let p50 = elapsed[phase].get(elapsed[phase].len() / 2);
        meter.report(&world, name);
        println!(
            "{:>12} ok {} failed {} p50 {p50:?}",
            name, outcomes[phase][1], outcomes[phase][0]
        );
    }
    let mut totals = std::collections::BTreeMap::new();
    for host in world.hosts() {
        let counters = world.node(host).map(|node| node.snapshot().counters);
        for (counter, count) in counters.iter().flat_map(|counters| counters.iter()) {
            *totals.entry(counter.name()).or_insert(0) += count;
        }
    }
    for (name, total) in totals.into_iter().filter(|(_, total)| *total > 0) {
        println!(
            "{name:>28} {:>10.2} a node",
            total as f64 / f64::from(nodes)
        );
    }
    let peers: Vec<_> = world
        .hosts()
        .filter_map(|host| Some(world.node(host)?.snapshot().peers))
        .collect();
    println!(
        "peers a node {:.1}, peak rss {} MiB, digest {}",
        peers.iter().sum::<usize>() as f64 / peers.len() as f64,
        memory("VmHWM"),
        world.digest()
    );
    Ok(())
}
