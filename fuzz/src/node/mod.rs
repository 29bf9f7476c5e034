//! The complete node under arbitrary inputs: peers, users, storage, transports and clocks behave in
//! any permitted way, and invariants are checked after every input.

mod cast;
mod config;
mod invariants;
mod peer;
mod script;
mod world;

use crate::cursor::Cursor;
use script::Script;

/// Maximum number of steps of a script. More steps only repeat.
const MAX_STEPS: usize = 400;

/// Input: 8 bytes of configuration, then steps of one byte and the data that they need (see
/// `script`).
///
/// After every input to the node:
/// - It refuses only inputs that violate its contract, and its outputs are within its limits.
/// - Each operation finishes once, and only operations that were started.
/// - Its counts match its outputs: open streams, jobs, probes, bytes, peers in the table.
/// - No limit is exceeded, and storage was asked to persist exactly what the store holds.
/// - Its table and its answers contain only peers that proved their key and answered.
/// - Messages that it sends decode. Items in them, and results of reads, are signed by their
///   owners.
///
/// At the end, when no peer answers any longer:
/// - Timers fire, the deadline advances each time, and all operations finish.
/// - After a shutdown no stream, no operation and no deadline is left.
/// - The recorded run replays to the last digest, with only the public key.
pub fn node(data: &[u8]) {
    let mut script = Script::new(Cursor::new(data));
    for _ in 0..MAX_STEPS {
        if !script.step() {
            break;
        }
    }
    script.end();
}
