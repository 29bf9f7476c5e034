//! Peers remembered across runs, so that a node can rejoin the network.

use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};
use skydht_core::address::canonical;
use skydht_core::key::PublicKey;
use skydht_core::node::{BootstrapPeer, PeerInfo};

use crate::failure::{Code, Failure, Result};
use crate::private_file;

/// Maximum number of remembered peers; enough to rejoin even if most of them are gone.
const MOST_PEERS: usize = 40;
/// Largest file, in bytes; a longer one is treated as damaged.
const MOST_BYTES: u64 = 64 * 1024;
const SCHEMA: &str = "skydht.known-peers/1";

#[derive(Serialize, Deserialize)]
struct Contents<T> {
    schema: String,
    peers: Vec<T>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Known {
    key: PublicKey,
    /// `None` over DMSG, where the key suffices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    addr: Option<SocketAddr>,
}

/// Saves those of `peers` that can be dialled, most recently seen first. Without such a peer, the
/// file keeps its content. Returns the number of saved peers.
pub(crate) fn save(path: &Path, peers: &[PeerInfo]) -> Result<usize> {
    let mut reached: Vec<_> = peers.iter().filter(|peer| peer.reachable).collect();
    reached.sort_by_key(|peer| (peer.last_seen, peer.key));
    reached.truncate(MOST_PEERS);
    if reached.is_empty() {
        return Ok(0);
    }
    let known = |peer: &PeerInfo| Known {
        key: peer.key,
        addr: peer.addr,
    };
    let contents = Contents {
        schema: SCHEMA.into(),
        peers: reached.into_iter().map(known).collect(),
    };
    let text =
        serde_json::to_vec_pretty(&contents).map_err(|error| Failure::new(Code::Local, error))?;
    private_file::replace(path, &text)?;
    Ok(contents.peers.len())
}

/// Loads the peers that an earlier run saved; empty without a file. An error says why a file is
/// unusable.
pub(crate) fn load(path: &Path) -> Result<Vec<BootstrapPeer>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = private_file::read(path, MOST_BYTES)?;
    let damaged = |why: &dyn std::fmt::Display| {
        Failure::new(
            Code::Config,
            format_args!("{} is damaged: {why}", path.display()),
        )
    };
    let contents: Contents<serde_json::Value> =
        serde_json::from_slice(&text).map_err(|error| damaged(&error))?;
    if contents.schema != SCHEMA {
        return Err(damaged(&format_args!("its schema is not {SCHEMA}")));
    }
    // An invalid entry is skipped; the others are used.
    let entries = contents.peers.into_iter().take(MOST_PEERS);
    let usable = entries.filter_map(|entry| serde_json::from_value::<Known>(entry).ok());
    let has_port = |known: &Known| known.addr.is_none_or(|addr| addr.port() != 0);
    let peers = usable.filter(|known| known.key.check_curve().is_ok() && has_port(known));
    Ok(peers
        .map(|known| BootstrapPeer {
            key: known.key,
            addrs: known.addr.into_iter().map(canonical).collect(),
        })
        .collect())
}

