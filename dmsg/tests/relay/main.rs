//! Clients and servers of DMSG together, on virtual time.

mod basics;
mod crowd;
mod dials;
mod handles;
mod hostile;
mod hybrid;
mod keeping;
mod kinds;
mod mesh;
mod moved;
mod pings;
mod raw;
mod reflection;
mod traps;
mod world;
