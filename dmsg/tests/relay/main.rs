//! Clients and servers of DMSG together, on virtual time.

mod basics;
mod world;
