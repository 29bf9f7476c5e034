//! Recording of the node's inputs and outputs.

use skydht_core::journal::Header;
use skydht_core::key::Signature;
use skydht_core::node::{Deadline, Input, Output};
use skydht_core::time::Time;

/// Receives everything that goes into and out of the node, in order. Called on the event loop's
/// task, so it must not block. Journals are written by implementations of it.
pub trait Recorder: Send + 'static {
    /// Called before the first input, with the state that the run starts from.
    fn start(&mut self, header: Header) {
        drop(header);
    }
    /// Called with each input, just before the node handles it.
    fn input(&mut self, now: Time, input: &Input<'_>);
    /// Called with each output, just after it was taken from the node.
    fn output(&mut self, output: &Output);
    /// Called when all outputs of the last input were taken, with the node's current deadline and
    /// the signatures that it made meanwhile.
    fn drained(&mut self, deadline: Option<Deadline>, signed: Vec<Signature>);
}
