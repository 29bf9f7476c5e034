//! Scenarios of full nodes: the cost of a change, of a new node and of a whole day. Tests run small
//! versions, the example `full_nodes` those of docs/replication.md.

mod newcomers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use skydht_core::id::Target;
use skydht_core::item::{Item, Salt, Seq, Value};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{
    Addrs, BootstrapPeer, Command, Config, ConfigError, GetRequest, Identity, Input, OperationId,
    Outcome, Output, PutOptions, ReadPolicy, SessionUse, StoreChange, StreamId,
};
use skydht_core::time::{Mono, Time};
use skydht_core::wire::{Request, RequestMessage, Sender, encode_request};
use skydht_sim::clock::{EPOCH, SimTime};
use skydht_sim::host::{Boot, Host, Start};
use skydht_sim::network::{Access, Departure, HostId, Spread};
use skydht_sim::ours::OurNode;
use skydht_sim::upstream::{UpstreamConfig, UpstreamNode};
use skydht_sim::world::{SimEvent, Watch, World, WorldConfig};

pub(crate) use newcomers::newcomers;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

fn secret(n: u32) -> SecretKey {
    let mut entropy = [5; 32];
    entropy[..4].copy_from_slice(&n.to_be_bytes());
    SecretKey::from_entropy(&entropy)
}

/// A world with this round-trip time and this bandwidth in bytes per second (0: unlimited).
fn world(seed: u64, round_trip: Duration, bandwidth: u64) -> World {
    let mut config = WorldConfig::default();
    config.network.latency = Spread::Fixed(round_trip / 2);
    config.network.bandwidth = bandwidth;
    let mut world = World::new(seed, config);
    world.watch(Watch {
        events: false,
        ..Watch::default()
    });
    world
}

/// Adds hosts, of which the first `full` are full nodes. All bootstrap from the first.
fn populate(world: &mut World, hosts: u32, full: u32, ttl: Duration) {
    for n in 0..hosts {
        let mut config = Config::default();
        config.full_node = n < full;
        config.storage = true;
        config.item_ttl = ttl;
        if n > 0 {
            config.bootstrap = vec![BootstrapPeer {
                key: secret(0).public(),
                addrs: Vec::new(),
            }];
        }
        let boot = OurNode {
            config: Arc::new(config),
            secret: secret(n),
            lies: false,
        };
        world.add(Box::new(boot), Access::relayed()).unwrap();
    }
}

fn pass(world: &mut World, time: Duration) {
    world.run_for(time, &mut |_: &mut World, _| {});
}

fn salt(n: u32) -> Salt {
    Salt::from(format!("record {n}").as_str())
}

fn value(n: u32, version: u64) -> Value {
    let mut value = format!("{n}.{version}.").into_bytes();
    value.resize(300, b'x');
    Value::from(value)
}

/// Cost of a change.
#[derive(Debug)]
pub(crate) struct Change {
    /// Time from the publisher's start until the first full node held it.
    pub(crate) arrived: Duration,
    /// Time from then until all others held it.
    pub(crate) took: Duration,
    /// Bytes of all messages in the ten seconds after it, minus those of ten idle seconds.
    pub(crate) bytes: u64,
    /// Number of messages in the ten seconds after it, minus those of ten idle seconds.
    pub(crate) messages: u64,
}

/// A publisher that knows only one node and puts one item there.
struct Publisher {
    secret: SecretKey,
    to: PublicKey,
    outputs: VecDeque<Output>,
}

impl Publisher {
    fn item(&self) -> Item {
        Item::sign(&self.secret, Seq(EPOCH.0 + 1), value(1, 1), salt(1))
    }
}

impl Boot for Publisher {
    fn key(&self) -> PublicKey {
        self.secret.public()
    }

    fn boot(&mut self, _: Start) -> Result<Box<dyn Host>, ConfigError> {
        let open = Output::OpenStream {
            stream: StreamId(0),
            peer: self.to,
            addrs: Addrs::new(),
            session: SessionUse::ReuseOrDial,
        };
        Ok(Box::new(Self {
            secret: self.secret.clone(),
            to: self.to,
            outputs: [open].into(),
        }))
    }
}

impl Host for Publisher {
    fn key(&self) -> PublicKey {
        self.secret.public()
    }

