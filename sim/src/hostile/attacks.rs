//! Attacks that a hostile peer starts by itself.

use std::time::Duration;

use rand_core::Rng as _;
use skydht_core::id::{NodeId, Target};
use skydht_core::item::{Item, Salt, Seq, Value};
use skydht_core::key::{PublicKey, Signature};
use skydht_core::node::{Output, SessionUse, StreamId};
use skydht_core::wire::{
    Advertised, KeylessItem, Request, RequestExt, RequestMessage, Sender, WireItem, encode_request,
};

use super::answers::long_life;
use super::behaviour::{Behaviour, Flood};
use super::state::{Attack, HostilePeer, Timer};

/// Maximum number of concurrent streams of attacks; more wait.
const MAX_STREAMS: usize = 256;
/// Time that such a stream stays open if the victim does not close it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time that a half-open stream stays open, unless the victim closes it.
const HALF_OPEN: Duration = Duration::from_secs(600);
/// Maximum number of attacks started at one moment, even after a clock jump.
const MAX_BURST: u32 = 64;
/// Length of random data, and of an oversized frame, in bytes.
const GARBAGE: usize = 4_096;
const OVERSIZED: usize = 64 << 10;
/// Number of peers near a target that receive an old or forged item.
const NEAR: usize = 20;

impl HostilePeer {
    /// Number of attacks per interval, and the length of the interval.
    fn pace(&self) -> Option<(u32, Duration)> {
        let (count, over) = match self.config.behaviour {
            Behaviour::Flood { per_second, .. } => (per_second, 1),
            Behaviour::Poison { per_minute }
            | Behaviour::Replay { per_minute }
            | Behaviour::ForgedMirror { per_minute, .. }
            | Behaviour::FalseClaims { per_minute, .. } => (per_minute, 60),
            _ => return None,
        };
        let over = Duration::from_secs(over);
        match count {
            0 => None,
            // An interval is at least 10 ms.
            count if over / count < Duration::from_millis(10) => {
                let beat = Duration::from_millis(10);
                let per_beat = u128::from(count) * beat.as_nanos() / over.as_nanos();
                Some((
                    u32::try_from(per_beat)
                        .unwrap_or(MAX_BURST)
                        .clamp(1, MAX_BURST),
                    beat,
                ))
            }
            count => Some((1, over / count)),
        }
    }

    pub(super) fn plan_attack(&mut self) {
        if let Some((_, beat)) = self.pace() {
            self.timers.set(Timer::Attack, self.now.mono.plus(beat));
        }
    }

    pub(super) fn attack(&mut self) {
        let count = self.pace().map_or(0, |(count, _)| count);
        for _ in 0..count {
            if self.attacks.len() < MAX_STREAMS
                && let Some((victim, bytes, patience)) = self.next_attack()
            {
                self.open(victim, bytes, patience);
            }
        }
        self.plan_attack();
    }

    /// Sends the prepared bytes once the stream is open.
    pub(super) fn send_attack(&mut self, stream: StreamId) {
        if let Some(attack) = self.attacks.get(&stream) {
            let bytes = attack.bytes.clone();
            self.send(stream, bytes);
        }
    }

    fn open(&mut self, peer: PublicKey, bytes: Vec<u8>, patience: Duration) {
        self.counters.attacks += 1;
        let stream = self.inner.fresh_stream();
        let bytes = bytes.into();
        self.attacks.insert(stream, Attack { bytes });
        let at = self.now.mono.plus(patience);
        self.timers.set(Timer::Abandon(stream), at);
        self.outputs.push_back(Output::OpenStream {
            stream,
            peer,
            addrs: Default::default(),
            session: SessionUse::ReuseOrDial,
        });
    }

    fn next_attack(&mut self) -> Option<(PublicKey, Vec<u8>, Duration)> {
        let request = match self.config.behaviour.clone() {
            Behaviour::Flood { what, .. } => {
                let target = self.random_target();
                let victim = self.victim(&target)?;
                let (bytes, patience) = self.flood(what)?;
                return Some((victim, bytes, patience));
            }
            Behaviour::Poison { .. } => {
                let target = self.random_target();
                return self.claim(&target);
            }
            Behaviour::Replay { .. } => {
                let target = self.seen_target()?;
                let versions = self.collusion.versions(&target);
                // Never the newest version.
                let old = versions.len().checked_sub(1).filter(|old| *old > 0)?;
                let item = &versions[self.below(old)];
                (
                    target,
                    Request::PutValue {
                        item: item.into(),
                        mirror_target: None,
                    },
                    None,
                )
            }
            Behaviour::ForgedMirror { bound, .. } => {
                let target = self.seen_target()?;
                let seen = self.collusion.versions(&target).pop()?;
                let item = self.forge(&seen.salt);
                let bind = bound.then(|| self.secret.sign(&item.bind_digest(&target)));
                let request = Request::PutValue {
                    item: WireItem::from(&item),
                    mirror_target: Some(target),
                };
                let ext = bind.is_some().then(|| RequestExt {
                    bind,
                    ..RequestExt::default()
                });
                (target, request, ext)
            }
            Behaviour::FalseClaims { addr, left, .. } => {
                let mut ext = RequestExt {
                    serves: true,
                    addr: Some(Advertised::At(addr)),
                    ..RequestExt::default()
                };
                let seen = self.seen_target();
                let item = seen.and_then(|it| self.collusion.versions(&it).pop());
                match (seen, item) {
                    (Some(target), Some(item)) if self.below(2) == 0 => {
                        ext.life = Some(long_life(left));
                        let request = Request::PutValue {
                            item: item.into(),
                            mirror_target: None,
                        };
                        (target, request, Some(ext))
                    }
                    _ => (self.random_target(), Request::Ping, Some(ext)),
                }
            }
            _ => return None,
        };
        let (target, request, ext) = request;
        let victim = self.victim(&target)?;
        let message = RequestMessage {
            sender: Sender::of(&self.secret.public()),
            ext,
            request,
        };
        Some((victim, encode_request(&message).ok()?, PATIENCE))
    }

