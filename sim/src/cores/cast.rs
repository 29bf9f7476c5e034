//! The hosts of a run, created from a scenario's population.

use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::Rng as _;
use skydht_core::item::{Salt, Value};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{Advertise, BootstrapPeer, ConfigError, Identity};

use crate::host::Host;
use crate::hostile::{Collusion, HostileConfig, HostilePeer, grind};
use crate::network::{Access, HostId};
use crate::oracle::bounds::Existing;
use crate::ours::OurNode;
use crate::scenario::draw::{self, PlannedItem, secret, shuffled};
use crate::scenario::{Reached, RunError, Scenario};
use crate::upstream::{MirrorConfig, UpstreamConfig, UpstreamNode};
use crate::world::{Boot, Start, World};

/// Interval at which mirroring services copy all items.
const MIRROR_EVERY: Duration = Duration::from_secs(60);

/// Kind of host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HostKind {
    /// A skydht node.
    Ours,
    /// A model of upstream's node.
    Upstream,
    /// A hostile peer.
    Hostile,
    /// A service of upstream's implementation that mirrors all items.
    Mirror,
}

/// All hosts of a run.
#[derive(Debug)]
pub(super) struct Cast {
    pub(super) kinds: Vec<HostKind>,
    pub(super) keys: Vec<PublicKey>,
    /// All keys that a host has.
    pub(super) existing: Existing,
}

struct GoNode {
    config: UpstreamConfig,
    secret: SecretKey,
}

impl Boot for GoNode {
    fn key(&self) -> PublicKey {
        self.secret.public()
    }

    fn boot(&mut self, start: Start) -> Result<Box<dyn Host>, ConfigError> {
        let identity = Identity::Keyed(self.secret.clone());
        let node = UpstreamNode::new(self.config.clone(), identity, start.now);
        Ok(Box::new(node))
    }
}

struct Attacker {
    config: HostileConfig,
    secret: SecretKey,
    collusion: Collusion,
}

impl Boot for Attacker {
    fn key(&self) -> PublicKey {
        self.secret.public()
    }

    fn boot(&mut self, start: Start) -> Result<Box<dyn Host>, ConfigError> {
        let (config, secret) = (self.config.clone(), self.secret.clone());
        let peer = HostilePeer::new(config, secret, start.seed, &self.collusion, start.now);
        Ok(Box::new(peer))
    }
}

