//! Lookups of a record in the DHT and in an HTTP service: both are asked concurrently, and the
//! newest proof wins (docs/architecture.md, "Two sources of one record").
//!
//! Upstream's hybrid clients always preferred the DHT, so that a stale item there hid a live entry
//! (specification of lessons, R5). Here the time of the owner's signature decides. [`Lookup`] is
//! one lookup, a state machine without a clock or sockets: its owner sends the requests and passes
//! in the answers. [`Breaker`] decides whether a service that failed is asked at all.

mod breaker;
mod lookup;

#[cfg(test)]
mod tests;

pub use breaker::Breaker;
pub use lookup::{
    Answer, Ask, FRESH, Found, GRACE, LONGEST, Lookup, Outcome, Said, Signed, Source, Stats,
};
