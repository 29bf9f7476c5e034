//! One question to the DHT and to an HTTP service: asked in parallel, and the newest proof wins
//! (docs/architecture.md, "Two sources of one record").
//!
//! Upstream's hybrid clients believed the DHT by order: a stale item there hid a live entry
//! (specification of lessons, R5). Here both are asked at the same time, and what decides is when the
//! owner signed it. [`Lookup`] is one question, a state machine without a clock or sockets; its owner
//! asks what it wants asked, and tells it what came. [`Breaker`] says whether a service that failed is
//! asked at all.

mod breaker;
mod lookup;

#[cfg(test)]
mod tests;

pub use breaker::Breaker;
pub use lookup::{
    Answer, Ask, FRESH, Found, GRACE, LONGEST, Lookup, Outcome, Said, Signed, Source, Stats,
};
