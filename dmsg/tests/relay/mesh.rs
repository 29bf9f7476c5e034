//! Tests of linked servers: a client of one reaches a client of another.

use std::net::SocketAddr;
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_dmsg::client::{Client, ClientConfig, DialError, LocalEntries};
use skydht_dmsg::discovery::KnownServer;
use skydht_dmsg::entry::Entry;
use skydht_dmsg::object::Address;
use skydht_dmsg::server::{Server, ServerConfig};
use skydht_runtime::virtual_time::VirtualRuntime;

use crate::basics::WithoutServers;
use crate::raw::signed;
use crate::world::{PORT, World, at, echoed, ip, key, secret};

fn known(n: u8) -> KnownServer {
    KnownServer {
        key: key(n),
        address: SocketAddr::new(ip(n), PORT),
    }
}

fn linked_with(n: u8, peers: &[u8]) -> ServerConfig {
    let mut config = World::server_config(n);
    config.peers = peers.iter().map(|n| known(*n)).collect();
    config
}

/// Has no entries, so that only existing sessions are tried.
struct NoEntries;

impl LocalEntries for NoEntries {
    fn entry(&self, _: &PublicKey) -> Option<Entry> {
        None
    }
}

impl World {
    /// Starts a client that knows one server, and establishes no further sessions.
    fn client_of(&self, n: u8, server: u8) -> Client<VirtualRuntime> {
        let mut config = ClientConfig::default();
        config.servers = vec![known(server)];
        let discovery = WithoutServers(self.discovery.clone());
        let client = Client::start(self.host(n), secret(n), [n; 32], discovery, config);
        self.run(client.ready());
        client
    }

    /// Tries to reach another client's echo without a session with that client's server.
    fn reaches_over(&self, from: &Client<VirtualRuntime>, to: Address) -> Result<(), DialError> {
        let mut stream = self.run(from.dial_local(to, &NoEntries, false))?;
        self.run(echoed(&mut stream, b"over a link")).unwrap();
        Ok(())
    }
}

#[test]
fn a_client_reaches_one_of_another_server_over_their_link_both_ways() {
    let world = World::new();
    let two = world.server(2);
    let one = world.server_with(1, linked_with(1, &[2]));
    world.until("a link", || two.stats().peers_accepted == 1);
    let (a, b) = (world.client_of(11, 1), world.client_of(12, 2));
    world.echo(a.listen(7).unwrap());
    world.echo(b.listen(7).unwrap());
    world.reaches_over(&a, at(12, 7)).unwrap();
    world.reaches_over(&b, at(11, 7)).unwrap();
    assert_eq!((one.stats().forwarded, two.stats().passed_on), (1, 1));
    assert_eq!((two.stats().forwarded, one.stats().passed_on), (1, 1));
    assert_eq!((one.stats().links, two.stats().links), (1, 1));
    assert_eq!((a.stats().sessions, b.stats().sessions), (1, 1));
    // A refusal of the destination is returned unchanged.
    let refused = world.reaches_over(&a, at(12, 8));
    assert!(matches!(refused, Err(DialError::Stream(_))), "{refused:?}");
    assert_eq!(two.stats().refusals, 1);
}

#[test]
fn a_request_goes_over_one_link_and_no_further() {
    let world = World::new();
    let three = world.server(3);
    let two = world.server_with(2, linked_with(2, &[3]));
    let one = world.server_with(1, linked_with(1, &[2]));
    world.until("links", || {
        two.stats().links == 2 && three.stats().links == 1
    });
    let (a, c) = (world.client_of(11, 1), world.client_of(13, 3));
    world.echo(c.listen(7).unwrap());
    assert!(world.reaches_over(&a, at(13, 7)).is_err());
    assert_eq!((two.stats().forwarded, three.stats().passed_on), (0, 0));
    assert!(one.stats().no_destination >= 1 && two.stats().no_destination >= 1);
}

