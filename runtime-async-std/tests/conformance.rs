//! Runs the conformance tests of runtimes on async-std.

use skydht_async_std::{AsyncStdRuntime, entropy};
use skydht_driver::runtime_conformance;

runtime_conformance!(async_std::task::block_on, AsyncStdRuntime, entropy);
