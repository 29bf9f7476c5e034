//! Clients and servers of DMSG together, on virtual time.

mod basics;
mod hostile;
mod raw;
mod traps;
mod world;
