//! Proof that skydht-core and its dependencies need neither std nor libc: this program provides its
//! own entry point, allocator, panic handler and memory functions, and is built with a sysroot
//! without std. It runs two nodes, one of which publishes an item that the other reads. `./check`
//! runs it.
//!
//! Exit status 0 means success; any other is the number of the failed step.
#![no_std]
#![no_main]

extern crate alloc;

mod bare;
mod pair;

use skydht_core::item::{Item, Salt, Seq, Value};
use skydht_core::key::SecretKey;
use skydht_core::node::{Command, GetRequest, Outcome, PutOptions, ReadPolicy};

use pair::Pair;

/// Called by the entry point, with an aligned stack.
#[unsafe(no_mangle)]
extern "C" fn rust_main() -> ! {
    match run() {
        Ok(()) => {
            bare::print("no-std-proof: two nodes joined, one published, the other read it\n");
            bare::exit(0)
        }
        Err(step) => bare::exit(step),
    }
}

fn run() -> Result<(), u8> {
    let secret = SecretKey::from_entropy(&[7; 32]);
    let salt = Salt::from("dmsg");
    let item = Item::sign(&secret, Seq(1), Value::new(b"hello"), salt.clone());
    item.check().map_err(|_| 1)?;
    let mut forged = item;
    forged.value = Value::new(b"other");
    if forged.check().is_ok() {
        return Err(2);
    }

    let mut pair = Pair::new().ok_or(3)?;
    let put = Command::Put {
        salt: salt.clone(),
        value: Value::new(b"hello"),
        options: PutOptions::default(),
    };
    let Some(Outcome::Put(Ok(stored))) = pair.run(1, put) else {
        return Err(4);
    };
    if stored.replicas.acknowledged() != 1 {
        return Err(5);
    }
    let get = Command::Get(GetRequest::of(pair.key(1), salt, ReadPolicy::Freshest));
    let Some(Outcome::Get(Ok(read))) = pair.run(0, get) else {
        return Err(6);
    };
    if read.item.value.as_bytes() != b"hello" || read.item.seq != stored.seq {
        return Err(7);
    }
    Ok(())
}
