//! Conformance and cross-crate tests of skydht.
