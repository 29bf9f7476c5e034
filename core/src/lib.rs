//! placeholder
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;
mod encoding;
pub mod id;
pub mod item;
pub mod key;
pub mod lookup;
pub mod node;
pub mod random;
pub mod record;
pub mod routing;
pub mod store;
pub mod time;
pub mod wire;

pub use node::Node;
pub use random::Seed;
