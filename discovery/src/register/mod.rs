//! Keeping a visor's own records registered at the HTTP services, beside the DHT.
//!
//! A visor that publishes in the DHT alone is not found by visors that know only the services. The
//! [`Registrar`] says at each of them what the visor has now, again before the service forgets it, and
//! takes back what the visor has no more. It is a state machine: [`Registrar::set_transports`] and its
//! siblings say what there is, [`Registrar::poll_output`] what to send, [`Registrar::handle`] what came
//! of it. [`records`] gives the same as records for the DHT.

mod desk;
mod registrar;
mod wanted;

#[cfg(test)]
mod tests;

pub use desk::DeskReport;
pub use registrar::{Ask, Registrar, Registry};
pub use wanted::{Own, records};
