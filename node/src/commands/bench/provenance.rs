//! Origin of a benchmark's figures, and medians of its samples.

use serde::Serialize;

use crate::cli::Common;
use crate::failure::{Code, Failure, Result};
use crate::measure::machine;
use crate::{logging, output};

/// Origin of figures, and what is needed to measure them again.
#[derive(Serialize)]
pub(super) struct Provenance {
    seed: u64,
    machine: String,
    version: &'static str,
    optimised: bool,
    command: String,
}

impl Provenance {
    /// Describes this run. Starts logging, and warns if this is a debug build.
    pub(super) fn new(common: &Common, seed: u64) -> Result<Self> {
        let filter = common.log.as_deref().unwrap_or("warn");
        logging::start(filter).map_err(|error| Failure::new(Code::Usage, error))?;
        let optimised = !cfg!(debug_assertions);
        if !optimised {
            output::talk(
                "this is a debug build: build with --release for figures that mean something",
            );
        }
        Ok(Self {
            seed,
            machine: machine(),
            version: env!("CARGO_PKG_VERSION"),
            optimised,
            command: command_line(),
        })
    }
}

/// Returns the command line of this process.
pub(super) fn command_line() -> String {
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    words.collect::<Vec<_>>().join(" ")
}

/// Formats the lines below a table of figures.
impl std::fmt::Display for Provenance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            machine,
            version,
            seed,
            command,
            ..
        } = self;
        write!(f, "{machine}; skydht {version}, seed {seed}\n{command}")
    }
}

/// Returns the medians of `samples`, field by field.
pub(super) fn median<T: Serialize + serde::de::DeserializeOwned>(samples: &[T]) -> Result<T> {
    crate::measure::median(samples)
        .map_err(|error| Failure::new(Code::Local, format_args!("no sample: {error}")))
}
