//! Configuration of a script's node.

use core::time::Duration;

use skydht_core::cap::Cap;
use skydht_core::node::{Advertise, BootstrapPeer, Config, Limits};

use super::cast::CAST;
use super::peer::addr;
use crate::cursor::Cursor;

/// Draws a configuration.
pub(super) fn config(input: &mut Cursor<'_>) -> Config {
    let [bits, k, keys, ttl, store, streams, jobs, rest] = input.array();
    let mut config = Config::default();
    config.storage = bits & 1 != 0;
    config.full_node = bits & 2 != 0;
    config.serve = bits & 4 == 0;
    if bits & 8 == 0 {
        config.limits = small_limits(store, streams, jobs, rest);
    }
    for n in 0..(bits >> 4 & 3) {
        let key = CAST.peers[usize::from(n)];
        let addrs = vec![addr(n)];
        config.bootstrap.push(BootstrapPeer { key, addrs });
    }
    config.disjoint_paths = usize::from(bits >> 6) + 1;
    config.k = [1, 2, 3, 4, 8, 20][usize::from(k) % 6];
    config.alpha = usize::from(k >> 4) + 1;
    config
        .mirrors
        .extend((keys & 1 != 0).then_some(CAST.peers[0]));
    config
        .whitelisted
        .extend((keys & 2 != 0).then_some(CAST.peers[1]));
    config
        .trusted
        .extend((keys & 4 != 0).then_some(CAST.peers[2]));
    config.advertise = match keys >> 6 {
        0 => Advertise::Nothing,
        1 => Advertise::Port(1_000),
        _ => Advertise::Address(addr(15)),
    };
    let ttl = [7_200, 1, 60, 600][usize::from(ttl) % 4];
    config.item_ttl = Duration::from_secs(ttl);
    config
}

/// Limits small enough for scripts to reach them.
fn small_limits(store: u8, streams: u8, jobs: u8, rest: u8) -> Limits {
    let part = |byte: u8, from: u32, values: u8| usize::from(byte >> from) % usize::from(values);
    let mut limits = Limits::default();
    limits.streams = 8 + part(streams, 0, 16);
    limits.streams_per_peer = 1 + part(streams, 4, 8);
    limits.serving = 1 + part(jobs, 0, 4);
    limits.serving_per_peer = 1 + part(jobs, 2, 4);
    limits.verify_jobs = 1 + part(jobs, 4, 4);
    limits.verify_jobs_per_peer = 1 + part(jobs, 6, 4);
    limits.calls = 1 + part(rest, 0, 16);
    limits.idle_streams = part(rest, 4, 4);
    limits.operations = 1 + part(rest, 6, 4);
    limits.store_items = Cap::new(1 + part(store, 0, 8));
    limits.store_bytes = Cap::new(700 * (1 + part(store, 3, 8)));
    limits.public_items = Cap::new(1 + part(store, 0, 4));
    limits.items_per_publisher = Cap::new(1 + part(store, 6, 4));
    limits.items_per_peer = Cap::new(1 + part(store, 5, 8));
    limits.deletion_marks = Cap::new(part(store, 4, 4));
    limits.own_items = part(rest, 5, 4);
    limits.cached_items = part(rest, 3, 4);
    limits.watches = part(rest, 1, 4);
    limits.replacements = part(streams, 6, 4);
    limits.known_peers = 16;
    limits.newcomers_per_answer = 1 + part(rest, 2, 8);
    limits.lookup_candidates = 20;
    limits.probes = 1 + part(streams, 2, 2);
    limits.ping_backs = 1 + part(streams, 3, 4);
    limits
}
