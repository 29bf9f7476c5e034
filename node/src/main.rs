//! The skydht program.
fn main() {}