/// Adds every host to the world without starting it, and plans the items that the hosts publish.
pub(super) fn populate(
    world: &mut World,
    scenario: &Scenario,
    random: &mut ChaCha8Rng,
) -> Result<(Cast, Vec<PlannedItem>), RunError> {
    let who = &scenario.population;
    let (upstream, hostile) = (who.upstream.draw(random), who.hostile.draw(random));
    let nat = who.nat.draw(random);
    let mut cast = Cast {
        kinds: Vec::new(),
        keys: Vec::new(),
        existing: Existing::default(),
    };
    let secrets: Vec<SecretKey> = (0..who.nodes).map(|_| secret(random)).collect();
    let all = u64::from(who.nodes);
    let share = |rate: crate::network::Rate| (all * u64::from(rate.as_ppm()) / 1_000_000) as u32;
    cast.kinds = vec![HostKind::Ours; who.nodes as usize];
    // Bootstrap nodes are honest; in a network of upstream nodes only, they are upstream nodes.
    let mirrors = who.mirrors + who.unknown_mirrors;
    cast.kinds[(who.nodes - mirrors) as usize..].fill(HostKind::Mirror);
    let mirror_keys = secrets.iter().rev().take(who.mirrors as usize);
    let mirror_keys: Vec<PublicKey> = mirror_keys.map(SecretKey::public).collect();
    let mixed: Vec<u32> = (who.bootstrap..who.nodes - mirrors).collect();
    let mut deck = shuffled(mixed, random);
    for (kind, count) in [
        (HostKind::Hostile, share(hostile)),
        (HostKind::Upstream, share(upstream)),
    ] {
        for host in deck.drain(..(count as usize).min(deck.len())) {
            cast.kinds[host as usize] = kind;
        }
    }
    if upstream == crate::network::Rate::ALWAYS {
        cast.kinds[..who.bootstrap as usize].fill(HostKind::Upstream);
    }
    // Only honest hosts publish items.
    let honest = (0..who.nodes)
        .filter(|n| matches!(cast.kinds[*n as usize], HostKind::Ours | HostKind::Upstream));
    let items = draw::items(scenario, honest.collect(), &secrets, random);
    let collusion = Collusion::new();
    for item in &items {
        collusion.besiege(item.target);
    }
    let (mut absent, mut attackers) = (Vec::new(), 0_usize);
    for _ in 0..who.bootstrap_dead {
        absent.push(secret(random).public());
    }
    let limits = draw::limits(who)?;
    let starts: Vec<PublicKey> = secrets[..who.bootstrap as usize]
        .iter()
        .map(SecretKey::public)
        .collect();
    let start_keys: Vec<PublicKey> = absent.iter().chain(&starts).copied().collect();
    for (n, own) in secrets.into_iter().enumerate() {
        let kind = cast.kinds[n];
        let access = access(world.next_host(), who.reached, kind, nat, random);
        let bootstrap = |key: &&PublicKey| n >= starts.len() || **key != own.public();
        let boot: Box<dyn Boot> = match kind {
            HostKind::Ours => {
                let mut config = draw::config(who, &limits, n as u32);
                config.mirrors = mirror_keys.clone();
                if who.reached == Reached::Direct && access.listens {
                    config.advertise = access.addr.map_or(Advertise::Nothing, Advertise::Address);
                }
                let peers = start_keys
                    .iter()
                    .enumerate()
                    .filter(|(_, key)| bootstrap(key));
                config.bootstrap = peers
                    .map(|(at, key)| BootstrapPeer {
                        key: *key,
                        addrs: match (who.reached, at.checked_sub(absent.len())) {
                            (Reached::Relayed, _) => Vec::new(),
                            (Reached::Direct, Some(host)) => {
                                let there = Access::numbered(HostId(host as u32));
                                there.addr.into_iter().collect()
                            }
                            // An address without a listener.
                            (Reached::Direct, None) => {
                                let there = Access::numbered(HostId(u32::MAX - at as u32));
                                there.addr.into_iter().collect()
                            }
                        },
                    })
                    .collect();
                Box::new(OurNode {
                    config: Arc::new(config),
                    secret: own.clone(),
                    lies: (who.full_nodes - who.liars..who.full_nodes).contains(&(n as u32)),
                })
            }
            HostKind::Upstream | HostKind::Mirror => {
                let mut config = UpstreamConfig {
                    bootstrap: start_keys.iter().filter(bootstrap).copied().collect(),
                    ..UpstreamConfig::default()
                };
                config.limits.item_ttl = who.item_ttl;
                if kind == HostKind::Mirror {
                    config.mirror = Some(MirrorConfig {
                        targets: items.iter().map(|item| item.target).collect(),
                        salt: Salt::from("mirror"),
                        value: Value::new(b"mirrored"),
                        every: MIRROR_EVERY,
                    });
                }
                Box::new(GoNode {
                    config,
                    secret: own.clone(),
                })
            }
            HostKind::Hostile => {
                let behaviour = who.behaviours[attackers % who.behaviours.len()].clone();
                let item = &items[attackers % items.len()];
                let secret = match who.grinding {
                    0 => own.clone(),
                    budget => {
                        let seed = random.next_u64();
                        grind(&item.target, budget, 1, seed)
                            .pop()
                            .unwrap_or(own.clone())
                    }
                };
                attackers += 1;
                Box::new(Attacker {
                    config: HostileConfig {
                        bootstrap: starts.clone(),
                        behaviour,
                        extensions: attackers.is_multiple_of(2),
                    },
                    secret,
                    collusion: collusion.clone(),
                })
            }
        };
        let key = boot.key();
        cast.keys.push(key);
        cast.existing.insert(key);
        world.add(boot, access)?;
    }
    Ok((cast, items))
}

fn access(
    host: HostId,
    reached: Reached,
    kind: HostKind,
    nat: crate::network::Rate,
    random: &mut ChaCha8Rng,
) -> Access {
    match (reached, kind) {
        (Reached::Relayed, _) => Access::relayed(),
        (Reached::Direct, HostKind::Ours) => {
            let mut access = Access::numbered(host);
            access.listens = !nat.hits(random);
            access
        }
        (Reached::Direct, _) => Access {
            relayed: true,
            ..Access::numbered(host)
        },
    }
}
