//! The whole node under arbitrary inputs: peers, users, storage, transports and clocks as they
//! may behave, and invariants after every input.

mod cast;
mod config;
mod invariants;
mod peer;
mod script;
mod world;

use crate::cursor::Cursor;
use script::Script;

/// Steps of one script; more only repeat.
const MAX_STEPS: usize = 400;

/// Input: 8 bytes of configuration, then steps of a byte and what it needs (see `script`).
///
/// After every input to the node:
/// - it refuses nothing but what breaks its contract, and says as much as its limits allow;
/// - each operation finishes once, and only operations that were started;
/// - what it counts is what came out: open streams, jobs, probes, bytes, peers in the table;
/// - no limit is exceeded; what storage was told is what the store holds;
/// - the table holds, and answers name, only peers that proved their key and answered;
/// - what it sends decodes; items in it, and what reads return, are signed by their owners.
///
/// At the end, with no peer answering any more:
/// - timers fire, the deadline advances each time, and all operations finish;
/// - after a shutdown no stream, no operation and no deadline is left;
/// - the recorded run replays to the last digest from the public key alone.
pub fn node(data: &[u8]) {
    let mut script = Script::new(Cursor::new(data));
    for _ in 0..MAX_STEPS {
        if !script.step() {
            break;
        }
    }
    script.end();
}
