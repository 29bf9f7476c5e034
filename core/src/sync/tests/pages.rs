//! How many items one answer contains, and where the next continues.

use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::id::Target;

/// Twelve items of this length, each with its part byte, fill a page exactly.
const LEN: usize = 192 * 1024 / 12 - 1 - 130;

fn large(len: usize) -> ItemSet {
    let mut set = ItemSet::default();
    for number in 0..20 {
        set.insert(item(number, 1, len));
    }
    set
}

fn items(reply: &Reply) -> usize {
    let is_item = |part: &&ResponsePart| matches!(part, ResponsePart::Item(_));
    reply.response.parts.iter().filter(is_item).count()
}

fn answer(set: &ItemSet, parts: Vec<RequestPart>) -> Reply {
    let salt = [1; 8];
    respond(set, SyncRequest { salt, parts })
}

#[test]
fn a_page_ends_with_the_item_that_fills_it_and_says_where_the_next_begins() {
    assert_eq!(item_bytes(&item(1, 1, 0)), 130);
    for (len, fit) in [(LEN, 12), (LEN - 1, 13), (LEN + 1, 12)] {
        let set = large(len);
        let targets: Vec<Target> = set.entries(Target::default()).map(|it| it.0).collect();
        let leads = targets.iter().map(Lead::of).collect();
        let wanted = answer(&set, vec![RequestPart::Want(leads)]);
        assert_eq!(items(&wanted), fit, "{len}");
        let pull = || RequestPart::Pull(Prefix::ALL, Target::default());
        let pulled = answer(&set, vec![pull(), pull()]);
        assert_eq!(items(&pulled), fit, "{len}");
        let more = ResponsePart::More(Prefix::ALL, targets[fit]);
        assert_eq!(pulled.response.parts.last(), Some(&more));
        assert_eq!(pulled.response.answered, 1, "no room for a second one");
        let rest = RequestPart::Pull(Prefix::ALL, targets[fit]);
        assert_eq!(items(&answer(&set, vec![rest])), 20 - fit);
    }
}

#[test]
fn an_error_names_the_part_in_which_it_is() {
    let salt = [1; 8];
    let first = RequestPart::Pull(Prefix::ALL, Target::default());
    let one = SyncRequest {
        salt,
        parts: vec![first.clone()],
    };
    let begins = one.encode().len();
    let parts = vec![first, RequestPart::Want(vec![Lead(1)])];
    let bytes = SyncRequest { salt, parts }.encode();
    let error = SyncRequest::decode(&bytes[..bytes.len() - 1]).unwrap_err();
    assert_eq!((error.offset, error.fault), (begins, Fault::Truncated));
}
