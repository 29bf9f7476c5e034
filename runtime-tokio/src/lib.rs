//! skydht on tokio.
