//! Conformance and cross-crate tests of skydht.

/// Compiles and runs the README's code.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
