//! Iterative lookups as a pure sliding window.
