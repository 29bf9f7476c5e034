use skydht_runtime::virtual_time::{VirtualRuntime, VirtualTime};

use super::*;
use crate::discovery::MemoryDiscovery;
use crate::entry::ClientFields;

fn secret() -> SecretKey {
    SecretKey::from_bytes(&[1; 32]).unwrap()
}

fn fill(entry: &mut Entry) {
    entry.client = Some(ClientFields::default());
}

fn publisher(world: &VirtualTime, discovery: &MemoryDiscovery) -> Publisher<VirtualRuntime> {
    let limit = Duration::from_secs(1);
    Publisher::new(
        world.runtime(),
        Arc::new(discovery.clone()),
        secret(),
        limit,
    )
}

#[test]
fn sequences_continue_where_the_discovery_is() {
    let world = VirtualTime::new(1);
    let discovery = MemoryDiscovery::new(world.runtime());
    let stored = || discovery.get(&secret().public()).unwrap().entry().sequence;
    let (mut first, mut second) = (publisher(&world, &discovery), publisher(&world, &discovery));
    let publish = |by: &mut Publisher<_>| {
        world.advance(Duration::from_secs(1)).unwrap();
        world.run_until(by.publish(fill)).unwrap().unwrap()
    };
    publish(&mut first);
    assert_eq!(stored(), 0);
    publish(&mut first);
    assert_eq!(stored(), 1);
    // Another process with the same key begins above, and the first follows it.
    publish(&mut second);
    publish(&mut second);
    assert_eq!(stored(), 3);
    publish(&mut first);
    assert_eq!(stored(), 4);
    publish(&mut second);
    assert_eq!(stored(), 5);
}

#[test]
fn a_newer_entry_of_the_same_key_is_left_alone() {
    let world = VirtualTime::new(1);
    let discovery = MemoryDiscovery::new(world.runtime());
    let mut ours = publisher(&world, &discovery);
    world.run_until(ours.publish(fill)).unwrap().unwrap();
    let ahead = world.runtime().clocks().unix + Duration::from_secs(3600);
    let mut newer = Entry::new(secret().public(), 9, ahead.as_nanos() as i64);
    fill(&mut newer);
    let published = discovery.publish(newer.clone().sign(&secret()));
    world.run_until(published).unwrap().unwrap();
    assert!(world.run_until(ours.publish(fill)).unwrap().is_ok());
    let stored = discovery.get(&secret().public()).unwrap();
    assert_eq!(stored.entry().timestamp, newer.timestamp);
}

/// A discovery that never answers.
struct Silent;

impl Discovery for Silent {
    fn entry(
        &self,
        _: skydht_core::key::PublicKey,
    ) -> skydht_runtime::BoxFuture<'static, Result<Entry, DiscoveryError>> {
        Box::pin(std::future::pending())
    }

    fn servers(
        &self,
    ) -> skydht_runtime::BoxFuture<
        'static,
        Result<Vec<crate::discovery::KnownServer>, DiscoveryError>,
    > {
        Box::pin(std::future::pending())
    }

    fn publish(
        &self,
        _: SignedEntry,
    ) -> skydht_runtime::BoxFuture<'static, Result<(), DiscoveryError>> {
        Box::pin(std::future::pending())
    }

    fn remove(
        &self,
        _: SignedEntry,
    ) -> skydht_runtime::BoxFuture<'static, Result<(), DiscoveryError>> {
        Box::pin(std::future::pending())
    }
}

#[test]
fn a_discovery_that_says_nothing_is_given_up() {
    let world = VirtualTime::new(1);
    let limit = Duration::from_secs(1);
    let mut ours = Publisher::new(world.runtime(), Arc::new(Silent), secret(), limit);
    let error = world.run_until(ours.publish(fill)).unwrap().unwrap_err();
    assert!(matches!(error, DiscoveryError::Unavailable(_)));
    assert_eq!(world.now(), 2 * limit, "asked, then told");
}
