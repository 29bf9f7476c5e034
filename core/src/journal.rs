//! Recording a run, and replaying it bit for bit.
//!
//! A run is a function of configuration, identity, seed and inputs. A journal contains these: a
//! [`Header`], then one [`Step`] per input, with the signatures that the node made and a running
//! digest of everything that it returned, outputs and deadlines. So it replays from the public key
//! alone, and [`Replay`] stops at the first difference. No secret enters a journal.
//!
//! All types implement serde; the file format around them is the program's.

use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::Seed;
use crate::key::{PublicKey, Signature, deserialize_text, parse_hex, write_hex};
use crate::node::{Config, ConfigError, Deadline, Identity, Input, Node, Output};
use crate::time::Time;

/// The version of these types. Journals of other versions are refused.
pub const FORMAT: u32 = 1;

/// The version of this crate, as recorded in headers.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Length of a digest in bytes.
const DIGEST_LEN: usize = 16;

/// A running digest of all outputs and deadlines: the first 16 bytes of
/// d(i) = SHA-256(d(i−1) ‖ JSON of the output or deadline), d(0) = 32 zero bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest([u8; DIGEST_LEN]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Text that is not 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected 32 hexadecimal digits")]
pub struct ParseDigestError;

impl FromStr for Digest {
    type Err = ParseDigestError;
    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        parse_hex(text.as_bytes()).map(Self).ok_or(ParseDigestError)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        deserialize_text(d)
    }
}

/// The start of a run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Header {
    /// The format version, [`FORMAT`].
    pub format: u32,
    /// Version of the crate that recorded the run.
    pub version: alloc::string::String,
    /// The node's configuration.
    pub config: Config,
    /// The node's public key; the secret is not needed.
    pub key: PublicKey,
    /// The node's seed.
    pub seed: Seed,
    /// The time given to [`Node::new`].
    pub start: Time,
}

impl Header {
    /// Creates the header of a run.
    #[must_use]
    pub fn new(config: Config, key: PublicKey, seed: Seed, start: Time) -> Self {
        let version = VERSION.into();
        Self {
            format: FORMAT,
            version,
            config,
            key,
            seed,
            start,
        }
    }
}

/// One input and its effects.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Step<'a> {
    /// The time given with the input.
    pub now: Time,
    /// The input.
    #[serde(borrow)]
    pub input: Input<'a>,
    /// Signatures that the node made while handling the input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signed: Vec<Signature>,
    /// The running digest after the outputs were drained.
    pub digest: Digest,
}

/// Computes the digest of a run.
#[derive(Clone, Default)]
pub struct RunDigest {
    state: [u8; 32],
    scratch: Vec<u8>,
}

impl RunDigest {
    /// Adds an output.
    pub fn output(&mut self, output: &Output) {
        self.feed(output);
    }

    /// Adds the deadline after a drain.
    pub fn deadline(&mut self, deadline: Option<Deadline>) {
        self.feed(&deadline);
    }

    /// The digest so far.
    #[must_use]
    pub fn value(&self) -> Digest {
        let mut out = [0; DIGEST_LEN];
        out.copy_from_slice(&self.state[..DIGEST_LEN]);
        Digest(out)
    }

    fn feed(&mut self, what: &impl Serialize) {
        self.scratch.clear();
        // Serialisation cannot fail: no map in these types has keys or values that JSON cannot
        // represent.
        if let Ok(json) = serde_json::to_vec(what) {
            self.scratch = json;
        }
        let mut hash = Sha256::new();
        hash.update(self.state);
        hash.update(&self.scratch);
        self.state = hash.finalize().into();
    }
}

/// Records a node that a driver runs: pass each drained output to [`Recorder::output`], and call
/// [`Recorder::step`] after each drain.
#[derive(Default)]
pub struct Recorder {
    digest: RunDigest,
}

impl Recorder {
    /// Starts recording. Must be called before the node's first input.
    #[must_use]
    pub fn new(node: &mut Node) -> Self {
        node.record_signatures();
        Self::default()
    }

    /// Adds an output.
    pub fn output(&mut self, output: &Output) {
        self.digest.output(output);
    }

    /// Returns the step to write to the journal, once all outputs of `input` have been drained.
    pub fn step<'a>(&mut self, node: &mut Node, now: Time, input: Input<'a>) -> Step<'a> {
        self.digest.deadline(node.next_deadline());
        Step {
            now,
            input,
            signed: node.take_signatures(),
            digest: self.digest.value(),
        }
    }
}

/// Why a journal does not replay.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The journal has another format.
    #[error("journal format {got}, this program reads {FORMAT}")]
    Format {
        /// Format of the journal.
        got: u32,
    },
    /// The recorded configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The node behaved differently from the recording.
    #[error("step {step} differs: recorded {expected}, replayed {got}")]
    Diverged {
        /// Index of the step, from 0.
        step: usize,
        /// The recorded digest.
        expected: Digest,
        /// The replayed digest.
        got: Digest,
        /// The outputs of the node in this step.
        outputs: Vec<Output>,
    },
}

/// A recorded run that is replayed step by step.
pub struct Replay {
    node: Node,
    digest: RunDigest,
    steps: usize,
}

impl Replay {
    /// Creates the node as it was when the recording started.
    ///
    /// # Errors
    /// [`ReplayError::Format`] or [`ReplayError::Config`].
    pub fn new(header: Header) -> Result<Self, ReplayError> {
        if header.format != FORMAT {
            return Err(ReplayError::Format { got: header.format });
        }
        let identity = Identity::PublicOnly(header.key);
        let node = Node::new(header.config, identity, header.seed, header.start)?;
        Ok(Self {
            node,
            digest: RunDigest::default(),
            steps: 0,
        })
    }

    /// Replays one step and returns the outputs of the node.
    ///
    /// # Errors
    /// [`ReplayError::Diverged`] if they differ from the recording.
    pub fn step(&mut self, step: &Step<'_>) -> Result<Vec<Output>, ReplayError> {
        self.node.load_signatures(&step.signed);
        // A misuse by the driver was recorded like any other input, and has no outputs either time.
        let _ = self.node.handle(step.now, step.input.clone());
        let mut outputs = Vec::new();
        while let Some(output) = self.node.poll_output() {
            self.digest.output(&output);
            outputs.push(output);
        }
        self.digest.deadline(self.node.next_deadline());
        let (expected, got) = (step.digest, self.digest.value());
        if expected != got {
            return Err(ReplayError::Diverged {
                step: self.steps,
                expected,
                got,
                outputs,
            });
        }
        self.steps += 1;
        Ok(outputs)
    }

    /// The node in its current state.
    #[must_use]
    pub const fn node(&self) -> &Node {
        &self.node
    }
}