    /// Claims in a request for a page to be a colluding peer, or an absent peer right beside its
    /// victim.
    fn claim(&mut self, target: &Target) -> Option<(PublicKey, Vec<u8>, Duration)> {
        let victim = self.victim(target)?;
        let sender = match self.below(2) {
            0 => {
                let members = self.collusion.members();
                let member = members.get(self.below(members.len()))?;
                Sender::of(member)
            }
            _ => {
                let mut id = *victim.id().as_bytes();
                self.rng.fill_bytes(&mut id[2..]);
                Sender {
                    id: NodeId::from_bytes(id),
                    key: Some(self.secret.public()),
                }
            }
        };
        let message = RequestMessage {
            sender,
            ext: None,
            request: Request::GetItems {
                salt: String::new(),
                since_seq: Seq(u64::MAX),
                limit: 1,
            },
        };
        Some((victim, encode_request(&message).ok()?, PATIENCE))
    }

    fn flood(&mut self, what: Flood) -> Option<(Vec<u8>, Duration)> {
        let request = match what {
            Flood::Requests => Request::FindNode {
                target: self.random_target(),
            },
            Flood::Puts => {
                let salt = Salt::new(&self.rng.next_u64().to_be_bytes());
                let value = Value::new(&[0; 512]);
                let seq = Seq(self.now.unix.0);
                let item = Item::sign(&self.secret, seq, value, salt);
                Request::PutValue {
                    item: item.into(),
                    mirror_target: None,
                }
            }
            Flood::Batches => {
                let items = match self.below(2) {
                    0 => 0,
                    _ => 16,
                };
                let key = self.secret.public();
                let items = (0..items).map(|_| {
                    WireItem::from(Item {
                        key,
                        seq: Seq(self.now.unix.0),
                        signature: Signature::default(),
                        value: Value::new(b"v"),
                        salt: Salt::new(&self.rng.next_u64().to_be_bytes()),
                    })
                });
                let mut items: Vec<WireItem> = items.collect();
                items.push(WireItem::Keyless(KeylessItem::default()));
                Request::PutBatch {
                    items,
                    targets: Vec::new(),
                }
            }
            Flood::Pages => Request::GetItems {
                salt: String::new(),
                since_seq: Seq(0),
                limit: 0,
            },
            Flood::Oversized => {
                let mut bytes = vec![0; OVERSIZED];
                bytes[..5].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 3]);
                return Some((bytes, PATIENCE));
            }
            Flood::Garbage => {
                let mut bytes = vec![0; GARBAGE];
                self.rng.fill_bytes(&mut bytes);
                return Some((bytes, PATIENCE));
            }
            Flood::HalfOpen => return Some((vec![0], HALF_OPEN)),
        };
        let message = RequestMessage {
            sender: Sender::of(&self.secret.public()),
            ext: None,
            request,
        };
        Some((encode_request(&message).ok()?, PATIENCE))
    }

    /// A known peer near a target that is not an attacker.
    fn victim(&mut self, target: &Target) -> Option<PublicKey> {
        let known = self.inner.table().closest(target, NEAR);
        let victims: Vec<PublicKey> = known
            .iter()
            .filter_map(|it| it.key)
            .filter(|key| !self.collusion.has(key))
            .collect();
        let n = self.below(victims.len());
        victims.get(n).copied()
    }

    fn seen_target(&mut self) -> Option<Target> {
        let n = self.rng.next_u64();
        self.collusion.seen(n)
    }

    fn random_target(&mut self) -> Target {
        let mut bytes = [0; 32];
        self.rng.fill_bytes(&mut bytes);
        Target::from_bytes(bytes)
    }

    /// A random number below `bound`, or 0.
    fn below(&mut self, bound: usize) -> usize {
        let n = (u128::from(self.rng.next_u64()) * bound as u128) >> 64;
        usize::try_from(n).unwrap_or_default()
    }
}
