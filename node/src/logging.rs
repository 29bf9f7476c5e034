//! Logs: one line each on stderr, never on stdout.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Reads "info" or "warn,skydht=debug".
pub(crate) fn parse(filter: &str) -> Result<Targets, String> {
    filter
        .parse()
        .map_err(|error| format!("{filter:?} is no log filter: {error}"))
}

/// Starts logging. A second start keeps the first.
pub(crate) fn start(filter: &str) -> Result<(), String> {
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let _ = tracing_subscriber::registry()
        .with(layer)
        .with(parse(filter)?)
        .try_init();
    Ok(())
}
