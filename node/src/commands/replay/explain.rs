//! One replayed step in full.

use std::fmt;

use data_encoding::BASE64;
use serde::Serialize;
use serde_json::{Value, json};
use skydht_core::journal::Digest;
use skydht_core::node::{Deadline, Snapshot};
use skydht_core::time::Time;

use super::ReplayedStep;
use crate::report::ms;

/// A step, its outputs, and the node's state after it.
#[derive(Serialize)]
pub(super) struct Explained {
    schema: &'static str,
    step: u64,
    /// Time since the start of the node.
    at_ms: f64,
    now: Time,
    input: Value,
    outputs: Vec<Value>,
    /// Number of signatures that the node made.
    signatures: usize,
    deadline: Option<Deadline>,
    digest: Digest,
    snapshot: Snapshot,
}

impl Explained {
    pub(super) fn new(taken: &ReplayedStep<'_>) -> Self {
        Self {
            schema: "skydht.replay_step/1",
            step: taken.index,
            at_ms: ms(taken.at),
            now: taken.step.now,
            input: legible(&taken.step.input),
            outputs: taken.outputs.iter().map(legible).collect(),
            signatures: taken.step.signed.len(),
            deadline: taken.node.next_deadline(),
            digest: taken.step.digest,
            snapshot: taken.node.snapshot(),
        }
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "step {}, {} ms after the start (unix {} ns)",
            self.step, self.at_ms, self.now.unix.0
        )?;
        writeln!(f, "input     {}", self.input)?;
        for output in &self.outputs {
            writeln!(f, "output    {output}")?;
        }
        if self.signatures > 0 {
            writeln!(f, "signed    {} items", self.signatures)?;
        }
        match self.deadline {
            Some(deadline) => writeln!(
                f,
                "deadline  in {} ms, for {}",
                ms(deadline.at.since(self.now.mono)),
                json!(deadline.why)
            )?,
            None => writeln!(f, "deadline  none")?,
        }
        writeln!(f, "digest    {}", self.digest)?;
        write!(f, "state     {:#}", json!(self.snapshot))
    }
}

/// Converts an input or output to JSON, with its bytes as text, too.
pub(super) fn legible(what: &impl Serialize) -> Value {
    let mut value = serde_json::to_value(what).unwrap_or(Value::Null);
    let Some(fields) = value.as_object_mut() else {
        return value;
    };
    for inner in fields.values_mut().filter_map(Value::as_object_mut) {
        let bytes = inner
            .get("bytes")
            .and_then(Value::as_str)
            .and_then(|text| BASE64.decode(text.as_bytes()).ok());
        if let Some(bytes) = bytes {
            inner.insert("text".into(), json!(bytes.escape_ascii().to_string()));
        }
    }
    value
}
