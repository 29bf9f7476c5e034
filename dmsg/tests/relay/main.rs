//! Tests of DMSG clients and servers together, in virtual time.

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
