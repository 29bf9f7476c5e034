//! Connects many peers to one node, which keep their connections and give it items, so that its
//! memory can be measured:
//!
//! ```text
//! skydht run --full-node --listen 127.0.0.1:7470 --state-dir /tmp/a
//! cargo run --release -p skydht-tokio --example crowd -- PK 127.0.0.1:7470 300 1000
//! grep VmRSS /proc/PID/status
//! ```

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};

use skydht_core::id::{NodeId, Target};
use skydht_tokio::{
    BootstrapPeer, Dht, PublicKey, PutOptions, Salt, SecretKey, Start as _, TcpNode, Value,
};

/// Number of peers that are started before the program waits for them.
const BATCH: usize = 25;

#[tokio::main(flavor = "multi_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [key, addr, peers, items] = args.as_slice() else {
        return Err("give the node's key, its address, a number of peers and one of items".into());
    };
    let (key, addr): (PublicKey, SocketAddr) = (key.parse()?, addr.parse()?);
    let (peers, items): (u64, usize) = (peers.parse()?, items.parse()?);

    let mut crowd: Vec<Dht> = Vec::new();
    for n in 1..=peers {
        crowd.push(peer(n, key, addr).start().await?);
        if crowd.len().is_multiple_of(BATCH) {
            for dht in &crowd {
                dht.ready().await?;
            }
        }
    }
    eprintln!("{} peers are up", crowd.len());

    let ids: Vec<NodeId> = crowd.iter().map(|dht| dht.key().id()).collect();
    let mut numbers = 0_u64..;
    for n in 0..items {
        let dht = &crowd[n % crowd.len()];
        // Search an item to which the node is among the twelve nearest, so that it receives a
        // replica.
        let salt = numbers
            .by_ref()
            .map(|number| number.to_string())
            .find(|salt| {
                let target = Target::of(&dht.key(), salt.as_bytes());
                let distance = target.distance(&key.id());
                let nearer = ids.iter().filter(|id| target.distance(id) < distance);
                nearer.count() < 12
            })
            .ok_or("numbers do not end")?;
        let value = Value::new(&[7; 500]);
        dht.put(Salt::from(salt.as_str()), value, PutOptions::default())
            .await?;
    }
    eprintln!("{items} items are put");

    for dht in &crowd {
        dht.ping(key, Some(addr)).await?;
    }
    eprintln!("every peer has a connection to the node; ends with Ctrl-C");
    tokio::signal::ctrl_c().await?;
    Ok(())
}

fn peer(n: u64, key: PublicKey, addr: SocketAddr) -> TcpNode {
    let mut entropy = [0; 32];
    entropy[..8].copy_from_slice(&n.to_be_bytes());
    let secret = SecretKey::from_entropy(&entropy);
    let mut node = TcpNode::new(secret, Some((Ipv4Addr::LOCALHOST, 0).into()));
    let addrs = vec![addr];
    node.config.bootstrap = vec![BootstrapPeer { key, addrs }];
    node
}
