//! A node whose peers are all gone: a table of dead peers is a reason to ask for others.

use alloc::vec;
use core::time::Duration;

use super::net::{Net, addr, config, secret};
use crate::node::*;

fn bootstrap_peer(n: usize) -> BootstrapPeer {
    BootstrapPeer {
        key: secret(n).public(),
        addrs: vec![addr(n)],
    }
}

fn live(net: &Net, node: usize) -> usize {
    let table = &net.nodes[node].base.peers.table;
    table.iter().filter(|peer| peer.is_live()).count()
}

#[test]
fn a_node_whose_only_peer_died_while_it_joined_asks_the_others_again() {
    let mut net = Net::settled(4, |_, _| {});
    net.kill(3);
    net.kill(2);
    net.kill(1);
    let joins = Config {
        bootstrap: vec![bootstrap_peer(0), bootstrap_peer(1)],
        ..config(3)
    };
    net.restart(3, addr(3), joins);
    net.run_until(net.now.plus(Duration::from_secs(1)), |net| live(net, 3) > 0);
    assert_eq!(live(&net, 3), 1, "the first bootstrap peer has answered");
    net.kill(0);
    net.run_for(Duration::from_secs(100));
    assert_eq!(live(&net, 3), 0);
    assert!(!net.nodes[3].snapshot().ready);
    net.restart(1, addr(1), config(1));
    net.run_for(Duration::from_secs(60));
    assert!(net.nodes[3].snapshot().ready);
    assert!(live(&net, 3) > 0);
}

#[test]
fn a_node_that_lost_all_its_peers_knows_them_again_within_a_minute_of_their_return() {
    for others in [2, 12, 30] {
        let mut net = Net::settled(others + 1, |_, _| {});
        for other in 0..others {
            net.kill(other);
        }
        net.run_for(Duration::from_secs(30 * 60));
        for other in 0..others {
            net.restart(other, addr(other), config(other));
        }
        net.run_for(Duration::from_secs(60));
        let known = live(&net, others);
        assert!(known >= others.min(K), "{known} of {others}");
    }
}