    fn handle(&mut self, _: Time, input: Input<'_>) {
        if let Input::StreamOpened { stream, .. } = input {
            let request = Request::PutValue {
                item: self.item().into(),
                mirror_target: None,
            };
            let message = RequestMessage {
                sender: Sender::of(&self.secret.public()),
                ext: None,
                request,
            };
            let bytes = encode_request(&message).unwrap().into();
            self.outputs.push_back(Output::Send { stream, bytes });
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn next_deadline(&self) -> Option<Mono> {
        None
    }
}

/// One of ten full nodes gets a change from a publisher that knows no other node.
pub(crate) fn change(seed: u64) -> Change {
    let mut world = world(seed, Duration::from_millis(150), 0);
    populate(&mut world, 10, 10, 2 * HOUR);
    for host in world.hosts() {
        world.start(host).unwrap();
        pass(&mut world, SECOND);
    }
    // All nodes have met and have reconciled.
    pass(&mut world, 3 * MINUTE);
    let quiet = *world.network().stats();
    pass(&mut world, 10 * SECOND);
    let before = *world.network().stats();
    let publisher = Publisher {
        secret: SecretKey::from_entropy(&[9; 32]),
        to: secret(4).public(),
        outputs: VecDeque::new(),
    };
    let (target, at) = (publisher.item().target(), world.now());
    let new = world.add(Box::new(publisher), Access::relayed()).unwrap();
    world.start(new).unwrap();
    let mut holders = BTreeMap::new();
    world.run_for(10 * SECOND, &mut |world: &mut World, event| {
        if let SimEvent::Changed { host, change } = event
            && let StoreChange::Keep(record) = change
            && record.target == target
        {
            holders.entry(host).or_insert(world.now());
        }
    });
    assert_eq!(holders.len(), 10, "{holders:?}");
    assert!(holders.values().all(|it| holders[&HostId(4)] <= *it));
    let (first, last) = (holders[&HostId(4)], holders.into_values().max().unwrap());
    let after = *world.network().stats();
    let cost = |then: u64, now: u64, quiet: u64| (now - then).saturating_sub(then - quiet);
    Change {
        took: last.since(first),
        arrived: first.since(at),
        bytes: cost(before.bytes, after.bytes, quiet.bytes),
        messages: cost(before.messages, after.messages, quiet.messages),
    }
}

/// How fast a new full node gets the items of others.
#[derive(Debug)]
pub(crate) struct Newcomer {
    /// Time from its start until it held 99 % of the items.
    pub(crate) took: Duration,
    /// Bytes of all messages until then.
    pub(crate) bytes: u64,
}

/// A new full node meets one with `items` items, at 50 Mbit/s and with a round-trip time of 100 ms.
pub(crate) fn newcomer(seed: u64, items: u32) -> Newcomer {
    let mut world = world(seed, Duration::from_millis(100), 50_000_000 / 8);
    populate(&mut world, 2, 2, 2 * HOUR);
    let (old, new) = (HostId(0), HostId(1));
    world.start(old).unwrap();
    pass(&mut world, SECOND);
    let mut held = BTreeSet::new();
    for n in 0..items {
        // Each item has its own publisher, as is usual in a network.
        let owner = secret(1_000 + n);
        let seq = Seq(EPOCH.0 + u64::from(n));
        let item = Box::new(Item::sign(&owner, seq, value(n, 1), salt(n)));
        held.insert(item.target());
        let options = PutOptions {
            local_only: true,
            ..PutOptions::default()
        };
        let put = Command::PutSigned { item, options };
        world.command(old, put).unwrap();
        if n % 100 == 99 {
            pass(&mut world, SECOND);
        }
    }
    pass(&mut world, 30 * SECOND);
    let store = world.node(old).unwrap().store();
    assert!(store.range(Target::default()).count() >= items as usize);
    let (bytes, at) = (world.network().stats().bytes, world.now());
    world.start(new).unwrap();
    let (mut has, wanted) = (BTreeSet::new(), items as usize * 99 / 100);
    let end = at.plus(10 * MINUTE);
    while has.len() < wanted {
        let event = world.step_until(end);
        let Some(event) = event else {
            panic!("{} of {items} after ten minutes", has.len());
        };
        if let SimEvent::Changed { host, change } = event
            && host == new
            && let StoreChange::Keep(record) = change
            && held.contains(&record.target)
        {
            has.insert(record.target);
        }
    }
    Newcomer {
        took: world.now().since(at),
        bytes: world.network().stats().bytes - bytes,
    }
}

/// Number of full nodes of a day.
const FULL: u32 = 5;

/// Size of a day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Number of owners. Each is a regular node.
    pub(crate) owners: u32,
    /// Number of records of each owner.
    pub(crate) records: u32,
    /// Lifetime of a record.
    pub(crate) ttl: Duration,
    /// Duration of the day, in virtual time.
    pub(crate) time: Duration,
    /// Number of reads per minute.
    pub(crate) reads: u32,
    /// Interval between the departures of two owners.
    pub(crate) leaves_every: Duration,
}

/// Cost of a day.
#[derive(Debug, Default)]
pub(crate) struct Day {
    /// Number of reads of records whose owners were running. All must find the last version or a
    /// newer one.
    pub(crate) reads: u64,
    /// Descriptions of reads that did not.
    pub(crate) wrong: Vec<String>,
    /// Number of changed records.
    pub(crate) changes: u64,
    /// Number of owners that left.
    pub(crate) left: u32,
    /// Records of these owners that a node still held five minutes after their expiry.
    pub(crate) undead: Vec<String>,
    /// Bytes of all messages after everything was published.
    pub(crate) bytes: u64,
    /// These bytes per second and node.
    pub(crate) bytes_per_second: u64,
}

/// Five full nodes, and owners that publish, change one record in a hundred per hour, and leave.
pub(crate) fn day(seed: u64, size: Size) -> Day {
    let mut world = world(seed, Duration::from_millis(100), 0);
    populate(&mut world, FULL + size.owners, FULL, size.ttl);
    for host in world.hosts() {
        world.start(host).unwrap();
        pass(&mut world, SECOND / 4);
    }
    pass(&mut world, MINUTE);
    let all = size.owners * size.records;
    let owner = |n: u32| HostId(FULL + n % size.owners);
    let target = |n: u32| Target::of(&secret(owner(n).0).public(), salt(n).as_bytes());
    let mut state = Playing {
        day: Day::default(),
        acknowledged: BTreeMap::new(),
        puts: BTreeMap::new(),
        gets: BTreeMap::new(),
    };
    let mut versions = vec![0; all as usize];
    let put = |world: &mut World, state: &mut Playing, versions: &mut [u64], n: u32| {
        versions[n as usize] += 1;
        let put = Command::Put {
            salt: salt(n),
            value: value(n, versions[n as usize]),
            options: PutOptions::default(),
        };
        let op = world.command(owner(n), put).unwrap();
        state.puts.insert(op, n);
    };
    // 20 puts per second.
    for n in 0..all {
        put(&mut world, &mut state, &mut versions, n);
        state.run(&mut world, SECOND / 20);
    }
    state.run(&mut world, MINUTE);
    assert_eq!(state.acknowledged.len(), all as usize);
    let (bytes, begin) = (world.network().stats().bytes, world.now());
    let mut gone: BTreeMap<HostId, SimTime> = BTreeMap::new();
    let mut next = seed;
    let mut draw = |below: u32| {
        // Knuth's generator is sufficient here.
        next = next
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((next >> 33) % u64::from(below)) as u32
    };
    let minutes = size.time.as_secs() / 60;
    for minute in 0..minutes {
        // One record in a hundred per hour, spread over its minutes.
        let due = |minute: u64| u64::from(all) * minute / 6_000;
        for _ in due(minute)..due(minute + 1) {
            let n = draw(all);
            if !gone.contains_key(&owner(n)) {
                put(&mut world, &mut state, &mut versions, n);
                state.day.changes += 1;
            }
        }
        let every = size.leaves_every.as_secs() / 60;
        if minute % every == every - 1 && gone.len() + 2 < size.owners as usize {
            let leaves = HostId(FULL + gone.len() as u32);
            world.crash(leaves, Departure::Machine).unwrap();
            state.puts.retain(|_, n| owner(*n) != leaves);
            gone.insert(leaves, world.now());
            state.day.left += 1;
        }
        for _ in 0..size.reads {
            let n = draw(all);
            let reader = HostId(FULL + draw(size.owners));
            if gone.contains_key(&owner(n)) || gone.contains_key(&reader) {
                continue;
            }
            let key = secret(owner(n).0).public();
            let get = GetRequest::of(key, salt(n), ReadPolicy::Freshest);
            let op = world.command(reader, Command::Get(get)).unwrap();
            let least = state.acknowledged[&n];
            state.gets.insert(op, (n, reader, least));
        }
        state.run(&mut world, MINUTE);
        let now = world.now();
        let over = |left: SimTime| now.since(left) >= size.ttl + 5 * MINUTE;
        let just = |left: SimTime| now.since(left) < size.ttl + 6 * MINUTE;
        let dead = gone.iter().filter(|(_, left)| over(**left) && just(**left));
        for (dead, _) in dead {
            let of = (0..all).filter(|n| owner(*n) == *dead);
            for host in world.hosts() {
                let (Some(node), Some(time)) = (world.node(host), world.time_of(host)) else {
                    continue;
                };
                for n in of.clone() {
                    let held = node.store().get(time, &target(n));
                    if held.is_some_and(|held| held.is_live(time)) {
                        state
                            .day
                            .undead
                            .push(format!("{now}: {host} serves record {n}"));
                    }
                }
            }
        }
    }
    let mut day = state.day;
    day.bytes = world.network().stats().bytes - bytes;
    let nodes = u64::from(FULL + size.owners);
    day.bytes_per_second = day.bytes / world.now().since(begin).as_secs().max(1) / nodes;
    day
}

struct GoNode(UpstreamConfig, SecretKey);

impl Boot for GoNode {
    fn key(&self) -> PublicKey {
        self.1.public()
    }

