//! Runs the conformance tests of runtimes on tokio.

use skydht_driver::runtime_conformance;
use skydht_tokio::{TokioRuntime, entropy};

fn block_on<F: Future>(check: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(check)
}

runtime_conformance!(crate::block_on, TokioRuntime, entropy);
