//! Proof that skydht-core and all that it depends on need neither std nor libc: this program
//! brings its own entry, allocator, panic handler and memory functions. A dependency that
//! links std fails to link here (E0152, duplicate lang item). Run by `./check`.
//!
//! Exit status 0 means that every step below worked; otherwise it is the number of the step.
#![no_std]
#![no_main]

extern crate alloc;

mod bare;

use skydht_core::item::{Item, Salt, Seq, Value};
use skydht_core::key::SecretKey;
use skydht_core::node::{Config, Identity, Input};
use skydht_core::time::{Mono, Time, Unix};
use skydht_core::{Node, Seed};

/// Called by the entry point, with an aligned stack.
#[unsafe(no_mangle)]
extern "C" fn rust_main() -> ! {
    match run() {
        Ok(()) => {
            bare::print("no-std-proof: signed, verified, ran a node\n");
            bare::exit(0)
        }
        Err(step) => bare::exit(step),
    }
}

fn run() -> Result<(), u8> {
    let secret = SecretKey::from_entropy(&[7; 32]);
    let item = Item::sign(&secret, Seq(1), Value::new(b"hello"), Salt::from("dmsg"));
    item.check().map_err(|_| 1)?;
    let mut forged = item;
    forged.value = Value::new(b"other");
    if forged.check().is_ok() {
        return Err(2);
    }

    let now = Time {
        mono: Mono(0),
        unix: Unix::BUILD,
    };
    let mut node = Node::new(
        Config::default(),
        Identity::Keyed(secret),
        Seed::from_number(1),
        now,
    )
    .map_err(|_| 3)?;
    node.handle(now, Input::TimerFired).map_err(|_| 4)?;
    while node.poll_output().is_some() {}
    if node.snapshot().key != node.public_key() {
        return Err(5);
    }
    Ok(())
}
