//! Watching the one door: every input before the node sees it, every output after.

use skydht_core::journal::Header;
use skydht_core::key::Signature;
use skydht_core::node::{Deadline, Input, Output};
use skydht_core::time::Time;

/// Sees everything that goes in and out of the node, in order, on the loop's own task: it must
/// not block. Journals are made with it.
pub trait Recorder: Send + 'static {
    /// What the run starts from, before its first input.
    fn start(&mut self, header: Header) {
        drop(header);
    }
    /// An input, just before the node handles it.
    fn input(&mut self, now: Time, input: &Input<'_>);
    /// An output, just after it was taken from the node.
    fn output(&mut self, output: &Output);
    /// The outputs of the last input are drained, this is the deadline now, and the node made
    /// these signatures meanwhile.
    fn drained(&mut self, deadline: Option<Deadline>, signed: Vec<Signature>);
}
