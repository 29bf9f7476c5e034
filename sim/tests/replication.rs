//! What full nodes guarantee: how soon they have a change, how soon a new node has everything, and
//! how long a record stays.

mod full_nodes;

use full_nodes::{SECOND, Size, change, day, newcomer, newcomers, upstream};

#[test]
fn a_change_at_one_full_node_is_at_nine_others_within_a_second() {
    for seed in 1..=3 {
        let change = change(seed);
        assert!(
            change.arrived <= SECOND && change.took <= SECOND,
            "{change:?}"
        );
        // No storm: each of nine nodes gets the item once, with a few small messages before and
        // after.
        assert!(
            change.messages <= 120 && change.bytes <= 20_000,
            "{change:?}"
        );
    }
}

#[test]
fn a_fresh_full_node_has_nearly_everything_within_fifteen_seconds() {
    let newcomer = newcomer(1, 5_200);
    assert!(newcomer.took < 15 * SECOND, "{newcomer:?}");
    // 300 bytes of value and the rest of an item, sent once, because only one of two sessions
    // continues. It was 4.6 MB when both did.
    assert!(newcomer.bytes < 5_200 * 500, "{newcomer:?}");
}

#[test]
fn regular_nodes_that_come_later_hold_what_they_should_within_a_minute() {
    let newcomers = newcomers(1, 60);
    assert_eq!(newcomers.otherwise, 0);
    let missing = |holders: &[usize]| -> usize { holders.iter().map(|held| 20 - held).sum() };
    // A quarter of the nodes are new and hold nothing at first.
    let (before, after) = (missing(&newcomers.before), missing(&newcomers.after));
    assert!(before > 200, "{newcomers:?}");
    assert!(after * 30 < before, "{newcomers:?}");
    // Three nodes offer each item, but once one has given it, the others are not asked.
    assert!(newcomers.given < 3 * before as u64, "{newcomers:?}");
}

#[test]
fn the_living_are_readable_all_day_and_the_dead_go_in_time() {
    let size = Size {
        owners: 20,
        records: 10,
        ttl: 1_200 * SECOND,
        time: 7_200 * SECOND,
        reads: 20,
        leaves_every: 600 * SECOND,
    };
    let day = day(1, size);
    assert!(day.wrong.is_empty(), "{:#?}", day.wrong);
    assert!(day.undead.is_empty(), "{:#?}", day.undead);
    assert!(day.reads > 1_000 && day.left > 10, "{day:?}");
    let time = 600 * SECOND;
    let theirs = upstream(1, Size { time, ..size });
    assert!(
        day.bytes_per_second * 10 < theirs,
        "{} {theirs}",
        day.bytes_per_second
    );
}
