//! Recorded runs as in a journal file: a header and steps, each a line of JSON.

use skydht_core::journal::{Header, Replay, ReplayError, Step};

/// Maximum number of steps of a journal. More steps only repeat.
const MAX_STEPS: usize = 200;

/// Input: lines.
///
/// - Lines that do not parse or do not replay give an error, never a panic.
/// - Lines that parse are the same after writing and reading again.
/// - A node that replays arbitrary inputs stays within its limits.
pub fn journals(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let header = lines.next().unwrap_or_default();
    let Ok(header) = serde_json::from_slice::<Header>(header) else {
        return;
    };
    let text = serde_json::to_vec(&header).unwrap();
    assert_eq!(serde_json::from_slice::<Header>(&text).unwrap(), header);
    let format = header.format;
    let mut replay = match Replay::new(header) {
        Ok(replay) => replay,
        Err(ReplayError::Format { got }) => return assert_eq!(got, format),
        Err(ReplayError::Config(_)) => return,
        Err(error) => panic!("{error} before the first step"),
    };
    for line in lines.take(MAX_STEPS) {
        let Ok(step) = serde_json::from_slice::<Step<'_>>(line) else {
            return;
        };
        let text = serde_json::to_vec(&step).unwrap();
        assert_eq!(serde_json::from_slice::<Step<'_>>(&text).unwrap(), step);
        // Different digests are normal here. The replay continues anyway.
        match replay.step(&step) {
            Ok(_) | Err(ReplayError::Diverged { .. }) => {}
            Err(error) => panic!("{error} in a step"),
        }
        for usage in replay.node().snapshot().limits {
            use skydht_core::node::Limit;
            if !matches!(
                usage.limit,
                Limit::store_items | Limit::public_items | Limit::outputs
            ) {
                assert!(
                    usage.max.is_none_or(|max| usage.used <= max),
                    "{}",
                    usage.limit.name()
                );
            }
        }
    }
}
