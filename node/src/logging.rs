//! Logging: one line per event on stderr, never on stdout.

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::color;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Parses a filter such as "info" or "warn,skydht=debug". A single word is a level.
pub(crate) fn parse(filter: &str) -> Result<Targets, String> {
    let wrong = |why: &dyn std::fmt::Display| {
        format!("{filter:?} is no log filter: {why}; write \"info\" or \"warn,skydht=debug\"")
    };
    let parts = filter.split(',').map(str::trim);
    for level in parts.map(|part| part.rsplit_once('=').map_or(part, |(_, level)| level)) {
        // The parser treats any unknown word as a target with all levels.
        if !LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
            return Err(wrong(&format_args!(
                "{level:?} is no level (there are {})",
                LEVELS.join(", ")
            )));
        }
    }
    filter.parse().map_err(|error| wrong(&error))
}

/// Starts logging. Later calls have no effect.
pub(crate) fn start(filter: &str) -> Result<(), String> {
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        // On a closed stderr, the report of the error would fail, too, and `eprintln!` would panic.
        .log_internal_errors(false)
        .with_ansi(color::is_on(&std::io::stderr()));
    let _ = tracing_subscriber::registry()
        .with(layer)
        .with(parse(filter)?)
        .try_init();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_no_level_are_refused() {
        for filter in [
            "info",
            "WARN",
            "off",
            "warn,skydht=debug",
            "skydht=trace, info",
        ] {
            assert!(parse(filter).is_ok(), "{filter}");
        }
        for filter in [
            "",
            "blah",
            "info,blah",
            "skydht=blah",
            "skydht=",
            "info,",
            "5",
        ] {
            let error = parse(filter).unwrap_err();
            assert!(error.contains("write \"info\""), "{filter}: {error}");
        }
    }
}
