//! Registers a visor's own records at the HTTP services, in addition to the DHT, for visors that
//! know only these services.
//!
//! A [`Registrar`] registers the visor's records at each service, renews them before they expire,
//! and removes those that the visor no longer has. It is a state machine:
//! [`Registrar::set_transports`] and similar methods set the records, [`Registrar::poll_output`]
//! returns requests to send, and [`Registrar::handle`] takes their results. [`records`] returns the
//! same data as records for the DHT.

mod own_records;
mod registrar;
mod registration;

#[cfg(test)]
mod tests;

pub use own_records::{Own, records};
pub use registrar::{Ask, Registrar, Registry};
pub use registration::DeskReport;
