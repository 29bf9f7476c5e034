//! Measures the cost of full nodes in the sizes of docs/replication.md: a change, a new node, and a
//! day with 5,200 records.
//!
//! `cargo run --release -p skydht-sim --example full_nodes -- [HOURS] [SEED]`

#[path = "../tests/full_nodes/mod.rs"]
mod full_nodes;

use full_nodes::{Change, Newcomer, SECOND, Size, change, day, newcomer, newcomers, upstream};

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u32>().ok());
    let hours = args.next().flatten().unwrap_or(24);
    let seed = args.next().flatten().map_or(1, u64::from);
    let Change {
        arrived,
        took,
        bytes,
        messages,
    } = change(seed);
    println!(
        "a change: at the first after {arrived:?}, at nine others {took:?} later, \
         {bytes} bytes in {messages} messages"
    );
    let Newcomer { took, bytes } = newcomer(seed, 5_200);
    println!("a newcomer: 99 % of 5,200 items after {took:?}, {bytes} bytes");
    let late = newcomers(seed, 60);
    let held = |holders: &[usize]| holders.iter().sum::<usize>();
    println!(
        "20 regular nodes join 60: of 1,200 places {} hold their item, a minute later {}; \
         {} items handed over, {} by renewals and repairs",
        held(&late.before),
        held(&late.after),
        late.given,
        late.otherwise
    );
    let size = Size {
        owners: 104,
        records: 50,
        ttl: 7_200 * SECOND,
        time: 3_600 * SECOND * hours,
        reads: 20,
        leaves_every: 3_600 * SECOND,
    };
    println!("{:#?}", day(seed, size));
    let hour = Size {
        time: 3_600 * SECOND,
        ..size
    };
    let bytes = upstream(seed, hour);
    println!("upstream's model, an hour: {bytes} bytes a second and node");
}