#[test]
fn a_key_that_no_server_had_is_not_looked_for_again_until_there_is_a_new_link() {
    let world = World::new();
    let two = world.server(2);
    let one = world.server_with(1, linked_with(1, &[2, 3]));
    world.until("a link", || one.stats().links == 1);
    let a = world.client_of(11, 1);
    assert!(world.reaches_over(&a, at(13, 7)).is_err());
    let asked = two.stats().no_destination;
    assert!(asked > 0);
    assert!(world.reaches_over(&a, at(13, 7)).is_err());
    assert_eq!(two.stats().no_destination, asked);
    assert!(one.stats().remembered_missing > 0);
    // The server of that client starts, and is linked.
    let three = world.server(3);
    let c = world.client_of(13, 3);
    world.echo(c.listen(7).unwrap());
    world.until("a second link", || three.stats().links == 1);
    world.reaches_over(&a, at(13, 7)).unwrap();
}

#[test]
fn servers_that_name_each_other_or_are_in_the_discovery_stay_linked_once() {
    let named = |n| linked_with(n, &[1, 2, 3]);
    let all = |n| {
        let mut config = World::server_config(n);
        config.links_all = true;
        config
    };
    let makes: [&dyn Fn(u8) -> ServerConfig; 2] = [&named, &all];
    for make in makes {
        let world = World::new();
        let servers: Vec<Server<_>> = (1..=3).map(|n| world.server_with(n, make(n))).collect();
        world.until("all are linked", || {
            servers.iter().all(|it| it.stats().links == 2)
        });
        world.sleep(Duration::from_secs(300));
        for server in &servers {
            let stats = server.stats();
            assert_eq!(
                (stats.links, stats.superseded, stats.lost),
                (2, 0, 0),
                "{stats:?}"
            );
            assert!(stats.links_made <= 2, "{stats:?}");
        }
        // One server stops and starts again.
        let [one, two, three] = <[Server<_>; 3]>::try_from(servers).ok().unwrap();
        world.run(three.close());
        drop(three);
        world.until("its links have ended", || {
            one.stats().links == 1 && two.stats().links == 1
        });
        let _three = world.server_with(3, make(3));
        world.until("it is linked again", || {
            one.stats().links == 2 && two.stats().links == 2
        });
    }
}

#[test]
fn a_server_that_is_not_let_in_passes_on_nothing() {
    let world = World::new();
    let mut config = World::server_config(2);
    config.accepted_peers = [key(9)].into();
    let two = world.server_with(2, config);
    let one = world.server_with(1, linked_with(1, &[2]));
    world.until("it is refused", || one.stats().links_refused == 1);
    assert_eq!((one.stats().links, two.stats().peers_refused), (0, 1));
    let (a, b) = (world.client_of(11, 1), world.client_of(12, 2));
    world.echo(b.listen(7).unwrap());
    assert!(world.reaches_over(&a, at(12, 7)).is_err());
    assert_eq!(two.stats().passed_on, 0);
}

#[test]
fn a_client_passes_on_what_another_key_signed_only_where_that_is_allowed() {
    for allowed in [false, true] {
        let world = World::new();
        let mut config = World::server_config(1);
        config.clients_pass_on = allowed;
        let server = world.server_with(1, config);
        let b = world.client(12);
        world.echo(b.listen(7).unwrap());
        let other = world.raw_client(2, 1);
        let answer = world.run(other.ask(&signed(3, at(12, 7), 5)));
        assert_eq!(answer.is_some(), allowed);
        assert_eq!(server.stats().passed_on, u64::from(allowed));
        assert_eq!(server.stats().invalid_requests, u64::from(!allowed));
        // Altered requests are never passed on.
        let mut bytes = signed(3, at(12, 7), 6).as_bytes().to_vec();
        bytes[70] ^= 1;
        let forged = skydht_dmsg::object::SignedObject::from_bytes(bytes).unwrap();
        assert_eq!(world.run(other.ask(&forged)), None);
    }
}
