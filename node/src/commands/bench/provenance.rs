//! Where a bench's figures come from, and the medians of its samples.

use serde::Serialize;

use crate::cli::Common;
use crate::failure::{Code, Failure, Result};
use crate::measure::machine;
use crate::{logging, output};

/// Where figures come from, and how to get them again.
#[derive(Serialize)]
pub(super) struct Provenance {
    seed: u64,
    machine: String,
    version: &'static str,
    optimised: bool,
    command: String,
}

impl Provenance {
    /// Of this run; warns of figures that mean nothing.
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

/// How this program was called.
pub(super) fn command_line() -> String {
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    words.collect::<Vec<_>>().join(" ")
}

/// For the foot of a table.
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

/// The medians of some samples.
pub(super) fn median<T: Serialize + serde::de::DeserializeOwned>(samples: &[T]) -> Result<T> {
    crate::measure::median(samples)
        .map_err(|error| Failure::new(Code::Local, format_args!("no sample: {error}")))
}