/// Adds the peers of `more` to `peers`, and further addresses to known keys.
pub(crate) fn merge(peers: &mut Vec<BootstrapPeer>, more: Vec<BootstrapPeer>) {
    for peer in more {
        match peers.iter_mut().find(|known| known.key == peer.key) {
            Some(known) => {
                let new = peer
                    .addrs
                    .into_iter()
                    .map(canonical)
                    .filter(|addr| !known.addrs.contains(addr));
                let new: Vec<_> = new.collect();
                known.addrs.extend(new);
            }
            None => peers.push(peer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private_file::tests::TempDir;
    use std::time::Duration;

    fn peer(port: u16, seen: u64, reachable: bool) -> PeerInfo {
        PeerInfo {
            key: crate::keys::generate().unwrap().public(),
            addr: Some(SocketAddr::from(([127, 0, 0, 1], port))),
            bucket: 0,
            last_seen: Duration::from_secs(seen),
            rtt: None,
            skydht: None,
            reachable,
            proven: true,
        }
    }

    #[test]
    fn over_dmsg_the_key_is_remembered_alone() {
        let dir = TempDir::new("knowndmsg");
        let path = dir.0.join("peers.json");
        let (direct, mut relayed) = (peer(1, 1, true), peer(2, 2, true));
        relayed.addr = None;
        save(&path, &[direct.clone(), relayed.clone()]).unwrap();
        let known = load(&path).unwrap();
        assert_eq!([known[0].key, known[1].key], [direct.key, relayed.key]);
        assert_eq!([known[0].addrs.len(), known[1].addrs.len()], [1, 0]);
    }

    #[test]
    fn the_most_recently_seen_that_can_be_dialled_are_remembered() {
        let dir = TempDir::new("known");
        let path = dir.0.join("peers.json");
        let peers: Vec<_> = (1..=100).map(|n| peer(n, u64::from(n), n != 3)).collect();
        assert_eq!(save(&path, &peers).unwrap(), MOST_PEERS);
        let ports: Vec<u16> = load(&path)
            .unwrap()
            .iter()
            .map(|p| p.addrs[0].port())
            .collect();
        assert_eq!(ports, (1..=41).filter(|n| *n != 3).collect::<Vec<_>>());
        assert_eq!(save(&path, &[]).unwrap(), 0, "no peer now");
        assert_eq!(load(&path).unwrap().len(), MOST_PEERS, "but remembered");
    }

    #[test]
    fn damaged_files_are_named_and_missing_ones_are_empty() {
        let dir = TempDir::new("knownbad");
        let path = dir.0.join("peers.json");
        assert!(load(&path).unwrap().is_empty());
        for text in ["{", "{\"schema\":\"x\",\"peers\":[]}", "[]"] {
            private_file::replace(&path, text.as_bytes()).unwrap();
            let failure = load(&path).unwrap_err();
            assert!(failure.message.contains("is damaged"), "{failure}");
        }
    }

    #[test]
    fn a_bad_entry_is_left_out_alone() {
        let dir = TempDir::new("knownpart");
        let path = dir.0.join("peers.json");
        let good = peer(1, 1, true);
        let bad = r#"1, null, {}, {"key": "02"}, {"key": 7, "addr": "x"}"#;
        let key = good.key;
        let entry = format!(r#"{{"key": "{key}", "addr": "127.0.0.1:1"}}"#);
        let bad_addr = format!(r#"{{"key": "{key}", "addr": "host"}}"#);
        let text = format!(r#"{{"schema": "{SCHEMA}", "peers": [{bad}, {bad_addr}, {entry}]}}"#);
        private_file::replace(&path, text.as_bytes()).unwrap();
        let known = load(&path).unwrap();
        assert_eq!((known.len(), known[0].key), (1, key));
    }

    #[test]
    fn one_key_gets_all_its_addresses_once() {
        let (a, b) = (peer(1, 0, true), peer(2, 0, true));
        let boot = |key, ports: &[u16]| BootstrapPeer {
            key,
            addrs: ports
                .iter()
                .map(|port| SocketAddr::from(([127, 0, 0, 1], *port)))
                .collect(),
        };
        let mut peers = vec![boot(a.key, &[1])];
        merge(&mut peers, vec![boot(b.key, &[2]), boot(a.key, &[1, 3])]);
        assert_eq!(peers, [boot(a.key, &[1, 3]), boot(b.key, &[2])]);
    }

    #[test]
    fn both_forms_of_an_ipv4_address_are_one_in_the_file_and_in_the_list() {
        let dir = TempDir::new("knownmapped");
        let path = dir.0.join("peers.json");
        let (plain, mut mapped) = (peer(1, 1, true), peer(1, 1, true));
        mapped.addr = Some("[::ffff:127.0.0.1]:1".parse().unwrap());
        save(&path, std::slice::from_ref(&mapped)).unwrap();
        assert_eq!(load(&path).unwrap()[0].addrs, [plain.addr.unwrap()]);
        let of = |addr: Option<SocketAddr>| BootstrapPeer {
            key: plain.key,
            addrs: addr.into_iter().collect(),
        };
        let mut peers = vec![of(plain.addr)];
        merge(&mut peers, vec![of(mapped.addr)]);
        assert_eq!(peers, [of(plain.addr)]);
    }
}