    fn boot(&mut self, start: Start) -> Result<Box<dyn Host>, ConfigError> {
        let identity = Identity::Keyed(self.1.clone());
        Ok(Box::new(UpstreamNode::new(
            self.0.clone(),
            identity,
            start.now,
        )))
    }
}

/// Bytes per second and node in the same network with upstream's model. There are no changes, and
/// no node leaves.
pub(crate) fn upstream(seed: u64, size: Size) -> u64 {
    let mut world = world(seed, Duration::from_millis(100), 0);
    let hosts = FULL + size.owners;
    for n in 0..hosts {
        let others = (0..FULL).filter(|it| *it != n);
        let mut config = UpstreamConfig {
            full_node: n < FULL,
            bootstrap: others.map(|it| secret(it).public()).collect(),
            ..UpstreamConfig::default()
        };
        config.limits.item_ttl = size.ttl;
        let boot = Box::new(GoNode(config, secret(n)));
        world.add(boot, Access::relayed()).unwrap();
    }
    for host in world.hosts() {
        world.start(host).unwrap();
        pass(&mut world, SECOND / 4);
    }
    pass(&mut world, MINUTE);
    for n in 0..size.owners * size.records {
        let put = Command::Put {
            salt: salt(n),
            value: value(n, 1),
            options: PutOptions::default(),
        };
        world.command(HostId(FULL + n % size.owners), put).unwrap();
        pass(&mut world, SECOND / 20);
    }
    pass(&mut world, MINUTE);
    let (bytes, begin) = (world.network().stats().bytes, world.now());
    pass(&mut world, size.time);
    let bytes = world.network().stats().bytes - bytes;
    bytes / world.now().since(begin).as_secs().max(1) / u64::from(hosts)
}

/// A day in progress.
struct Playing {
    day: Day,
    /// By record: sequence number of the last acknowledged put.
    acknowledged: BTreeMap<u32, Seq>,
    puts: BTreeMap<OperationId, u32>,
    /// Record, reader, and the lowest acceptable sequence number.
    gets: BTreeMap<OperationId, (u32, HostId, Seq)>,
}

impl Playing {
    fn run(&mut self, world: &mut World, time: Duration) {
        world.run_for(time, &mut |world: &mut World, event| {
            let SimEvent::Finished { op, outcome, .. } = event else {
                return;
            };
            let now = world.now();
            match outcome {
                Outcome::Put(Ok(put)) => {
                    if let Some(n) = self.puts.remove(&op) {
                        let seq = self.acknowledged.entry(n).or_default();
                        *seq = put.seq.max(*seq);
                    }
                }
                Outcome::Get(read) => {
                    let Some((n, reader, least)) = self.gets.remove(&op) else {
                        return;
                    };
                    self.day.reads += 1;
                    let found = read.map(|found| found.item.seq);
                    if !matches!(found, Ok(seq) if seq >= least) {
                        let what = format!("{now}: {reader} found {found:?} of record {n}");
                        self.day.wrong.push(what);
                    }
                }
                _ => {}
            }
        });
    }
}
