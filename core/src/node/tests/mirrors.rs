//! A node that mirrors what other keys published elsewhere.

use core::time::Duration;

use super::net::{Net, secret};
use crate::Seed;
use crate::item::{Origin, Salt, Seq, Value};
use crate::journal::{Header, Recorder, Replay};
use crate::node::*;

const MIRROR: usize = 3;
/// A key that no node of the network has.
const ABSENT: usize = 500;
const TTL: Duration = Duration::from_secs(600);

fn network(takes_mirrors: bool) -> Net {
    Net::settled(12, |_, config| {
        config.item_ttl = TTL;
        if takes_mirrors {
            config.mirrors.push(secret(MIRROR).public());
        }
    })
}

fn mirror(net: &mut Net, owner: usize, value: &[u8]) -> Result<PutOutcome, PutError> {
    let options = PutOptions {
        mirror_of: Some(secret(owner).public()),
        ..PutOptions::default()
    };
    net.put_with(MIRROR, "dmsg", value, options)
}

fn read(net: &mut Net, owner: usize) -> Result<GetOutcome, GetError> {
    net.get(7, owner, "dmsg", ReadPolicy::Freshest)
}

#[test]
fn a_mirrored_item_is_found_at_its_owners_target_and_kept_alive_by_the_mirror() {
    let mut net = network(true);
    let put = mirror(&mut net, ABSENT, b"entry").unwrap();
    assert!(put.replicas.acknowledged() >= 10, "{:?}", put.replicas);
    let found = read(&mut net, ABSENT).unwrap();
    assert_eq!(found.item.value.as_bytes(), b"entry");
    assert_eq!(found.origin, Origin::Mirror);
    assert_eq!(found.item.key, secret(MIRROR).public());
    net.run_for(TTL * 5 / 2);
    assert_eq!(
        read(&mut net, ABSENT).unwrap().item.value.as_bytes(),
        b"entry"
    );
    // A newer version, and a deletion.
    mirror(&mut net, ABSENT, b"newer").unwrap();
    assert_eq!(
        read(&mut net, ABSENT).unwrap().item.value.as_bytes(),
        b"newer"
    );
    mirror(&mut net, ABSENT, b"").unwrap();
    assert!(matches!(
        read(&mut net, ABSENT),
        Err(GetError::Deleted { .. })
    ));
    // Items that their mirror does not renew expire.
    mirror(&mut net, ABSENT, b"again").unwrap();
    net.kill(MIRROR);
    net.run_for(TTL + Duration::from_secs(300));
    assert!(matches!(
        read(&mut net, ABSENT),
        Err(GetError::NotFound { .. })
    ));
}

#[test]
fn the_owners_word_comes_before_any_mirrors() {
    let mut net = network(true);
    mirror(&mut net, 5, b"mirrored").unwrap();
    net.put(5, "dmsg", b"own").unwrap();
    let found = read(&mut net, 5).unwrap();
    assert_eq!(
        (found.item.value.as_bytes(), found.origin),
        (&b"own"[..], Origin::Owner)
    );
    let options = PutOptions {
        mirror_of: Some(secret(5).public()),
        seq: Some(Seq(u64::MAX)),
        force: true,
        ..PutOptions::default()
    };
    for options in [
        options.clone(),
        PutOptions {
            seq: None,
            ..options
        },
    ] {
        let refused = net.put_with(MIRROR, "dmsg", b"newer", options);
        assert!(
            matches!(refused, Err(PutError::OwnerPublishes { .. })),
            "{refused:?}"
        );
        assert_eq!(read(&mut net, 5).unwrap().item.value.as_bytes(), b"own");
    }
    // Holders that know the owner's item report it if the mirror itself does not have it.
    assert_eq!(net.holders(5, "dmsg").len(), 11);
}

#[test]
fn a_node_that_does_not_configure_the_mirror_does_not_take_its_items() {
    let mut net = network(false);
    let refused = mirror(&mut net, ABSENT, b"entry");
    let Err(PutError::TooFewReplicas { partial, .. }) = refused else {
        panic!("{refused:?}");
    };
    let reason = crate::store::Refusal::MirrorNotAccepted;
    assert_eq!(partial.replicas.refused, [(reason, 11)]);
    assert!(matches!(
        read(&mut net, ABSENT),
        Err(GetError::NotFound { .. })
    ));
}

#[test]
fn a_mirrors_journal_replays_from_its_public_key() {
    let mut net = Net::new(6, |_, config| config.mirrors.push(secret(MIRROR).public()));
    let header = Header::new(
        net.nodes[MIRROR].base.cx.config.clone(),
        secret(MIRROR).public(),
        Seed::from_number(MIRROR as u64),
        net.time(),
    );
    net.recorder = Some((MIRROR, Recorder::new(&mut net.nodes[MIRROR])));
    net.run_for(Duration::from_secs(20));
    mirror(&mut net, ABSENT, b"entry").unwrap();
    net.run_for(Duration::from_secs(2 * 3600));
    let signed: usize = net.steps.iter().map(|step| step.signed.len()).sum();
    assert_eq!(signed, 2, "the item and what binds it");
    let mut replay = Replay::new(header).unwrap();
    for step in &net.steps {
        replay.step(step).unwrap();
    }
}

#[test]
fn a_mirror_and_an_own_item_of_one_salt_are_two_items() {
    let mut net = network(true);
    mirror(&mut net, ABSENT, b"mirrored").unwrap();
    net.put(MIRROR, "dmsg", b"own").unwrap();
    let request = GetRequest::of(
        secret(MIRROR).public(),
        Salt::from("dmsg"),
        ReadPolicy::Freshest,
    );
    let Outcome::Get(Ok(own)) = net.command(7, Command::Get(request)) else {
        panic!()
    };
    assert_eq!(own.item.value, Value::new(b"own"));
    assert_eq!(
        read(&mut net, ABSENT).unwrap().item.value.as_bytes(),
        b"mirrored"
    );
}
